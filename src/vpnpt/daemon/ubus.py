# SPDX-License-Identifier: GPL-2.0-or-later
"""The object `vpnpt` on ubus, and its events, in the daemon's own loop. Nothing here waits; where there is no ubusd it tries again.

A call is answered by the same handler as one on the control socket (control.py).
"""
from __future__ import annotations

import contextlib
import selectors
import socket

from ..model import Said
from ..wire import ubus as wire
from .pending import Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .log import Log

SOCKET = "/var/run/ubus/ubus.sock"
OBJECT = "vpnpt"
METHODS: Mapping[str, Mapping[str, int]] = {
    "status": {}, "sessions": {"since": wire.STRING}, "doctor": {},
    "why": {"client": wire.STRING, "server": wire.STRING, "seconds": wire.STRING, "watch": wire.STRING, "cancel": wire.STRING},
    "changes": {"since": wire.STRING}, "events": {"since": wire.STRING}, "metrics": {}, "throughput": {}, "reload": {},
    "kill": {"session": wire.STRING, "client": wire.STRING, "protocol": wire.STRING},
    "block": {"client": wire.STRING, "protocol": wire.STRING}, "unblock": {"client": wire.STRING, "protocol": wire.STRING}}
"""Each with its arguments and their types, as `ubus -v list` shows them. All arguments are optional: the handler says what it needs."""
RETRY_FIRST, RETRY_LAST = 1.0, 60.0
"""Seconds until the first and between later attempts to reach ubusd."""
BACKLOG = 4 << 20
"""Bytes not yet taken by ubusd, beyond which we hang up and come again."""
_ADD = 1
_EVENT = 2


class Ubus:
    """A client of ubusd. `handler` answers {"method": ..., arguments}; `later` gets the seconds after which to call `connect`."""

    def __init__(self, selector: selectors.BaseSelector, log: Log, handler: Callable[[dict[str, Any]], dict[str, Any] | Pending],
                 later: Callable[[float], None], path: str = SOCKET) -> None:
        self._selector, self._log, self._handler, self._later, self._path = selector, log, handler, later, path
        self._socket: socket.socket | None = None
        self._inbound, self._outbound = bytearray(), bytearray()
        self._object: int | None = None
        self._wait = RETRY_FIRST

    def connect(self) -> None:
        """Begins; our object is there some turns of the loop later."""
        if self._socket is not None:
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            self._retry()
            return
        self._socket = sock
        self._inbound, self._outbound = bytearray(), bytearray()
        self._selector.register(sock, selectors.EVENT_READ, self._on_ready)

    def close(self) -> None:
        """Hangs up: ubusd removes our object."""
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = self._object = None

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Tells whoever listens; nobody, while there is no ubusd."""
        if self._object is not None:
            self._send(wire.message(wire.INVOKE, _EVENT, 0, wire.number(wire.ATTR_OBJID, wire.EVENT_OBJECT),
                                    wire.text(wire.ATTR_METHOD, "send"), wire.table(wire.ATTR_DATA, {"id": name, "data": dict(data)})))

    def _retry(self) -> None:
        self._later(self._wait)
        self._wait = min(2 * self._wait, RETRY_LAST)

    def _lost(self, why: str) -> None:
        self._log.debug("UBUS", "connection lost ({why})", why=why)
        self.close()
        self._retry()

    def _on_ready(self) -> None:
        sock = self._socket
        if sock is None:
            return
        self._flush()
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or "error")
            return
        if not data:
            self._lost(Said("ubusd has ended"))
            return
        self._inbound += data
        try:
            for message in wire.split(self._inbound):
                self._on_message(message)
                if self._socket is not sock:
                    return  # we hung up meanwhile
        except wire.Malformed:
            self._lost(Said("what came is no message"))

    def _on_message(self, message: wire.Message) -> None:
        if message.type == wire.HELLO:
            self._send(wire.message(wire.ADD_OBJECT, _ADD, 0, wire.text(wire.ATTR_OBJPATH, OBJECT),
                                    wire.table(wire.ATTR_SIGNATURE, METHODS)))
        elif message.type == wire.DATA and message.seq == _ADD and self._object is None:
            self._object, self._wait = message.number(wire.ATTR_OBJID), RETRY_FIRST
        elif message.type == wire.STATUS and message.seq == _ADD and message.number(wire.ATTR_STATUS):
            self._log.warning("UBUS", "ubusd refuses the object {name} (status {status})", name=OBJECT,
                              status=message.number(wire.ATTR_STATUS))
        elif message.type == wire.INVOKE and self._object is not None and message.number(wire.ATTR_OBJID) == self._object:
            self._on_invoke(message)

    def _on_invoke(self, message: wire.Message) -> None:
        method = message.text(wire.ATTR_METHOD) or ""
        arguments = wire.decode_table(message.attrs.get(wire.ATTR_DATA, b""))
        if method not in METHODS:
            self._finish(message, wire.METHOD_NOT_FOUND)
        elif any(name in arguments and not isinstance(arguments[name], str) for name in METHODS[method]):
            self._finish(message, wire.INVALID_ARGUMENT)
        else:
            # Others are left out: uhttpd adds the session of whoever calls through LuCI.
            known = {name: arguments[name] for name in METHODS[method] if name in arguments}
            answer, sock = self._handler({"method": method, **known}), self._socket
            if isinstance(answer, Pending):
                # Whoever asked is known to the ubusd of then, not to one that came since.
                answer.then(lambda found: self._reply(message, method, found) if self._socket is sock else None)
            else:
                self._reply(message, method, answer)

    def _reply(self, message: wire.Message, method: str, answer: dict[str, Any]) -> None:
        while True:
            packed = wire.message(wire.DATA, message.seq, message.peer, wire.number(wire.ATTR_OBJID, self._object or 0),
                                  wire.table(wire.ATTR_DATA, answer))
            if len(packed) <= wire.MAX_MESSAGE:
                self._send(packed)
                self._finish(message, wire.OK)
                return
            shorter = shortened(answer)
            if shorter is None:
                self._log.warning("UBUS", "the answer to {method} is too long for ubus: `vpnpt {method}` has no such limit", method=method)
                self._finish(message, wire.UNKNOWN_ERROR)
                return
            answer = shorter

    def _finish(self, message: wire.Message, status: int) -> None:
        if message.attrs.get(wire.ATTR_NO_REPLY, b"\0") == b"\0":
            self._send(wire.message(wire.STATUS, message.seq, message.peer, wire.number(wire.ATTR_STATUS, status),
                                    wire.number(wire.ATTR_OBJID, self._object or 0)))

    def _send(self, packed: bytes) -> None:
        if self._socket is None:
            return
        self._outbound += packed
        self._flush()

    def _flush(self) -> None:
        """Writes what the socket takes now; the rest when it takes more."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # BlockingIOError, or ubusd has gone: then reading says so too
            while self._outbound:
                del self._outbound[:self._socket.send(self._outbound)]
        if len(self._outbound) > BACKLOG:
            self._lost(Said("ubusd does not read"))
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbound else 0)
        if self._selector.get_key(self._socket).events != events:
            self._selector.modify(self._socket, events, self._on_ready)


def shortened(answer: dict[str, Any]) -> dict[str, Any] | None:
    """An answer without the later half of its longest list; left_out: how many entries it lacks in all. None if it has no such list."""
    lists = {name: value for name, value in answer.items() if isinstance(value, list) and len(value) > 1}
    if not lists:
        return None
    longest = max(lists, key=lambda name: len(lists[name]))
    kept = lists[longest][:len(lists[longest]) // 2]
    return answer | {longest: kept, "left_out": int(answer.get("left_out", 0)) + len(lists[longest]) - len(kept)}
