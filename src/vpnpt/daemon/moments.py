# SPDX-License-Identifier: GPL-2.0-or-later
"""When a packet passed, though we read of it only later."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LATE = 10.0
"""Seconds, at most, that a notice may have waited for us: beyond, somebody has set the clock of the day."""
CLOSE = 0.0005
"""Seconds between two looks at our clock, at most, for what lies between them to be compared with it."""


class Moments:
    """Turns the kernel's times of packets into those of our clock, seconds that never go back.

    How long an answer takes is evidence. On a slow router notices wait for us: by the time at which we read them, packets would come as
    evenly as we work, and clients that ask in step with each other would be taken for each other.
    """

    def __init__(self, day: Callable[[], float] = time.time) -> None:
        self._day = day
        self._offset: float | None = None
        self._last, self._seen = 0.0, False

    def look(self, clock: Callable[[], float]) -> None:
        """Before packets are read: how far our clock is from that of the day, by which the kernel notes when they passed."""
        before, day, after = clock(), self._day(), clock()
        if self._offset is None or after - before < CLOSE:
            self._offset = day - after
        self._seen = False

    def of(self, logged: float | None, now: float) -> float:
        """When was that, if it is `now` by our clock? logged: Unix time in seconds; None, if the kernel does not say (wire/nflog.py): then
        when the one before it was, if that came with it."""
        if logged is None or self._offset is None:
            return self._last if self._seen else now
        when = min(now, logged - self._offset)
        if now - when > LATE:
            when = now
        self._last, self._seen = max(self._last, when), True
        return self._last
