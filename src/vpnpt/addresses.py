"""The router's own addresses and its neighbours, as the kernel shows them under /proc: no netlink, no program."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

SIOCGIFADDR = 0x8915  # include/uapi/linux/sockios.h


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


def neighbours(proc: str = "/proc/net") -> dict[bytes, str]:
    """IPv4 neighbours: address to Ethernet address in lower case (net/ipv4/arp.c); incomplete entries are left out."""
    found: dict[bytes, str] = {}
    with contextlib.suppress(OSError), open(f"{proc}/arp", encoding="ascii") as lines:
        next(lines, None)
        for line in lines:
            words = line.split()
            if len(words) >= 4 and words[3] != "00:00:00:00:00:00":
                found[socket.inet_aton(words[0])] = words[3].lower()
    return found
