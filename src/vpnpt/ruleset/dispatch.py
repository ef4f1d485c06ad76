"""The one base chain that every packet passes: what is none of ours leaves after one lookup."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .text import Table

SOURCE, DESTINATION = "@th,0,16", "@th,16,16"
"""Where UDP has its ports."""


class Dispatch:
    """Where packets go, from whatever side. protocols: IP protocol to chain. udp_to, udp_from: destination and source port to chain.

    Ports are compared as raw bits: `udp dport` would look at the protocol once more, for every packet that is none of ours.
    """

    def __init__(self) -> None:
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
        if self.protocols:
            base = table.chain("prerouting", "filter hook prerouting priority raw; policy accept;")
            verdicts = ", ".join(f"{protocol} : goto {chain}" for protocol, chain in sorted(self.protocols.items()))
            base.rule(f"ip protocol vmap {{ {verdicts} }}", "all else leaves here")
