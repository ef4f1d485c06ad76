# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon answers, by method: the same on ubus and on the control socket. Every answer is an object that JSON can carry.

HANDLERS is the whole table. A handler gets the context and the arguments, all of them text; what it can't do it answers with
{"error": text}.
"""
from __future__ import annotations

import contextlib

from .. import TOOLS_MISSING
from ..kernel.netfilter import NetlinkError
from ..model import PROTOCOLS
from ..sessions.table import CAP, packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .context import Context, Handler
    from .pending import Pending


def answer(context: Context, request: Mapping[str, Any]) -> dict[str, Any] | Pending:
    """The answer to one request, {"method": ..., arguments}; {"error": ...} if it can't be done; Pending, if it comes later."""
    method = request.get("method")
    handler = HANDLERS.get(method) if isinstance(method, str) else None
    if handler is None:
        return {"error": f"unknown method {method!r}; known: {', '.join(HANDLERS)}"}
    arguments = {name: value for name, value in request.items() if name != "method"}
    for name, value in arguments.items():
        if not isinstance(value, str):
            return {"error": f"argument {name!r} is no text"}
    try:
        return handler(context, arguments)
    except NetlinkError as error:
        return {"error": f"the kernel's connections can't be read: {error.strerror} (is kmod-nf-conntrack-netlink installed?)"}


def _status(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return context.status()


def _reload(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    done, service = context.reload(), context.service
    return {"applied": done, "problem": service.problem, "diagnostics": [str(item) for item in service.diagnostics]}


def _sessions(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    """The whole table; who gives `since` ('' at first, then the last answer's `revision`) gets what is new."""
    found = context.feed.snapshot() | {"capped": len(context.feed.sessions.live) >= CAP}
    if "since" in arguments:
        with contextlib.suppress(ImportError):  # without vpnpt-tools: the whole table each time
            from .tools import news
            return news(context, found, arguments["since"])
    return found


def _kill(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    session, protocol = arguments.get("session", ""), arguments.get("protocol", "")
    if protocol and protocol not in PROTOCOLS:
        return {"error": f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}"}
    if session:
        return {"ended": context.feed.kill(lambda one: one.ident == session)}
    client = packed_address(arguments.get("client", ""))
    if client is None:
        return {"error": "whose? give a session by its ID, or a client by its address, and perhaps a protocol"}
    return {"ended": context.feed.kill(lambda one: one.key[1] == client and protocol in ("", one.key[0]))}


def _events(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    return context.log.since("events", context.log.lines, context.log.count, arguments)


def _tool(name: str) -> Handler:
    """What vpnpt-tools answers."""
    def handler(context: Context, arguments: Mapping[str, str]) -> dict[str, Any] | Pending:
        try:
            from . import tools
            return tools.HANDLERS[name](context, arguments)  # imports more, which may be gone since then
        except ImportError:
            return {"error": TOOLS_MISSING}

    return handler


HANDLERS: Mapping[str, Handler] = {
    "status": _status, "sessions": _sessions, "doctor": _tool("doctor"), "why": _tool("why"), "changes": _tool("changes"),
    "events": _events, "metrics": _tool("metrics"), "throughput": _tool("throughput"), "reload": _reload,
    "kill": _kill, "block": _tool("block"), "unblock": _tool("unblock")}
