# SPDX-License-Identifier: GPL-2.0-or-later
"""Who was meant to get each packet, and who got it.

Packets are recognised by the part of them that no NAT rewrites, so a copy is noticed on whatever host it turns up.
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.lab.packets import PROTO_ESP, PROTO_GRE, PROTO_UDP, Captured

if TYPE_CHECKING:
    from tests.lab.host import Host


@dataclass
class Entry:
    """One packet that was sent. delivered: how often its owner could use it; copies: the hosts that got it besides."""

    kind: str
    source: str
    owner: str
    delivered: int = 0
    copies: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """What became of a group of packets; `str()` is the sentence that the scenarios print."""

    sent: int = 0
    delivered: int = 0
    copies: int = 0
    repeated: int = 0
    wrong: int = 0

    @property
    def lost(self) -> int:
        """Sent, and never usable by the owner."""
        return self.sent - self.delivered

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.sent + other.sent, self.delivered + other.delivered, self.copies + other.copies,
                     self.repeated + other.repeated, self.wrong + other.wrong)

    def __str__(self) -> str:
        parts = [f"{self.delivered}/{self.sent} delivered"]
        for name in ("lost", "copies", "wrong", "repeated"):
            if value := getattr(self, name):
                parts.append(f"{value} {'only to the wrong host' if name == 'wrong' else name}")
        return ", ".join(parts)


class Ledger:
    """Every packet of every peer of one lab."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._serial = itertools.count(1)

    def content(self, size: int) -> bytes:
        """At least `size` bytes that no other packet of this lab has."""
        return (b"lab %d " % next(self._serial)).ljust(size, b".")

    def sent(self, key: bytes, kind: str, source: str, owner: str) -> Entry:
        """Notes a packet that is about to be sent; key: its bytes that no NAT rewrites."""
        assert key not in self.entries, "two packets of one content cannot be told apart"
        entry = Entry(kind, source, owner)
        self.entries[key] = entry
        return entry

    def used(self, key: bytes, host: str) -> bool:
        """Notes that a host could use a packet (it holds the keys, the call, the session); whether it was meant for it."""
        entry = self.entries.get(key)
        if entry is None or entry.owner != host:
            return False
        entry.delivered += 1
        return True

    def watch(self, host: Host) -> None:
        """Notes copies that turn up on a host which does not own them."""
        def observe(packet: Captured) -> None:
            entry = self.entries.get(invariant(packet))
            if entry is not None and entry.owner != host.name and entry.source != host.name:
                entry.copies.append(host.name)

        host.on_packet.append(observe)

    def mark(self) -> int:
        """A place in the ledger, for `tally(since=...)`."""
        return len(self.entries)

    def tally(self, since: int = 0, kind: str = "", source: str = "", owner: str = "") -> Tally:
        """What became of the packets from a mark on; empty selectors mean all."""
        result = Tally()
        for entry in list(self.entries.values())[since:]:
            if (kind and entry.kind != kind) or (source and entry.source != source) or (owner and entry.owner != owner):
                continue
            result.sent += 1
            result.delivered += bool(entry.delivered)
            result.repeated += max(0, entry.delivered - 1)
            result.copies += len(entry.copies)
            result.wrong += bool(entry.copies and not entry.delivered)
        return result


def invariant(packet: Captured) -> bytes:
    """The part of a packet by which the ledger knows it; empty for what no peer sends."""
    body = packet.payload
    if packet.proto == PROTO_ESP:
        return body
    if packet.proto == PROTO_GRE:
        return gre_payload(body)
    if packet.proto == PROTO_UDP:
        return l2tp_payload(body[8:]) if 1701 in packet.ports or 40000 in packet.ports else body[8:]
    return b""


def gre_payload(body: bytes) -> bytes:
    """The PPP frame in a GRE version 1 packet (RFC 2637 section 4.1): the call ID before it may be rewritten."""
    if len(body) < 8 or body[1] & 7 != 1:
        return body
    return body[8 + 4 * bool(body[0] & 0x10) + 4 * bool(body[1] & 0x80):]


def l2tp_payload(body: bytes) -> bytes:
    """What follows the header of an L2TP version 2 message (RFC 2661 section 3.1): its IDs are no payload."""
    if len(body) < 6:
        return body
    return body[6 + 2 * bool(body[0] & 0x40) + 4 * bool(body[0] & 0x08):]
