# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rules tell the daemon: log statements, each with a prefix that says what was seen, each rate-limited in the kernel.

On the slow path the logged packet's IP ID holds its client's zone. Where the daemon may have to deliver a packet itself, the whole
packet is logged, to a group of its own; all others carry headers only.
"""

from __future__ import annotations

from ..model import Said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .text import Table

GROUP = 9107
GROUP_WHOLE = 9108
GROUP_SPILLED = 9109
"""Whole packets of SPIs that are in use: a flood of unknown ones can't fill this group's buffer."""
ASKS_MAC_RATE = "1000/second burst 1500 packets"
"""Packets a second of one Ethernet address, of all its clients, that the daemon is told of: half of what all may have together."""
HEADERS = 96
"""Bytes of a packet that a notice carries: IPv4 or IPv6, UDP and IKE headers."""

PAIRED = "PAIRED"
SPI_OUT = "SPI-OUT"
SPI_TAKEN = "SPI-TAKEN"
SAME_SPI = "SAME-SPI"
SHARED = "SHARED"
FANNED = "FANNED"
EXCHANGE = "EXCHANGE"
LEARNED = "LEARNED"
ANSWERED = "ANSWERED"
REFUSED = "REFUSED"
AH = "AH"
FULL = "FULL"
L2TP = "L2TP"
L2TP_HELD = "L2TP-HELD"
L2TP_PASSED = "L2TP-PASSED"
L2TP_MOVED = "L2TP-MOVED"
L2TP_ALL = (L2TP, L2TP_HELD, L2TP_PASSED, L2TP_MOVED)

WHY = {"BLOCKED": Said("it is switched off"), "SOURCE": Said("this client is not in allow_src"),
       "DENIED": Said("this client is in deny_src")}
"""What the third word of a REFUSED notice means."""


def add_teller(table: Table, name: str, prefix: str, meter: str, key: str, rate: str, group: int = 0, *, mac_rate: str = "") -> str:
    """The chain `tell_NAME` that tells the daemon of a packet, at most `rate` for each `key` (in a meter): nobody drowns the notices about
    others. group: the whole packet to that group, else headers only. mac_rate: for each Ethernet address as well (meter METER_mac), as a
    host may speak under many addresses. Returns the chain's name."""
    chain = table.chain(f"tell_{name}")
    chain.rule(f"update @{meter} {{ {key} limit rate over {rate} }} return", "enough of this one")
    if mac_rate:
        chain.rule(f"update @{meter}_mac {{ ether saddr limit rate over {mac_rate} }} return", "enough of this Ethernet address")
    limit = "2000/second burst 2000 packets"
    chain.rule(whole(prefix, limit, group) if group else notice(prefix, limit), "tell the daemon")
    return chain.name


def notice(prefix: str, rate: str = "100/second burst 200 packets") -> str:
    """A statement that tells the daemon of a packet, headers only."""
    return f'limit rate {rate} log prefix "{prefix}" group {GROUP} snaplen {HEADERS}'


def whole(prefix: str, rate: str, group: int = GROUP_WHOLE) -> str:
    """A statement that gives the daemon the whole packet."""
    return f'limit rate {rate} log prefix "{prefix}" group {group}'
