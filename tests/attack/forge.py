# SPDX-License-Identifier: GPL-2.0-or-later
"""What attackers send, and what a router lets through of it.

A marked packet carries bytes that no router changes. Whoever has it in the end was reached: `reached` says which hosts got which marks.
"""
from __future__ import annotations

import itertools
import random
import socket
import struct
import time
from typing import TYPE_CHECKING

from tests.lab import sandbox
from tests.lab.peers.l2tp import avp
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.lab.host import Host
    from tests.lab.topology import Lab

WAN, LAN = "203.0.113.1", "192.168.1.1"
ICMP, TCP, UDP, GRE, ESP, AH, SCTP, L2TP_IP = 1, 6, 17, 47, 50, 51, 132, 115
SA_INIT, CREATE_CHILD, INFORMATIONAL = 34, 36, 37
ETH_P_IP = 0x0800
_serial = itertools.count(1)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(source: str, destination: str, proto: int, payload: bytes, ident: int = 0x1234, ttl: int = 64, fragment: int = 0) -> bytes:
    """A whole IPv4 packet. fragment: the 16 bits of flags and offset."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, fragment, ttl, proto, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def udp(source: str, destination: str, sport: int, dport: int, data: bytes) -> bytes:
    """A UDP packet with its checksum."""
    segment = struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(">BBH", 0, UDP, len(segment))
    return ip(source, destination, UDP, segment[:6] + struct.pack(">H", checksum(pseudo + segment) or 0xFFFF) + segment[8:])


def tcp(source: str, destination: str, sport: int, dport: int, flags: int = 2, data: bytes = b"") -> bytes:
    """A TCP packet with its checksum; flags 2: SYN."""
    segment = struct.pack(">HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 1024, 0, 0) + data
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(">BBH", 0, TCP, len(segment))
    return ip(source, destination, TCP, segment[:16] + struct.pack(">H", checksum(pseudo + segment)) + segment[18:])


def esp(source: str, destination: str, spi: int, sequence: int = 1, data: bytes = b"x" * 40) -> bytes:
    """An ESP packet."""
    return ip(source, destination, ESP, struct.pack(">II", spi, sequence) + data)


def ike(icookie: int, rcookie: int = 0, exchange: int = SA_INIT, flags: int = 8, message: int = 0, data: bytes = b"y" * 32) -> bytes:
    """An IKEv2 message (RFC 7296 section 3.1), to be put into UDP."""
    return struct.pack(">QQBBBBII", icookie, rcookie, 33, 0x20, exchange, flags, message, 28 + len(data)) + data


def l2tp(kind: int, tunnel: int = 0, session: int = 0, assigned: int = 0, data: bytes = b"") -> bytes:
    """A control message of L2TP version 2 (RFC 2661 section 3.1), with `data` in an AVP that nobody knows."""
    body = avp(0, struct.pack(">H", kind)) + (avp(9, struct.pack(">H", assigned)) if assigned else b"") + (avp(7, data) if data else b"")
    return struct.pack(">HHHHHH", 0xC802, 12 + len(body), tunnel, session, 0, 0) + body


def mark() -> bytes:
    """40 bytes that no other packet has."""
    return (b"attack %08d " % next(_serial)).ljust(40, b"-")


def too_big(quoted: bytes, sender: str, to: str = WAN) -> bytes:
    """ICMP fragmentation needed about a packet (RFC 1191)."""
    body = struct.pack(">BBHHH", 3, 4, 0, 0, 1400) + quoted[:548]
    return ip(sender, to, ICMP, body[:2] + struct.pack(">H", checksum(body)) + body[4:])


def stage(lab: Lab, **tunnel: object) -> Stage:
    """The honest users of a lab."""
    made = Stage(lab, dict(tunnel), {}, str)
    made.patience = min(made.patience, 2.0)
    return made


class Trial:
    """Marked packets on one router: `send(label, host, packet)` of one that holds `token()`; `reached()` says where each label came."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._token = b""
        self._sent: list[tuple[str, bytes, Host]] = []
        self._since = {host.name: len(host.packets) for host in lab.hosts}

    def token(self) -> bytes:
        """The mark of the next packet that is sent."""
        self._token = mark()
        return self._token

    def send(self, label: str, host: Host, packet: bytes) -> None:
        """Sends a packet that holds the last token."""
        self._sent.append((label, self._token, host))
        host.send_raw(packet)
        self.lab.pump.drain()

    def reached(self, wait: float = 0.4) -> set[tuple[str, str]]:
        """(label, host that got it), the sender left out and errors that quote it as well."""
        self.lab.pump.run_for(wait)
        found = set()
        for host in self.lab.hosts:
            for packet in host.packets[self._since[host.name]:]:
                if packet.proto == ICMP and packet.payload[:1] in (b"\3", b"\5", b"\x0b", b"\x0c"):
                    continue
                found |= {(label, host.name) for label, token, sender in self._sent if token in packet.payload and sender is not host}
        # What passes through `isp` on its way is no news.
        return {(label, name) for label, name in found if name not in ("isp", "router")}


def mac_of(host: Host, device: str = "eth0") -> bytes:
    """The Ethernet address of a host's device."""
    line = host.run("ip", "-br", "link", "show", device).stdout.split()
    return bytes.fromhex(line[2].replace(":", ""))


def blast(host: Host, packets: Iterable[bytes], to: Host, device: str, rate: int = 0) -> int:
    """Sends packets as raw frames to the device of a neighbour, so that any destination goes. rate: a second, 0: as fast as it can."""
    sock = host.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    target, sent, began = mac_of(to, device), 0, time.monotonic()
    with sandbox.inside(host.namespace):
        address = ("eth0", ETH_P_IP, 0, 0, target)
        for packet in packets:
            while True:
                try:
                    sock.sendto(packet, address)
                    break
                except (BlockingIOError, OSError) as error:
                    if not isinstance(error, BlockingIOError) and error.errno != 105:  # ENOBUFS
                        raise
                    time.sleep(0.0005)
            sent += 1
            if rate and sent % 20 == 0:
                time.sleep(max(0.0, sent / rate - (time.monotonic() - began)))
    sock.close()
    return sent


def flood_from_lan(lab: Lab, attacker: Host, packets: Iterable[bytes], rate: int = 0) -> int:
    """A LAN host's flood, given to the router's own Ethernet address."""
    return blast(attacker, packets, lab.router, lab.router.lan_device, rate)


def random_cookies(seed: int) -> Callable[[], int]:
    """A source of cookies (or of SPIs, cut) that differ, and are never 0."""
    rng = random.Random(seed)
    return lambda: rng.getrandbits(63) + 1


def blackhole(lab: Lab, network: str) -> None:
    """The provider drops what goes to that network, without a word."""
    lab.isp.run("ip", "route", "add", "blackhole", network)


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds and resident megabytes of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return (int(fields[11]) + int(fields[12])) / 100, pages * 4 / 1024
