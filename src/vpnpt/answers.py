# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon answers, by method: the same on ubus and on the control socket. Every answer is an object that JSON can carry.

HANDLERS is the whole table. A handler gets the context and the arguments, all of them text; what it can't do it answers with
{"error": text}.
"""
from __future__ import annotations

import socket
import time

from .addresses import local_addresses
from .flows import protocol_of
from .netlink import Netlink, NetlinkError, delete_flow, dump_conntrack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .aside import Aside, Pending
    from .log import Log
    from .model import Config
    from .service import Service
    from .wire.conntrack import Flow

    Handler = Callable[["Context", Mapping[str, str]], dict[str, Any] | Pending]


class Context:
    """What handlers may ask. reload: puts the configuration in force, True if that worked. aside: does what takes long."""

    __slots__ = ("service", "reload", "log", "aside")

    def __init__(self, service: Service, reload: Callable[[], bool], log: Log, aside: Aside) -> None:
        self.service, self.reload, self.log, self.aside = service, reload, log, aside


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
    watch = context.service.watch
    return {**context.service.snapshot(), "alerts": list(context.log.alerts), "drift": watch.drift}


def _reload(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    done, service = context.reload(), context.service
    return {"applied": done, "problem": service.problem, "diagnostics": [str(item) for item in service.diagnostics]}


def _doctor(context: Context, _arguments: Mapping[str, str]) -> Pending:
    def examine() -> dict[str, Any]:
        # Here, in the child: the daemon need not carry these modules.
        from .gather import examine as gather

        return gather(context.service)

    return context.aside.run(examine)


def _sessions(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"now": int(time.time()), "sessions": sessions(context.service.config), "ended": []}


def _kill(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    if not arguments.get("client"):
        return {"error": "whose? give a session, a client, or a client and a protocol"}
    return kill(context.service.config, arguments["client"])


def _block(_context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"error": "not yet"}


def _changes(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"changes": context.service.watch.history.answer()}


def _events(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"events": list(context.log.lines)}


def _metrics(_context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"text": ""}


HANDLERS: Mapping[str, Handler] = {
    "status": _status, "sessions": _sessions, "doctor": _doctor, "changes": _changes, "events": _events, "metrics": _metrics,
    "reload": _reload, "kill": _kill, "block": _block, "unblock": _block}


def sessions(config: Config | None) -> list[dict[str, Any]]:
    """Who talks VPN with whom, by protocol, client and server; flows: how many connections the kernel tracks for it."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    with Netlink() as sock:
        for name, flow in _vpn_flows(sock, config):
            client, server = _text(flow.orig.src), _text(flow.orig.dst)
            entry = found.setdefault((name, client, server), {"protocol": name, "client": client, "server": server, "flows": 0})
            entry["flows"] += 1
    return [found[key] for key in sorted(found)]


def kill(config: Config | None, client: object) -> dict[str, Any]:
    """Has the kernel forget the connections of a client's VPNs; ended: how many. They come back unless the client stops."""
    with Netlink() as sock:
        own = [flow for _, flow in _vpn_flows(sock, config) if _text(flow.orig.src) == client]
        return {"ended": sum(delete_flow(sock, flow) for flow in own)}


def _vpn_flows(sock: Netlink, config: Config | None) -> Iterator[tuple[str, Flow]]:
    local = local_addresses()
    for family in (socket.AF_INET, socket.AF_INET6) if config is not None else ():
        for flow in dump_conntrack(sock, family):
            protocol = protocol_of(config, flow) if config is not None and flow.orig.src not in local else None
            if protocol is not None:
                yield protocol.name, flow


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
