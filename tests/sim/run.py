# SPDX-License-Identifier: GPL-2.0-or-later
"""The router under test: the model of the kernel, the real engine beside it, and the count of what went where."""
from __future__ import annotations

import heapq
import sys
from collections import Counter
from random import Random
from time import process_time
from typing import TYPE_CHECKING, Any

from vpnpt.daemon.backlog import FRESH, SILENCE
from vpnpt.daemon.readings import EVERY, GOES_ON
from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Counted, Deliver, RoundTrip, SpiOut, SpiShared, SpiTaken, Tick

from .kernel import Kernel

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from vpnpt.spi.messages import Event

Key = tuple[bytes, bytes]
FAR = float("inf")


class Router:
    """Kernel and daemon. Every inbound packet has a number, which is what travels as its content."""

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.random = Random(options.seed + 1)
        self.kernel = Kernel(self._tell, shared_rate=options.shared_rate, shared_burst=options.shared_burst,
                             out_rate=options.out_rate)
        self.engine = Engine()
        self.queue: list[tuple[float, int, Event]] = []
        self.told = self.packets = self.inbound = self.copies = self.to_many = 0
        self.events: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.missing: dict[int, tuple[float, bytes, bytes, bytes, int]] = {}
        """Inbound packets that their owner has not got (yet): time, server, SPI, owner, copies for others."""
        self.open_since: dict[Key, float] = {}
        self.decisions: list[float] = []
        self.taken = 0
        self.reactions: dict[int, Callable[[float], None]] = {}
        """What the owners of missing packets do once they have them."""
        self.busy = self.highest = 0.0
        self.arrived = 0.0
        self.waiting, self.told_at, self.reads_at = 0.0, 0.0, FAR
        self.said: Counter[str] = Counter()

    # the kernel's side

    def _tell(self, event: Event, now: float) -> None:
        if self.options.notice_loss and self.random.random() < self.options.notice_loss:
            self.events["lost"] += 1
            return
        if self.options.slow and isinstance(event, (SpiOut, SpiShared)):
            self._hush(event.server, now)
        self.told += 1
        self.arrived = max(self.arrived, now + self.random.uniform(0.0005, 0.005))
        heapq.heappush(self.queue, (self.arrived, self.told, event))

    def _hush(self, server: bytes, now: float) -> None:
        """A slow router's daemon has more notices than it can handle, and asks the kernel to be silent (daemon/backlog.py)."""
        self.waiting = max(0.0, self.waiting - (now - self.told_at) / self.options.slow) + 1
        self.told_at = now
        if self.waiting > FRESH:
            self.waiting = 0.0
            self.kernel.hushed[server] = now + min(SILENCE, 2 * self.options.slow * FRESH)
            self.reads_at = min(self.reads_at, now)

    def _read(self, now: float) -> None:
        """What it does then: it reads the kernel's counters, now and then (daemon/readings.py)."""
        while self.reads_at <= now:
            for server in [server for server, until in self.kernel.hushed.items() if self.reads_at < until + GOES_ON]:
                peer = self.kernel.peers[server]
                self._handle(Counted(server=server, came=dict(peer.copied), sent=dict(peer.sending)), self.reads_at)
            self.reads_at += EVERY * self.random.uniform(1, 1.5)

    def ike(self, server: bytes, client: bytes, message: bytes, now: float, *, outbound: bool, auth: bool, sure: bool) -> None:
        self.kernel.ike(server, client, message, now, outbound=outbound, auth=auth, sure=sure)

    def first_answer(self, server: bytes, seconds: float, now: float) -> None:
        """Of a new IKE SA."""
        self._tell(RoundTrip(server=server, seconds=seconds), now)

    def esp_out(self, server: bytes, client: bytes, spi: bytes, now: float) -> None:
        self.packets += 1
        self.kernel.esp_out(server, client, spi, now)

    def esp_in(self, server: bytes, owner: bytes | None, spi: bytes, sequence: int, now: float,
               reaction: Callable[[float], None] | None = None) -> None:
        """owner: whose it is, None if that host is gone. reaction: what the owner does when it has it."""
        self.packets += 1
        self.inbound += 1
        number = self.packets
        gets = self.kernel.esp_in(server, spi, sequence, number.to_bytes(8, "big"), now)
        foreign = sum(client != owner for client in gets)
        if owner is None:
            self.copies += max(0, foreign - 1)
            return
        self.copies += foreign
        self.to_many += len(gets) > 1
        if owner in gets:
            if reaction is not None:
                reaction(now)
            return
        self.missing[number] = (now, server, spi, owner, foreign)
        if reaction is not None:
            self.reactions[number] = reaction

    def settled(self, server: bytes, client: bytes, inbound: bytes, outbound: bytes) -> bool:
        """Does the kernel know both SPIs, and nobody else's copies are under way?"""
        peer = self.kernel.peers.get(server)
        return peer is not None and peer.spis.get(inbound) == client and (client, outbound) in peer.known_out

    def pass_by(self, inbound: int, outbound: int) -> None:
        """So many packets of a tunnel whose SPIs the kernel knows."""
        self.packets += inbound + outbound
        self.inbound += inbound

    def unpair(self, server: bytes, client: bytes, now: float) -> None:
        self.kernel.unpair(server, client, now)

    # the daemon's side

    def until(self, now: float) -> None:
        """What the daemon does before this time."""
        while self.queue and self.queue[0][0] <= now:
            when, _, event = heapq.heappop(self.queue)
            self._read(when)
            self._ticks(when)
            self._handle(event, when)
        self._read(now)

    def _ticks(self, now: float) -> None:
        due = self.engine.next_deadline() if self.events["all"] % 50 == 0 else None
        if due is not None and due <= now:
            self._handle(Tick(), now)

    def _handle(self, event: Event, now: float) -> None:
        began = process_time()
        actions = self.engine.handle(event, now)
        took = process_time() - began
        self.busy += took
        self.highest = max(self.highest, took)
        self.events["all"] += 1
        self.events[type(event).__name__] += 1
        if isinstance(event, SpiTaken):
            self.taken += 1
        if isinstance(event, SpiShared):
            self.open_since.setdefault((event.server, event.spi), now)
        for action in actions:
            self.actions[type(action).__name__] += 1
            if isinstance(action, Deliver):
                self._deliver(action, now)
            elif hasattr(action, "code"):
                self.said[action.code] += 1
            else:
                self.kernel.execute(action, now)
            if isinstance(action, Assign) and (since := self.open_since.pop((action.server, action.spi), None)) is not None:
                self.decisions.append(now - since)

    def _deliver(self, action: Deliver, now: float) -> None:
        number = int.from_bytes(action.packet, "big")
        missed = self.missing.get(number)
        for client in action.clients:
            if missed is not None and client == missed[3]:
                del self.missing[number]
                if (reaction := self.reactions.pop(number, None)) is not None:
                    reaction(now)
            else:
                self.copies += 1

    # figures

    def dark(self) -> dict[tuple[bytes, bytes, bytes], tuple[float, float, int]]:
        """For each SPI of an owner that missed packets: the first, the last, how many."""
        found: dict[tuple[bytes, bytes, bytes], tuple[float, float, int]] = {}
        for when, server, spi, owner, _ in self.missing.values():
            first, last, count = found.get((server, spi, owner), (when, when, 0))
            found[server, spi, owner] = (min(first, when), max(last, when), count + 1)
        return found

    def state_size(self) -> int:
        """Bytes that the engine's state takes."""
        return _size(self.engine, set())


def _size(thing: Any, seen: set[int]) -> int:
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    total = sys.getsizeof(thing)
    if isinstance(thing, dict):
        total += sum(_size(key, seen) + _size(value, seen) for key, value in thing.items())
    elif isinstance(thing, (list, tuple, set, frozenset)):
        total += sum(_size(item, seen) for item in thing)
    elif hasattr(thing, "__dict__"):
        total += _size(vars(thing), seen)
    elif hasattr(thing, "__slots__"):
        total += sum(_size(getattr(thing, name), seen) for name in thing.__slots__ if hasattr(thing, name))
    return total
