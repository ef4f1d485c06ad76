# SPDX-License-Identifier: GPL-2.0-or-later
"""The local control socket: one JSON object in, one out, for the CLI where there is no ubus. Only root reaches it (mode 0600)."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket

from .pending import Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SOCKET = "control"
LIMIT = 65536
"""Bytes: a longer request is cut off."""
PEERS = 64
"""Connections at a time; the oldest makes room."""
SLOW = 8
"""Peers that have not read all of their answers yet; the oldest loses the rest."""
BACKLOG = 128
"""Connections that wait to be accepted; of more, whoever does not wait is refused by the kernel (EAGAIN)."""


class ControlServer:
    """Answers each connection's one line with `handler(request)`, an object that JSON can carry. It waits for no peer."""

    def __init__(self, path: str, selector: selectors.BaseSelector,
                 handler: Callable[[dict[str, Any]], dict[str, Any] | Pending]) -> None:
        self._path, self._selector, self._handler = path, selector, handler
        self._peers: dict[socket.socket, bytearray] = {}
        self._waiting: list[socket.socket] = []  # for an answer that comes later
        self._left: dict[socket.socket, memoryview] = {}  # what a peer has not read yet
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            self._socket.bind(path)
        finally:
            os.umask(mask)
        self._socket.listen(BACKLOG)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Closes all and removes the socket's file."""
        for peer in list(self._peers):
            self._drop(peer)
        for peer in self._waiting:
            peer.close()
        for peer in list(self._left):
            self._written(peer)
        self._selector.unregister(self._socket)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _accept(self) -> None:
        """All that wait, at most as many as the kernel lets wait: who only connects must not keep others from being heard."""
        for turn in range(BACKLOG):
            try:
                peer, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors left, of which the kernel asks first: those that are there are served, or make room
                if turn:
                    return
                for old in list(self._peers):
                    self._drop(old)
                raise
            peer.setblocking(False)
            if len(self._peers) >= PEERS:
                self._drop(next(iter(self._peers)))
            self._peers[peer] = bytearray()
            self._selector.register(peer, selectors.EVENT_READ, lambda peer=peer: self._read(peer))

    def _read(self, peer: socket.socket) -> None:
        request = self._peers.get(peer)
        if request is None:
            return  # it made room for a newer one in this same turn of the loop
        try:
            data = peer.recv(LIMIT)
        except BlockingIOError:
            return
        except OSError:
            self._drop(peer)
            return
        request += data
        if b"\n" in request:
            self._answer(peer, bytes(request.partition(b"\n")[0]))
        elif not data or len(request) > LIMIT:
            self._drop(peer)

    def _answer(self, peer: socket.socket, line: bytes) -> None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        self._selector.unregister(peer)  # first: the loop may go on while the handler waits for a program
        del self._peers[peer]
        reply = self._handler(request) if isinstance(request, dict) else {"error": "the request is not a JSON object"}
        if not isinstance(reply, Pending):
            self._reply(peer, reply)
        elif len(self._waiting) >= PEERS:
            self._reply(peer, {"error": "too many wait for this answer already"})
        else:
            self._waiting.append(peer)
            reply.then(lambda answer: self._reply(peer, answer))

    def _reply(self, peer: socket.socket, reply: dict[str, Any]) -> None:
        if peer in self._waiting:
            self._waiting.remove(peer)
        while len(self._left) >= SLOW:
            self._written(next(iter(self._left)))
        self._left[peer] = memoryview(json.dumps(reply).encode() + b"\n")
        self._selector.register(peer, selectors.EVENT_WRITE, lambda: self._write(peer))
        self._write(peer)

    def _write(self, peer: socket.socket) -> None:
        """As much as fits: a long answer is more than the socket's buffer holds."""
        left = self._left.get(peer)
        if left is None:
            return  # it made room for a newer one in this same turn of the loop
        try:
            left = left[peer.send(left):]
        except BlockingIOError:
            return
        except OSError:
            left = left[:0]
        self._left[peer] = left
        if not left:
            self._written(peer)

    def _written(self, peer: socket.socket) -> None:
        del self._left[peer]
        self._selector.unregister(peer)
        peer.close()

    def _drop(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        del self._peers[peer]
        peer.close()


def call(run_dir: str, request: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
    """Asks the daemon. Raises OSError when none answers within `timeout` seconds, ValueError for an answer that is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(os.path.join(run_dir, SOCKET))
        sock.sendall(json.dumps(request).encode() + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            data = sock.recv(65536)
            if not data:
                break
            answer += data
    reply = json.loads(answer)
    if not isinstance(reply, dict):
        raise ValueError("the daemon's answer is not a JSON object")
    return reply
