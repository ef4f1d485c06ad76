# SPDX-License-Identifier: GPL-2.0-or-later
"""Config → nftables text: pure, deterministic, each rule with its comment.

    prerouting, raw (-300)    dispatch by protocol; for ESP, IKE and their ICMP errors: the client's zone, learning   (family ip)
    prerouting, dstnat - 5    first packets only: refusals, the PPTP helper, delivery by key                          (ip, ip6)
    prerouting, dstnat + 5    first packets only, after the user's forwards: delivery of what a server begins           (ip)
    postrouting, srcnat - 5   first packets only: who talks with whom; WAN → LAN refusals                             (ip, ip6)
    postrouting, srcnat + 50  only where there is a flow table: IKE is kept out of it                                   (ip)
    output, raw               the router's own IKE and ESP: remembered, never touched                                 (ip)

What neither helps nor refuses anything is not there at all: with every protocol ignored the ruleset is empty.
"""

from __future__ import annotations

import sys

from .access import add_access
from .dispatch import Dispatch
from .errors import add_errors
from .ipsec import add_ipsec
from .l2tp import add_l2tp, l2tp_forward_rule
from .maps import IPSEC, declare, refused_set
from .sharing import add_sharing
from .text import TABLE, Table, names
from .zones import add_zones, zone_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model import Config, Devices
    from ..wire.nftables import Element

__all__ = ["FAMILIES", "TABLE", "Ruleset", "compile_ruleset", "forward_rules", "refused_set"]

FAMILIES = ("ip", "ip6")


class Ruleset:
    """What a configuration compiles to: the tables by family; a family for which nothing is to be done is missing."""

    def __init__(self, tables: dict[str, Table]) -> None:
        self.tables = tables

    def declarations(self) -> dict[str, str]:
        """What can't be changed while it is in use, by family."""
        return {family: table.declarations() for family, table in self.tables.items()}

    def render(self, elements: Mapping[tuple[str, str], Iterable[Element]] | None = None) -> str:
        """All tables as nft text; `elements`, by family and collection, are put back into those collections that still exist."""
        by_family: dict[str, dict[str, Iterable[Element]]] = {}
        for (family, name), found in (elements or {}).items():
            by_family.setdefault(family, {})[name] = found
        return "\n".join(table.render(by_family.get(family)) for family, table in self.tables.items())


def compile_ruleset(config: Config, devices: Devices, *, helper: bool = True, offload: bool = False,
                    byteorder: str = sys.byteorder, seed: int = 0) -> Ruleset:
    """The ruleset of a configuration.

    `helper`: the kernel has the PPTP helper (a ruleset that names it does not load without). `offload`: somebody
    (fw4) has a flow table. `byteorder`: the router's. `seed`: of the zones, of this boot (32 bits): nobody may know it, and it stays
    while the maps live.
    """
    tables: dict[str, Table] = {}
    if not config.general.enabled:
        return Ruleset(tables)
    for family in FAMILIES:
        table = Table(family)
        if family == "ip":
            dispatch = Dispatch()
            if config.shares_servers:
                declare(table, config, IPSEC)
                add_zones(table, config, byteorder, seed)
                add_sharing(table, config, devices)
                add_ipsec(table, config, devices, dispatch)
            if config.behaviour("l2tp") == "help":
                add_l2tp(table, config, devices, dispatch)
            if dispatch.used:
                add_errors(table, config, devices, dispatch)
            dispatch.add(table)
        add_access(table, config, devices, helper=helper, offload=offload)
        if table.chains:
            tables[family] = table
    return Ruleset(tables)


def forward_rules(config: Config, devices: Devices) -> str:
    """Rules for the end of fw4's forward chain, after the user's own: what our DNAT lets in, and IPv6 that RFC 6092 wants let in.

    A verdict of our own tables can't do it: a packet passes only if every base chain accepts it.
    """
    if not config.general.enabled:
        return ""
    lan, wan, ipsec = names(devices.lan), names(devices.wan), config.protocols["ipsec"]
    rules = []
    if config.shares_servers:
        for match in ("meta l4proto esp", "udp sport 500 udp dport 500"):
            rules.append(f'iifname {wan} oifname {lan} ct zone {zone_range(config)} ct status dnat {match} accept '
                         'comment "vpnpt: a server speaks first"')
    if config.behaviour("l2tp") == "help":
        rules.append(l2tp_forward_rule(lan, wan))
    if config.behaviour("ipsec") == "help" and ipsec.ipv6_inbound == "open":
        ports = ", ".join(str(port) for port in (500, *ipsec.ports))
        for match in ("meta l4proto { esp, ah }", f"udp dport {{ {ports} }}"):
            rules.append(f'meta nfproto ipv6 iifname {wan} oifname {lan} {match} accept comment "vpnpt: IPv6 IPsec (RFC 6092 3.2.4)"')
    return "".join(f"{rule}\n" for rule in rules)
