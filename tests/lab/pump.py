# SPDX-License-Identifier: GPL-2.0-or-later
"""One loop for the whole lab: every socket of every host and every timer of every peer. Nothing here sleeps."""
from __future__ import annotations

import heapq
import itertools
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

GRACE = 10.0
"""Seconds: how much longer than asked `run` may go on while there is something to read."""


class Pump:
    """Calls back whoever has something to read or whose time has come."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def register(self, file: Any, callback: Callable[[], None], events: int = selectors.EVENT_READ) -> None:
        """`callback()` is called when `file` has something to read (or can be written, by `events`)."""
        self._selector.register(file, events, callback)

    def modify(self, file: Any, callback: Callable[[], None], events: int) -> None:
        """Another callback or other events for a registered file."""
        self._selector.modify(file, events, callback)

    def unregister(self, file: Any) -> None:
        """Forgets a file; it may be unknown."""
        try:
            self._selector.unregister(file)
        except (KeyError, ValueError):
            return

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back once, that many seconds from now, when the loop runs then."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), callback))

    def run(self, until: Callable[[], Any], timeout: float = 2.0) -> bool:
        """Runs the loop until `until()` is true or the time (seconds) is over; whether it became true.

        On a busy machine we may not have run while the time went by: it is only over when nothing is left to be read.
        """
        deadline = time.monotonic() + timeout
        last = deadline + GRACE
        while True:
            if until():
                return True
            now = time.monotonic()
            if now >= deadline:
                if now < last and self._dispatch(0):
                    continue
                return bool(until())
            wake = min(deadline, self._timers[0][0]) if self._timers else deadline
            self._dispatch(max(0.0, wake - now))

    def drain(self) -> None:
        """Handles all that is readable now, and what becomes readable by handling it."""
        while self._dispatch(0):
            pass

    def run_for(self, seconds: float) -> None:
        """Runs the loop for a bounded time, where nothing can tell that all has happened."""
        over = time.monotonic() + seconds
        self.run(lambda: time.monotonic() >= over, seconds)

    def _dispatch(self, timeout: float) -> bool:
        busy = False
        for key, _ in self._selector.select(timeout):
            key.data()
            busy = True
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
            busy = True
        return busy

    def close(self) -> None:
        """Lets go of everything; the files themselves belong to whoever opened them."""
        self._timers.clear()
        self._selector.close()
