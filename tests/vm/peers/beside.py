# SPDX-License-Identifier: GPL-2.0-or-later
"""libreswan clients of a server with which the router has IPsec of its own: neither may take what is the other's."""
from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.peers.libreswan import Ikev2
from tests.vm.peers.machine import Machine
from tests.vm.peers.manual import CIPHER
from tests.vm.peers.site import Ping

if TYPE_CHECKING:
    from tests.vm.peers.site import Site

SERVER_INSIDE = "10.98.0.2"
REQID = "900"


class BesideRouter(Ikev2):
    """The router's associations are the kernel's, with keys set by hand; they are replaced whenever a client's are.

    The router uses them from its WAN address: from another one fw4 would masquerade what is to be sealed.
    """

    title = "router's own IPsec and libreswan"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.router = site.add(Machine(site.lab.router))
        self._spi = 0x700

    def serve(self) -> None:
        self.server.address_on_lo(SERVER_INSIDE)
        self.renumbered()
        super().serve()

    def renumbered(self) -> None:
        wan, server = self.site.lab.router.wan_address, self.server.address
        for machine, own, other, inside, far in ((self.router, wan, server, wan, SERVER_INSIDE),
                                                 (self.server, server, wan, SERVER_INSIDE, wan)):
            for direction, source, target, ends in (("out", inside, far, (own, other)), ("in", far, inside, (other, own))):
                machine.host.run("ip", "xfrm", "policy", "add", "src", f"{source}/32", "dst", f"{target}/32", "dir", direction,
                                 "tmpl", "src", ends[0], "dst", ends[1], "proto", "esp", "reqid", REQID, "mode", "tunnel")
        self._key()

    def _key(self) -> None:
        """New associations beside the old ones, on the receiver first; the kernel sends with the newest."""
        wan, server, self._spi = self.site.lab.router.wan_address, self.server.address, self._spi + 2
        out, back = (self.router, self.server, wan, server, self._spi), (self.server, self.router, server, wan, self._spi + 1)
        for receiving in (True, False):
            for sender, receiver, source, target, spi in (out, back):
                (receiver if receiving else sender).host.run(
                    "ip", "xfrm", "state", "add", "src", source, "dst", target, "proto", "esp", "spi", str(spi),
                    "reqid", REQID, "mode", "tunnel", "replay-window", "64", *CIPHER)

    def rekey(self, number: int, by: str) -> None:
        if number == 0:
            self._key()
        super().rekey(number, by)

    def more_pings(self, count: int, back: bool) -> dict[str, Ping]:
        wan = self.site.lab.router.wan_address
        return {"router": Ping(self.server, SERVER_INSIDE, wan, count) if back else Ping(self.router, wan, SERVER_INSIDE, count)}
