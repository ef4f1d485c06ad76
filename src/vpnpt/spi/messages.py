# SPDX-License-Identifier: GPL-2.0-or-later
"""Events (what the kernel told us, decoded) and actions (what the engine wants done).

Addresses and SPIs are bytes as on the wire, times seconds.
"""

from __future__ import annotations

from ..record import Record


class Paired(Record):
    """A client's first flow to a server passed the firewall, or the kernel was found to know the pair.

    heard: it knows of an SPI or an IKE SA of theirs. ike: of an IKE SA. speaks: the flow is ESP: its first
    packet, of which no SpiOut tells.
    """

    __slots__ = ("server", "client", "heard", "ike", "speaks")
    DEFAULTS = {"heard": False, "ike": False, "speaks": False}
    server: bytes
    client: bytes
    heard: bool
    ike: bool
    speaks: bool


class SpiOut(Record):
    """A client used an outbound SPI that has not been answered yet. sequence: ESP's, size: of the whole packet, in bytes; 0: not known."""

    __slots__ = ("server", "client", "spi", "sequence", "size")
    DEFAULTS = {"sequence": 0, "size": 0}
    server: bytes
    client: bytes
    spi: bytes
    sequence: int
    size: int


class SpiTaken(Record):
    """The kernel gave a new inbound SPI to a client by itself: it was the only one that could be meant.

    packet: the whole IP packet where the server has several clients, for those that the kernel did not know to wait; else b''.
    """

    __slots__ = ("server", "client", "spi", "packet")
    DEFAULTS = {"packet": b""}
    server: bytes
    client: bytes
    spi: bytes
    packet: bytes


class SpiMoved(Record):
    """`client` sends with an outbound SPI that was `owner`'s, whose inbound SPI `spi` is: its address seems to be another one now."""

    __slots__ = ("server", "spi", "owner", "client", "outbound")
    server: bytes
    spi: bytes
    owner: bytes
    client: bytes
    outbound: bytes


class SpiShared(Record):
    """An ESP packet with an SPI that nobody knows, of a server with several clients.

    waiting: clients that the kernel has seen to wait for a new SPI of this server, of those that the engine asked for; None: not asked
    yet. copied: clients that the kernel itself gave a copy. packet: the whole IP packet where the kernel could not reach everybody,
    else b''. sequence: ESP's. same: the SPI was somebody's already, and began anew with sequence number 1: two clients chose the same
    one, or the packet was repeated. owner: whose it was; of another SPI, who got it without having asked while there was no other client.
    size: of the whole packet, in bytes, 0 if it is not known.
    """

    __slots__ = ("server", "spi", "sequence", "waiting", "copied", "packet", "same", "owner", "size")
    DEFAULTS = {"packet": b"", "same": False, "owner": None, "size": 0}
    server: bytes
    spi: bytes
    sequence: int
    waiting: frozenset[bytes] | None
    copied: frozenset[bytes]
    packet: bytes
    same: bool
    owner: bytes | None
    size: int


class Counted(Record):
    """The kernel's counters, read because its notices are too many: packets of each open SPI that came (by SPI), and packets with
    unanswered SPIs that each client has sent (by client). Both only grow, but where the tables were put back."""

    __slots__ = ("server", "came", "sent")
    server: bytes
    came: dict[bytes, int]
    sent: dict[bytes, int]


class Exchange(Record):
    """A message of an IKE exchange that creates SAs. message: cookie, message ID and who began, which name the exchange.

    outbound: sent by the client. auth: IKE_AUTH, of which one IKE SA may need several (EAP) for its one child. sure: it makes a child;
    CREATE_CHILD_SA may also be about the IKE SA itself (RFC 7296 1.3.2).
    """

    __slots__ = ("server", "client", "message", "outbound", "auth", "sure")
    DEFAULTS = {"auth": False, "sure": True}
    server: bytes
    client: bytes
    message: bytes
    outbound: bool
    auth: bool
    sure: bool


class RoundTrip(Record):
    """How long the first answer of a new IKE SA took: a server answers that at once, while it may compute for long on what follows."""

    __slots__ = ("server", "seconds")
    server: bytes
    seconds: float


class CookieShared(Record):
    """A packet for all clients of a server, of which nothing can be concluded. Fields as of SpiShared.

    IKE with a cookie that nobody knows; ESP of a server with which the router itself speaks IPsec.
    """

    __slots__ = ("server", "copied", "packet")
    server: bytes
    copied: frozenset[bytes]
    packet: bytes


class SpiOfRouter(Record):
    """This inbound SPI is of an SA that the router itself has."""

    __slots__ = ("server", "spi")
    server: bytes
    spi: bytes


class Fanned(Record):
    """Found in the kernel at our start: this SPI goes to all of these clients."""

    __slots__ = ("server", "spi", "clients")
    server: bytes
    spi: bytes
    clients: tuple[bytes, ...]


class Unpaired(Record):
    """A client has long had nothing to do with a server, or its address went away."""

    __slots__ = ("server", "client")
    server: bytes
    client: bytes


class Alive(Record):
    """The kernel still has these pairs (client, server), of those that `Engine.pairs` names; the others it has forgotten."""

    __slots__ = ("pairs",)
    pairs: frozenset[tuple[bytes, bytes]]


class Began(Record):
    """The kernel's tables were read again. What the kernel was told before, it may not have any more.

    pending_timeout: seconds for which the kernel remembers who waits (vpnpt.global.pending_timeout), 1..120. lost: because notices were.
    """

    __slots__ = ("pending_timeout", "lost")
    DEFAULTS = {"lost": False}
    pending_timeout: float
    lost: bool


class Tick(Record):
    """A deadline of the engine has come."""

    __slots__ = ()


class Assign(Record):
    """This inbound SPI is this client's: the kernel delivers to it alone. credit: it was what the client waited for."""

    __slots__ = ("server", "spi", "client", "credit")
    DEFAULTS = {"credit": True}
    server: bytes
    spi: bytes
    client: bytes
    credit: bool


class AssignRouter(Record):
    """This inbound SPI is the router's own: the kernel lets its packets pass untouched."""

    __slots__ = ("server", "spi")
    server: bytes
    spi: bytes


class Fan(Record):
    """Every packet with this inbound SPI goes to all of these clients, by the kernel (at most 8).

    spills: it has more candidates than that. The kernel gives the daemon whole packets, for the others.
    """

    __slots__ = ("server", "spi", "clients", "spills")
    DEFAULTS = {"spills": False}
    server: bytes
    spi: bytes
    clients: tuple[bytes, ...]
    spills: bool


class Doubt(Record):
    """May the kernel not decide alone, because a client needs an SPI of this server of which the kernel no longer knows?

    Where yes, it is said again from time to time: the kernel forgets it after an hour.
    """

    __slots__ = ("server", "yes")
    server: bytes
    yes: bool


class Ask(Record):
    """Which of these clients does the kernel know to wait for a new SPI? The event comes again, with the answer in `waiting`."""

    __slots__ = ("event", "clients")
    event: SpiShared
    clients: tuple[bytes, ...]


class Forget(Record):
    """No packet has used this SPI for long: out of the kernel's lists with it."""

    __slots__ = ("server", "spi")
    server: bytes
    spi: bytes


class Deliver(Record):
    """This very packet goes to these clients, by us: the kernel could not reach them all."""

    __slots__ = ("packet", "clients")
    packet: bytes
    clients: tuple[bytes, ...]


def deliver(packet: bytes, clients: Iterable[bytes], copied: frozenset[bytes]) -> list[Action]:
    """To those of these clients that have no copy yet, if there is a whole packet."""
    rest = tuple(client for client in clients if client not in copied)
    return [Deliver(packet=packet, clients=rest)] if packet and rest else []


class Say(Record):
    """A line for the log."""

    __slots__ = ("level", "code", "text")
    level: str
    code: str
    text: str


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Event = (Paired | SpiOut | SpiTaken | SpiMoved | SpiShared | Counted | Exchange | RoundTrip | CookieShared | SpiOfRouter | Fanned
             | Unpaired | Alive | Began | Tick)
    Action = Assign | AssignRouter | Fan | Forget | Deliver | Doubt | Ask | Say
