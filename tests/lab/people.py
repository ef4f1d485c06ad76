# SPDX-License-Identifier: GPL-2.0-or-later
"""What people do with their tunnels, all at once: questions in bursts, transfers. And when it goes to nobody else any more.

Packets are real, their order is not left to chance: what is sent when is drawn up on a clock of its own, and each packet is at its end
before the next one is sent. That clock goes like the true one and stands still while a packet is on its way. So a busy machine is slower,
and pauses stay pauses. All chances come from one seed.
"""
from __future__ import annotations

import heapq
import time
from random import Random
from typing import TYPE_CHECKING

from tests.lab.packets import PROTO_ESP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.host import Host
    from tests.lab.tunnels import IpsecTunnel
    from tests.lab.verbs import Stage

DISTANCE, CONFIRMS = 0.012, (0.001, 0.004)
"""Seconds (of the drawn-up clock) after which a server answers, and after which a client confirms every second packet of a transfer."""
SEGMENT, ROOM = 1300, (3, 9)
"""Bytes of a packet of an upload, and for how many pairs of these there is room on the way, from, to."""
PATIENCE = 60.0
"""Seconds for which a packet may be on its way: far more than it takes."""
QUIET = 40
"""Packets to each client that go to nobody else, for copies to have ended."""


class Window:
    """Of an upload: how many pairs of packets may be under way, and are."""

    def __init__(self) -> None:
        self.pairs, self.under_way = 1.0, 0


class People:
    """The users of some tunnels, which are up. `begin_*` draws up what goes on, `go_on` lets it happen."""

    def __init__(self, stage: Stage, names: list[str], seed: int) -> None:
        self.lab, self.chance, self.now = stage.lab, Random(seed), 0.0
        self._began = time.monotonic()
        self.tunnels: list[IpsecTunnel] = [stage.tunnels[name] for name in names]  # type: ignore[misc]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._under_way: set[bytes] = set()
        for host in {*(tunnel.client for tunnel in self.tunnels), *(tunnel.server for tunnel in self.tunnels)}:
            self._hear(host)

    def _hear(self, host: Host) -> None:
        sock = host.protocol(PROTO_ESP, False)
        before = sock.on_receive

        def heard(data: bytes, address: str, port: int) -> None:
            if before is not None:
                before(data, address, port)
            entry = self.lab.ledger.entries.get(data)
            if entry is not None and entry.owner == host.name:
                self._under_way.discard(data)

        sock.on_receive = heard

    def _at(self, when: float, then: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, then))

    def _send(self, tunnel: IpsecTunnel, outward: bool, size: int = 64) -> None:
        """A packet, which is at the other end when this returns."""
        end, session = tunnel.by("client" if outward else "server")
        packet = end.send_esp(session, size)
        self._under_way.add(packet)
        assert self.lab.pump.run(lambda: packet not in self._under_way, PATIENCE), f"{tunnel.name}: a packet was lost"

    def _answer(self, tunnel: IpsecTunnel, left: int, pace: float, sent: int = 0) -> None:
        """The server sends the rest of it; every second packet is confirmed."""
        if left:
            self._send(tunnel, False)
            if sent % 2:
                self._at(self.now + self.chance.uniform(*CONFIRMS), lambda: self._send(tunnel, True))
            self._at(self.now + pace * self.chance.uniform(0.2, 1.8), lambda: self._answer(tunnel, left - 1, pace, sent + 1))

    def _ask(self, tunnel: IpsecTunnel, packets: int, pace: float) -> None:
        self._send(tunnel, True)
        self._at(self.now + DISTANCE, lambda: self._answer(tunnel, packets, pace))

    def begin_bursts(self) -> None:
        """Each asks now and then, and gets a short answer, or a longer one."""
        def again(tunnel: IpsecTunnel) -> None:
            self._ask(tunnel, self.chance.choice((1, 2, 3, 8, 20)), 0.01)
            self._at(self.now + self.chance.uniform(0.2, 1.0), lambda: again(tunnel))

        for tunnel in self.tunnels:
            self._at(self.chance.uniform(0, 0.5), lambda tunnel=tunnel: again(tunnel))

    def begin_transfers(self, paces: list[float], apart: float) -> None:
        """Each asks for a file that never ends, so many seconds after the one before, in any order."""
        order = self.chance.sample(self.tunnels, len(self.tunnels))
        for number, (tunnel, pace) in enumerate(zip(order, paces, strict=True)):
            self._at(number * apart, lambda tunnel=tunnel, pace=pace: self._ask(tunnel, 1 << 30, pace))

    def begin_uploads(self) -> None:
        """Each sends a file that never ends, as TCP does: what confirms a pair of packets lets another one go. One more is under way each
        time that all are confirmed, until a router on the way has no more room; then half as many."""
        for tunnel in self.tunnels:
            self._at(self.chance.uniform(0, 0.05), lambda tunnel=tunnel: self._upload(tunnel, Window(), 1))

    def _upload(self, tunnel: IpsecTunnel, window: Window, pairs: int) -> None:
        window.under_way += pairs
        for number in range(2 * pairs):
            self._at(self.now + 0.001 * number, lambda: self._send(tunnel, True, SEGMENT))
        for number in range(pairs):
            self._at(self.now + 0.002 * number + DISTANCE * self.chance.uniform(1, 1.2), lambda: self._confirm(tunnel, window))

    def _confirm(self, tunnel: IpsecTunnel, window: Window) -> None:
        self._send(tunnel, False)
        window.under_way -= 1
        window.pairs += 1 / window.pairs
        if window.pairs > self.chance.uniform(*ROOM):
            window.pairs /= 2
        pairs = min(2, max(0, int(window.pairs) - window.under_way))
        if pairs:
            self._at(self.now + self.chance.uniform(*CONFIRMS), lambda: self._upload(tunnel, window, pairs))

    def begin(self, what: str, slower: float = 1.7) -> None:
        """what: 'bursts', 'rates' (transfers at once, each so many times slower than the one before), 'onsets' (at equal rates, half a
        second apart), 'uploads'."""
        count = len(self.tunnels)
        if what == "bursts":
            self.begin_bursts()
        elif what == "uploads":
            self.begin_uploads()
        elif what == "rates":
            self.begin_transfers([0.01 * slower ** number for number in range(count)], 0.0)
        else:
            self.begin_transfers([0.02] * count, 0.5)

    def go_on(self, packets: int) -> None:
        """Until so many packets more were sent."""
        last = len(self.lab.ledger.entries) + packets
        while len(self.lab.ledger.entries) < last:
            self._next()

    def go_on_until(self, second: float) -> None:
        """Until this second of the drawn-up clock."""
        while self._events and self._events[0][0] < second:
            self._next()

    def _next(self) -> None:
        self.now, _, then = heapq.heappop(self._events)
        early = self._began + self.now - time.monotonic()
        if early > 0:
            self.lab.pump.run_for(early)
        else:
            self._began -= early
        then()

    def until_copies_end(self, most: int) -> int:
        """Lets them go on until each client got so many packets as tell that nothing is copied any more. How many packets that took in all;
        `most`, if they did not end."""
        sent, ledger = 0, self.lab.ledger
        while sent < most:
            mark, turn = ledger.mark(), 0
            while min(ledger.tally(mark, owner=tunnel.client.name).sent for tunnel in self.tunnels) < QUIET:
                self.go_on(10)
                turn += 10
                if ledger.tally(mark).copies:
                    break
            else:
                return sent
            sent += turn
        return most
