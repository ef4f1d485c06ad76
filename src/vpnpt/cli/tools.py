# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of package vpnpt-tools."""

from __future__ import annotations

import json
import sys

from ..model import PROTOCOLS
from . import show
from .call import WATCH_INTERVAL, UsageError, columns, paint, show_answer, until_interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


def cmd_events(call: Call) -> int:
    """Prints the last lines of the log, and with --follow those that come."""
    from .events import cmd_events as follow
    return follow(call)


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


def cmd_kill(call: Call) -> int:
    """Ends a session, all of a client's, or those of one protocol."""
    which, protocol = call.operands[0], protocol_of(call.operands[1:])
    answer = call.ask({"method": "sessions"})
    if answer is None:
        return 1
    meant = [item for item in answer["sessions"] if which == item["id"] or item["id"].endswith(f"-{which}")]
    if meant and not protocol:
        requests = [{"method": "kill", "session": item["id"]} for item in meant]
    else:
        requests = [{"method": "kill", "client": client, **({"protocol": protocol} if protocol else {})}
                    for client in addresses_of(answer["sessions"], which)]
    ended = 0
    for request in requests:
        done = call.ask(request)
        if done is None:
            return 1
        ended += int(done["ended"])
    if not ended:
        print(f"vpnpt: no {protocol or 'VPN'} session of {which!r}: see `vpnpt sessions`", file=sys.stderr)
        return 1
    print(f"{show.counted(ended, 'session')} ended")
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


def protocol_of(operands: list[str]) -> str:
    """Raises UsageError."""
    if operands and operands[0] not in PROTOCOLS:
        raise UsageError(f"unknown protocol {operands[0]!r}; known: {', '.join(PROTOCOLS)}")
    return operands[0] if operands else ""


def addresses_of(sessions: list[dict[str, Any]], which: str) -> list[str]:
    """The addresses of a client that is given by address, MAC or name; an address that no session knows is taken as it is."""
    found = [item["client"] for item in sessions if which.lower() in (item["client"], item["mac"], item["client_name"].lower())]
    return list(dict.fromkeys(found)) or ([which] if is_address(which) else [])


def is_address(text: str) -> bool:
    """Is it an IP or Ethernet address, and no name?"""
    return "." in text or ":" in text


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
    "top": cmd_top, "doctor": cmd_doctor, "why": cmd_why, "kill": cmd_kill, "block": cmd_block, "unblock": cmd_block,
    "events": cmd_events, "changes": cmd_changes, "metrics": cmd_metrics}
