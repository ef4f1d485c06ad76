# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the table of sessions is new since somebody last asked, so that an open page costs little. Pure.

 1. Whatever changes gets a number of its own, larger than all before; an answer ends with the largest number that it covers.
 2. Who names the number of its last answer gets what came later, the oldest first, until the answer is full: the rest comes with the next
    one. What changes again before anybody was told keeps its number, or a busy half of the table would never let the other half be told.
 3. Of a row that only counted on its counters are told, else all of it. Only checksums are kept: rows are the kernel's to remember.
 4. Who names no number, one of another daemon or one that is too old, gets everything.
"""
from __future__ import annotations

import json

from ..model import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COUNTERS = ("bytes_in", "bytes_out", "packets_in", "packets_out", "last")
ROOM = 18000
"""Bytes of an answer that is no first one, about."""
GONE = 1024
"""Ended sessions that are remembered by their number."""


class Revisions:
    """name: tells this table from that of another daemon."""

    def __init__(self, name: str) -> None:
        self._name, self._number, self._told = name, 0, 0
        self._rows: dict[str, list[int]] = {}  # number of the row, of its counters, checksums of both
        self._gone: dict[str, int] = {}
        self._forgotten = 0  # what has gone up to this number is not remembered
        self._ended: dict[str, int] = {}

    def answer(self, snapshot: dict[str, Any], since: str) -> dict[str, Any]:
        """The snapshot with its `revision`, whole (`full`); or `sessions` and `ended` that are new or different, `counters`: [id, bytes in,
        out, packets in, out, last], `gone`: IDs, and `more`, where there was no room for all."""
        self._number_all(snapshot)
        known = self._known(since)
        if known is None:
            self._told = self._number
            return {**snapshot, "full": True, "revision": f"{self._name}.{self._number}"}
        news: list[tuple[int, str, Any]] = [(number, "gone", ident) for ident, number in self._gone.items() if number > known]
        news += [(self._ended[_ended(row)], "ended", row) for row in snapshot["ended"] if self._ended[_ended(row)] > known]
        for row in snapshot["sessions"]:
            whole, counters, _, _ = self._rows[row["id"]]
            if whole > known:
                news.append((whole, "sessions", row))
            elif counters > known:
                news.append((counters, "counters", [row["id"], *(row[field] for field in COUNTERS)]))
        news.sort(key=lambda item: item[0])
        found: dict[str, Any] = {"now": snapshot["now"], "full": False, "more": False,
                                 "sessions": [], "counters": [], "gone": [], "ended": []}
        room, last = ROOM, self._number
        for place, (_, kind, item) in enumerate(news):
            room -= len(json.dumps(item)) + 2
            if room < 0:
                last, found["more"] = news[place - 1][0] if place else known, True
                break
            found[kind].append(item)
        self._told = max(self._told, last)
        return {**found, "revision": f"{self._name}.{last}"}

    def _known(self, since: str) -> int | None:
        name, _, word = since.rpartition(".")
        known = number(word) if name == self._name else None
        return known if known is not None and self._forgotten <= known <= self._number else None

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _number_all(self, snapshot: dict[str, Any]) -> None:
        there = set()
        for row in snapshot["sessions"]:
            ident = row["id"]
            there.add(ident)
            whole = hash(json.dumps([value for name, value in row.items() if name not in COUNTERS]))
            counters = hash(tuple(row[field] for field in COUNTERS))
            known = self._rows.get(ident)
            if known is None:
                self._gone.pop(ident, None)
                number = self._next()
                self._rows[ident] = [number, number, whole, counters]
                continue
            if known[2] != whole:
                known[0], known[2] = self._renewed(known[0]), whole
            if known[3] != counters:
                known[1], known[3] = self._renewed(known[1]), counters
        for ident in [ident for ident in self._rows if ident not in there]:
            del self._rows[ident]
            self._gone[ident] = self._next()
        while len(self._gone) > GONE:
            self._forgotten = self._gone.pop(next(iter(self._gone)))
        keys = [_ended(row) for row in snapshot["ended"]]
        self._ended = {key: self._ended.get(key) or self._next() for key in reversed(keys)}

    def _renewed(self, number: int) -> int:
        """A number that nobody was told yet is good for what comes after it, too."""
        return number if number > self._told else self._next()


def _ended(row: dict[str, Any]) -> str:
    return f"{row['id']} {row['ended']}"
