# SPDX-License-Identifier: GPL-2.0-or-later
"""A netlink socket of any protocol: requests, dumps, notifications. What is netfilter's own is in netfilter.py.

The kernel handles a request inside send(): its answers are queued when send() returns, and the rest of a dump follows inside each
recv(). So nothing here waits, unless the kernel is short of memory, and then for WAIT_MS at most.
"""
from __future__ import annotations

import array
import errno
import os
import select
import socket
import struct
from collections import deque

from ..record import Record
from ..wire import netlink as nl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self, TypeVar

    Found = TypeVar("Found")

# include/uapi/linux/netlink.h, asm-generic/socket.h
ROUTE, XFRM, NETFILTER = 0, 6, 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 1, 10, 11
SO_ATTACH_FILTER = 26

DATAGRAM_MAX = 0x10000
TRUNCATED = int(socket.MSG_TRUNC)
"""With the enumeration's member each datagram takes nearly twice as long."""
SEND_BUFFER = 1 << 18
SEND_OVERHEAD = 32
"""Bytes of the send buffer that a datagram can't use (netlink_sendmsg())."""
WAIT_MS = 200
DUMP_TRIES = 8
PENDING_MAX = 4096


def force_options(machine: str) -> tuple[int, int]:
    """SO_SNDBUFFORCE and SO_RCVBUFFORCE of a machine, as `uname -m` names it; Python's socket module has neither.

    Sources: asm-generic/socket.h, and asm/socket.h of mips, alpha, parisc and sparc.
    """
    if machine.startswith("mips"):
        return 31, 33
    if machine.startswith(("alpha", "parisc", "sparc")):
        return 0x100A, 0x100B
    return 32, 33


SO_SNDBUFFORCE, SO_RCVBUFFORCE = force_options(os.uname().machine)


class NetlinkError(OSError):
    """The kernel refused. errno: its reason; strerror: its words, if any; index: which request of a transaction (from 0)."""

    def __init__(self, code: int, text: str = "", index: int | None = None) -> None:
        super().__init__(code, text or os.strerror(code))
        self.index = index


class Overrun(Record):
    """Notifications were lost (the socket's buffer was full): whoever mirrors kernel state must read it again."""

    __slots__ = ()


class Socket:
    """A netlink socket. groups: multicast groups to join; receive_buffer: bytes, for a socket that joins some.

    One socket may both ask and listen (what arrives between is kept for `receive`), but an overrun then loses answers too
    (ENOBUFS): two sockets are better. Who listens hears of its own changes too: compare `port`.
    Raises NetlinkError from everything that asks the kernel for something.
    """

    def __init__(self, protocol: int, groups: Iterable[int] = (), receive_buffer: int = 0) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from None
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._seq = 0
        self._pending: list[nl.Message | Overrun] = []
        self._listens = False
        self._socket.bind((0, 0))
        self.port: int = self._socket.getsockname()[0]
        self._option(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._option(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self.room = self._buffer(SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER) - SEND_OVERHEAD
        """Bytes that one datagram may have."""
        if receive_buffer:
            self._buffer(SO_RCVBUFFORCE, socket.SO_RCVBUF, receive_buffer)
        for group in groups:
            self.subscribe(group)

    def _option(self, level: int, name: int, value: int) -> None:
        try:
            self._socket.setsockopt(level, name, value)
        except OSError:
            return

    def _buffer(self, forced: int, allowed: int, size: int) -> int:
        """Makes a buffer that large, or as large as it may become; its size then, as the kernel tells it: usually twice what was asked for.

        A kernel that does not know the forced option may take it without a word (MIPS): so the size is read back.
        """
        self._option(socket.SOL_SOCKET, forced, size)
        reached = self._socket.getsockopt(socket.SOL_SOCKET, allowed)
        if reached != 2 * size:
            self._option(socket.SOL_SOCKET, allowed, size)
            reached = self._socket.getsockopt(socket.SOL_SOCKET, allowed)
        return reached

    def fileno(self) -> int:
        """For a selector: readable when `receive` has something, unless a request has already taken it from the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; its groups are left."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def subscribe(self, group: int) -> None:
        """Join a multicast group, 1..31."""
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from None
        self._listens = True

    def attach_filter(self, program: bytes) -> None:
        """Of what arrives keep only what this classic BPF program lets pass: struct sock_filter, 8 bytes each.

        Raises NetlinkError: ENOMEM for one that is longer than net.core.optmem_max allows.
        """
        kept = array.array("B", program)
        address, _ = kept.buffer_info()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, address))
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from None

    @property
    def pending(self) -> int:
        """How many notifications a request has set aside; call `receive` for them though the socket may not be readable."""
        return len(self._pending)

    def receive(self, limit: int = 256) -> list[nl.Message | Overrun]:
        """What has arrived, at most about `limit` messages; never blocks, never raises for what is on the wire."""
        found, self._pending = self._pending, []
        while len(found) < limit:
            try:
                datagram = self._datagram()
            except OSError as error:
                found.append(Overrun())
                if error.errno != errno.ENOBUFS:
                    break
                continue
            if datagram is None:
                break
            found += nl.messages(datagram)
        return found

    def newest(self, limit: int, reads: int) -> list[nl.Message]:
        """The last datagrams that have arrived, at most `limit`, after all before them, and overruns, were thrown away unread.

        reads: of datagrams, at most. Never blocks.
        """
        kept: deque[bytes] = deque(maxlen=limit)
        for _ in range(reads):
            try:
                datagram = self._datagram()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    break
                continue
            if datagram is None:
                break
            kept.append(datagram)
        return [message for datagram in kept for message in nl.messages(datagram)]

    def _datagram(self) -> bytes | None:
        """One datagram of the kernel's; None if there is none. Raises OSError, with ENOBUFS for lost or cut ones."""
        while True:
            try:
                data, _ancillary, flags, sender = self._socket.recvmsg(DATAGRAM_MAX)
            except BlockingIOError:
                return None
            if sender[0] != 0:
                continue
            if flags & TRUNCATED:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            return data

    def _set_aside(self, message: nl.Message | Overrun) -> None:
        if not self._listens:
            return
        if len(self._pending) >= PENDING_MAX:
            self._pending = [Overrun()]
        self._pending.append(message)

    def _send(self, packed: bytes) -> None:
        try:
            self._socket.sendto(packed, (0, 0))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise NetlinkError(error.errno or errno.EIO) from None
            self._send_large(packed)

    def _send_large(self, packed: bytes) -> None:
        """Once more with a buffer for it, where we may have one. Raises NetlinkError (EMSGSIZE)."""
        self._buffer(SO_SNDBUFFORCE, socket.SO_SNDBUF, len(packed) + SEND_OVERHEAD)
        try:
            self._socket.sendto(packed, (0, 0))
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from None
        finally:
            self._buffer(SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER)

    def _next_seq(self, count: int = 1) -> int:
        if self._seq + count > 0xFFFFFFFF:
            self._seq = 0
        self._seq += count
        return self._seq - count + 1

    def _replies(self, first: int, last: int, done: Callable[[nl.Message], bool], wait: bool) -> None:
        """Feed answers to sequence numbers first..last to `done` until it returns True, or unless wait, until none is left.

        Raises NetlinkError: ETIMEDOUT when none comes within WAIT_MS, ENOBUFS when answers were lost.
        """
        lost = waited = False
        while True:
            try:
                datagram = self._datagram()
            except OSError as error:
                if error.errno != errno.ENOBUFS or not self._listens:
                    raise NetlinkError(error.errno or errno.EIO) from None
                self._set_aside(Overrun())
                lost = True
                continue
            if datagram is None:
                if not wait:
                    return
                if waited or not self._poll.poll(0 if lost else WAIT_MS):
                    raise NetlinkError(errno.ENOBUFS if lost else errno.ETIMEDOUT)
                waited = True
                continue
            finished = waited = False
            for message in nl.messages(datagram):
                if message.pid != self.port or not first <= message.seq <= last:
                    self._set_aside(message)
                elif not finished:
                    finished = done(message)
            if finished:
                return

    def request(self, packed: bytes) -> nl.Message | None:
        """Send one request. The answer, if it has one besides an acknowledgement (which need not be asked for)."""
        seq = self._next_seq()
        answers: list[nl.Message] = []
        acks: list[nl.Ack] = []

        def done(message: nl.Message) -> bool:
            ack = nl.acknowledgement(message)
            if ack is None:
                answers.append(message)
            else:
                acks.append(ack)
            return ack is not None

        self._send(nl.with_sequence(nl.with_flags(packed, nl.ACK), seq))
        self._replies(seq, seq, done, wait=True)
        if acks[0].errno:
            raise NetlinkError(acks[0].errno, acks[0].text)
        return answers[0] if answers else None

    def dump(self, packed: bytes, decode: Callable[[nl.Message], Found | None], limit: int | None = None) -> list[Found]:
        """Send a dump request: what `decode` makes of each message, unless that is None.

        limit: after so many the rest is not read, and this socket can dump no more (EBUSY).

        When the kernel says that things changed under way, all is asked again. Raises NetlinkError: EINTR if it never comes to rest.
        """
        for _ in range(DUMP_TRIES):
            seq = self._next_seq()
            found: list[Found] = []
            ends: list[nl.Ack] = []
            torn = False

            def done(message: nl.Message, found: list[Found] = found, ends: list[nl.Ack] = ends) -> bool:
                nonlocal torn
                torn = torn or bool(message.flags & nl.DUMP_INTR)
                ack = nl.acknowledgement(message)
                if ack is not None:
                    ends.append(ack)
                elif limit is None or len(found) < limit:
                    decoded = decode(message)
                    if decoded is not None:
                        found.append(decoded)
                return ack is not None or len(found) == limit

            self._send(nl.with_sequence(packed, seq))
            self._replies(seq, seq, done, wait=True)
            if not ends:
                return found
            if ends[0].errno and ends[0].errno not in (errno.EINTR, errno.EAGAIN):
                raise NetlinkError(ends[0].errno, ends[0].text)
            if not torn and not ends[0].errno:
                return found
        raise NetlinkError(errno.EINTR, "the dump was interrupted by changes again and again")


def dump(protocol: int, packed: bytes, decode: Callable[[nl.Message], Found | None]) -> list[Found]:
    """`Socket.dump` by a socket of its own. Raises NetlinkError: EPROTONOSUPPORT where the kernel has no such protocol."""
    with Socket(protocol) as sock:
        return sock.dump(packed, decode)
