"""The one base chain that every packet passes: what is none of ours leaves after one lookup."""

from __future__ import annotations

from .text import Table, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Devices


class Dispatch:
    """Where packets go. protocols: IP protocol to chain. udp_out: a client's destination port to chain; udp_in: a server's source port.

    udp_both: the destination port, from either side.
    """

    def __init__(self) -> None:
        self.protocols: dict[str, str] = {}
        self.udp_out: dict[int, str] = {}
        self.udp_in: dict[int, str] = {}
        self.udp_both: dict[int, str] = {}

    def add(self, table: Table, devices: Devices) -> None:
        """The base chain and its branch by UDP port; nothing if nobody wants anything."""
        if self.udp_out or self.udp_in or self.udp_both:
            self.protocols["udp"] = "from_udp"
            udp = table.chain("from_udp")
            for port, chain in sorted(self.udp_both.items()):
                udp.rule(f"udp dport {port} goto {chain}", "to or from a client")
            for ports, field, devices_in, comment in ((self.udp_out, "dport", devices.lan, "from a client"),
                                                      (self.udp_in, "sport", devices.wan, "from a server")):
                for port, chain in sorted(ports.items()):
                    udp.rule(f"udp {field} {port} iifname {names(devices_in)} goto {chain}", comment)
        if self.protocols:
            base = table.chain("prerouting", "filter hook prerouting priority raw; policy accept;")
            verdicts = ", ".join(f"{protocol} : goto {chain}" for protocol, chain in sorted(self.protocols.items()))
            base.rule(f"ip protocol vmap {{ {verdicts} }}", "all else leaves here")
