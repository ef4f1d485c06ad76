# SPDX-License-Identifier: GPL-2.0-or-later
"""An answer that comes later: of a child (child.py), or of the loop while it waits for a program (meanwhile.py)."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WAITING = 64
"""Who may wait for one answer at a time."""


class Pending:
    """An answer that comes later. Whoever wants it says so with `then`."""

    __slots__ = ("_answer", "_waiting")

    def __init__(self) -> None:
        self._answer: dict[str, Any] | None = None
        self._waiting: list[Callable[[dict[str, Any]], None]] = []

    def then(self, callback: Callable[[dict[str, Any]], None]) -> None:
        """Calls back with the answer, at once if it is there."""
        if self._answer is None and len(self._waiting) >= WAITING:
            callback({"error": "too many wait for this answer already"})
        elif self._answer is None:
            self._waiting.append(callback)
        else:
            callback(self._answer)

    def settle(self, answer: dict[str, Any]) -> None:
        """Here it is."""
        self._answer = answer
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback(answer)
