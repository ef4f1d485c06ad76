# SPDX-License-Identifier: GPL-2.0-or-later
"""A NETLINK_NETFILTER socket: requests, dumps, transactions, notifications. What they are about is in netlink.py.

The kernel handles a netfilter request inside send(): its answers are queued when send() returns. So nothing here waits,
apart from a dump that the kernel is still writing.
"""
from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import struct

from ..record import Record
from ..wire import netlink as nl
from ..wire import nftables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

# include/uapi/linux/netlink.h, asm-generic/socket.h, netfilter/nfnetlink.h
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 1, 10, 11
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SO_ATTACH_FILTER = 26
GROUP_NFTABLES = 7

DATAGRAM_MAX = 0x10000
SEND_BUFFER = 1 << 18
TIMEOUT_MS = 5000
DUMP_TRIES = 8
PENDING_MAX = 4096


class NetlinkError(OSError):
    """The kernel refused. errno: its reason; strerror: its words, if any; index: which request of a transaction (from 0)."""

    def __init__(self, code: int, text: str = "", index: int | None = None) -> None:
        super().__init__(code, text or os.strerror(code))
        self.index = index


class Overrun(Record):
    """Notifications were lost (the socket's buffer was full): whoever mirrors kernel state must read it again."""

    __slots__ = ()


class Netlink:
    """A NETLINK_NETFILTER socket. groups: multicast groups to join; receive_buffer: bytes, for a socket that joins some.

    One socket may both ask and listen (what arrives between is kept for `receive`), but an overrun then loses answers too
    (ENOBUFS): two sockets are better. Who listens hears of its own nf_tables changes too: compare `Change.port`.
    Raises NetlinkError from everything that asks the kernel for something.
    """

    def __init__(self, groups: Iterable[int] = (), receive_buffer: int = 0) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._seq = 0
        self._pending: list[nl.Message | Overrun] = []
        self._listens = False
        self.malformed = 0  # datagrams of the kernel's that held no message
        self.can_destroy: bool | None = None  # DESTROYSETELEM: None until tried
        self._socket.bind((0, 0))
        self.port: int = self._socket.getsockname()[0]
        self._option(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._option(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._buffer(SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER)
        if receive_buffer:
            self._buffer(SO_RCVBUFFORCE, socket.SO_RCVBUF, receive_buffer)
        for group in groups:
            self.subscribe(group)

    def _option(self, level: int, name: int, value: int) -> bool:
        try:
            self._socket.setsockopt(level, name, value)
        except OSError:
            return False
        return True

    def _buffer(self, forced: int, allowed: int, size: int) -> None:
        if not self._option(socket.SOL_SOCKET, forced, size):
            self._option(socket.SOL_SOCKET, allowed, size)

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
        """Of what arrives keep only what this classic BPF program lets pass: struct sock_filter, 8 bytes each."""
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
            before = len(found)
            found += nl.messages(datagram)
            self.malformed += len(found) == before
        return found

    def _datagram(self) -> bytes | None:
        """One datagram of the kernel's; None if there is none. Raises OSError, with ENOBUFS for lost or cut ones."""
        while True:
            try:
                data, _ancillary, flags, sender = self._socket.recvmsg(DATAGRAM_MAX)
            except BlockingIOError:
                return None
            if sender[0] != 0:
                continue
            if flags & socket.MSG_TRUNC:
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
            if error.errno != errno.EMSGSIZE or len(packed) < SEND_BUFFER:
                raise NetlinkError(error.errno or errno.EIO) from None
            self._send_large(packed)

    def _send_large(self, packed: bytes) -> None:
        self._buffer(SO_SNDBUFFORCE, socket.SO_SNDBUF, len(packed) + 4096)
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
        """Feed answers to sequence numbers first..last to `done` until it returns True, or unless wait, until none is left."""
        lost = False
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
                if not self._poll.poll(0 if lost else TIMEOUT_MS):
                    raise NetlinkError(errno.ENOBUFS if lost else errno.ETIMEDOUT)
                continue
            finished = False
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

    def dump(self, packed: bytes, each: Callable[[nl.Message], None], restart: Callable[[], None]) -> None:
        """Send a dump request, call `each` per message. When the kernel says that things changed under way, `restart` and again.

        Raises NetlinkError EINTR if it never comes to rest.
        """
        for _ in range(DUMP_TRIES):
            seq = self._next_seq()
            ends: list[nl.Ack] = []
            torn = False

            def done(message: nl.Message, ends: list[nl.Ack] = ends) -> bool:
                nonlocal torn
                torn = torn or bool(message.flags & nl.DUMP_INTR)
                ack = nl.acknowledgement(message)
                if ack is None:
                    each(message)
                else:
                    ends.append(ack)
                return ack is not None

            self._send(nl.with_sequence(packed, seq))
            self._replies(seq, seq, done, wait=True)
            if ends[0].errno and ends[0].errno not in (errno.EINTR, errno.EAGAIN):
                raise NetlinkError(ends[0].errno, ends[0].text)
            if not torn and not ends[0].errno:
                return
            restart()
        raise NetlinkError(errno.EINTR, "the dump was interrupted by changes again and again")

    def transaction(self, requests: Iterable[bytes], generation: int | None = None) -> None:
        """Send nf_tables requests as one transaction: all or nothing. Raises NetlinkError with the first refused one's index.

        generation: see `nftables.batch`; ERESTART if somebody else has changed the ruleset since.
        """
        packed = nftables.batch(requests, generation)
        if len(packed) == 2:
            return
        first = self._next_seq(len(packed))
        errors: list[NetlinkError] = []

        def done(message: nl.Message) -> bool:
            ack = nl.acknowledgement(message)
            if ack is None:
                self._set_aside(message)  # a notification of our own change has our sequence number
            elif ack.errno:
                index = message.seq - first - 1
                errors.append(NetlinkError(ack.errno, ack.text, index if 0 <= index < len(packed) - 2 else None))
            return False

        self._send(b"".join(nl.with_sequence(one, first + at) for at, one in enumerate(packed)))
        self._replies(first, first + len(packed) - 1, done, wait=False)
        if errors:
            raise errors[0]


def dump(protocol: int, packed: bytes) -> list[nl.Message]:
    """What a dump request answers on a socket of another netlink protocol; as much of it as came, where the kernel refuses or is slow."""
    found: list[nl.Message] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.settimeout(1.0)
        sock.send(packed)
        while True:
            for message in nl.messages(sock.recv(DATAGRAM_MAX)):
                if nl.acknowledgement(message) is not None:
                    return found
                found.append(message)
    return found
