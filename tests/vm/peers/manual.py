# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP of the kernel with keys set by hand (`ip xfrm`, tunnel mode): no IKE tells anybody whose an SPI is."""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.vm.peers.peer import SERVER_INSIDE, Ipsec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.vm.peers.machine import Machine
    from tests.vm.peers.site import Site

CIPHER = ("aead", "rfc4106(gcm(aes))", "0x" + "5a" * 20, "128")


@dataclass(frozen=True)
class Way:
    """One direction of a tunnel. wan: the router's address, with which the server sees the client."""

    number: int
    sender: Machine
    receiver: Machine
    wan: str
    outward: bool
    spi: int

    def ends(self, machine: Machine) -> tuple[str, str]:
        """Source and destination as this machine sees them."""
        if machine.name.startswith("c"):
            return (self.sender.address, self.receiver.address)
        return (self.wan, self.receiver.address) if self.outward else (self.sender.address, self.wan)

    def add(self, machine: Machine) -> str:
        """The association on one of its ends, as `ip -batch` reads it."""
        source, target = self.ends(machine)
        return (f"xfrm state add src {source} dst {target} proto esp spi {self.spi} reqid {self.number + 1} mode tunnel replay-window 64 "
                + " ".join(f'"{word}"' for word in CIPHER))

    def delete(self, machine: Machine) -> str:
        """Its end."""
        source, target = self.ends(machine)
        return f"xfrm state delete src {source} dst {target} proto esp spi {self.spi}"

    def policy(self, machine: Machine, inside: str) -> str:
        """What is to go this way; inside: the client's address in the tunnel."""
        source, target = (inside, SERVER_INSIDE) if self.outward else (SERVER_INSIDE, inside)
        direction, (outer, far) = "out" if machine is self.sender else "in", self.ends(machine)
        return (f"xfrm policy update src {source}/32 dst {target}/32 dir {direction} tmpl src {outer} dst {far} proto esp "
                f"reqid {self.number + 1} mode tunnel")


def do(machine: Machine, lines: Iterable[str], check: bool = True) -> None:
    """All at once: a process for each would take a virtual machine a minute for fifty clients."""
    machine.host.run("ip", *([] if check else ["-force"]), "-batch", "-", text="\n".join(lines), check=check)


class Manual(Ipsec):
    """A rekey: either end can receive with the new keys, then one after the other sends with them."""

    title = "manual keys (ip xfrm)"
    program = (("ip", "-V"), r"iproute2-([^,\s]+)")
    can_rekey = ("client", "server")
    plain = True

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._spis = itertools.count(0x1000)
        self._ways: dict[int, list[Way]] = {}

    def serve(self) -> None:
        self.addresses()

    def _new(self, number: int) -> list[Way]:
        client, server, wan = self.client(number), self.server, self.site.lab.router.wan_address
        return [Way(number, client, server, wan, True, next(self._spis)), Way(number, server, client, wan, False, next(self._spis))]

    def connect(self, number: int) -> None:
        self._ways[number] = ways = self._new(number)
        for machine in (self.server, self.client(number)):
            do(machine, [line for way in ways for line in (way.add(machine), way.policy(machine, self.inside(number)))])

    def disconnect(self, number: int) -> None:
        ways = self._ways.pop(number, [])
        for machine in (self.server, self.client(number)):
            do(machine, [way.delete(machine) for way in ways], check=False)

    def rekey(self, number: int, by: str) -> None:
        old, new = self._ways[number], self._new(number)
        for way in new:
            do(way.receiver, [way.add(way.receiver)])
        # Who sends with several associations at hand takes any: the old one goes when the new one is there.
        for way, former in zip(*((new, old) if by == "client" else (new[::-1], old[::-1])), strict=True):
            do(way.sender, [way.add(way.sender), former.delete(way.sender)])
        self._ways[number] = new


class Manual50(Manual):
    """As many as a small company has."""

    title = "manual keys, 50 clients"
    clients = 50
