# SPDX-License-Identifier: GPL-2.0-or-later
"""The one base chain that every packet passes: what is none of ours leaves after as few rules as possible.

Measured (docs/MEASUREMENTS.md): an empty base chain costs 1 to 1.5 % of what forwarding a packet does, each comparison with one value
0.3 %, a verdict map of protocols 1.5 %, a jump 0.5 %. So protocols are compared one by one, TCP first, and what is most frequent among
ours is looked up here and not in a chain of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .text import Table

SOURCE, DESTINATION = "@th,0,16", "@th,16,16"
"""Where UDP has its ports."""
ORDER = ("udp", "esp", "icmp")
"""Protocols after TCP, the most frequent first."""


class Dispatch:
    """Where packets go, from whatever side. protocols: IP protocol to chain. udp_to, udp_from: destination and source port to chain.

    at_once: rules (text, comment) that come before; the packets for which they give no verdict go on. Ports are compared as raw bits:
    `udp dport` would look at the protocol once more, for every packet that is none of ours.
    """

    def __init__(self) -> None:
        self.at_once: list[tuple[str, str]] = []
        self.protocols: dict[str, str] = {}
        self.udp_to: dict[int, str] = {}
        self.udp_from: dict[int, str] = {}

    @property
    def used(self) -> bool:
        """Does anybody want anything?"""
        return bool(self.protocols or self.udp_to or self.udp_from)

    def add(self, table: Table) -> None:
        """The base chain and its branch by UDP port; nothing if nobody wants anything."""
        if self.udp_to or self.udp_from:
            self.protocols["udp"] = "from_udp"
            udp = table.chain("from_udp")
            for port, chain in sorted(self.udp_to.items()):
                udp.rule(f"{DESTINATION} {port} goto {chain}", f"to port {port}")
            for port, chain in sorted(self.udp_from.items()):
                udp.rule(f"{SOURCE} {port} goto {chain}", f"from port {port}")
        if not self.protocols:
            return
        base = table.chain("prerouting", "filter hook prerouting priority raw; policy accept;")
        if len(self.protocols) > 1:
            base.rule("ip protocol tcp accept", "most packets leave here")
        for text, comment in self.at_once:
            base.rule(text, comment)
        for protocol in sorted(self.protocols, key=ORDER.index):
            base.rule(f"ip protocol {protocol} goto {self.protocols[protocol]}", f"what is {protocol.upper()}")
