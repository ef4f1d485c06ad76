# SPDX-License-Identifier: GPL-2.0-or-later
"""What every kind of VPN program can be asked to do. Clients are numbered from 0."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tests.vm.peers.site import Ping

if TYPE_CHECKING:
    from tests.vm.peers.machine import Machine
    from tests.vm.peers.site import Site

SERVER_INSIDE = "10.99.0.1"


class Peer:
    """One kind of VPN: a server and its clients.

    title: in the table. program: (argv, pattern) that tells its version. patience: seconds until a tunnel must be up.
    can_rekey: who can be told to, of 'client' and 'server'. clients: how many. transfers: whether bulk data is tried.
    rekeys_ike: whether IKE's own keys can be replaced, too. plain: without NAT traversal, so that a router which has forgotten
    its flows lets nothing in.
    modules: of the kernel, to be loaded before (without, there is no /dev/ppp).
    """

    title: ClassVar[str]
    program: ClassVar[tuple[tuple[str, ...], str]]
    can_rekey: ClassVar[tuple[str, ...]] = ()
    modules: ClassVar[tuple[str, ...]] = ()
    patience: ClassVar[float] = 30.0
    clients: ClassVar[int] = 3
    transfers: ClassVar[bool] = True
    rekeys_ike: ClassVar[bool] = False
    plain: ClassVar[bool] = False

    def __init__(self, site: Site) -> None:
        self.site = site
        self.server = site.server

    def client(self, number: int) -> Machine:
        """The machine of a client."""
        return self.site.clients[number]

    def serve(self) -> None:
        """Starts the server."""
        raise NotImplementedError

    def prepare(self, number: int) -> None:
        """Starts the client's programs, so that `connect` is one message away."""

    def connect(self, number: int) -> None:
        """Begins to connect; does not wait."""
        raise NotImplementedError

    def up(self, number: int) -> bool:
        """Whether the tunnel stands on both ends."""
        raise NotImplementedError

    def disconnect(self, number: int) -> None:
        """Ends the client's tunnel, also where the server can't be reached. Does not wait."""
        raise NotImplementedError

    def inside(self, number: int) -> str:
        """The client's address in the tunnel."""
        return f"10.99.{number + 1}.1"

    def target(self, number: int) -> str:
        """The server's address in the tunnel."""
        return SERVER_INSIDE

    def ping(self, number: int, count: int) -> Ping:
        """Starts pings through the tunnel."""
        return Ping(self.client(number), self.inside(number), self.target(number), count)

    def ping_back(self, number: int, count: int) -> Ping:
        """The same from the server."""
        return Ping(self.server, self.target(number), self.inside(number), count)

    def renumbered(self) -> None:
        """The router has another WAN address: for what is configured with it."""

    def more_pings(self, count: int, back: bool) -> dict[str, Ping]:
        """Those of others than clients that share the server."""
        return {}

    def rekey(self, number: int, by: str) -> None:
        """Begins to replace the keys of the data; does not wait."""
        raise NotImplementedError

    def keys(self, number: int) -> frozenset[str]:
        """Names of the keys in use by the client, to see them replaced."""
        return frozenset()

    def rekey_ike(self, number: int, by: str) -> None:
        """Begins to replace the keys of IKE itself; does not wait."""
        raise NotImplementedError

    def ike_keys(self, number: int) -> frozenset[str]:
        """The same as `keys` of IKE itself."""
        return frozenset()


@dataclass(frozen=True)
class Association:
    """One line of `ip xfrm state`."""

    src: str
    dst: str
    spi: str


def associations(machine: Machine) -> set[Association]:
    """The kernel's finished ESP associations."""
    text = machine.host.run("ip", "xfrm", "state").stdout
    found = set()
    for entry in re.split(r"^(?=src )", text, flags=re.MULTILINE):
        match = re.match(r"src (\S+) dst (\S+)\s+proto esp spi (0x\w+)", entry)
        if match and re.search(r"^\s+(enc|aead) ", entry, re.MULTILINE):
            found.add(Association(match[1], match[2], match[3]))
    return found


class Ipsec(Peer):
    """What all have in common that use the kernel's IPsec."""

    modules = ("esp4", "xfrm_user")

    def addresses(self) -> None:
        """Gives both ends theirs within the tunnel."""
        self.server.address_on_lo(SERVER_INSIDE)
        for number, client in enumerate(self.site.clients):
            client.address_on_lo(self.inside(number))

    def keys(self, number: int) -> frozenset[str]:
        return frozenset(item.spi for item in associations(self.client(number)))

    def up(self, number: int) -> bool:
        """Both ends hold the same two SPIs."""
        client, server = self.client(number), self.site.server
        ours, theirs = associations(client), associations(server)
        outward = {item.spi for item in ours if item.dst == server.address} & {item.spi for item in theirs if item.dst == server.address}
        inward = {item.spi for item in ours if item.src == server.address} & {item.spi for item in theirs if item.src == server.address}
        return bool(outward and inward)
