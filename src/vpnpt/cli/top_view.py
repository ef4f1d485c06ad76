# SPDX-License-Identifier: GPL-2.0-or-later
"""What `vpnpt top` shows: sessions with their rates, in an order, within so many lines. Pure; the terminal is in cli_top.py."""
from __future__ import annotations

from . import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .show import Paint

    Answer = dict[str, Any]

ORDERS: tuple[tuple[str, Callable[[Answer, tuple[float, float]], Any]], ...] = (
    ("rate", lambda item, rate: (-rate[0] - rate[1], item["client"])),
    ("total", lambda item, _rate: (-item["bytes_out"] - item["bytes_in"], item["client"])),
    ("age", lambda item, _rate: (item["since"], item["client"])),
    ("client", lambda item, _rate: (show.who(item, "client"), item["server"])),
    ("state", lambda item, _rate: (item["state"], item["client"])),
)
HELP = """keys of vpnpt top

  q        end
  s        sort by the next of: rate, total, age, client, state
  p        pause, and go on
  up down  choose a session
  k        end the session that is chosen (asks first)
  h        this; any key goes back
"""


class Rates:
    """Bytes a second of each session, from one answer to the next."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int, int]] = {}
        self.now: dict[str, tuple[float, float]] = {}

    def take(self, sessions: list[Answer], when: float) -> None:
        """`when`: seconds of any clock that never goes back."""
        seen = {}
        self.now = {}
        for item in sessions:
            name, out, back = item["id"], item["bytes_out"], item["bytes_in"]
            before, last_out, last_back = self._last.get(name, (when, out, back))
            passed = when - before
            self.now[name] = (max(0, out - last_out) / passed, max(0, back - last_back) / passed) if passed > 0 else (0.0, 0.0)
            seen[name] = (when, out, back)
        self._last = seen


class View:
    """What the user has chosen. chosen: a session's ID, '' for the first."""

    def __init__(self) -> None:
        self.order = 0
        self.paused = False
        self.chosen = ""
        self.message = ""

    def arranged(self, sessions: list[Answer], rates: Rates) -> list[Answer]:
        """The sessions in the chosen order."""
        key = ORDERS[self.order][1]
        return sorted(sessions, key=lambda item: key(item, rates.now.get(item["id"], (0.0, 0.0))))

    def move(self, step: int, sessions: list[Answer]) -> None:
        """Chooses the next or the one before, as they are arranged."""
        names = [item["id"] for item in sessions]
        first = 0 if step > 0 else len(names) - 1
        at = names.index(self.chosen) + step if self.chosen in names else first
        self.chosen = names[min(max(at, 0), len(names) - 1)] if names else ""


def bits(octets: float) -> str:
    """A rate in bits a second, in at most five columns: 0, 999, 1.2k, 12M; k is 1,000."""
    value = octets * 8
    if value < 1000:
        return str(int(value))
    for unit in "kMGT":
        value /= 1000
        if value < 99.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            break
    return f"{value:.0f}{unit}"


def frame(answer: Answer, rates: Rates, view: View, *, width: int, height: int, title: str, keys: bool,
          paint: Paint = show.plain) -> list[str]:
    """Lines of one screen: what there is in all, then the sessions, as many as `height` lines hold (0: all)."""
    sessions = view.arranged(answer["sessions"], rates)
    states: dict[str, int] = {}
    for item in sessions:
        states[item["state"]] = states.get(item["state"], 0) + 1
    out, back = (sum(rate[way] for rate in rates.now.values()) for way in (0, 1))
    told = ", ".join(f"{number} {state}" for state, number in sorted(states.items(), key=lambda item: (-item[1], item[0])))
    lines = [f"{title}  {show.counted(len(sessions), 'session')}{f': {told}' if told else ''}",
             f"{bits(out)}bit/s out, {bits(back)}bit/s in, sorted by {ORDERS[view.order][0]}"
             + (", PAUSED" if view.paused else "") + ("   (q s p k h)" if keys else ""), ""]
    rows, chosen = [], -1
    room = height - len(lines) - 2 if height else len(sessions)
    first = 0
    for number, item in enumerate(sessions):
        rate = rates.now.get(item["id"], (0.0, 0.0))
        if item["id"] == view.chosen:
            chosen = number
        rows.append([show.who(item, "client"), show.who(item, "server"), show.kind(item),
                     show.clean(item["state"]), bits(rate[0]), bits(rate[1]), show.size(item["bytes_out"] + item["bytes_in"]),
                     show.short_id(item)])
    if chosen >= room > 0:
        first = chosen - room + 1
    shown = rows[first:first + max(room, 0)] if height else rows
    head = ["CLIENT", "SERVER", "VARIANT", "STATE", "OUT/s", "IN/s", "TOTAL", "ID"]
    body = show.table(head, shown, width=width, shrink=(0, 1), right=(4, 5, 6), paint=paint,
                          colours=lambda row, column: "mark" if first + row == chosen
                          else show.MEANING.get(sessions[first + row]["state"], "") if column == 3 else "")
    left = len(rows) - len(shown)
    last = view.message or (f"and {left} more" if left > 0 else "")
    return [line[:width] if number < 3 else line for number, line in enumerate([*lines, *body])] + ([last[:width]] if last else [])
