# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: whatever a peer sends or does not send, the next one is served."""
from __future__ import annotations

import json
import os
import selectors
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from vpnpt.daemon import control
from vpnpt.daemon.control import LIMIT, PEERS, SOCKET, ControlServer
from vpnpt.daemon.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Server:
    """A control server whose loop turns only when told to, so that what a peer sees is no matter of chance."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.selector = selectors.DefaultSelector()
        self.requests: list[dict[str, Any]] = []
        self.reply: dict[str, Any] | Pending = {"fine": True}
        self.server = ControlServer(str(directory / SOCKET), self.selector, self.handle)

    def handle(self, request: dict[str, Any]) -> dict[str, Any] | Pending:
        self.requests.append(request)
        return self.reply

    def turn(self) -> None:
        """Serves all that is ready, as the daemon's loop does."""
        while ready := self.selector.select(0):
            for key, _ in ready:
                key.data()

    def peer(self, data: bytes = b"") -> socket.socket:
        """A connection on which `data` was sent."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(60)
        made.connect(str(self.directory / SOCKET))
        made.sendall(data)
        return made

    def accepted(self, count: int) -> list[socket.socket]:
        """So many connections, each of them accepted."""
        made = []
        for _ in range(count):
            made.append(self.peer())
            self.turn()
        return made

    def ask(self, data: bytes) -> bytes:
        """All that comes back."""
        with self.peer(data) as peer:
            self.turn()
            return receive(peer)

    def works(self) -> bool:
        return json.loads(self.ask(b'{"method": "status"}\n')) == self.reply


def receive(peer: socket.socket) -> bytes:
    """Until the end; b'' also where the server has cut the connection."""
    found = b""
    try:
        while data := peer.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def drained(server: Server, peer: socket.socket) -> bytes:
    """All that comes, while the server goes on writing."""
    found = b""
    while True:
        server.turn()
        try:
            data = peer.recv(1 << 20)
        except ConnectionResetError:
            return found
        if not data:
            return found
        found += data


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.server.close()
    assert not (tmp_path / SOCKET).exists()
    made.selector.close()


def test_only_its_owner_reaches_it(server: Server) -> None:
    assert stat.S_IMODE(os.stat(server.directory / SOCKET).st_mode) == 0o600


def test_a_request_and_its_answer(server: Server) -> None:
    assert server.ask(b'{"method": "status"}\n') == b'{"fine": true}\n'
    assert server.requests == [{"method": "status"}]


def test_a_socket_file_left_by_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    (tmp_path / SOCKET).write_text("")
    made = Server(tmp_path)
    assert made.works()
    made.server.close()


@pytest.mark.parametrize("garbage", [
    b"\n", b"nonsense\n", b"[1, 2]\n", b'"status"\n', b"null\n", b"\xff\xfe\0\n", b'{"method": \n', b"[" * 60000 + b"\n",
    b'{"a":' * 10000 + b"\n", b"1" * 5000 + b"\n",
], ids=["empty", "no JSON", "list", "string", "null", "no text", "cut short", "deep list", "deep object", "long number"])
def test_garbage_is_told_so(server: Server, garbage: bytes) -> None:
    assert "error" in json.loads(server.ask(garbage))
    assert not server.requests
    assert server.works()


def test_oversize(server: Server) -> None:
    """No newline within the limit: the connection is cut."""
    with server.peer() as peer:
        peer.setblocking(False)
        with pytest.raises(OSError):
            for _ in range(10 * LIMIT // 4096):
                peer.send(b"x" * 4096)
                server.turn()
    assert not server.requests
    assert server.works()


def test_a_peer_that_sends_byte_by_byte(server: Server) -> None:
    with server.peer() as slow:
        for octet in b'{"method": "reload"}':
            slow.sendall(bytes([octet]))
            server.turn()
        assert server.works(), "meanwhile others are served"
        slow.sendall(b"\n")
        server.turn()
        assert json.loads(receive(slow)) == server.reply


@pytest.mark.parametrize("sent", [b"", b'{"method"'])
def test_a_peer_that_goes_away(server: Server, sent: bytes) -> None:
    server.peer(sent).close()
    server.turn()
    server.peer(b'{"method": "status"}\n').close()
    server.turn()
    assert server.works()


def test_several_peers_at_once(server: Server) -> None:
    peers = server.accepted(PEERS)
    for number, peer in enumerate(peers):
        peer.sendall(b'{"n": %d}\n' % number)
    server.turn()
    assert [json.loads(receive(peer)) for peer in peers] == [server.reply] * PEERS
    assert sorted(request["n"] for request in server.requests) == list(range(PEERS))
    for peer in peers:
        peer.close()


def test_silent_peers_make_room(server: Server) -> None:
    silent = server.accepted(3 * PEERS)
    assert server.works()
    assert receive(silent[0]) == b"", "the oldest was cut"
    for peer in silent:
        peer.close()


def test_the_oldest_peer_speaks_in_the_moment_it_is_cut(server: Server) -> None:
    """Its data and the new connection are ready in one turn of the loop."""
    peers = server.accepted(PEERS)
    newest = server.peer()
    peers[0].sendall(b'{"method": "status"}\n')
    ready = server.selector.select(0)
    for key, _ in sorted(ready, key=lambda item: item[0].data != server.server._accept):
        key.data()
    server.turn()
    newest.close()
    assert server.works()
    for peer in peers:
        peer.close()


def test_peers_that_do_not_read_delay_nobody(server: Server) -> None:
    """Others are served meanwhile, and whoever reads late has all of its answer, unless SLOW others came after it."""
    server.reply = {"long": "x" * (1 << 20)}
    peers = [server.peer(b'{"method": "status"}\n') for _ in range(control.SLOW + 1)]
    server.turn()
    server.reply = {"fine": True}
    assert server.works()
    cut, last = (drained(server, peer) for peer in (peers[0], peers[-1]))
    assert len(cut) < 1 << 20 < len(last) and json.loads(last)["long"]
    for peer in peers:
        peer.close()
    server.turn()
    assert server.works() and not server.server._left, "whoever goes away is forgotten"


def test_call(server: Server) -> None:
    """The client's side against the real server, which turns in a thread."""
    assert in_thread(server, lambda: control.call(str(server.directory), {"method": "status"})) == {"fine": True}
    server.reply = {"long": "x" * (1 << 20)}
    assert in_thread(server, lambda: control.call(str(server.directory), {"method": "status"})) == server.reply


@pytest.mark.parametrize("answer", [b"", b"[1]\n", b"nonsense\n", b'{"cut": '])
def test_call_of_a_server_that_answers_nonsense(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ValueError):
            control.call(str(tmp_path), {"method": "status"})
        thread.join()


def test_call_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        control.call(str(tmp_path), {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / SOCKET))
    with pytest.raises(ConnectionRefusedError):
        control.call(str(tmp_path), {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mute:
        os.unlink(tmp_path / SOCKET)
        mute.bind(str(tmp_path / SOCKET))
        mute.listen()
        with pytest.raises(TimeoutError):
            control.call(str(tmp_path), {}, timeout=0.05)


def in_thread(server: Server, function: Callable[[], Any]) -> Any:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(function()))
    thread.start()
    while thread.is_alive():
        for key, _ in server.selector.select(0.05):
            key.data()
    return done[0]


def test_an_answer_that_comes_later(server: Server) -> None:
    """Others are served meanwhile; all who wait get it, also when one of them has gone; too many are told so."""
    later, server.reply = server.reply, Pending()
    peers = [server.peer(b'{"method": "doctor"}\n') for _ in range(PEERS)]
    server.turn()
    peers.pop(0).close()
    pending, server.reply = server.reply, later
    assert server.works()
    pending.settle({"found": 1})
    server.turn()
    assert [json.loads(receive(peer)) for peer in peers] == [{"found": 1}] * (PEERS - 1)
    server.reply = Pending()
    peers = [server.peer(b'{"method": "doctor"}\n') for _ in range(PEERS)]
    server.turn()
    assert "too many" in json.loads(server.ask(b'{"method": "doctor"}\n'))["error"]
    server.reply = later
    assert server.works()
