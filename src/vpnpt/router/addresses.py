# SPDX-License-Identifier: GPL-2.0-or-later
"""The router's own addresses, its neighbours and its networks, as the kernel shows them: no program."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import time

from ..kernel.socket import ROUTE, NetlinkError, dump
from ..wire import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIOCGIFADDR = 0x8915  # include/uapi/linux/sockios.h
ROUTES_MAX = 1000
"""Routes beyond which only those of the LAN are kept: a full routing table would cost more than it tells."""


def local_addresses(proc: str = "/proc/net") -> set[bytes]:
    """All addresses of this network namespace, 4 or 16 bytes each (net/ipv4/fib_trie.c, net/ipv6/addrconf.c)."""
    found: set[bytes] = set()
    with contextlib.suppress(OSError), open(f"{proc}/fib_trie", encoding="ascii") as lines:
        address = ""
        for line in lines:
            words = line.split()
            if len(words) == 2 and words[0] == "|--":
                address = words[1]
            elif words[:3] == ["/32", "host", "LOCAL"]:
                found.add(socket.inet_aton(address))
    with contextlib.suppress(OSError), open(f"{proc}/if_inet6", encoding="ascii") as lines:
        for line in lines:
            found.add(bytes.fromhex(line.split()[0]))
    return found


def device_addresses(device: str, proc: str = "/proc/net") -> list[str]:
    """A device's first IPv4 address (netdevice(7)) and its IPv6 addresses but the link-local ones; [] if it has none, or is not there."""
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock.fileno(), SIOCGIFADDR, struct.pack("16s24x", device.encode()))
        found.append(socket.inet_ntoa(answer[20:24]))
    with contextlib.suppress(OSError), open(f"{proc}/if_inet6", encoding="ascii") as lines:
        for address, _, _, scope, _, name in map(str.split, lines):
            if name == device and scope != "20":
                found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)))
    return found


def neighbours() -> dict[bytes, str]:
    """Both families' neighbours: address to Ethernet address in lower case, as far as they are known."""
    return {address: hardware for address, hardware in _neighbours().items() if hardware}


class Silent:
    """Is this a neighbour that has not answered when the router last looked for it?

    All are read at once, which takes at most a twentieth of the time: thousands may be asked about in a moment. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._not_before = clock, 0.0
        self._known: set[bytes] = set()

    def __call__(self, address: bytes) -> bool:
        began = self._clock()
        if began >= self._not_before:
            self._known = {neighbour for neighbour, hardware in _neighbours().items() if not hardware}
            ended = self._clock()
            self._not_before = ended + 20 * (ended - began)
        return address in self._known


def _neighbours() -> dict[bytes, str]:
    """RTM_GETNEIGH, rtnetlink(7)."""
    try:
        return dict(dump(ROUTE, rtnetlink.neighbours(), rtnetlink.decode_neighbour))
    except NetlinkError:
        return {}


class Networks:
    """Which addresses are on the LAN side: the routes over these devices, the longest prefix first (net/ipv4/fib_trie.c, ipv6/route.c)."""

    def __init__(self, devices: Iterable[str], proc: str = "/proc/net") -> None:
        lan = frozenset(devices)
        found: list[tuple[int, int, int, bool]] = []
        with contextlib.suppress(OSError), open(f"{proc}/route", encoding="ascii") as lines:
            next(lines, None)
            for words in map(str.split, lines):
                # Printed as the CPU reads the bytes of the wire.
                network, mask = (int.from_bytes(int(words[at], 16).to_bytes(4, sys.byteorder), "big") for at in (1, 7))
                found.append((4, mask.bit_count(), network, words[0] in lan))
        with contextlib.suppress(OSError), open(f"{proc}/ipv6_route", encoding="ascii") as lines:
            found += [(16, int(words[1], 16), int(words[0], 16), words[9] in lan) for words in map(str.split, lines) if words[9] != "lo"]
        self._routes = sorted((one for one in found if one[1] and (one[3] or len(found) < ROUTES_MAX)), key=lambda one: -one[1])

    def __call__(self, address: bytes) -> bool:
        number = int.from_bytes(address, "big")
        for size, length, network, inside in self._routes:
            if size == len(address) and number >> 8 * size - length == network >> 8 * size - length:
                return inside
        return False
