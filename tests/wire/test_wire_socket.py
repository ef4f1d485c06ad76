# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink's bookkeeping with a scripted kernel: what the real one does too seldom to wait for."""
from __future__ import annotations

import errno
import socket
import struct

import pytest

from vpnpt.kernel import socket as nlsocket
from vpnpt.kernel.netfilter import Netlink
from vpnpt.kernel.socket import NetlinkError, Overrun
from vpnpt.wire import netlink as nl
from vpnpt.wire import nftables

PORT = 4711


class Kernel:
    """In the place of the socket: answers each request with the next script; a script is a list of datagrams or errors."""

    def __init__(self, *scripts: list[object]) -> None:
        self.scripts = list(scripts)
        self.queue: list[object] = []
        self.seq = 0

    def sendto(self, packed: bytes, _address: object) -> None:
        self.seq = struct.unpack_from("=I", packed, 8)[0]
        self.queue += self.scripts.pop(0)

    def recvmsg(self, _size: int) -> tuple[bytes, list[object], int, tuple[int, int]]:
        if not self.queue:
            raise BlockingIOError
        item = self.queue.pop(0)
        if isinstance(item, OSError):
            raise item
        if isinstance(item, tuple):
            return item
        assert callable(item)
        return item(self.seq), [], 0, (0, 0)

    def close(self) -> None:
        pass


def answer(kind: int, body: bytes, flags: int = nl.MULTI, port: int = PORT, off: int = 0) -> object:
    return lambda seq: nl.HEADER.pack(16 + len(body), kind, flags, seq + off, port) + body


def table(name: str, flags: int = nl.MULTI) -> object:
    return answer(nl.NFTABLES << 8 | nftables.NEWTABLE, nl.GENERIC.pack(2, 0, 0) + nl.text(1, name), flags)


END = answer(nl.DONE, struct.pack("=i", 0))


def connected(*scripts: list[object], listens: bool = False) -> Netlink:
    sock = Netlink()
    sock.close()
    sock._socket = Kernel(*scripts)  # type: ignore[assignment]
    sock.port = PORT
    sock._listens = listens
    return sock


def name_of(message: nl.Message) -> str:
    parsed = nl.nfgenmsg(message.body)
    assert parsed is not None
    attrs = nl.attributes(parsed[2])
    assert attrs is not None
    return nl.string(attrs[nftables.TABLE_NAME])


def tables(sock: Netlink, limit: int | None = None) -> list[str]:
    return sock.dump(nftables.request(nftables.GETTABLE, nl.DUMP, 0), name_of, limit)


def test_an_interrupted_dump_is_done_again() -> None:
    assert tables(connected([table("a"), table("b", nl.MULTI | nl.DUMP_INTR), END], [table("a"), table("c"), END])) == ["a", "c"]


def test_a_dump_that_ends_in_eintr_is_done_again() -> None:
    torn = answer(nl.DONE, struct.pack("=i", -errno.EINTR))
    assert tables(connected([table("a"), torn], [table("c"), END])) == ["c"]


def test_a_dump_that_never_rests_is_an_error() -> None:
    with pytest.raises(NetlinkError) as caught:
        tables(connected(*[[table("b", nl.MULTI | nl.DUMP_INTR), END]] * nlsocket.DUMP_TRIES))
    assert caught.value.errno == errno.EINTR


def test_answers_of_others_and_spoofed_ones_are_ignored() -> None:
    late = answer(nl.DONE, struct.pack("=i", -5), off=-1)
    other = answer(nl.DONE, struct.pack("=i", -5), port=PORT + 1)
    spoofed = (b"x" * 40, [], 0, (999, 0))
    garbage = (b"\x03\0\0\0" * 5, [], 0, (0, 0))
    assert tables(connected([late, other, spoofed, garbage, table("a"), END])) == ["a"]


def test_an_overrun_during_a_dump_is_kept_for_the_listener() -> None:
    sock = connected([OSError(errno.ENOBUFS, "overrun"), table("a"), END], listens=True)
    assert tables(sock) == ["a"] and sock.receive() == [Overrun()]


def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nlsocket, "WAIT_MS", 1)
    sock = Netlink()
    with pytest.raises(NetlinkError) as caught:
        sock._replies(1, 1, lambda _message: True, wait=True)
    assert caught.value.errno == errno.ETIMEDOUT
    sock.close()


def test_receive_survives_whatever_comes() -> None:
    sock = connected(listens=True)
    kernel = sock._socket
    assert isinstance(kernel, Kernel)
    kernel.queue = [
        (b"short", [], 0, (0, 0)), (b"x" * 99, [], socket.MSG_TRUNC, (0, 0)), table("a"), OSError(errno.ENOMEM, "no memory")]
    items = sock.receive()
    assert [type(item) for item in items] == [Overrun, nl.Message, Overrun]
    assert sock.receive() == []


def test_what_is_set_aside_is_bounded() -> None:
    notice = answer(nl.NFTABLES << 8, b"\0" * 4, flags=0, port=1)
    sock = connected([notice] * (nlsocket.PENDING_MAX + 10) + [table("a"), END], listens=True)
    assert tables(sock) == ["a"]
    assert sock.pending == 11 and sock.receive()[0] == Overrun()


def test_a_dump_may_be_cut_short() -> None:
    """What is beyond is not waited for: the kernel walks through its table only as far as somebody reads."""
    assert tables(connected([table("a"), table("b"), table("c"), END]), limit=2) == ["a", "b"]
    assert tables(connected([table("a"), table("b")]), limit=2) == ["a", "b"]


def test_a_refused_dump_is_an_error_and_no_half_of_one() -> None:
    with pytest.raises(NetlinkError) as caught:
        tables(connected([table("a"), answer(nl.DONE, struct.pack("=i", -errno.ENOMEM))]))
    assert caught.value.errno == errno.ENOMEM


def test_a_dump_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nlsocket, "WAIT_MS", 1)
    with pytest.raises(NetlinkError) as caught:
        tables(connected([table("a")]))
    assert caught.value.errno == errno.ETIMEDOUT


def test_no_such_protocol() -> None:
    with pytest.raises(NetlinkError) as caught:
        nlsocket.dump(31, nl.message(1, nl.REQUEST | nl.DUMP), name_of)
    assert caught.value.errno == errno.EPROTONOSUPPORT


def test_neighbours_by_a_socket_of_their_own(sandbox: None) -> None:
    """Another protocol of the real kernel; every message is one of the answer."""
    kinds = nlsocket.dump(nlsocket.ROUTE, nl.message(18, nl.REQUEST | nl.DUMP, bytes(16)), lambda message: message.kind)
    assert kinds and set(kinds) == {16}, "RTM_NEWLINK for RTM_GETLINK"


@pytest.mark.parametrize(("machine", "options"), [
    ("x86_64", (32, 33)), ("aarch64", (32, 33)), ("armv7l", (32, 33)), ("s390x", (32, 33)), ("riscv64", (32, 33)), ("ppc", (32, 33)),
    ("mips", (31, 33)), ("mips64", (31, 33)), ("sparc64", (0x100A, 0x100B))])
def test_options_of_a_machine(machine: str, options: tuple[int, int]) -> None:
    assert nlsocket.force_options(machine) == options


def test_an_option_that_is_taken_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """As MIPS takes 32: SO_BROADCAST is no size either. The buffers grow all the same, as far as anybody's may."""
    monkeypatch.setattr(nlsocket, "SO_SNDBUFFORCE", socket.SO_BROADCAST)
    monkeypatch.setattr(nlsocket, "SO_RCVBUFFORCE", socket.SO_BROADCAST)
    with Netlink(receive_buffer=1 << 14) as sock, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, nlsocket.NETFILTER) as plain:
        # Not read from net.core.wmem_max, which older kernels show in the first network namespace only.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, nlsocket.SEND_BUFFER)
        allowed = plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert sock._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == allowed == sock.room + nlsocket.SEND_OVERHEAD
        assert sock._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 1 << 15
