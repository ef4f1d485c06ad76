# SPDX-License-Identifier: GPL-2.0-or-later
"""What the router knows about itself: which network devices are the LAN side and which the WAN side, and what fw4 leaves out."""
from __future__ import annotations

import contextlib

from .. import process
from ..config import ucitext
from ..config.values import boolean, device_problem
from ..model import Devices, Diagnostic, quoted
from . import uci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..config.ucitext import SectionText
    from ..model import Config

    Run = Callable[..., process.Result]

DROP_IN = "/usr/share/nftables.d/chain-pre/forward/50-vpnpt.nft"
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


def resolve_devices(config: Config, *, run: Run = process.run, config_dir: str | None = None) -> tuple[Devices, list[Diagnostic]]:
    """The devices of both sides, and what is wrong with them. Never raises for what is missing on the system.

    An explicit list (lan_device, wan_device) is taken as it is. Else each zone's devices are those that `fw4 zone NAME` prints;
    where it can't say (no fw4, not started, zone unknown, or no device of the zone up when it started), those that the UCI
    packages firewall and network under config_dir (/etc/config if None) imply. Errors: a side without devices, and a device
    on both sides.
    """
    lookup = _Lookup(run, config_dir)
    general = config.general
    lan = general.lan_device or lookup.side("lan", general.lan_zone)
    wan = general.wan_device or lookup.side("wan", general.wan_zone)
    for name in lan:
        if name in wan:
            lookup.add("error", "wan_device", name, "is on the LAN and on the WAN side",
                       "set lan_device and wan_device, or lan_zone and wan_zone, so that they have no device in common")
    return Devices(lan=lan, wan=wan), lookup.diagnostics


def include_problems(*, run: Run = process.run, config_dir: str | None = None) -> list[Diagnostic]:
    """A warning where fw4 is told to leave out what other packages put into its chains, and no section names our drop-in instead."""
    firewall = _Lookup(run, config_dir).package("firewall")
    defaults = [section for section in firewall if section.type == "defaults"][:1]
    if not defaults or boolean(word(defaults[0], "auto_includes")) is not False or any(map(_includes_us, firewall)):
        return []
    return [Diagnostic(
        severity="warning", section="firewall.@defaults[0]", option="auto_includes", value=word(defaults[0], "auto_includes"),
        message="fw4 leaves out what vpnpt adds to its forward chain: what a VPN server starts by itself does not pass, nor IPv6 IPsec "
                "from outside",
        remedy="set it to 1: uci set firewall.@defaults[0].auto_includes=1; uci commit firewall; reload_config; or add a section "
               f"'include' with type nftables, position chain-pre, chain forward and path {DROP_IN}")]


def _includes_us(section: SectionText) -> bool:
    found = [word(section, option) for option in ("type", "position", "chain", "path")]
    return (section.type == "include" and boolean(word(section, "enabled") or "1") is not False
            and found[0] == "nftables" and found[1] in ("chain-pre", "chain-prepend") and found[2:] == ["forward", DROP_IN])


class _Lookup:
    """Zones to devices; reads each UCI package once, and only if it is needed."""

    def __init__(self, run: Run, config_dir: str | None) -> None:
        self.run = run
        self.config_dir = config_dir
        self.diagnostics: list[Diagnostic] = []
        self.packages: dict[str, list[SectionText]] = {}

    def add(self, severity: str, option: str, value: str | None, message: str, remedy: str) -> None:
        self.diagnostics.append(Diagnostic(severity=severity, section="global", option=option, value=value, message=message,
                                           remedy=remedy))

    def side(self, side: str, zones: Iterable[str]) -> tuple[str, ...]:
        """The devices of one side's zones, without repetition. A zone that has none is named."""
        devices: dict[str, None] = {}
        without = []
        for zone in zones:
            found = [name for name in self.zone(zone) if self.valid(side, zone, name)]
            devices.update(dict.fromkeys(found))
            if not found:
                without.append(zone)
        if not devices:
            self.add("error", f"{side}_device", None, f"no network device found for zone {', '.join(map(quoted, zones))}",
                     f"name the {side.upper()} devices: uci add_list vpnpt.global.{side}_device=NAME; uci commit vpnpt")
        else:
            for zone in without:
                self.add("warning", f"{side}_zone", zone, "no network device found for this zone",
                         f"correct its name, or name its devices in {side}_device; left out")
        return tuple(devices)

    def valid(self, side: str, zone: str, name: str) -> bool:
        problem = device_problem(name)
        if problem:
            self.add("warning", f"{side}_zone", zone, f"device {quoted(name)} of this zone: {problem}",
                     f"name the devices in {side}_device; left out")
        return not problem

    def zone(self, zone: str) -> list[str]:
        result = self.run(["fw4", "zone", zone], timeout=FW4_TIMEOUT)
        printed = result.stdout.decode("utf-8", "surrogateescape").split() if result.status == 0 else []
        return printed or self.zone_from_uci(zone)

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
        devices: list[str] = []
        for section in self.package("firewall"):
            if section.type == "zone" and words(section, "name") == [zone] and boolean(word(section, "enabled")) is not False:
                for interface in words(section, "network"):
                    devices += self.interface(interface)
                devices += words(section, "device")
        return devices

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


def words(section: SectionText, option: str) -> list[str]:
    """The words of a list, or of an option that holds several; empty if it is not set."""
    text = section.options.get(option)
    return [word for value in text.values for word in value.split()] if text else []


def word(section: SectionText, option: str) -> str:
    """An option's value, '' if it is not set."""
    text = section.options.get(option)
    return text.values[-1] if text else ""
