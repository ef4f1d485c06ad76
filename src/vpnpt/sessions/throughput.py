# SPDX-License-Identifier: GPL-2.0-or-later
"""How much passed, by the hour and by the day, of each protocol and of each client. Pure: counters in, sums out.

 1. A sample is the counters of all sessions, live and lately ended; what a session has more than in the sample before is added to the hour
    and the day of now. The first sample is where counting begins: what passed before is not known to be of this hour.
 2. An hour that is over is kept as text, with the clients that moved most (CLIENTS); the others are summed up under ''.
 3. Hours are kept for HOURS, days for DAYS; nothing is kept of the future, where a clock that was wrong may have put it.
"""
from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Row = tuple[str, str, str, int, int]

HOUR, DAY = 3600, 86400
HOURS, DAYS = 48, 31
CLIENTS, MANY = 16, 256
"""Clients of an hour or a day that are kept by name: when it is over, and meanwhile."""


class Span:
    """An hour or a day. sums: bytes in and out of each protocol, and of each client."""

    __slots__ = ("start", "protocols", "clients")

    def __init__(self, start: int) -> None:
        self.start = start
        self.protocols: dict[str, list[int]] = {}
        self.clients: dict[str, list[int]] = {}

    def add(self, protocol: str, client: str, came: int, went: int) -> None:
        known = client if client in self.clients or len(self.clients) < MANY else ""
        for sums, name in ((self.protocols, protocol), (self.clients, known)):
            both = sums.setdefault(name, [0, 0])
            both[0] += came
            both[1] += went

    def shape(self) -> dict[str, Any]:
        """As it is told and kept."""
        most = sorted((name for name in self.clients if name), key=lambda name: -sum(self.clients[name]))
        clients = {name: self.clients[name] for name in most[:CLIENTS]}
        rest = [self.clients[name] for name in ["", *most[CLIENTS:]] if name in self.clients]
        if rest:
            clients[""] = [sum(both[0] for both in rest), sum(both[1] for both in rest)]
        return {"time": self.start, "protocols": self.protocols, "clients": clients}


class Line:
    """Spans of one length: the one of now, and as text those before."""

    __slots__ = ("length", "most", "now", "past")

    def __init__(self, length: int, most: int) -> None:
        self.length, self.most = length, most
        self.now: Span | None = None
        self.past: list[tuple[int, str]] = []

    def at(self, start: int) -> Span:
        """The span that begins then; the one before it is over."""
        if self.now is None or self.now.start != start:
            if self.now is not None and self.now.protocols:
                self.past.append((self.now.start, json.dumps(self.now.shape())))
            self.now = Span(start)
            for _, text in [one for one in self.past if one[0] == start]:  # from before a restart
                found = json.loads(text)
                self.now.protocols, self.now.clients = found["protocols"], found["clients"]
            oldest = start - self.length * (self.most - 1) - HOUR  # a day may have 25 hours
            self.past = [one for one in self.past if oldest <= one[0] < start]
        return self.now

    def shapes(self) -> list[dict[str, Any]]:
        """All of them, the oldest first."""
        now = [self.now.shape()] if self.now is not None and self.now.protocols else []
        return [*(json.loads(text) for _, text in self.past), *now]

    def load(self, found: object) -> None:
        """What was kept. Anything else than that is left out."""
        for one in found if isinstance(found, list) else ():
            if not isinstance(one, dict) or not isinstance(one.get("time"), int):
                continue
            if (self.now is None or one["time"] < self.now.start) and _sums(one.get("protocols")) and _sums(one.get("clients")):
                self.past.append((one["time"], json.dumps({name: one[name] for name in ("time", "protocols", "clients")})))


class Throughput:
    """`sample` it now and then."""

    def __init__(self) -> None:
        self._hours, self._days = Line(HOUR, HOURS), Line(DAY, DAYS)
        self._seen: dict[str, tuple[int, int]] | None = None

    def sample(self, now: int, offset: int, rows: Iterable[Row]) -> bool:
        """rows: ID of a session, protocol, client, bytes in and out so far. offset: local time less UTC, seconds. True: an hour is over."""
        before, seen = self._seen, {}
        known = self._hours.now
        hour = self._hours.at(now // HOUR * HOUR)
        day = self._days.at((now + offset) // DAY * DAY - offset)
        for ident, protocol, client, came, went in rows:
            seen[ident] = (came, went)
            if before is None:
                continue
            old = before.get(ident, (0, 0))
            more = (max(0, came - old[0]), max(0, went - old[1]))
            if any(more):
                hour.add(protocol, client, *more)
                day.add(protocol, client, *more)
        self._seen = seen
        return known is not None and known is not hour

    def answer(self) -> dict[str, Any]:
        """`hours` and `days`, each with `time` (its begin, seconds of the epoch), `protocols` and `clients`: bytes in and out by name."""
        return {"hours": self._hours.shapes(), "days": self._days.shapes()}

    def load(self, found: dict[str, Any]) -> None:
        """What `answer` was before a restart."""
        self._hours.load(found.get("hours"))
        self._days.load(found.get("days"))


def _sums(found: object) -> bool:
    return isinstance(found, dict) and len(found) <= MANY and all(
        isinstance(both, list) and len(both) == 2 and all(isinstance(octets, int) and octets >= 0 for octets in both)
        for both in found.values())
