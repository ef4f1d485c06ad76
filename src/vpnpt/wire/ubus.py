# SPDX-License-Identifier: GPL-2.0-or-later
"""ubus: messages as ubusd speaks them, and blobmsg, the typed JSON within them. Pure.

Source: ubus's ubusmsg.h, libubox's blob.h and blobmsg.h; every number is big-endian, every attribute padded to four bytes.
Our own code, because python-ubus refuses a call with an argument that the method does not name, and every call through LuCI has
one more (`ubus_rpc_session`, from uhttpd).
"""
from __future__ import annotations

import struct

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# enum ubus_msg_type
HELLO, STATUS, DATA, PING, LOOKUP, INVOKE, ADD_OBJECT = range(7)
# enum ubus_msg_attr
ATTR_STATUS, ATTR_OBJPATH, ATTR_OBJID, ATTR_METHOD, ATTR_OBJTYPE, ATTR_SIGNATURE, ATTR_DATA, ATTR_TARGET, ATTR_ACTIVE, ATTR_NO_REPLY = (
    range(1, 11))
# enum ubus_msg_status
OK, INVALID_ARGUMENT, METHOD_NOT_FOUND, UNKNOWN_ERROR = 0, 2, 3, 9
EVENT_OBJECT = 1
"""ubusd's own object that forwards events (UBUS_SYSTEM_OBJECT_EVENT)."""
MAX_MESSAGE = 1 << 20
"""The most bytes of attributes in a message; ubusd disconnects a client that sends more (UBUS_MAX_MSGLEN)."""

# enum blobmsg_type
ARRAY, TABLE, STRING, INT64, INT32, INT16, INT8, DOUBLE = range(1, 9)
_INTEGERS = {INT64: ">q", INT32: ">i", INT16: ">h"}
_HEADER = struct.Struct(">BBHI")
_WORD = struct.Struct(">I")
_EXTENDED = 0x80000000
_DEPTH = 16


class Malformed(ValueError):
    """These bytes are no ubus message, so it can't be known where the next one begins."""


class Message(Record):
    """A message. peer: sender or receiver (0: ubusd). seq: the same in a request and its answers. attrs: attributes by number."""

    __slots__ = ("type", "seq", "peer", "attrs")
    type: int
    seq: int
    peer: int
    attrs: dict[int, bytes]

    def number(self, attr: int) -> int | None:
        """An attribute that is a 32-bit number; None if it is not there."""
        data = self.attrs.get(attr, b"")
        return int.from_bytes(data, "big") if len(data) == 4 else None

    def text(self, attr: int) -> str | None:
        """An attribute that is a string; None if it is not there."""
        data = self.attrs.get(attr)
        return None if data is None else data.rstrip(b"\0").decode("utf-8", "replace")


def split(buffer: bytearray) -> Iterator[Message]:
    """Takes whole messages off the buffer's front. Raises Malformed."""
    while len(buffer) >= 12:
        version, kind, seq, peer = _HEADER.unpack_from(buffer)
        length = _WORD.unpack_from(buffer, 8)[0] & 0xFFFFFF
        if version or not 4 <= length <= MAX_MESSAGE:
            raise Malformed
        end = 8 + (length + 3 & ~3)
        if len(buffer) < end:
            return
        attrs = {word >> 24 & 0x7F: data for word, data in _attributes(bytes(buffer[12:8 + length]))}
        del buffer[:end]
        yield Message(type=kind, seq=seq, peer=peer, attrs=attrs)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(first word, content) of each attribute; stops at a length that does not fit."""
    at = 0
    while at + 4 <= len(data):
        word = _WORD.unpack_from(data, at)[0]
        length = word & 0xFFFFFF
        if length < 4 or at + length > len(data):
            return
        yield word, data[at + 4:at + length]
        at += length + 3 & ~3


def _attribute(word: int, content: bytes) -> bytes:
    return _WORD.pack(word | len(content) + 4) + content + bytes(-len(content) % 4)


def message(kind: int, seq: int, peer: int, *attrs: bytes) -> bytes:
    """A whole message of attributes made by the functions below."""
    return _HEADER.pack(0, kind, seq, peer) + _attribute(0, b"".join(attrs))


def number(attr: int, value: int) -> bytes:
    """An attribute that is a 32-bit number."""
    return _attribute(attr << 24, _WORD.pack(value))


def text(attr: int, value: str) -> bytes:
    """An attribute that is a string."""
    return _attribute(attr << 24, _string(value))


def table(attr: int, value: Mapping[str, Any]) -> bytes:
    """An attribute that holds an object as JSON knows it."""
    return _attribute(attr << 24, _fields(value))


def _string(value: str) -> bytes:
    return value.replace("\0", "").encode("utf-8", "replace") + b"\0"


def _fields(value: Mapping[str, Any]) -> bytes:
    return b"".join(_field(name, item) for name, item in value.items())


def _field(name: str, value: Any) -> bytes:
    """A named value, as blobmsg_add_json_element chooses its type."""
    kind, content = 0, b""
    if isinstance(value, bool):
        kind, content = INT8, bytes([value])
    elif isinstance(value, int):
        kind = INT32 if -1 << 31 <= value < 1 << 31 else INT64
        content = struct.pack(_INTEGERS[kind], value)
    elif isinstance(value, float):
        kind, content = DOUBLE, struct.pack(">d", value)
    elif isinstance(value, str):
        kind, content = STRING, _string(value)
    elif isinstance(value, dict):
        kind, content = TABLE, _fields(value)
    elif isinstance(value, (list, tuple)):
        kind, content = ARRAY, b"".join(_field("", item) for item in value)
    elif value is not None:
        raise TypeError(f"{type(value).__name__} is nothing that JSON knows")
    label = name.encode("utf-8", "replace")
    header = struct.pack(">H", len(label)) + label + b"\0"
    return _attribute(_EXTENDED | kind << 24, header + bytes(-len(header) % 4) + content)


def decode_table(data: bytes) -> dict[str, Any]:
    """Decodes what `table` encodes; a value that can't be read is left out."""
    return dict(_decode(data, 0))


def _decode(data: bytes, depth: int) -> Iterator[tuple[str, Any]]:
    for word, content in _attributes(data):
        if not word & _EXTENDED or len(content) < 3 or depth > _DEPTH:
            continue
        length = int.from_bytes(content[:2], "big")
        name, value, kind = content[2:2 + length].decode("utf-8", "replace"), content[3 + length + 3 & ~3:], word >> 24 & 0x7F
        if kind == TABLE:
            yield name, dict(_decode(value, depth + 1))
        elif kind == ARRAY:
            yield name, [item for _, item in _decode(value, depth + 1)]
        elif kind == STRING:
            yield name, value.rstrip(b"\0").decode("utf-8", "replace")
        elif kind == INT8 and value:
            yield name, bool(value[0])
        elif kind in _INTEGERS and len(value) >= struct.calcsize(_INTEGERS[kind]):
            yield name, struct.unpack_from(_INTEGERS[kind], value)[0]
        elif kind == DOUBLE and len(value) >= 8:
            yield name, struct.unpack(">d", value[:8])[0]
        elif kind == 0:
            yield name, None
