# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP in IPsec transport mode (RFC 3193) by xl2tpd and strongSwan, with NAT traversal.

In transport mode the server tells clients behind one address by their ports alone: so each client has an L2TP port of its own here.
Clients that all insist on port 1701 can't share a server, whatever the router does: to the server they are one.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.vm.peers.ppp import L2tp
from tests.vm.peers.strongswan import CONNECTION, StrongSwan

if TYPE_CHECKING:
    from tests.vm.peers.site import Site

FIRST_PORT = 1702


class Transport(StrongSwan):
    """IKE and ESP for the L2TP of each client."""

    def serve(self) -> None:
        self.start(self.server, [CONNECTION % (client.name, self.server.address, "%any", "server", client.name, "transport",
                                               "dynamic[udp/1701]", "dynamic[udp]") for client in self.site.clients])

    def prepare(self, number: int) -> None:
        client = self.client(number)
        self.start(client, [CONNECTION % ("vpn", client.address, self.server.address, client.name, "server", "transport",
                                          f"dynamic[udp/{FIRST_PORT + number}]", "dynamic[udp/1701]")])


class L2tpIpsec(L2tp):
    """The tunnel's keys by IKE, the addresses by PPP."""

    title = "L2TP/IPsec (xl2tpd, strongSwan)"
    program = (("xl2tpd", "--version"), r"xl2tpd-(\S+)")
    modules: ClassVar[tuple[str, ...]] = (*L2tp.modules, *StrongSwan.modules)
    can_rekey = ("client", "server")
    patience = 60.0

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._ipsec = Transport(site)

    def port(self, number: int) -> int:
        return FIRST_PORT + number

    def serve(self) -> None:
        self._ipsec.serve()
        super().serve()

    def prepare(self, number: int) -> None:
        self._ipsec.prepare(number)
        super().prepare(number)

    def connect(self, number: int) -> None:
        # xl2tpd asks every second until there is an answer; what it sends before is not sealed, and the server refuses it.
        self._ipsec.connect(number)
        self.site.wait(lambda: self._ipsec.up(number), 20)
        super().connect(number)

    def disconnect(self, number: int) -> None:
        super().disconnect(number)
        self._ipsec.disconnect(number)

    def rekey(self, number: int, by: str) -> None:
        self._ipsec.rekey(number, by)

    def keys(self, number: int) -> frozenset[str]:
        return self._ipsec.keys(number)
