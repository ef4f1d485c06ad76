# SPDX-License-Identifier: GPL-2.0-or-later
"""Single packets made by hand: probes of every protocol that a firewall may let through or not, and ICMP errors."""
from __future__ import annotations

import hmac
import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

from tests.lab.packets import Captured

if TYPE_CHECKING:
    from scapy.packet import Packet

    from tests.lab.host import Host

PROTOCOLS = {"gre": 47, "gre0": 47, "esp": 50, "ah": 51, "l2tpv3": 115}
PORTS = {"ike": 500, "nat-t": 4500, "l2tp": 1701, "udp": 39999, "wireguard": 51820, "openvpn": 1194}
KINDS = (*PROTOCOLS, *PORTS)
AH_KEY = b"authentication header of the lab"
_serial = itertools.count(1)


@dataclass
class Probe:
    """One packet and how to know it again. mark: a part of it that no router changes."""

    kind: str
    packet: bytes
    mark: bytes

    def verdict(self, packet: Captured) -> str:
        """'' if it is another packet, else 'arrived', or 'changed' where its integrity check fails."""
        if self.mark not in packet.payload or packet.proto in (1, 58):
            return ""
        return "changed" if self.kind == "ah" and not ah_is_genuine(packet) else "arrived"


def probe(kind: str, source: str, destination: str, call_id: int = 7) -> Probe:
    """One packet of a kind. Raises KeyError for a kind that is not in KINDS."""
    mark = b"probe %08d of the lab" % next(_serial)
    header = IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination)
    if kind in PORTS:
        marker = bytes(4) if kind == "nat-t" else b""
        body: Packet = UDP(sport=PORTS[kind], dport=PORTS[kind]) / Raw(marker + _payload(kind, mark))
    else:
        number = PROTOCOLS[kind]
        if ":" in source:
            header.nh = number
        else:
            header.proto = number
        content = struct.pack(">BBHHH", 0x30, 1, 0x880B, len(mark), call_id) + bytes(4) + mark if kind == "gre" else \
            struct.pack(">HH", 0, 0x0800) + mark if kind == "gre0" else _payload(kind, mark)
        if kind == "ah":
            content = ah(source, destination, mark)
        body = Raw(content)
    return Probe(kind, bytes(header / body), mark)


def _payload(kind: str, mark: bytes) -> bytes:
    if kind == "esp":
        return struct.pack(">II", 0x0BAD0000 + next(_serial), 1) + mark
    if kind in ("ike", "nat-t"):
        # A header that looks like IKE_SA_INIT with a fresh cookie (RFC 7296 section 3.1).
        return struct.pack(">Q8xBBBBII", next(_serial) << 32 | 0x1AB, 33, 0x20, 34, 8, 0, 28 + len(mark)) + mark
    return mark


def ah(source: str, destination: str, payload: bytes) -> bytes:
    """An authentication header (RFC 4302 section 2) whose check covers the addresses, as a real one's does."""
    return struct.pack(">BBHII", 59, 4, 0, 0xA4, 1) + _ah_check(source, destination, payload) + payload


def _ah_check(source: str, destination: str, payload: bytes) -> bytes:
    return hmac.digest(AH_KEY, f"{source} {destination} ".encode() + payload, "sha256")[:12]


def ah_is_genuine(packet: Captured) -> bool:
    """Whether nothing that AH protects was changed on the way."""
    return hmac.compare_digest(_ah_check(packet.src, packet.dst, packet.payload[24:]), packet.payload[12:24])


def too_big(packet: Captured, sender: str, quote: str = "full") -> bytes:
    """ICMP fragmentation needed (RFC 1191) or ICMPv6 Packet Too Big about a packet, as a router on its way would send it.

    quote: 'full', or '8' for the least that RFC 792 demands.
    """
    if packet.version == 6:
        return bytes(IPv6(src=sender, dst=packet.src) / ICMPv6PacketTooBig(mtu=1280) / Raw(packet.data[:1200]))
    quoted = packet.data[:(packet.data[0] & 15) * 4 + 8] if quote == "8" else packet.data[:548]
    return bytes(IP(src=sender, dst=packet.src) / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(quoted))


def is_too_big(packet: Captured) -> bool:
    """Whether it is one of those."""
    return (packet.proto == 1 and packet.payload[:2] == b"\3\4") or (packet.proto == 58 and packet.payload[0] == 2)


def quotes(error: Captured, client: Host, server: Host) -> bool:
    """Whether an ICMP error is about a packet that this client sent to this server, with addresses as the client knows them."""
    quoted = Captured(0, error.payload[8:])
    return (quoted.src, quoted.dst) in ((client.address, server.address), (client.address6, server.address6))
