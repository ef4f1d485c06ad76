# SPDX-License-Identifier: GPL-2.0-or-later
"""More notices than can be handled at once, as on a slow router: a few at a time, so that requests have their turn, and of those that have
waited for long not what tells little.

What an SPI's packets and its candidates' questions say of its owner is only worth anything where all of a moment are known, and new: so
of those that wait the newest stay as they are, and of the older ones each SPI's first.
"""
from __future__ import annotations

import time

from ..kernel.netfilter import NflogGroups, Overrun
from ..ruleset.notices import FANNED, GROUP, SHARED, SPI_OUT
from ..wire.conntrack import ESP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..wire.nflog import LogPacket

TURN = 64
"""Notices that are handled before something else has its turn: half a second of a slow router."""
MOST = 512
"""Notices that may wait before some are left out; as long as so many are left, the rest stays in the kernel, whose queues are bounded."""
FRESH = 128
"""The newest, of which none is."""
EVIDENCE = (SHARED, FANNED, SPI_OUT)
FIRST = b"\0\0\0\1"
"""The sequence number with which an SA begins (RFC 4303 section 3.3.3)."""


class Notices(NflogGroups):
    """Our log groups."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[LogPacket | Overrun] = []

    def receive(self) -> tuple[list[LogPacket | Overrun], bool]:
        """The oldest that wait, and whether there are more. Never blocks."""
        more = False
        if len(self._waiting) < MOST:
            read = time.time()
            found, more = super().receive()
            packets = [notice for notice in found if not isinstance(notice, Overrun)]
            # Where the kernel does not say when one passed, it passed with those beside it, or when we read of it, not when its turn comes.
            when = next((notice.time for notice in packets if notice.time is not None), read)
            for notice in packets:
                notice.time = when = notice.time or when
            self._waiting += found
            if len(self._waiting) > MOST:
                self._waiting = thinned(self._waiting)
        turn, self._waiting = self._waiting[:TURN], self._waiting[TURN:]
        return turn, more or bool(self._waiting)


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
