# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink framing: messages, attributes, acknowledgements. Pure; sockets are in kernel/socket.py.

Sources: include/uapi/linux/netlink.h (struct nlmsghdr, nlattr, nlmsgerr, enum nlmsgerr_attrs) and
include/uapi/linux/netfilter/nfnetlink.h (struct nfgenmsg). Headers are in host byte order; the contents of netfilter
attributes are in network byte order, which is why every packer of a number here names its order.

Nothing here raises on what came from a socket: a decoder returns None, an iterator stops, at the first broken length.
"""
from __future__ import annotations

import struct

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# nlmsg_type below 16
ERROR, DONE = 2, 3
MIN_TYPE = 0x10

# nlmsg_flags
REQUEST, MULTI, ACK, ECHO, DUMP_INTR = 0x01, 0x02, 0x04, 0x08, 0x10
DUMP = 0x300            # of a GET request: NLM_F_ROOT | NLM_F_MATCH
EXCL, CREATE = 0x200, 0x400  # of a NEW request, and of a notification
CAPPED, ACK_TLVS = 0x100, 0x200  # of an acknowledgement

# nfnetlink subsystems: the high byte of nlmsg_type
CTNETLINK, ULOG, NFTABLES = 1, 4, 10

NESTED = 0x8000
ATTRIBUTE_MAX = 0xFFFF  # nla_len is 16 bits wide, header included
TYPE_MASK = 0x3FFF      # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

HEADER = struct.Struct("=IHHII")
GENERIC = struct.Struct(">BBH")  # struct nfgenmsg; res_id is __be16
ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_PADS = (b"", b"\0\0\0", b"\0\0", b"\0")


class Message(Record):
    """One netlink message. kind: nlmsg_type; pid: the netlink port of the socket that caused it; body: all after the header."""

    __slots__ = ("kind", "flags", "seq", "pid", "body")

    def __init__(self, kind: int, flags: int, seq: int, pid: int, body: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.seq = seq
        self.pid = pid
        self.body = body


class Ack(Record):
    """The kernel's answer to a request. errno: 0 when it was done, else positive; text: the kernel's error text (NLMSGERR_ATTR_MSG), or ''.

    offset: where in the request the offending attribute begins, None where the kernel does not give it.
    """

    __slots__ = ("errno", "text", "offset")

    def __init__(self, errno: int, text: str = "", offset: int | None = None) -> None:
        self.errno = errno
        self.text = text
        self.offset = offset


def message(kind: int, flags: int, body: bytes = b"", seq: int = 0) -> bytes:
    """A message ready to send; the kernel fills in the port. seq 0 is replaced by the socket, see `with_sequence`."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, seq, 0) + body + _PADS[len(body) & 3]


def with_sequence(packed: bytes, seq: int) -> bytes:
    """A packed message with another sequence number."""
    return packed[:8] + struct.pack("=I", seq) + packed[12:]


def with_flags(packed: bytes, flags: int) -> bytes:
    """A packed message with these nlmsg_flags added."""
    merged = struct.unpack_from("=H", packed, 6)[0] | flags
    return packed[:6] + struct.pack("=H", merged) + packed[8:]


def generic(subsystem: int, operation: int, flags: int, family: int, *attrs: bytes, resource: int = 0) -> bytes:
    """A packed nfnetlink request. resource: nfgenmsg.res_id, 0..65535 (an NFLOG group, or the subsystem of a batch)."""
    return message(subsystem << 8 | operation, REQUEST | flags, GENERIC.pack(family, 0, resource) + b"".join(attrs))


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram; stops where a length is impossible."""
    at, end = 0, len(datagram)
    while end - at >= HEADER.size:
        length, kind, flags, seq, pid = HEADER.unpack_from(datagram, at)
        if length < HEADER.size or length > end - at:
            return
        yield Message(kind, flags, seq, pid, datagram[at + HEADER.size:at + length])
        at += length + 3 & ~3


def nfgenmsg(body: bytes) -> tuple[int, int, bytes] | None:
    """(family, resource, the attributes' bytes) of an nfnetlink message's body."""
    if len(body) < GENERIC.size:
        return None
    family, _version, resource = GENERIC.unpack_from(body)
    return family, resource, body[GENERIC.size:]


def attribute(kind: int, payload: bytes) -> bytes:
    """One padded attribute. Raises ValueError over 65531 bytes: only the caller can cause that, never input from a socket."""
    length = len(payload) + 4
    if length > ATTRIBUTE_MAX:
        raise ValueError(f"netlink attribute of {length} bytes")
    return ATTRIBUTE.pack(length, kind) + payload + _PADS[length & 3]


def nested(kind: int, *attrs: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attrs))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def be16(kind: int, value: int) -> bytes:
    """A __be16 attribute."""
    return attribute(kind, value.to_bytes(2, "big"))


def be32(kind: int, value: int) -> bytes:
    """A __be32 attribute."""
    return attribute(kind, value.to_bytes(4, "big"))


def be64(kind: int, value: int) -> bytes:
    """A __be64 attribute."""
    return attribute(kind, value.to_bytes(8, "big"))


def split(data: bytes) -> list[tuple[int, bytes]] | None:
    """The attributes in order, as (type without its flag bits, payload); None if one of them is cut or shorter than its header.

    The padding of the last attribute may be missing.
    """
    found = []
    at, end = 0, len(data)
    unpack = ATTRIBUTE.unpack_from
    while at < end:
        if end - at < 4:
            return None
        length, kind = unpack(data, at)
        if length < 4 or length > end - at:
            return None
        found.append((kind & TYPE_MASK, data[at + 4:at + length]))
        at += length + 3 & ~3
    return found


def attributes(data: bytes | None) -> dict[int, bytes] | None:
    """The attributes by type (the last of a type counts); None for None and for what `split` refuses."""
    pairs = split(data) if data is not None else None
    return None if pairs is None else dict(pairs)


def number(payload: bytes | None, size: int) -> int | None:
    """A big-endian unsigned number of exactly `size` bytes, else None."""
    return int.from_bytes(payload, "big") if payload is not None and len(payload) == size else None


def string(payload: bytes | None) -> str:
    """Text up to the first NUL, undecodable bytes escaped; '' for None."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "backslashreplace") if payload is not None else ""


def acknowledgement(msg: Message) -> Ack | None:
    """Decodes an NLMSG_ERROR or NLMSG_DONE message; None for other kinds and for a cut one.

    An NLMSG_DONE without an error number counts as success, as old kernels send it.
    """
    body = msg.body
    if msg.kind not in (ERROR, DONE):
        return None
    if len(body) < 4:
        return Ack(0) if msg.kind == DONE else None
    code = abs(_ERRNO.unpack_from(body)[0])
    at = 4
    if msg.kind == ERROR:
        if len(body) < 4 + HEADER.size:
            return None
        # Behind the number comes the request: its header only when capped or successful, else the whole of it.
        echoed = HEADER.size if msg.flags & CAPPED or not code else HEADER.unpack_from(body, 4)[0]
        at += max(HEADER.size, echoed) + 3 & ~3
    extended = attributes(body[at:]) if msg.flags & ACK_TLVS else None
    if extended is None:
        return Ack(code)
    offset = extended.get(2, b"")
    return Ack(code, string(extended.get(1)), struct.unpack("=I", offset)[0] if len(offset) == 4 else None)
