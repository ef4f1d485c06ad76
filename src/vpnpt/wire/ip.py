# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4 and UDP, as far as a demultiplexer needs them. Pure; cut or hostile input gives None.

Sources: RFC 791 section 3.1, RFC 768. A payload may be shorter than the length in its header (a capture's snaplen), never longer.
"""
from __future__ import annotations

import struct

from ..record import Record

UDP = 17

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_UDP = struct.Struct(">HHHH")


class Ipv4(Record):
    """An IPv4 packet. src, dst: 4 bytes. fragment: offset in bytes, 0 of a first or only one; more: further ones follow.

    header: length in bytes, options included, 20..60; length: of the whole packet, as its header has it.
    """

    __slots__ = ("src", "dst", "proto", "ttl", "ident", "fragment", "more", "header", "length", "payload")

    def __init__(self, src: bytes, dst: bytes, proto: int, ttl: int, ident: int, fragment: int, more: bool, header: int,
                 length: int, payload: bytes) -> None:
        self.src = src
        self.dst = dst
        self.proto = proto
        self.ttl = ttl
        self.ident = ident
        self.fragment = fragment
        self.more = more
        self.header = header
        self.length = length
        self.payload = payload


class Udp(Record):
    """A UDP datagram; length: as its header has it, header included."""

    __slots__ = ("sport", "dport", "length", "payload")

    def __init__(self, sport: int, dport: int, length: int, payload: bytes) -> None:
        self.sport = sport
        self.dport = dport
        self.length = length
        self.payload = payload


def parse_ipv4(data: bytes) -> Ipv4 | None:
    """The IPv4 packet at the start of these bytes. Checksums are not looked at: the kernel has done that."""
    if len(data) < _IPV4.size:
        return None
    first, _tos, length, ident, fragment, ttl, proto, _check, src, dst = _IPV4.unpack_from(data)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20 or length < header or len(data) < header:
        return None
    return Ipv4(src, dst, proto, ttl, ident, (fragment & 0x1FFF) * 8, bool(fragment & 0x2000), header, length,
                data[header:length])


def parse_udp(payload: bytes) -> Udp | None:
    """A UDP datagram: the payload of an unfragmented packet or of a first fragment."""
    if len(payload) < _UDP.size:
        return None
    sport, dport, length, _check = _UDP.unpack_from(payload)
    return Udp(sport, dport, length, payload[8:length]) if length >= 8 else None
