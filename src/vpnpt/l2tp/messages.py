# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel told us of L2TP, decoded, and what we want done: input and output of the engine in l2tp.py.

Addresses are bytes as on the wire, ports and IDs numbers.
"""

from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    Field = bytes | int
    Key = tuple[str, *tuple[Field, ...]]
    Value = tuple[Field, ...]


class Requested(Record):
    """A client's SCCRQ: it wants its tunnel to be called `tunnel`. port: its own UDP port; remote: the server's."""

    __slots__ = ("server", "client", "port", "remote", "tunnel")
    server: bytes
    client: bytes
    port: int
    remote: int
    tunnel: int


class Opened(Record):
    """A client named a session of its own (0: none), in a tunnel that the server calls `peer`."""

    __slots__ = ("server", "client", "port", "peer", "session")
    server: bytes
    client: bytes
    port: int
    peer: int
    session: int


class Stopped(Record):
    """A client's StopCCN (client and port are its own) or the server's (client is b'', port the one on the WAN)."""

    __slots__ = ("server", "client", "port", "tunnel", "peer")
    server: bytes
    client: bytes
    port: int
    tunnel: int
    peer: int


class Located(Record):
    """The answer to Locate: the port that a flow has on the WAN, None if conntrack has no such flow, or does not translate it."""

    __slots__ = ("server", "client", "port", "nat")
    server: bytes
    client: bytes
    port: int
    nat: int | None


class Moved(Record):
    """The server answers from its port `remote` what came from port `nat` of the router."""

    __slots__ = ("server", "nat", "remote")
    server: bytes
    nat: int
    remote: int


class Unclear(Record):
    """A packet of a server that the kernel could not place: tunnel and session of its header, message and peer (the server's own
    tunnel ID) of a control message. nat: the port it came to. passed: whoever has that port got it already."""

    __slots__ = ("server", "tunnel", "session", "message", "peer", "nat", "passed", "packet")
    server: bytes
    tunnel: int
    session: int
    message: int | None
    peer: int | None
    nat: int
    passed: bool
    packet: bytes


class Found(Record):
    """In the kernel's maps at our start: a tunnel and its client's flow. remote: the server's port."""

    __slots__ = ("server", "client", "port", "remote", "nat", "tunnel", "sessions")
    remote: int
    server: bytes
    client: bytes
    port: int
    nat: int
    tunnel: int
    sessions: tuple[int, ...]


class Tick(Record):
    """A deadline has come."""

    __slots__ = ()


class Lost(Record):
    """The kernel's maps may lack what was put there."""

    __slots__ = ()


class Locate(Record):
    """Which port has this flow on the WAN? remote: the server's port."""

    __slots__ = ("server", "client", "port", "remote")
    server: bytes
    client: bytes
    port: int
    remote: int


class Put(Record):
    """An element into the kernel's collection `key[0]`, new or instead of what is there; value () for a set. Addresses are bytes,
    ports and IDs numbers."""

    __slots__ = ("key", "value")
    key: Key
    value: Value


class Remove(Record):
    """The elements with these keys out of the kernel."""

    __slots__ = ("keys",)
    keys: tuple[Key, ...]


class Deliver(Record):
    """This packet of a server, to these ports of the router."""

    __slots__ = ("packet", "ports")
    packet: bytes
    ports: tuple[int, ...]


class Say(Record):
    """A line for the log about these clients."""

    __slots__ = ("level", "code", "text", "server", "clients")
    level: str
    code: str
    text: str
    server: bytes
    clients: tuple[bytes, ...]


if TYPE_CHECKING:
    Event = Requested | Opened | Stopped | Located | Moved | Unclear | Found | Lost | Tick
    Action = Locate | Put | Remove | Deliver | Say
