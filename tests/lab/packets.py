# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets as the lab's hosts see them: enough of IPv4 and IPv6 to sort and to compare."""
from __future__ import annotations

import socket
from dataclasses import dataclass, field
from functools import cached_property

PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_GRE, PROTO_ESP, PROTO_AH, PROTO_ICMP6, PROTO_L2TP = 1, 6, 17, 47, 50, 51, 58, 115

NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 115: "L2TP"}


@dataclass
class Captured:
    """One IP packet as it arrived. time: seconds, monotonic; data: from the IP header on."""

    time: float
    data: bytes = field(repr=False)

    @cached_property
    def version(self) -> int:
        return self.data[0] >> 4

    @cached_property
    def proto(self) -> int:
        """The protocol after the IP header; IPv6 extension headers are not skipped except for a fragment header."""
        if self.version == 4:
            return self.data[9]
        return self.data[40] if self.data[6] == 44 else self.data[6]

    @cached_property
    def src(self) -> str:
        return socket.inet_ntoa(self.data[12:16]) if self.version == 4 else socket.inet_ntop(socket.AF_INET6, self.data[8:24])

    @cached_property
    def dst(self) -> str:
        return socket.inet_ntoa(self.data[16:20]) if self.version == 4 else socket.inet_ntop(socket.AF_INET6, self.data[24:40])

    @cached_property
    def payload(self) -> bytes:
        """What follows the IP header (and an IPv6 fragment header)."""
        if self.version == 4:
            return self.data[(self.data[0] & 15) * 4:]
        return self.data[48:] if self.data[6] == 44 else self.data[40:]

    @cached_property
    def fragment(self) -> bool:
        """Whether it is one fragment of a larger packet."""
        if self.version == 4:
            return bool(int.from_bytes(self.data[6:8], "big") & 0x3FFF)
        return self.data[6] == 44

    @cached_property
    def ports(self) -> tuple[int, int]:
        """Source and destination port of TCP or UDP; (0, 0) for all else and for later fragments."""
        if self.proto not in (PROTO_TCP, PROTO_UDP) or len(self.payload) < 4:
            return (0, 0)
        return int.from_bytes(self.payload[:2], "big"), int.from_bytes(self.payload[2:4], "big")

    @cached_property
    def spi(self) -> int:
        """The SPI of a plain ESP packet, 0 for all else."""
        return int.from_bytes(self.payload[:4], "big") if self.proto == PROTO_ESP else 0

    def __str__(self) -> str:
        what = NAMES.get(self.proto, f"proto {self.proto}")
        where = f"{self.src} > {self.dst}"
        if any(self.ports):
            return f"{what} {where} ports {self.ports[0]} > {self.ports[1]}"
        if self.spi:
            return f"{what} {where} spi {self.spi:#010x}"
        return f"{what} {where} type {self.payload[0]} code {self.payload[1]}" if self.proto in (1, 58) else f"{what} {where}"


def fragments(packet: bytes, mtu: int = 1500) -> list[bytes]:
    """An IPv4 packet cut to `mtu` bytes a piece. Its identification must not be 0: the kernel would number each piece anew."""
    header_length = (packet[0] & 15) * 4
    header, body = packet[:header_length], packet[header_length:]
    step = (mtu - header_length) // 8 * 8
    parts = []
    for start in range(0, len(body), step):
        piece = body[start:start + step]
        more = 0x2000 if start + step < len(body) else 0
        flags = (more | start // 8).to_bytes(2, "big")
        total = (header_length + len(piece)).to_bytes(2, "big")
        parts.append(header[:2] + total + header[4:6] + flags + header[8:10] + b"\0\0" + header[12:] + piece)
    return parts
