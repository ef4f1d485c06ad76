# SPDX-License-Identifier: GPL-2.0-or-later
"""What /etc/config/firewall says of zones: which are outside, which are inside, and why. Read as fw4 reads it (fw4.uc).

Pure. A zone is outside (WAN) if it masquerades IPv4 for a zone that is forwarded to it; inside is every zone that is forwarded to one
of those. Whoever is inside may be a client: its IKE and ESP leave by NAT, whatever its zone is called.
"""
from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config.ucitext import SectionText

TRUE, FALSE = ("1", "on", "true", "yes"), ("0", "off", "false", "no")  # parse_bool() in fw4.uc: lower case only
CARRIERS = frozenset(("all", "any", "*", "0", "udp", "17", "esp", "50", "tcpudp"))
"""Protocols by which IKE or ESP may pass, as fw4's rules write them."""
ANY = "*"


class Zone(Record):
    """A zone that counts. masquerades: its own option masq, for IPv4. masquerades6: option masq6."""

    __slots__ = ("name", "section", "masquerades", "masquerades6")
    name: str
    section: SectionText
    masquerades: bool
    masquerades6: bool

    def __hash__(self) -> int:
        return hash(self.name)


class Zones:
    """The zones of a firewall, and which of them are forwarded to which. Empty where there is no firewall's configuration."""

    def __init__(self, sections: Iterable[SectionText], static: Iterable[str] = ()) -> None:
        """static: interfaces with a fixed address and no gateway."""
        sections = list(sections)
        self.zones: dict[str, Zone] = {}
        for section in sections:
            zone = _zone(section) if section.type == "zone" else None
            if zone is not None:
                self.zones.setdefault(zone.name, zone)
        self._static = frozenset(static)
        accepts = any(word(section, "forward").upper() == "ACCEPT" for section in sections if section.type == "defaults")
        self._forwardings = [edge for edge in map(_forwarding, sections) if edge is not None]
        self._forwardings += [(ANY, ANY)] if accepts else []
        self._rules = [edge for edge in map(_rule, sections) if edge is not None]
        self._translated = {word(section, "src") for section in sections if _translates(section)}

    def outside(self) -> dict[str, str]:
        """The WAN zones, each with the reason, in configuration order."""
        # What a rule lets in from a zone that masquerades comes from outside: OpenWrt's own Allow-IPSec-ESP, from wan to lan.
        reached = {name for name in self.zones if self._sources(name, self._forwardings)
                   or any(not self.zones[source].masquerades for source in self._sources(name, self._rules))}
        masked = {name: "masquerades" for name, zone in self.zones.items() if zone.masquerades and name in reached}
        for name in self._translated & reached - set(masked):
            # Translation for a few on the way into their own network (a server reached by its outside address) makes no WAN of it.
            if not (self._targets(name) & set(masked)):
                masked[name] = "its outgoing packets get another source (config nat)"
        # A zone that is both counts as WAN, but for one of which the router's own network says that nothing lies behind it.
        homes = {name for name in masked if self._targets(name) & set(masked) and self._is_home(name)}
        if homes < set(masked):
            masked = {name: reason for name, reason in masked.items() if name not in homes}
        return {name: f"{masked[name]} for {', '.join(self._sources(name, self._forwardings) or self._sources(name, self._rules))}"
                for name in self.zones if name in masked}

    def inside(self, outside: Iterable[str]) -> dict[str, str]:
        """The zones that are forwarded to one of `outside`, each with the reason, in configuration order."""
        outside = list(outside)
        found = {}
        for name in self.zones:
            to = [other for other in outside if name in self._sources(other, self._forwardings)]
            by_rule = [other for other in outside if name in self._sources(other, self._rules)]
            if name not in outside and (to or by_rule):
                found[name] = f"forwarded to {', '.join(to)}" if to else f"a rule lets it through to {', '.join(by_rule)}"
        return found

    def neither(self, name: str) -> str:
        """Why a zone is on no side."""
        zone = self.zones[name]
        if zone.masquerades:
            return "masquerades, but no zone is forwarded to it"
        if zone.masquerades6:
            return "masquerades IPv6 only"
        return "not forwarded to a WAN zone"

    def _sources(self, name: str, edges: Iterable[tuple[str, str]]) -> list[str]:
        """The zones that may send to this one."""
        found: dict[str, None] = {}
        for source, target in edges:
            if target in (name, ANY):
                found.update(dict.fromkeys(other for other in self.zones if source in (other, ANY) and other != name))
        return list(found)

    def _targets(self, name: str) -> set[str]:
        return {other for other in self.zones if name in self._sources(other, self._forwardings)}

    def _is_home(self, name: str) -> bool:
        """Masquerading into a network in which the router has a fixed address and no gateway: nothing lies behind it."""
        interfaces = words(self.zones[name].section, "network")
        return bool(interfaces) and not words(self.zones[name].section, "device") and self._static.issuperset(interfaces)


def _zone(section: SectionText) -> Zone | None:
    flags = [flag(section, "enabled", True), flag(section, "masq", False), flag(section, "masq6", False)]
    name = word(section, "name")
    if None in flags or not flags[0] or not name:
        return None  # fw4 skips the section
    return Zone(name=name, section=section, masquerades=bool(flags[1]) and not _ipv6_only(section), masquerades6=bool(flags[2]))


def _ipv6_only(section: SectionText) -> bool:
    """parse_family() in fw4.uc."""
    family = word(section, "family")
    return "6" in family and "4" not in family


def _forwarding(section: SectionText) -> tuple[str, str] | None:
    """From zone, to zone: where a section lets IPv4 through."""
    if section.type != "forwarding" or not flag(section, "enabled", True) or _ipv6_only(section):
        return None
    return word(section, "src"), word(section, "dest")


def _rule(section: SectionText) -> tuple[str, str] | None:
    """The same for a rule that may let IKE or ESP through."""
    if section.type != "rule" or not flag(section, "enabled", True) or _ipv6_only(section):
        return None
    protocols = {protocol.lower() for protocol in words(section, "proto")} or {"tcpudp"}
    if word(section, "target").upper() != "ACCEPT" or not protocols & CARRIERS or not (word(section, "src") and word(section, "dest")):
        return None
    return word(section, "src"), word(section, "dest")


def _translates(section: SectionText) -> bool:
    """A `config nat` that gives packets which leave by zone `src` another source. One for some destinations only makes no WAN."""
    return (section.type == "nat" and bool(flag(section, "enabled", True)) and not _ipv6_only(section)
            and word(section, "target").upper() != "ACCEPT" and not words(section, "dest_ip") and word(section, "src") not in ("", ANY))


def flag(section: SectionText, option: str, default: bool) -> bool | None:
    """A boolean of fw4, None for a word that it does not know."""
    value = word(section, option)
    return default if not value else True if value in TRUE else False if value in FALSE else None


def words(section: SectionText, option: str) -> list[str]:
    """The words of a list, or of an option that holds several; empty if it is not set."""
    text = section.options.get(option)
    return [word for value in text.values for word in value.split()] if text else []


def word(section: SectionText, option: str) -> str:
    """An option's value, '' if it is not set."""
    text = section.options.get(option)
    return text.values[-1] if text else ""
