# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon answers, as text for people. Pure: the same answer gives the same text, byte for byte.

`width`: columns of the screen; where there is none (a pipe), tables are 80 wide and lists keep a line for each item. `paint` colours.
"""
from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Answer = dict[str, Any]
    Paint = Callable[[str, str], str]

WIDTH = 80
COLOURS = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1", "mark": "7"}
MEANING = {"up": "good", "idle": "dim", "negotiating": "warn", "rekeying": "warn", "failing": "bad", "blocked": "bad",
           "error": "bad", "warning": "warn", "info": "dim", "debug": "dim"}
"""How a state or a severity is painted."""
UNITS = "KMGTP"
BEHAVIOUR = {"help": "passes", "block": "blocked", "ignore": "left alone"}


def plain(text: str, _colour: str) -> str:
    """No colour."""
    return text


def coloured(text: str, colour: str) -> str:
    """In ANSI's colours (ECMA-48 8.3.117)."""
    return f"\033[{COLOURS[colour]}m{text}\033[0m" if colour else text


# --- figures ---------------------------------------------------------------------------------------------------------------


def size(octets: float) -> str:
    """Bytes in at most five columns: 999, 1.0K, 99.9M, 1023G; K is 1,024."""
    if octets < 1000:
        return str(int(octets))
    for unit in UNITS:
        octets /= 1024
        if octets < 99.95:
            return f"{octets:.1f}{unit}"
        if octets < 1023.5 or unit == UNITS[-1]:
            break
    return f"{octets:.0f}{unit}"


def age(seconds: float) -> str:
    """A time span in at most five columns: 59s, 59m, 9h59m, 23h, 99d."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m"
    if left < 36000:
        return f"{left // 3600}h{left // 60 % 60:02}m"
    return f"{left // 3600}h" if left < 172800 else f"{left // 86400}d"


def clock(when: float, *, date: bool = True) -> str:
    """Local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S", time.localtime(when))


def clean(text: object) -> str:
    """Text of others (names, messages) without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in str(text))


def counted(number: int, what: str) -> str:
    """`1 client`, `2 clients`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def folded(line: str, width: int = WIDTH, indent: str = "    ") -> str:
    """A line broken between words where it is longer than `width`, what follows indented; a longer word is cut."""
    parts = []
    while len(line) > width:
        cut = line.rfind(" ", len(indent) + 1, width + 1)
        parts.append(line[:cut if cut > 0 else width])
        line = indent + line[cut + 1 if cut > 0 else width:]
    return "\n".join([*parts, line])


# --- tables ----------------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, shrink: Sequence[int] = (),
          right: Iterable[int] = (), paint: Paint = plain, colours: Callable[[int, int], str] = lambda _row, _column: "") -> list[str]:
    """Lines of a table, columns as wide as they must be. Where that is wider than `width`, the columns `shrink` are cut, evenly."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    excess = sum(widths) + len(widths) - 1 - width
    while excess > 0 and shrink:
        widest = max(shrink, key=lambda column: widths[column])
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
        excess -= 1
    aligned = set(right)

    def line(row: Sequence[str], number: int) -> str:
        cells = []
        for column, text in enumerate(row):
            room = widths[column]
            text = text if len(text) <= room else text[:room - 2] + ".."
            padded = text.rjust(room) if column in aligned else text.ljust(room)
            if column == len(row) - 1:
                padded = padded.rstrip()
            colour = colours(number, column) if number >= 0 else "bold"
            cells.append(paint(padded, colour) if colour else padded)
        return " ".join(cells).rstrip()

    return [line(head, -1), *(line(row, number) for number, row in enumerate(rows))]


def short_id(session: Answer) -> str:
    """What `vpnpt kill` takes: the last part of the ID."""
    return clean(session["id"]).rpartition("-")[2]


def who(session: Answer, side: str) -> str:
    """A client's or server's name, or else its address."""
    return clean(session.get(f"{side}_name") or session[side])


def kind(session: Answer) -> str:
    """What it is, as far as that is known: of a refused one no more than the protocol."""
    return clean(session["variant"] or session["protocol"])


# --- commands --------------------------------------------------------------------------------------------------------------


def status(shot: Answer, now: float, paint: Paint = plain, width: int = WIDTH) -> str:
    """`vpnpt status`."""
    hours, minutes = divmod(int(now - shot["since"]) // 60, 60)
    state = "rules in place" if shot["in_place"] else "NO RULES IN PLACE"
    lines = [f"vpnpt {shot['version']}, up {hours} h {minutes} min, {paint(state, 'good' if shot['in_place'] else 'bad')}"]
    if shot.get("release"):
        lines.append(f"on {clean(shot['release'])}")
    if shot["problem"]:
        lines.append(folded(f"problem: {clean(shot['problem'])}", width))
    if shot.get("drift"):
        lines.append(folded(f"others have changed our tables: {clean(shot['drift'])}", width))
    if not shot["protocols"]:
        return "\n".join([*lines, "no configuration is in force"])
    if not shot["enabled"]:
        return "\n".join([*lines, "switched off (vpnpt.global.enabled)"])
    lines += [folded(f"LAN {' '.join(shot['lan'])}, WAN {' '.join(shot['wan'])}", width), "", *_protocols(shot, width, paint)]
    if shot["helper_missing"]:
        lines.append("  PPTP does not pass yet: the kernel's helper is missing")
    lines += ["", folded(f"{counted(shot['clients'], 'client')}, {counted(shot['servers'], 'server')} "
                         f"({shot['contended']} with several clients), {shot['cookies']} IKE and {shot['spis']} ESP SAs", width)]
    lines += [folded(clean(item), width) for item in (shot.get("esp_offload", {}).get("text"), *shot["diagnostics"]) if item]
    recent = shot.get("alerts", ())[-3:]
    if recent:
        lines += ["", "last alerts (`vpnpt events` shows more):"]
        lines += [event(alert, width, paint) for alert in recent]
    return "\n".join(lines)


def _protocols(shot: Answer, width: int, paint: Paint) -> list[str]:
    rows = []
    for name, state in shot["protocols"].items():
        refused = state.get("blocked") or state["counters"].get("blocked", 0) + state["counters"].get("source", 0)
        rows.append([f"  {name}", BEHAVIOUR[state["behaviour"]], str(state.get("sessions", 0) or "-"), size(state.get("bytes_out", 0)),
                     size(state.get("bytes_in", 0)), str(refused or "-")])
    painted = {"passes": "good", "blocked": "bad", "left alone": "dim"}
    return table(["  PROTOCOL", "", "SESSIONS", "OUT", "IN", "REFUSED"], rows, width=width, right=(2, 3, 4, 5), paint=paint,
                 colours=lambda row, column: painted[rows[row][1]] if column == 1 else "")


def sessions(answer: Answer, *, ended: bool = False, width: int = WIDTH, paint: Paint = plain) -> str:
    """`vpnpt sessions`, with or without --ended."""
    now, found = answer["now"], answer["ended" if ended else "sessions"]
    if not found:
        return "no session has ended yet" if ended else "no VPN session"
    head = ["CLIENT", "SERVER", "VARIANT", "REASON" if ended else "STATE", "ENDED" if ended else "AGE", "OUT", "IN", "ID"]
    rows = []
    for item in found:
        what = [clean(item["reason"]), age(now - item["ended"])] if ended else [clean(item["state"]), age(now - item["since"])]
        rows.append([who(item, "client"), who(item, "server"), kind(item), *what, size(item["bytes_out"]),
                     size(item["bytes_in"]), short_id(item)])
    lines = table(head, rows, width=width, shrink=(0, 1, 3) if ended else (0, 1), right=(4, 5, 6), paint=paint,
                  colours=lambda row, column: MEANING.get(found[row].get("state", ""), "") if column == 3 and not ended else "")
    return "\n".join(lines)


def event(item: Answer, width: int = 0, paint: Paint = plain) -> str:
    """One line of the log; folded on a screen."""
    text = f"{clock(item['time'])} {item['severity']:7} {clean(item['code'])}: {clean(item['text'])}"
    text = folded(text, width, " " * 8) if width else text
    severity = item["severity"]
    return text.replace(severity, paint(severity, MEANING.get(severity, "")), 1)
