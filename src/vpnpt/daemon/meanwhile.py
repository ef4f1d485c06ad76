# SPDX-License-Identifier: GPL-2.0-or-later
"""The loop while it waits for a program, which may hang: questions are answered and notices heard; what loads tables waits its turn."""
from __future__ import annotations

import os

from .. import process
from .pending import WAITING, Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from selectors import EpollSelector
    from typing import Any

DUE = frozenset(("notices", "tracker", "sessions", "metrics", "throughput", "housekeeping", "ubus"))
"""What is done when it is due all the same."""
CHANGING = ("reload", "block", "unblock")
"""Requests that put a configuration in force: one after the other."""


class Meanwhile:
    """What process.run turns. due: as the loop has it. turn: a turn that waits for nothing; False: the daemon is to end.

    going: whether a program is waited for, so that nobody may begin what waits for another. turns: how many there were.
    """

    def __init__(self, selector: EpollSelector, due: Mapping[str, float], turn: Callable[[], bool]) -> None:
        self.going, self.turns = False, 0
        self._selector, self._due, self._turn = selector, due, turn
        self._waiting: list[tuple[dict[str, Any], str, Pending]] = []
        os.register_at_fork(after_in_child=self.stop)

    def start(self) -> None:
        """From now on, and in no child."""
        process.meanwhile = self

    def stop(self) -> None:
        """Programs are waited for alone."""
        process.meanwhile = None

    def fileno(self) -> int:
        """Readable when there is something to read."""
        return self._selector.fileno()

    def next_deadline(self) -> float | None:
        """When something is due that does not wait for the program's end."""
        return min((when for what, when in self._due.items() if what in DUE), default=None)

    def turn(self) -> bool:
        """False: we are to end."""
        self.stop()
        self.going = True
        self.turns += 1
        try:
            return self._turn()
        finally:
            self.going = False
            self.start()

    def may(self, what: str) -> bool:
        """May this be done now, which is due?"""
        return not self.going or what in DUE

    def postpone(self, request: dict[str, Any], way: str) -> dict[str, Any] | Pending | None:
        """None: it can be answered at once. Who asks for the same gets the same answer."""
        if not self.going or request.get("method") not in CHANGING:
            return None
        for asked, _, pending in self._waiting:
            if asked == request:
                return pending
        if len(self._waiting) >= WAITING:
            return {"error": "too many wait already"}
        self._waiting.append((request, way, Pending()))
        return self._waiting[-1][2]

    def settle(self, answer: Callable[[dict[str, Any], str], dict[str, Any] | Pending]) -> None:
        """Answers what had to wait."""
        while self._waiting:
            request, way, pending = self._waiting.pop(0)
            found = answer(request, way)
            if not isinstance(found, Pending):
                pending.settle(found)
