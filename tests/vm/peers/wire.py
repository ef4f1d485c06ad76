# SPDX-License-Identifier: GPL-2.0-or-later
"""What crossed the router: every ESP packet that an end sent, and whether the end that has its keys got it.

Pings tell what a person loses, by whosever fault: VPN programs lose a packet by themselves while they change keys. This tells what the
router lost. ESP in UDP (NAT traversal) is looked into as well.
"""
from __future__ import annotations

import contextlib
import re
import socket
import struct
from ctypes import addressof, create_string_buffer
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.lab.host import ETH_P_IP, SO_RCVBUFFORCE
from tests.lab.packets import PROTO_ESP, PROTO_UDP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.host import Host
    from tests.vm.peers.site import Site

NATT = 4500
SNAPLEN = 64
BUFFER = 256 << 20
SETTLES = 0.3
"""Seconds for what is on its way."""
SOL_PACKET, PACKET_STATISTICS, SO_ATTACH_FILTER, SO_TIMESTAMPNS = 263, 6, 26, 35
ETH_P_ALL = 3
"""Sockets for one protocol don't see what is sent."""
# ldh [SKF_AD_PROTOCOL]; jeq IPv4, else drop; ldb [9]; jeq ESP, take; jeq UDP, take, else drop
FILTER = ((0x28, 0, 0, 0xFFFFF000), (0x15, 0, 4, ETH_P_IP),
          (0x30, 0, 0, 9), (0x15, 1, 0, PROTO_ESP), (0x15, 0, 1, PROTO_UDP), (0x06, 0, 0, SNAPLEN), (0x06, 0, 0, 0))
Name = tuple[int, int]
"""SPI and sequence number."""
Times = dict[Name, float]
"""When each was first seen, in seconds."""


@dataclass
class Crossing:
    """Of one client, both ways: ESP packets sent, those that the router lost, and those of other clients that were copied to it.

    until: when the last copy came, lasted: when the server's last packet came to anybody; both in seconds since its first one.
    """

    sent: int = 0
    lost: int = 0
    copies: int = 0
    until: float = 0.0
    lasted: float = 0.0


@dataclass
class Ear:
    """What one host sent and received, and when first."""

    host: Host
    sock: socket.socket
    sent: Times = field(default_factory=dict)
    received: Times = field(default_factory=dict)

    def read(self) -> bool:
        """Takes what has arrived; False if the kernel had no room for some of it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, about, _, place = self.sock.recvmsg(SNAPLEN, socket.CMSG_SPACE(16))
                if name := esp_name(data):
                    seconds, nanoseconds = struct.unpack("=qq", about[0][2])
                    (self.sent if place[2] == socket.PACKET_OUTGOING else self.received).setdefault(name, seconds + nanoseconds / 1e9)
        return not struct.unpack("II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]


def esp_name(packet: bytes) -> Name | None:
    """Of an ESP packet, or of one in UDP (RFC 3948 section 2.1); None of all else, and of later fragments."""
    if len(packet) < 28 or int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return None
    start = (packet[0] & 15) * 4
    if packet[9] == PROTO_UDP:
        if NATT not in struct.unpack_from(">HH", packet, start):
            return None
        start += 8
    elif packet[9] != PROTO_ESP:
        return None
    if len(packet) < start + 8:
        return None
    spi, sequence = struct.unpack_from(">II", packet, start)
    return (spi, sequence) if spi else None


class Wire:
    """Listens on all clients and the server of a site, and notes which SPIs ever were whose."""

    def __init__(self, site: Site, notes: Path) -> None:
        self.site = site
        self._ears = [Ear(host, _listen(host)) for host in (site.server.host, *(client.host for client in site.clients))]
        self._notes: dict[str, Path] = {}
        for host in (*(client.host for client in site.clients), site.lab.router):
            self._notes[host.name] = notes / f"{host.name}.xfrm"
            with self._notes[host.name].open("wb") as file:
                host.spawn("ip", "xfrm", "monitor", "SA", stdout=file, stderr=file, anywhere=True)

    def begin(self) -> None:
        """Forgets what has crossed so far."""
        self.site.lab.pump.run_for(SETTLES)
        for ear in self._ears:
            ear.read()
            ear.sent.clear()
            ear.received.clear()

    def end(self) -> dict[str, Crossing] | None:
        """By client, since `begin`; None if not every packet was seen, or there were none."""
        self.site.lab.pump.run_for(SETTLES)
        complete = [ear.read() for ear in self._ears]
        if not all(complete):
            return None
        return crossings({ear.host.name: (ear.sent, ear.received) for ear in self._ears}, self.site.server.host.name,
                         {ear.host.name: self._own(ear.host) for ear in self._ears[1:]}, self._own(self.site.lab.router))

    def _own(self, host: Host) -> set[int]:
        """The inbound SPIs that the host has or had."""
        text = self._notes[host.name].read_text(errors="replace") + host.run("ip", "xfrm", "state").stdout
        return {int(spi, 16) for destination, spi in re.findall(r"src \S+ dst (\S+)\s+proto esp spi (0x[0-9a-f]+)", text)
                if destination != self.site.server.address}

    def close(self) -> None:
        """Stops to listen; the programs end with the lab."""
        for ear in self._ears:
            ear.sock.close()


def crossings(seen: dict[str, tuple[Times, Times]], server: str, own: dict[str, set[int]], routers: set[int]) -> dict[str, Crossing] | None:
    """By client, of what each host sent and received; own: whose SPI is whose. What nobody's keys open belongs to nobody."""
    from_server, at_server = seen[server]
    found = {name: Crossing() for name in own}
    began = min(from_server.values(), default=0.0)
    last = max((when for name in own for when in seen[name][1].values()), default=began)
    for name, crossing in found.items():
        sent, received = seen[name]
        meant = {packet for packet in from_server if packet[0] in own[name]}
        others = [when for (spi, _), when in received.items() if spi not in own[name] and spi not in routers]
        crossing.sent = len(sent) + len(meant)
        crossing.lost = len(sent.keys() - at_server.keys()) + len(meant - received.keys())
        crossing.copies, crossing.until, crossing.lasted = len(others), max(others, default=began) - began, last - began
    return found if any(crossing.sent for crossing in found.values()) else None


def _listen(host: Host) -> socket.socket:
    sock = host.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    program = b"".join(struct.pack("=HBBI", *line) for line in FILTER)
    held = create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(FILTER), addressof(held)))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setblocking(False)
    sock.bind(("eth0", ETH_P_ALL))
    return sock
