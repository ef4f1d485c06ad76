# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpnpt events`: the last lines of the daemon's log. Part of package vpnpt-tools."""

from __future__ import annotations

import json
import time

from . import show
from .call import columns, paint, show_answer, until_interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .call import Call
    from .show import Answer, Paint

FOLLOW_INTERVAL = 1.0
"""Seconds between two looks with --follow."""


def events(found: Iterable[Answer], width: int = 0, paint: Paint = show.plain) -> str:
    """`vpnpt events`."""
    return "\n".join(show.event(item, width, paint) for item in found)


def appended(old: Sequence[Answer], new: Sequence[Answer]) -> list[Answer]:
    """Which lines of `new` came after `old`, where both are the last lines of the same log."""
    for gone in range(len(old) + 1):
        kept = old[gone:]
        if list(new[:len(kept)]) == list(kept):
            return list(new[len(kept):])
    return list(new)


def cmd_events(call: Call) -> int:
    """Prints the last lines of the log, and with --follow those that come."""
    def lines(found: list[dict[str, Any]]) -> str:
        if "--json" in call.flags:
            return "\n".join(json.dumps(item) for item in found)
        return events(found, columns(0), paint())

    if "--follow" not in call.flags:
        return show_answer(call, {"method": "events"}, lambda answer: lines(answer["events"]))
    last: list[dict[str, Any]] = []
    answering = True
    until_interrupted()
    while True:
        answer = call.ask({"method": "events"}, complain=answering)
        if answer is None and not last and answering:
            return 1
        answering = answer is not None
        if answer is not None:
            new = appended(last, answer["events"])
            last = answer["events"]
            if new:
                print(lines(new), flush=True)
        time.sleep(FOLLOW_INTERVAL)
