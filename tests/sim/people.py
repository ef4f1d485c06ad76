# SPDX-License-Identifier: GPL-2.0-or-later
"""A few clients of one server that come up within the same moment, all at once.

bursts  each asks now and then, and gets a short answer or a longer one
rates   transfers at different rates, begun at once
onsets  transfers at equal rates, begun half a second apart
calls   both ends send every 20 ms, as telephones do, begun half a second apart
uploads  as TCP does: as much under way as its window, which grows until the one line that all share is full; a packet confirms two
slow_uploads  the same, but the hosts are slower than the line: packets wait in each of these, and are answered at once
one_machine  the same, of hosts on one machine that is busy with each packet for a while, one after the other, as in tests/lab/people.py
fair    the same, but the line serves all in turn, and leaves out the part `even` of the turns; one client sends other things
        besides, now and then, which nobody answers
conference  each sends a picture, of which the server sends every second packet on to the next one
push    each client asks once; then the servers send by themselves, at times of their own, and one client asks at even intervals
oneway  the same, but each client sends at even intervals, and nobody answers
rekeys  all ask at the same moments; now and then one replaces its keys, and what the server sends with new ones at once may overtake its
        answer in IKE. Some of these exchanges make no SPI (keys of IKE itself), and some have no answer
"""
from __future__ import annotations

import heapq
from argparse import Namespace
from random import Random
from typing import TYPE_CHECKING, Any

from .run import Router

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = b"\xcb\x00\x71\x01"
QUEUE, DELAYED, WINDOW = 0.1, 0.04, 16
"""Seconds that a line's queue holds, and until one packet alone is confirmed; packets under way until a window grows slowly."""
BUSY = 0.001, 0.02
"""Seconds that a packet takes, from, to, where all hosts are one machine."""
REKEYS_FOR = 20.0
"""Seconds for which clients that rekey ask."""
LIMITS = {"shared_rate": 500, "shared_burst": 1000, "out_rate": 500, "notice_loss": 0.0, "slow": 0.0}


SIZES = {"calls": (200, 200), "push": (200, 200), "oneway": (200, 200), "conference": (1200, 1200)} | dict.fromkeys(
    ("uploads", "slow_uploads", "one_machine", "fair"), (1400, 100))
"""Bytes of packets out and in."""


class People:
    """Clients, their tunnels, and what goes on. ike: keys by IKE, else by hand. far: seconds from router to server and back.
    slow: seconds that a notice takes the daemon, where it is slow."""

    def __init__(self, what: str, seed: int, *, ike: bool, clients: int = 3, far: float = 0.012, jitter: float = 0.001,
                 ike_far: float = 0.0, confirms: tuple[float, float] = (0.001, 0.006), even: float = 0.4,
                 pace: float = 0.002, slow: float = 0.0) -> None:
        self.router = Router(Namespace(seed=seed, **LIMITS | {"slow": slow}))
        self.router.kernel.sizes = SIZES.get(what, (100, 1400))
        self.random, self.now = Random(seed), 0.0
        self.far, self.jitter, self.confirms, self.even, self.pace = far, jitter, confirms, even, pace
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count, self.sequence = 0, [0] * clients
        self.latest = [0.0] * clients
        self.names = [bytes([10, 0, 0, number + 1]) for number in range(clients)]
        self.outbound = [self.random.randbytes(4) for _ in range(clients)]
        self.inbound = [self.random.randbytes(4) for _ in range(clients)]
        if ike:
            for number in range(clients):
                begins = self.random.uniform(0, 0.05)
                took = ike_far or far
                self.at(begins + took, lambda took=took, when=begins + took: self.router.first_answer(SERVER, took, when))
                for when, outbound in ((begins + took, True), (begins + 2 * took, False)):
                    self.at(when, self._auth, number, outbound)
        getattr(self, f"_{what}")([0.2 + self.random.random() * 0.02 for _ in range(clients)])

    def at(self, when: float, what: Callable[..., None], *arguments: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (when, self.count, what, arguments))

    def run(self, until: float) -> None:
        while self.heap and self.heap[0][0] <= until:
            when, _, what, arguments = heapq.heappop(self.heap)
            self.router.until(when)
            self.now = when
            what(*arguments)
        self.router.until(until)

    def _auth(self, number: int, outbound: bool) -> None:
        self.router.ike(SERVER, self.names[number], self.names[number] * 3, self.now, outbound=outbound, auth=True, sure=True)

    # packets

    def _out(self, number: int) -> None:
        self.router.esp_out(SERVER, self.names[number], self.outbound[number], self.now)

    def _in(self, number: int, *, confirmed: bool = False) -> None:
        """The server's packet is at the router; none overtakes another one of its tunnel."""
        self.sequence[number] += 1

        def reaction(now: float) -> None:
            if confirmed:
                self.at(now + self.random.uniform(*self.confirms), self._out, number)

        self.router.esp_in(SERVER, self.names[number], self.inbound[number], self.sequence[number], self.now, reaction)

    def _arrives(self, number: int, when: float, *, confirmed: bool = False) -> None:
        self.latest[number] = max(self.latest[number] + 0.00005, when + self.random.expovariate(1 / self.jitter))
        self.at(self.latest[number], lambda: self._in(number, confirmed=confirmed))

    def _answer(self, number: int, left: int, pace: float, sent: int = 0) -> None:
        if left:
            self._arrives(number, self.now, confirmed=sent % 2 == 1)
            self.at(self.now + pace * self.random.uniform(1 - self.even, 1 + self.even), self._answer, number, left - 1, pace, sent + 1)

    def _ask(self, number: int, packets: int, pace: float) -> None:
        self._out(number)
        self.at(self.now + self.far, self._answer, number, packets, pace)

    # what goes on

    def _rekeys(self, begins: list[float]) -> None:
        every, apart = self.random.choice([0.05, 0.2, 1.0]), self.random.choice([0.0005, 0.0005, 0.05, 1.0])
        for turn in range(int(REKEYS_FOR / every)):
            for number in range(len(begins)):
                self.at(0.2 + turn * every + self.random.random() * apart, self._ask, number, 1, self.pace)
        for number in range(len(begins)):
            when = 0.5 + self.random.random()
            while when < REKEYS_FOR:
                self._rekey(number, when)
                when += self.random.choice([0.2, 2.0, 5.0]) * (0.5 + self.random.random())

    def _rekey(self, number: int, when: float) -> None:
        """By the client (which asks again where no answer comes) or by the server, which can use the new keys a way later."""
        self.count += 1
        message, happens = self.names[number] * 2 + self.count.to_bytes(4, "big"), self.random.random()
        by_client = self.random.random() < 0.8
        if by_client:
            server = when + self.far + self.random.choice([0.0, 0.01, 0.02, 0.1] * 4 + [6.0])
            done = server + self.random.choice([0.0, 0.005, 0.02])
        else:
            done = when + 0.001
            server = done + self.far
        answer = done if happens < 0.9 else when + REKEYS_FOR
        for again in (0.0, 1.0, 3.0, 7.0):
            if when + again < answer:
                self.at(when + again, self._child, number, message, by_client)
        if happens < 0.7:
            self.at(server + self.random.choice([0.0, 0.0, 0.0, 0.0, 1.0]), self._server_uses, number)
            self.at(done + 0.001, self._client_uses, number)
        if happens < 0.9:
            self.at(done, self._child, number, message, not by_client)

    def _child(self, number: int, message: bytes, outbound: bool) -> None:
        self.router.ike(SERVER, self.names[number], message, self.now, outbound=outbound, auth=False, sure=False)

    def _server_uses(self, number: int) -> None:
        self.inbound[number], self.sequence[number] = self.random.randbytes(4), 0

    def _client_uses(self, number: int) -> None:
        self.outbound[number] = self.random.randbytes(4)

    def _bursts(self, begins: list[float]) -> None:
        def again(number: int) -> None:
            self._ask(number, self.random.choice((1, 2, 3, 8, 20)), self.pace)
            self.at(self.now + self.random.uniform(0.2, 1.0), again, number)

        for number, when in enumerate(begins):
            self.at(when + self.random.uniform(0, 0.5), again, number)

    def _rates(self, begins: list[float]) -> None:
        for number, when in enumerate(begins):
            self.at(when, self._ask, number, 1 << 30, 0.01 * 1.7 ** number)

    def _onsets(self, begins: list[float]) -> None:
        for number, when in enumerate(begins):
            self.at(when + 0.5 * number, self._ask, number, 1 << 30, 0.02)

    def _uploads(self, begins: list[float], *, own: bool = False) -> None:
        window, under_way, unanswered = [2.0] * len(begins), [0] * len(begins), [0] * len(begins)
        heard, free = [0] * len(begins), [0.0] * len(begins)

        def send(number: int) -> None:
            while under_way[number] < window[number]:
                under_way[number] += 1
                line = number if own else 0
                waits = max(0.0, free[line] - self.now)
                if own:
                    # It waits in the host, which computes.
                    free[line] = self.now + waits + self.pace * self.random.choice((0.5, 0.5, 0.5, 2.0, 5.0))
                    self.at(free[line], passes, number, 0.0)
                elif waits > QUEUE:
                    # Lost: seen a round trip later.
                    self._out(number)
                    self.at(self.now + self.far + waits, lose, number)
                else:
                    free[line] = self.now + waits + self.pace
                    passes(number, waits + self.pace)

        def passes(number: int, waits: float) -> None:
            self._out(number)
            self.at(self.now + waits + self.far / 2 + self.random.expovariate(1 / self.jitter), take, number)

        def lose(number: int) -> None:
            under_way[number] -= 1
            window[number] = max(2.0, window[number] / 2)
            send(number)

        def take(number: int) -> None:
            unanswered[number] += 1
            if unanswered[number] == 2:
                unanswered[number] = 0
                answer(number, 2)
            else:
                self.at(self.now + DELAYED, late, number, heard[number])

        def late(number: int, before: int) -> None:
            if unanswered[number] == 1 and heard[number] == before:
                unanswered[number] = 0
                answer(number, 1)

        def answer(number: int, packets: int) -> None:
            heard[number] += 1
            self.latest[number] = max(self.latest[number] + 0.00005, self.now + self.far / 2 + self.random.expovariate(1 / self.jitter))
            self.at(self.latest[number], self._in, number)
            self.at(self.latest[number] + self.random.uniform(*self.confirms), acked, number, packets)

        def acked(number: int, packets: int) -> None:
            under_way[number] -= packets
            if window[number] < WINDOW or not own:
                window[number] += packets if window[number] < WINDOW else packets / window[number]
            send(number)

        for number, when in enumerate(begins):
            self.at(when, send, number)

    def _slow_uploads(self, begins: list[float]) -> None:
        self._uploads(begins, own=True)

    def _one_machine(self, begins: list[float]) -> None:
        """The clock by which the hosts send is drawn up; what comes next by it happens as soon as the machine has time."""
        drawn: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        window, under_way, clock = [1.0] * len(begins), [0] * len(begins), 0.0

        def later(seconds: float, what: Callable[..., None], *arguments: Any) -> None:
            self.count += 1
            heapq.heappush(drawn, (clock + seconds, self.count, what, arguments))

        def work() -> None:
            nonlocal clock
            clock, _, what, arguments = heapq.heappop(drawn)
            what(*arguments)
            self.at(self.now + (self.random.uniform(*BUSY) if what in (self._out, take) else 0.0), work)

        def upload(number: int, pairs: int) -> None:
            under_way[number] += pairs
            for packet in range(2 * pairs):
                later(0.001 * packet, self._out, number)
            for pair in range(pairs):
                later(0.002 * pair + self.far * self.random.uniform(1, 1.2), take, number)

        def take(number: int) -> None:
            self._in(number)
            under_way[number] -= 1
            window[number] += 1 / window[number]
            if window[number] > self.random.uniform(3, 9):
                window[number] /= 2
            if pairs := min(2, max(0, int(window[number]) - under_way[number])):
                later(self.random.uniform(*self.confirms), upload, number, pairs)

        for number in range(len(begins)):
            later(self.random.uniform(0, 0.05), upload, number, 1)
        self.at(min(begins), work)

    def _fair(self, begins: list[float]) -> None:
        def serve(number: int, turn: int) -> None:
            if self.random.random() >= self.even:
                self._out(number)
                turn += 1
                if turn % 2 == 0:
                    self._arrives(number, self.now + self.far)
            self.at(self.now + self.pace * len(begins), serve, number, turn)

        def besides(left: int) -> None:
            self._out(0)
            wait, left = (0.001, left - 1) if left else (self.random.uniform(0.2, 1.0), self.random.randint(5, 60))
            self.at(self.now + wait, besides, left)

        for number in range(len(begins)):
            self.at(begins[0] + self.pace * number, serve, number, 0)
        self.at(begins[0] + 0.1, besides, 0)

    def _conference(self, begins: list[float]) -> None:
        def show(number: int, packets: float) -> None:
            for packet in range(int(packets)):
                self.at(self.now + 0.0005 * packet, self._out, number)
                if packet % 2:
                    self._arrives((number + 1) % len(begins), self.now + 0.0005 * packet + self.far)
            packets = min(40.0, max(4.0, packets * self.random.uniform(0.8, 1.25)))
            self.at(self.now + self.random.uniform(0.03, 0.036), show, number, packets)

        for number, when in enumerate(begins):
            self.at(when, show, number, 12.0)

    def _calls(self, begins: list[float]) -> None:
        def speak(number: int, turn: int, start: float) -> None:
            self._out(number)
            self.at(start + 0.02 * turn + self.random.uniform(0, 0.001), speak, number, turn + 1, start)

        def hear(number: int, turn: int, start: float) -> None:
            self._arrives(number, self.now)
            self.at(start + 0.02 * turn, hear, number, turn + 1, start)

        for number, when in enumerate(begins):
            self.at(when + 0.5 * number, speak, number, 1, when + 0.5 * number)
            self.at(when + 0.5 * number + 0.1, hear, number, 1, when + 0.5 * number + 0.1)

    def _push(self, begins: list[float], asking: int = 1) -> None:
        def tell(number: int) -> None:
            self._arrives(number, self.now)
            self.at(self.now + self.random.choice((0.01, 0.5, 1.0)), tell, number)

        def ask(number: int, every: float) -> None:
            self._out(number)
            self.at(self.now + every, ask, number, every)

        for number, when in enumerate(begins):
            self.at(when, self._out, number)
            self.at(when + self.random.uniform(0.1, 1), tell, number)
        for number in range(asking):
            self.at(0.3 + self.random.uniform(0, 1), ask, number, self.random.choice((0.02, 0.25, 0.5, 1.0)))

    def _oneway(self, begins: list[float]) -> None:
        self._push(begins, len(begins))
