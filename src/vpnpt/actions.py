"""What the engine wants done: its output. Addresses and SPIs are bytes as on the wire."""

from __future__ import annotations

from .model import Record


class Assign(Record):
    """This inbound SPI is this client's: the kernel delivers to it alone. credit: it was what the client waited for."""

    __slots__ = ("server", "spi", "client", "credit")
    DEFAULTS = {"credit": True}
    server: bytes
    spi: bytes
    client: bytes
    credit: bool


class Fan(Record):
    """Every packet with this inbound SPI goes to all of these clients, by the kernel (at most 8)."""

    __slots__ = ("server", "spi", "clients")
    server: bytes
    spi: bytes
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


class Say(Record):
    """A line for the log."""

    __slots__ = ("level", "code", "text")
    level: str
    code: str
    text: str


TYPE_CHECKING = False
if TYPE_CHECKING:
    Action = Assign | Fan | Forget | Deliver | Say
