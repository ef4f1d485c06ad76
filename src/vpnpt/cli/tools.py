# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of package vpnpt-tools."""

from __future__ import annotations

import json
import sys

from . import show
from .call import WATCH_INTERVAL, UsageError, addresses_of, columns, is_address, paint, protocol_of, show_answer, until_interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .call import Call
    from .show import Answer, Paint


def cmd_top(call: Call) -> int:
    """The sessions, live."""
    from .top import run
    until_interrupted()  # where there is no terminal; on one, top has handlers of its own
    return run(call.ask, max(0.2, call.number("--interval", WATCH_INTERVAL)), int(call.number("--count", 0)), paint())


def cmd_doctor(call: Call) -> int:
    """Prints the findings; 0, 1 for warnings, 2 for errors."""
    from .findings import doctor
    answer = call.ask({"method": "doctor"})
    if answer is None:
        return 2
    print(json.dumps(answer, indent=2) if "--json" in call.flags else doctor(answer, columns(show.WIDTH), paint()))
    return max([{"error": 2, "warning": 1}.get(item["severity"], 0) for item in answer["findings"]], default=0)


def cmd_why(call: Call) -> int:
    """Watches while somebody tries, and says why it does not connect; 0 if it works, 1 if not, 2 if that can't be said."""
    from .why import request, run
    wanted = request(call.operands, int(call.number("--seconds", 60)))
    if wanted is None:
        raise UsageError(f"the server's name {call.operands[1]!r} can't be found: give its address")
    return run(call.ask, wanted, as_json="--json" in call.flags, paint=paint(), width=columns(show.WIDTH))


def cmd_changes(call: Call) -> int:
    """Prints what changed."""
    return show_answer(call, {"method": "changes"}, lambda answer: changes(answer, columns(0), paint()))


def cmd_metrics(call: Call) -> int:
    """Prints figures for Prometheus."""
    answer = call.ask({"method": "metrics"})
    if answer is None:
        return 1
    print(answer["text"], end="")
    return 0


def cmd_block(call: Call) -> int:
    """Refuses a protocol to a client, or (unblock) takes that back."""
    which, protocol = call.operands[0], protocol_of(call.operands[1:])
    clients = [which]
    if not is_address(which):  # a name: the session knows its address
        answer = call.ask({"method": "sessions"})
        if answer is None:
            return 1
        clients = addresses_of([*answer["sessions"], *answer["ended"]], which)
    if not clients:
        print(f"vpnpt: no session is of {which!r}: give its address or MAC", file=sys.stderr)
        return 1
    for client in clients:
        if call.ask({"method": call.command, "client": client, "protocol": protocol}) is None:
            return 1
        print(f"{client}: {protocol} is refused" if call.command == "block" else f"{client}: {protocol} is not refused any more")
    return 0


def changes(answer: Answer, width: int = 0, paint: Paint = show.plain) -> str:
    """`vpnpt changes`."""
    lines = []
    for item in answer["changes"]:
        means = f" [{show.clean(item['how'])}]" if item["how"] else ""
        text = f"{show.clock(item['time'])} {item['what']}: {show.clean(item['text'])}{means}"
        text = show.folded(text, width, " " * 8) if width else text
        lines.append(text.replace(item["what"], paint(item["what"], "bold"), 1))
    return "\n".join(lines) or "nothing has changed yet"


HANDLERS: dict[str, Callable[[Call], int]] = {
    "top": cmd_top, "doctor": cmd_doctor, "why": cmd_why, "block": cmd_block, "unblock": cmd_block, "changes": cmd_changes,
    "metrics": cmd_metrics}
