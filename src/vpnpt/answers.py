# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon answers, by method: the same on ubus and on the control socket. Every answer is an object that JSON can carry."""
from __future__ import annotations

import socket

from .addresses import local_addresses
from .flows import protocol_of
from .netlink import Netlink, NetlinkError, delete_flow, dump_conntrack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .model import Config
    from .service import Service
    from .wire.conntrack import Flow

METHODS = ("status", "sessions", "doctor", "reload", "kill")


def answer(service: Service, reload: Callable[[], bool], request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request, {"method": ..., arguments}; {"error": ...} if it can't be done."""
    method = request.get("method")
    if method == "status":
        return service.snapshot()
    if method == "reload":
        done = reload()
        return {"applied": done, "problem": service.problem, "diagnostics": [str(item) for item in service.diagnostics]}
    if method == "doctor":
        return {"findings": findings(service)}
    if method not in METHODS:
        return {"error": f"unknown method {method!r}; known: {', '.join(METHODS)}"}
    try:
        if method == "sessions":
            return {"sessions": sessions(service.config)}
        return kill(service.config, request.get("client"))
    except NetlinkError as error:
        return {"error": f"the kernel's connections can't be read: {error.strerror} (is kmod-nf-conntrack-netlink installed?)"}


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


def findings(service: Service) -> list[dict[str, str]]:
    """What is wrong, most serious first: severity (error, warning) and text."""
    found = []
    if service.problem:
        found.append({"severity": "error", "text": service.problem})
    elif not service.in_place():
        found.append({"severity": "error", "text": "the rules are not in the kernel"})
    if service.helper_missing:
        found.append({"severity": "warning", "text": "PPTP does not pass: the kernel has no helper for it; install "
                                                     "kmod-nf-nathelper-pptp (before OpenWrt 25.12: kmod-nf-nathelper-extra)"})
    return found + [{"severity": item.severity, "text": str(item)} for item in service.diagnostics if item.severity != "error"]


def _vpn_flows(sock: Netlink, config: Config | None) -> Iterator[tuple[str, Flow]]:
    local = local_addresses()
    for family in (socket.AF_INET, socket.AF_INET6) if config is not None else ():
        for flow in dump_conntrack(sock, family):
            protocol = protocol_of(config, flow) if config is not None and flow.orig.src not in local else None
            if protocol is not None:
                yield protocol.name, flow


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
