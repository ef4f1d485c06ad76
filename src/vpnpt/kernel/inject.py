# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a logged IPv4 packet to another LAN host, as if the server had addressed it: for clients beyond the kernel's copies."""

from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MTU = 1500
"""Bytes: what an Ethernet LAN carries in one piece."""


def readdress(packet: bytes, client: bytes) -> bytes:
    """The packet, addressed to `client`, one hop older. A UDP checksum is adjusted (RFC 1624); the IP checksum is the kernel's work."""
    header = (packet[0] & 15) * 4
    sent = bytearray(packet)
    sent[8] = max(1, sent[8] - 1)
    sent[16:20] = client
    if packet[9] == socket.IPPROTO_UDP and len(packet) >= header + 8 and packet[header + 6:header + 8] != b"\0\0":
        total = ~int.from_bytes(packet[header + 6:header + 8], "big") & 0xFFFF
        for old, new in zip(struct.unpack(">2H", packet[16:20]), struct.unpack(">2H", client), strict=True):
            total += (~old & 0xFFFF) + new
        total = _fold(total)
        sent[header + 6:header + 8] = (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big")
    return bytes(sent)


def _fold(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def completed(packet: bytes) -> bytes:
    """The packet with a complete UDP checksum. Where a network card (or nobody, on a virtual device) is to compute it, the kernel logs the
    packet with the sum of the pseudo-header only, not complemented (skbuff.h, CHECKSUM_PARTIAL)."""
    header = (packet[0] & 15) * 4
    datagram = packet[header:]
    if packet[9] != socket.IPPROTO_UDP or len(datagram) < 8:
        return packet
    pseudo = sum(struct.unpack(">4H", packet[12:20])) + socket.IPPROTO_UDP + int.from_bytes(datagram[4:6], "big")
    if int.from_bytes(datagram[6:8], "big") != _fold(pseudo):
        return packet
    even = datagram[:6] + b"\0\0" + datagram[8:] + b"\0" * (len(datagram) & 1)
    total = _fold(pseudo + sum(struct.unpack(f">{len(even) // 2}H", even)))
    return packet[:header + 6] + (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big") + packet[header + 8:]


def report(packet: bytes, port: int) -> bytes:
    """The UDP packet, to another port, one hop older; its checksum is adjusted (RFC 1624)."""
    header = (packet[0] & 15) * 4
    sent = bytearray(packet)
    sent[8] = max(1, sent[8] - 1)
    old, check = (int.from_bytes(packet[header + at:header + at + 2], "big") for at in (2, 6))
    sent[header + 2:header + 4] = port.to_bytes(2, "big")
    if check:
        total = _fold((~check & 0xFFFF) + (~old & 0xFFFF) + port)
        sent[header + 6:header + 8] = (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big")
    return bytes(sent)


def fragments(packet: bytes, mtu: int = MTU) -> Iterator[bytes]:
    """The packet in pieces of at most `mtu` bytes (RFC 791 3.2); a raw socket does not fragment what has its own header."""
    if len(packet) <= mtu:
        yield packet
        return
    header = (packet[0] & 15) * 4
    step = (mtu - header) & ~7
    for offset in range(0, len(packet) - header, step):
        piece = packet[header + offset:header + offset + step]
        more = 0x2000 if header + offset + step < len(packet) else 0
        head = bytearray(packet[:header])
        head[2:4] = (header + len(piece)).to_bytes(2, "big")
        head[6:8] = (more | offset // 8).to_bytes(2, "big")
        yield bytes(head) + piece


class Injector:
    """A raw socket. Raises PermissionError without CAP_NET_RAW."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)

    def send(self, packet: bytes, client: bytes) -> bool:
        """Sends the packet to `client`. False: the kernel did not take it (its queue is full), the packet is lost."""
        try:
            for piece in fragments(readdress(completed(packet), client)):
                self._socket.sendto(piece, (socket.inet_ntoa(client), 0))
        except OSError:
            return False
        return True

    def send_to_port(self, packet: bytes, port: int) -> bool:
        """Sends the UDP packet to the same address of the router again, at another port: conntrack delivers it by the flow at that port."""
        try:
            self._socket.sendto(report(completed(packet), port), (socket.inet_ntoa(packet[16:20]), 0))
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()
