# SPDX-License-Identifier: GPL-2.0-or-later
"""More notices than can be handled at once, as on a slow router: a few at a time, so that requests have their turn, and of those that have
waited for long not what tells little.

What an SPI's packets and its candidates' questions say of its owner is only worth anything where all of a moment are known, and new: so
of those that wait the newest stay as they are, and of the older ones each SPI's first. Then the kernel is asked to be silent about the
servers that most of them are about, for twice as long as we need for them: a moment is heard whole, and half of the time is the router's.
How many packets pass meanwhile is read by readings.py.
"""
from __future__ import annotations

import time
from collections import Counter

from ..kernel.netfilter import NflogGroups, Overrun
from ..ruleset.notices import FANNED, GROUP, SHARED, SPI_OUT
from ..wire.conntrack import ESP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..wire.nflog import LogPacket

TURN = 64
"""Notices that are handled before something else has its turn: half a second of a slow router."""
MOST, WORK = 512, 1.0
"""Notices, or seconds of work, that may wait before some are left out; as long as so many are left, the rest stays in the kernel, whose
queues are bounded."""
FRESH = 128
"""The newest, of which none is."""
AT_ONCE = 0.1
"""Seconds of work that are no backlog."""
SILENCE = 2.0
"""Seconds for which the kernel may be silent about a server, at most."""
EVIDENCE = (SHARED, FANNED, SPI_OUT)
FIRST = b"\0\0\0\1"
"""The sequence number with which an SA begins (RFC 4303 section 3.3.3)."""


class Notices(NflogGroups):
    """Our log groups. hush: has the kernel say less of some servers for so many seconds."""

    def __init__(self, hush: Callable[[list[bytes], float], None]) -> None:
        super().__init__()
        self._hush = hush
        self._waiting: list[LogPacket | Overrun] = []
        self._turn = 0
        self._given = self._took = self._cost = 0.0

    def receive(self, enough: int = TURN) -> tuple[list[LogPacket | Overrun], bool]:
        """The oldest that wait, so many at most, and whether there are more. Never blocks."""
        more, now = False, time.monotonic()
        if self._turn and self._waiting:
            # The less of the last two: something else may have had its turn meanwhile.
            took = (now - self._given) / self._turn
            self._cost, self._took = min(took, self._took or took), took
        most = max(FRESH, min(MOST, int(WORK / self._cost) if self._cost else MOST))
        if len(self._waiting) < most:
            more, waiting = self._read(most - len(self._waiting))
            self._waiting = thinned(waiting) if len(waiting) > most else waiting
            seconds = 2 * self._cost * len(self._waiting)
            if len(waiting) > FRESH and seconds > AT_ONCE:
                self._hush(loudest(waiting), min(SILENCE, seconds))
        turn, self._waiting = self._waiting[:enough], self._waiting[enough:]
        self._turn, self._given = len(turn), time.monotonic()
        return turn, more or bool(self._waiting)

    def _read(self, enough: int) -> tuple[bool, list[LogPacket | Overrun]]:
        """Whether the kernel has more, and what waits now."""
        read = time.time()
        found, more = super().receive(enough)
        packets = [notice for notice in found if not isinstance(notice, Overrun)]
        # Where the kernel does not say when one passed, it passed with those beside it, or when we read of it, not when its turn comes.
        when = next((notice.time for notice in packets if notice.time is not None), read)
        for notice in packets:
            notice.time = when = notice.time or when
        return more, self._waiting + found


def loudest(waiting: Iterable[LogPacket | Overrun]) -> list[bytes]:
    """The servers that most of these are about, where they only say again who uses an SPI."""
    found: Counter[bytes] = Counter()
    for notice in waiting:
        if not isinstance(notice, Overrun) and notice.prefix in (FANNED, SPI_OUT):
            found[notice.payload[16:20] if notice.prefix == SPI_OUT else notice.payload[12:16]] += 1
    return [server for server, count in found.items() if count > TURN]


def thinned(waiting: list[LogPacket | Overrun]) -> list[LogPacket | Overrun]:
    """Without the older ones that only say again who uses an SPI. What begins, what is decided, and what we are to deliver stays."""
    seen: set[tuple[str, bytes]] = set()
    kept: list[LogPacket | Overrun] = []
    for notice in waiting[:-FRESH]:
        if not isinstance(notice, Overrun) and notice.group == GROUP and notice.prefix in EVIDENCE and notice.payload[9:10] == bytes([ESP]):
            spi = notice.prefix, notice.payload[12:24]
            if spi in seen and notice.payload[24:28] != FIRST:
                continue
            seen.add(spi)
        kept.append(notice)
    return kept + waiting[-FRESH:]
