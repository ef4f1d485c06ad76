# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpnpt why`: what passes, live, and in the end why it does not connect."""
from __future__ import annotations

import json
import os
import socket
import sys
import time

from . import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .show import Answer, Paint

    Ask = Callable[[dict[str, str]], dict[str, Any] | None]

PERIOD = 0.5
STATES = {"works": ("passes both ways", "good"), "answered": ("answered", "good"), "here": ("stops in this router", "bad"),
          "back": ("its answer stops in this router", "bad"), "away": ("nothing comes back", "warn"), "waiting": ("", "dim")}
"""By state of a passage: what is said of it, and its colour."""


def server_address(text: str) -> str:
    """A server's address, looked up if it is a name; '' if there is none. IPv4 first: that is what NAT is about."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return str(socket.getaddrinfo(text, None, family, socket.SOCK_DGRAM)[0][4][0])
        except OSError:
            continue
    return ""


def request(operands: Sequence[str], seconds: int) -> dict[str, str] | None:
    """What the daemon is asked: CLIENT, and SERVER if it is given; None if that name has no address."""
    server = server_address(operands[1]) if len(operands) > 1 else ""
    if len(operands) > 1 and not server:
        return None
    return {"client": operands[0], "server": server, "seconds": str(seconds)}


def run(ask: Ask, request: dict[str, str], *, as_json: bool, paint: Paint, width: int) -> int:
    """Until there is an answer, or ctrl-C, which ends the watch. 0: it works; 1: it does not; 2: nothing can be said."""
    found = ask({"method": "why", **request})
    if found is None:
        return 2
    watch = found["watch"]
    screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb") and not as_json
    if not as_json:
        print(head(found))
    said: list[str] = []
    try:
        while found["state"] in ("watching", "judging"):
            lines = passages(found, width, paint)
            if not as_json and lines != said:
                print(f"\033[{len(said)}A\033[J" * bool(screen and said) + "\n".join(lines), flush=True)
                said = lines
            time.sleep(PERIOD)
            answer = ask({"method": "why", "watch": watch})
            if answer is None:
                return 2
            found = answer
    except KeyboardInterrupt:
        ask({"method": "why", "watch": watch, "cancel": "1"})
        raise
    if as_json:
        print(json.dumps(found, indent=2))
    elif found["state"] == "done":
        print("\n" + verdict(found, width, paint))
    else:
        print(f"vpnpt: {show.clean(found.get('problem', 'somebody else has ended this watch'))}", file=sys.stderr)
    return 2 if found["state"] != "done" else 0 if found["verdict"]["place"] == "fine" else 1


def head(found: Answer) -> str:
    """What is watched, and what to do now."""
    name = f" ({show.clean(found['client_name'])})" if found.get("client_name") else ""
    where = f" with {found['server']}" if found["server"] else ""
    return f"Watching the VPN of {found['client']}{name}{where} for {found['left']} seconds: start it now. Ctrl-C ends."


def passages(found: Answer, width: int, paint: Paint) -> list[str]:
    """The live table: how many packets were seen where."""
    rows = [[one["name"], one["server"], str(one["asked"]), str(one["left"]), str(max(one["came"], one["delivered"])),
             str(one["delivered"]), STATES[one["state"]][0]] for one in found["passages"]]
    if not rows:
        return ["no VPN packet yet"]
    return show.table(["KIND", "SERVER", "ASKED", "LEFT", "BACK", "DELIVERED", ""], rows, width=width, shrink=(0, 1), right=(2, 3, 4, 5),
                      paint=paint, colours=lambda row, column: STATES[found["passages"][row]["state"]][1] if column == 6 else "")


def verdict(found: Answer, width: int, paint: Paint) -> str:
    """The cause in one sentence, what was seen, what to do."""
    answer = found["verdict"]
    tone = "good" if answer["place"] == "fine" else "warn" if answer["place"] in ("client", "server", "way") else "bad"
    lines = [paint(show.folded(show.clean(answer["text"]), width, ""), tone)]
    lines += [show.folded(f"  seen: {show.clean(item)}", width) for item in answer["evidence"]]
    if answer["remedy"]:
        lines.append(show.folded(f"  do: {show.clean(answer['remedy'])}", width))
    lines += [f"      {command}" for command in commands(answer["action"])]
    lines += [show.folded(f"  also: {show.clean(item['text'])}", width) for item in answer["more"]]
    return "\n".join(lines)


def commands(action: dict[str, str]) -> list[str]:
    """The command lines that do what can be done here."""
    if not action:
        return []
    protocol, client = show.clean(action["protocol"]), show.clean(action["client"])
    if action["do"] == "unblock":
        return [f"vpnpt unblock {client} {protocol}"]
    return [f"uci add_list vpnpt.{protocol}.allow_src={client}; uci commit vpnpt; vpnpt reload"] if action["do"] == "trust" else []
