# SPDX-License-Identifier: GPL-2.0-or-later
"""What the router knows about itself: which network devices are the LAN side and which the WAN side, and what fw4 leaves out."""
from __future__ import annotations

import contextlib
import socket

from .. import process
from ..config import ucitext
from ..config.values import boolean, device_problem, nearest
from ..model import Devices, Diagnostic, FoundZone, Said, joined, quoted
from . import uci
from .zones import Zones, word, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Literal

    from ..config.ucitext import SectionText
    from ..model import Config, Severity

    Side = Literal["lan", "wan"]

    Run = Callable[..., process.Result]

DROP_IN = "/usr/share/nftables.d/chain-post/forward/50-vpnpt.nft"
"""What fw4 finds by itself, unless it is told not to look."""
RELEASE = "/etc/openwrt_release"
FW4_TIMEOUT = 20.0  # seconds; it compiles its whole configuration on slow flash
# The scripts of netifd's protocols (ppp.sh, 6in4.sh and so on) name the device PREFIX-INTERFACE ...
PREFIXES = {**{name: name for name in ("ppp", "pppoe", "pppoa", "pptp", "l2tp", "3g", "sstp", "6in4", "6to4", "6rd", "map")},
            "dslite": "ds", "464xlat": "464"}
# ... or after the interface alone.
NAMED_AFTER_INTERFACE = frozenset(("wireguard", "amneziawg", "xfrm", "vxlan"))


def release(path: str = RELEASE) -> str:
    """What runs here, `OpenWrt 24.10.4`; '' where nobody says."""
    named = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.strip().partition("=")
            named[name] = value.strip("'\"")
    return " ".join(named.get("DISTRIB_DESCRIPTION", "").split()[:2])


def resolve_devices(config: Config, *, run: Run = process.run, config_dir: str | None = None,
                    existing: Iterable[str] | None = None) -> tuple[Devices, list[Diagnostic]]:
    """The devices of both sides, and what is wrong with them. Never raises for what is missing on the system.

    Named devices (lan_device, wan_device) are taken as they are, named zones (lan_zone, wan_zone) alone are that side; else zones.py
    says which zones are. A zone's devices are those that `fw4 zone NAME` prints; where it can't say (no fw4, not started, zone unknown,
    or no device of the zone up when it started), those that the UCI packages firewall and network under config_dir (/etc/config if
    None) imply. existing: the devices there are, None to ask the kernel; () for not to look.
    Errors: a side without devices, and a device that was named for one side and is on both.
    """
    lookup = _Lookup(run, config_dir, _device_names() if existing is None else tuple(existing))
    general = config.general
    named = general.lan_device, general.wan_device
    lookup.exist("lan", general.lan_device)
    lookup.exist("wan", general.wan_device)
    if all(named):
        return Devices(lan=general.lan_device, wan=general.wan_device), lookup.diagnostics
    outside = lookup.zones.outside()
    wan_zones = (dict.fromkeys(general.wan_zone, "named in wan_zone")
                 or {name: reason for name, reason in outside.items() if name not in general.lan_zone})
    lan_zones = dict.fromkeys(general.lan_zone, "named in lan_zone") or lookup.zones.inside(wan_zones)
    lan = general.lan_device or lookup.side("lan", lan_zones, bool(general.lan_zone))
    wan = general.wan_device or lookup.side("wan", wan_zones, bool(general.wan_zone))
    both = [name for name in lan if name in wan]
    for name in both:
        if any(named) or general.lan_zone or general.wan_zone:
            lookup.add("error", "wan_device", name, Said("is on the LAN and on the WAN side"),
                       Said("set lan_device and wan_device, or lan_zone and wan_zone, so that they have no device in common"))
        else:
            lookup.add("warning", "lan_device", name, Said("is a device of a LAN zone and of a WAN zone"),
                       Said("it counts as WAN; give the zones devices of their own, or name those that count in lan_device and wan_device"))
    if not (any(named) or general.lan_zone or general.wan_zone):
        lan = tuple(name for name in lan if name not in both)
        if both and not lan:
            lookup.nothing("lan", lan_zones)
    lookup.leave_out(outside, {**({} if general.wan_device else wan_zones), **({} if general.lan_device else lan_zones)})
    return Devices(lan=lan, wan=wan, found=tuple(lookup.found)), lookup.diagnostics


def _device_names() -> tuple[str, ...]:
    """Of this network namespace; () if the kernel doesn't say."""
    try:
        return tuple(name for _, name in socket.if_nameindex() if name != "lo")
    except OSError:
        return ()


def include_problems(*, run: Run = process.run, config_dir: str | None = None) -> list[Diagnostic]:
    """A warning where fw4 is told to leave out what other packages put into its chains, and no section names our drop-in instead."""
    firewall = _Lookup(run, config_dir).package("firewall")
    defaults = [section for section in firewall if section.type == "defaults"][:1]
    if not defaults or boolean(word(defaults[0], "auto_includes")) is not False or any(map(_includes_us, firewall)):
        return []
    return [Diagnostic(
        severity="warning", section="firewall.@defaults[0]", option="auto_includes", value=word(defaults[0], "auto_includes"),
        message=Said("fw4 leaves out what vpnpt adds to its forward chain: what a VPN server starts by itself does not pass, nor IPv6 "
                     "IPsec from outside"),
        remedy=Said("set it to 1: uci set firewall.@defaults[0].auto_includes=1; uci commit firewall; reload_config; or add a section "
                    "'include' with type nftables, position chain-post, chain forward and path {path}", path=DROP_IN))]


def _includes_us(section: SectionText) -> bool:
    found = [word(section, option) for option in ("type", "position", "chain", "path")]
    return (section.type == "include" and boolean(word(section, "enabled") or "1") is not False
            and found[0] == "nftables" and found[1] in ("chain-post", "chain-append") and found[2:] == ["forward", DROP_IN])


class _Lookup:
    """Zones to devices; reads each UCI package once, and only if it is needed."""

    def __init__(self, run: Run, config_dir: str | None, existing: tuple[str, ...] = ()) -> None:
        self.run = run
        self.config_dir = config_dir
        self.existing = existing
        self.diagnostics: list[Diagnostic] = []
        self.found: list[FoundZone] = []
        self.packages: dict[str, list[SectionText]] = {}
        self._zones: Zones | None = None

    @property
    def zones(self) -> Zones:
        """Those of the firewall."""
        if self._zones is None:
            self._zones = Zones(self.package("firewall"), self.static_interfaces())
        return self._zones

    def add(self, severity: Severity, option: str, value: str | None, message: Said, remedy: Said) -> None:
        self.diagnostics.append(Diagnostic(severity=severity, section="global", option=option, value=value, message=message,
                                           remedy=remedy))

    def exist(self, side: Side, devices: Iterable[str]) -> None:
        """Names those that are not there. They count all the same: one may come later, as a PPP connection does."""
        for name in devices:
            if self.existing and name not in self.existing:
                meant = self.interface(name)
                if meant:
                    remedy = Said("it is the name of an interface, whose device is {device}: did you mean {meant}?",
                                  device=" ".join(meant), meant=meant[0])
                elif name in self.zones.zones:
                    remedy = Said("it is the name of a firewall zone: did you mean {meant}?", meant=f"{side}_zone")
                else:
                    remedy = joined(_meant(name, self.existing), Said("it counts as soon as it is there"))
                self.add("warning", f"{side}_device", name, Said("there is no such device"), remedy)

    def side(self, side: Side, zones: dict[str, str], named: bool) -> tuple[str, ...]:
        """The devices of one side's zones, without repetition. zones: each with the reason why it is there. named: by the user."""
        devices: dict[str, None] = {}
        without = []
        for zone, reason in zones.items():
            own = tuple(dict.fromkeys(name for name in self.zone(zone) if self.valid(side, zone, name)))
            devices.update(dict.fromkeys(own))
            self.found.append(FoundZone(zone=zone, side=side, reason=reason, devices=own))
            if not own:
                without.append(zone)
        known = self.zones.zones
        for zone in without if named else ():
            if known and zone not in known:
                self.add("warning", f"{side}_zone", zone, Said("there is no such zone"), _meant(zone, known))
            elif devices:
                self.add("warning", f"{side}_zone", zone, Said("no network device found for this zone"),
                         Said("correct its name, or name its devices in {option}; left out", option=f"{side}_device"))
        if not devices:
            self.nothing(side, zones)
        return tuple(devices)

    def nothing(self, side: Side, zones: Iterable[str]) -> None:
        """A side without any device."""
        known = self.zones.zones
        if zones:
            what = Said("no network device found for zone {zones}", zones=", ".join(map(quoted, zones)))
        elif not known:
            what = Said("no network device found: there are no firewall zones")
        elif side == "wan":
            what = Said("no network device found: of the zones {zones} none masquerades for one that is forwarded to it",
                        zones=_listed(known))
        else:
            what = Said("no network device found: of the zones {zones} none is forwarded to a WAN zone", zones=_listed(known))
        self.add("error", f"{side}_device", None, what,
                 Said("name the {side} devices: uci add_list vpnpt.global.{option}=NAME; uci commit vpnpt", side=side.upper(),
                      option=f"{side}_device"))

    def leave_out(self, outside: dict[str, str], used: dict[str, str]) -> None:
        """Zones that are on no side."""
        for name in self.zones.zones:
            if name not in used:
                reason = self.zones.neither(name)
                if name in outside:
                    reason = f"{outside[name]}, but is not among those that are named"
                elif self.zones.inside(outside).get(name):
                    reason = "not among those that are named"
                self.found.append(FoundZone(zone=name, side="", reason=reason, devices=tuple(dict.fromkeys(self.zone_from_uci(name)))))

    def valid(self, side: Side, zone: str, name: str) -> bool:
        problem = device_problem(name)
        if problem:
            self.add("warning", f"{side}_zone", zone, Said("device {name} of this zone: {problem}", name=quoted(name), problem=problem),
                     Said("name the devices in {option}; left out", option=f"{side}_device"))
        return not problem

    def zone(self, zone: str) -> list[str]:
        """Its devices; a pattern (`ppp+`, which fw4 prints as `ppp*`) stands for those there are: others count once they come."""
        result = self.run(["fw4", "zone", zone], timeout=FW4_TIMEOUT)
        printed = result.stdout.decode("utf-8", "surrogateescape").split() if result.status == 0 else []
        devices: list[str] = []
        for name in printed or self.zone_from_uci(zone):
            if name.endswith(("*", "+")):
                devices += [there for there in self.existing if there.startswith(name[:-1])]
            elif not name.startswith(("!", "/")):  # all but that one
                devices.append(name)
        return devices

    # --- the same from UCI -------------------------------------------------------------------------------------------

    def package(self, name: str) -> list[SectionText]:
        if name not in self.packages:
            try:
                text, _ = uci.read_package(name, self.config_dir, run=self.run)
            except (uci.ConfigMissing, OSError):
                text = ""  # not an OpenWrt system, or not a whole one: the missing devices are what gets named
            self.packages[name] = ucitext.parse(text).sections
        return self.packages[name]

    def zone_from_uci(self, zone: str) -> list[str]:
        known = self.zones.zones.get(zone)
        if known is None:
            return []
        found = [self.interface(interface) for interface in words(known.section, "network")]
        return [name for names in found for name in names] + words(known.section, "device")

    def static_interfaces(self) -> set[str]:
        """Interfaces with a fixed address and no gateway: nothing lies behind them."""
        network = self.package("network")
        routed = {word(section, "interface") for section in network
                  if section.type == "route" and word(section, "target").partition("/")[0] in ("0.0.0.0", "default", "")}
        return {section.name for section in network if section.type == "interface" and word(section, "proto") == "static"
                and not word(section, "gateway")} - routed

    def interface(self, name: str, depth: int = 0) -> list[str]:
        """The devices of a logical interface. depth: how many '@interface' references led here."""
        found = [section for section in self.package("network") if section.type == "interface" and section.name == name]
        section = found[0] if found else None
        if section is None or depth > 4 or boolean(word(section, "disabled")):
            return []
        protocol = word(section, "proto")
        if protocol in PREFIXES:
            return [f"{PREFIXES[protocol]}-{name}"]
        if protocol in NAMED_AFTER_INTERFACE:
            return [name]
        if word(section, "type") == "bridge":  # before 21.02
            return [f"br-{name}"]
        devices: list[str] = []
        for device in words(section, "device") or words(section, "ifname"):
            devices += self.interface(device[1:], depth + 1) if device.startswith("@") else [device]
        return devices


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    shown = ", ".join(names[:most])
    return Said("{names} and {count} more", names=shown, count=len(names) - most) if len(names) > most else shown


def _meant(word: str, names: Iterable[str]) -> Said:
    """The names that there are, and which of them is near."""
    by_lower = {name.lower(): name for name in names}
    meant = by_lower.get(word.lower()) or by_lower.get(nearest(word, by_lower))
    there = _listed(by_lower.values())
    return Said("there are {names}: did you mean {meant}?", names=there, meant=meant) if meant else Said("there are {names}", names=there)
