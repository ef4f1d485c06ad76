# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel does with ESP by itself, and what it tells the daemon: a model of the ruleset, one dictionary for each map.

Per server the registered clients in order, of which the first 8 have a slot (`dup` reaches them). An inbound SPI is known (one client
gets it), fanned (a list gets copies), or new: then it is given to the only client that waits, or to all slots, and the daemon is told.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from vpnpt.spi.messages import Assign, Deliver, Doubt, Exchange, Fan, Forget, Paired, SpiOut, SpiShared, SpiTaken, Unpaired

if TYPE_CHECKING:
    from collections.abc import Callable

    from vpnpt.spi.messages import Action, Event

SLOTS = 8
WAITS = 10.0
"""Seconds for which a client is taken to wait for a new SPI after the last packet that showed it."""
GIFT = 60.0
"""Seconds for which an answer may wait for the outbound SPI that it answers."""


class Bucket:
    """`limit rate N/second burst M`."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Peer:
    """One server as the kernel sees it."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.clients: list[bytes] = []
        self.spis: dict[bytes, bytes] = {}
        self.fans: dict[bytes, tuple[bytes, ...]] = {}
        self.waiting: dict[bytes, float] = {}
        self.many_until = -1.0
        self.answered: dict[bytes, float] = {}
        self.known_out: set[tuple[bytes, bytes]] = set()
        self.sequences: dict[tuple[bytes, bytes], int] = {}
        self.doubted = False
        self.heard: set[bytes] = set()
        self.copied: dict[bytes, int] = {}
        self.sending: dict[bytes, int] = {}

    def wait(self, client: bytes, now: float) -> None:
        others = now < self.many_until or any(other != client and now < until for other, until in self.waiting.items())
        self.waiting[client] = now + WAITS
        if others:
            self.many_until = now + WAITS

    def gift(self, client: bytes, now: float) -> None:
        self.answered[client] = now + GIFT
        self.waiting.pop(client, None)
        self.heard.add(client)

    def only_one(self, now: float) -> bytes | None:
        """Who waits, if nobody else did for WAITS seconds, and the server has answered it before."""
        waiting = [client for client, until in self.waiting.items() if now < until]
        return waiting[0] if len(waiting) == 1 and now >= self.many_until and waiting[0] in self.heard else None

    def others_wait(self, now: float) -> frozenset[bytes]:
        return frozenset(client for client, until in self.waiting.items() if now < until)


class Kernel:
    """Maps, limits and notices. `tell` gets each notice that no limit stopped. sizes: of packets out and in, in bytes; 0: not told."""

    def __init__(self, tell: Callable[[Event, float], None], *, shared_rate: float, shared_burst: float, out_rate: float) -> None:
        self.tell, self.sizes = tell, (0, 0)
        self.peers: dict[bytes, Peer] = {}
        self.unknown, self.fanned = Bucket(shared_rate, shared_burst), Bucket(shared_rate, shared_rate)
        self.outward = Bucket(out_rate, out_rate)
        self.full_on_take = True
        self.spilled = Bucket(2000, 2000)
        self.spills: set[bytes] = set()
        self.hushed: dict[bytes, float] = {}
        """Servers: until when nothing is told that only says again who uses an SPI."""

    def _paired(self, server: bytes, client: bytes, now: float, *, speaks: bool = False) -> Peer:
        peer = self.peers.get(server)
        if peer is None:
            peer = self.peers[server] = Peer(server)
        if client not in peer.clients:
            peer.clients.append(client)
            self.tell(Paired(server=server, client=client, speaks=speaks), now)
        return peer

    def ike(self, server: bytes, client: bytes, message: bytes, now: float, *, outbound: bool, auth: bool, sure: bool) -> None:
        """A message of an exchange that makes SAs."""
        peer = self._paired(server, client, now)
        peer.wait(client, now)
        if not outbound:
            peer.heard.add(client)
        self.tell(Exchange(server=server, client=client, message=message, outbound=outbound, auth=auth, sure=sure), now)

    def esp_out(self, server: bytes, client: bytes, spi: bytes, now: float) -> None:
        first = server not in self.peers or client not in self.peers[server].clients
        peer = self._paired(server, client, now, speaks=True)
        key = (client, spi)
        peer.sequences[key] = peer.sequences.get(key, 0) + 1
        if key in peer.known_out:
            return
        if peer.answered.pop(client, -1.0) > now:
            peer.known_out.add(key)
            return
        peer.wait(client, now)
        peer.sending[client] = peer.sending.get(client, 0) + 1
        again = peer.sequences[key] > 1
        if not first and self.outward.take(now) and not (again and now < self.hushed.get(server, 0.0)):
            self.tell(SpiOut(server=server, client=client, spi=spi, sequence=peer.sequences[key], size=self.sizes[0]), now)

    def esp_in(self, server: bytes, spi: bytes, sequence: int, packet: bytes, now: float) -> tuple[bytes, ...]:
        """Who gets it from the kernel."""
        peer = self.peers.get(server)
        if peer is None:
            return ()
        owner = peer.spis.get(spi)
        if owner is not None:
            if sequence != 1 or len(peer.clients) < 2:
                return (owner,)
            del peer.spis[spi]
            peer.fans[spi] = ()
            return self._copies(peer, spi, sequence, packet, now, owner)
        if spi in peer.fans:
            return self._copies(peer, spi, sequence, packet, now, None, peer.fans[spi])
        taker = None if peer.doubted or sequence != 1 else peer.only_one(now)
        if taker is None and len(peer.clients) == 1:
            taker = peer.clients[0]
        if taker is None:
            return self._copies(peer, spi, sequence, packet, now, None)
        peer.gift(taker, now)
        peer.spis[spi] = taker
        full = packet if self.full_on_take and len(peer.clients) > 1 else b""
        self.tell(SpiTaken(server=server, spi=spi, client=taker, packet=full), now)
        return (taker,)

    def _copies(self, peer: Peer, spi: bytes, sequence: int, packet: bytes, now: float, owner: bytes | None,
                clients: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
        clients = clients or tuple(peer.clients[:SLOTS])
        peer.copied[spi] = peer.copied.get(spi, 0) + 1
        if peer.fans.get(spi) and spi not in self.spills and now < self.hushed.get(peer.name, 0.0):
            return clients
        bucket = self.spilled if spi in self.spills else self.fanned if peer.fans.get(spi) else self.unknown
        if bucket.take(now):
            self.tell(SpiShared(server=peer.name, spi=spi, sequence=sequence, waiting=peer.others_wait(now), copied=frozenset(clients),
                                packet=packet if len(peer.clients) > SLOTS else b"", same=owner is not None, owner=owner,
                                size=self.sizes[1]), now)
        return clients

    def unpair(self, server: bytes, client: bytes, now: float) -> None:
        """A pair's timeout."""
        peer = self.peers.get(server)
        if peer is None or client not in peer.clients:
            return
        peer.clients.remove(client)
        peer.waiting.pop(client, None)
        peer.answered.pop(client, None)
        peer.spis = {spi: owner for spi, owner in peer.spis.items() if owner != client}
        peer.known_out = {key for key in peer.known_out if key[0] != client}
        self.tell(Unpaired(server=server, client=client), now)

    def execute(self, action: Action, now: float) -> None:
        """What the daemon does to the maps."""
        if isinstance(action, Deliver):
            return  # no map is touched
        if isinstance(action, Assign):
            peer = self.peers[action.server]
            peer.fans.pop(action.spi, None)
            peer.spis[action.spi] = action.client
            if action.credit:
                peer.gift(action.client, now)
        elif isinstance(action, Fan):
            peer = self.peers[action.server]
            (self.spills.add if action.spills else self.spills.discard)(action.spi)
            assert 0 < len(action.clients) <= SLOTS, action
            peer.spis.pop(action.spi, None)
            peer.fans[action.spi] = action.clients
        elif isinstance(action, Doubt):
            if action.server in self.peers:
                self.peers[action.server].doubted = action.yes
        elif isinstance(action, Forget):
            peer = self.peers[action.server]
            peer.fans.pop(action.spi, None)
            peer.spis.pop(action.spi, None)
