# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way of established ESP: `table netdev vpnpt`, and the witness that says which packets the long way lets out.

A hook at a device's ingress looks an established key up, rewrites the address that NAT would, and hands the packet to the next hop
(`fwd`: it lowers the TTL and resolves the neighbour). Routing, conntrack, NAT and the firewall are skipped. docs/OFFLOAD.md says what
takes this way, what never does, and why it is safe.
"""
from __future__ import annotations

from ..record import Record
from .maps import FAST, SPI
from .text import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PRIORITY = 10
"""After the flow table's 0: what is offloaded there never comes here."""
SAMPLE = "limit rate over 1/second burst 1 packets"
"""In every element. One packet a second finds no rule: it takes the long way, so that conntrack, sessions, our own maps and the firewall
go on seeing the tunnel."""
LIFE = 600
"""Seconds that an element lives at most; the daemon renews it. The last resort, if both the daemon and its guard are gone."""
SIZE = 65536
SEEN = "vpnpt_seen"
"""The witness' table, of family ip."""
WAYS_MAX = 8
"""Rules that an ESP packet may pass, at most."""

_PLAIN = "@nh,0,8 0x45 @nh,48,16 & 0x3fff == 0 @nh,64,8 > 1"
"""No options, no fragment, a TTL that may be lowered. (Two raw tests for inequality side by side would be merged by nft 1.0.6.)"""


class Way(Record):
    """From one device to another. gateway: the next hop as text, '' where the destination itself is it. mtu: of the target, in bytes.

    outbound: from inside; then the source is rewritten, else the destination.
    """

    __slots__ = ("source", "target", "gateway", "mtu", "outbound")
    source: str
    target: str
    gateway: str
    mtu: int
    outbound: bool


def render(ways: Iterable[Way]) -> str:
    """The table's text, which replaces what is there. Map number N belongs to way number N: addresses and SPI to the new address.

    A device's name stands for its index when the text is loaded: a device that was made anew needs it loaded anew. A device that is missing
    fails the whole transaction.
    """
    ways = list(ways)
    lines = [f"table netdev {TABLE} {{\n}}", f"delete table netdev {TABLE}", f"table netdev {TABLE} {{"]
    for number, way in enumerate(ways):
        lines += [f"\tmap {name(number)} {{", f'\t\tcomment "vpnpt: {way.source} to {way.target}: the new address"',
                  f"\t\ttypeof {FAST} : ip saddr",
                  f"\t\tsize {SIZE}", "\t\tflags dynamic,timeout", f"\t\ttimeout {LIFE}s", f"\t\t{SAMPLE} counter", "\t}"]
    lines += ["\tset changed {", '\t\tcomment "vpnpt: addresses that only a rewritten packet has"', "\t\ttypeof ip saddr . ip daddr",
              f"\t\tsize {SIZE}", "\t\tflags dynamic,timeout", f"\t\ttimeout {LIFE}s", "\t}"]
    for number, device in enumerate(dict.fromkeys(way.source for way in ways)):
        lines += [f"\tchain from{number} {{", f'\t\ttype filter hook ingress device "{device}" priority {PRIORITY}; policy accept;',
                  *(f'\t\t{text} comment "vpnpt: {comment}"' for text, comment in _rules(device, ways)), "\t}"]
    return "\n".join([*lines, "}", ""])


def name(number: int) -> str:
    """The map of a way."""
    return f"way{number}"


def _rules(device: str, ways: list[Way]) -> list[tuple[str, str]]:
    rules = [("@nh,72,8 != 50 accept", "not ESP: one comparison")]
    own = [(number, way) for number, way in enumerate(ways) if way.source == device]
    for number, way in own:
        which, gateway = ("saddr", way.gateway or "ip daddr") if way.outbound else ("daddr", "ip daddr")
        rules.append((f"{_PLAIN} @nh,16,16 <= {way.mtu} meta protocol ip meta pkttype host @th,32,32 != 1 "
                      f'ip {which} set {FAST} map @{name(number)} fwd ip to {gateway} device "{way.target}"',
                      f"established, to {way.target}"))
    # Without a device `fwd` does nothing and the next rule comes: the packet has its new address, and nowhere to go.
    rules.append(("ip saddr . ip daddr @changed drop", "rewritten, and the device is gone"))
    # An SA with an SPI that somebody has already: until the daemon knows, nothing of it takes the short way.
    rules += [(f"@th,32,32 1 delete @{name(number)} {{ {FAST} : ip daddr }}", "an SA begins anew: two clients may have chosen one SPI")
              for number, way in own if not way.outbound]
    return rules


def witness() -> str:
    """The witness' table, asleep: woken, it remembers what leaves by which device, after NAT and every filter."""
    return "\n".join([
        f"table ip {SEEN} {{\n}}", f"delete table ip {SEEN}", f"table ip {SEEN} {{", "\tflags dormant", "\tset left {",
        '\t\tcomment "vpnpt: ESP that the long way lets out"', f"\t\ttypeof ip saddr . ip daddr . {SPI} . meta oif", f"\t\tsize {SIZE}",
        "\t\tflags dynamic,timeout", "\t\ttimeout 60s", "\t\tcounter", "\t}", "\tchain after {",
        "\t\ttype filter hook postrouting priority 300; policy accept;",
        f'\t\tip protocol esp meta iif != 0 update @left {{ ip saddr . ip daddr . {SPI} . meta oif }} comment "vpnpt: it passed"',
        "\t}", "}", ""])
