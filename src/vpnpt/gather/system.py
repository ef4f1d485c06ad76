# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts from the router's system: release, kernel, devices and routes, its own sockets, the firewall's configuration."""
from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct

from ..config import ucitext
from ..doctor.facts import Listener, Uplink
from ..doctor.firewall import ROUTER_PORTS
from ..router import uci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..config.ucitext import SectionText

RELEASE = "/etc/openwrt_release"
SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFMTU = 0x8913, 0x8915, 0x8921  # include/uapi/linux/sockios.h
IFF_UP = 1
RTF_UP, RTF_REJECT = 1, 0x200  # include/uapi/linux/route.h


def release() -> str:
    """OpenWrt's release, as `24.10.2`; '' on another system, 'SNAPSHOT' on a development build."""
    for line in _lines(RELEASE):
        name, _, value = line.partition("=")
        if name.strip() == "DISTRIB_RELEASE":
            return value.strip().strip("'\"")
    return ""


def kernel_version() -> str:
    """The kernel's version, as `uname -r` prints it."""
    return os.uname().release


def firewall(config_dir: str | None) -> tuple[SectionText, ...]:
    """The sections of UCI's firewall; none where there is no such package."""
    try:
        text, _ = uci.read_package("firewall", config_dir)
    except (uci.ConfigMissing, OSError):
        return ()
    return tuple(ucitext.parse(text).sections)


def uplink(device: str) -> Uplink:
    """A WAN device, its first IPv4 address and its MTU. By ioctl: sysfs may show another network namespace's devices."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        flags, mtu, address = (_ask(sock, request, device) for request in (SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFADDR))
    up = flags is not None and bool(struct.unpack_from("=H", flags)[0] & IFF_UP)
    return Uplink(device=device, addresses=(socket.inet_ntoa(address[4:8]),) if address is not None else (),
                  mtu=struct.unpack_from("=i", mtu)[0] if mtu is not None else 0, up=up)


def _ask(sock: socket.socket, request: int, device: str) -> bytes | None:
    """The part of struct ifreq behind the name (include/uapi/linux/if.h)."""
    try:
        return fcntl.ioctl(sock, request, struct.pack("16s24x", device.encode()))[16:]
    except OSError:
        return None


def default_devices() -> tuple[str, ...]:
    """The devices of IPv4 default routes in the main table (net/ipv4/fib_trie.c)."""
    rows = [line.split() for line in _lines("/proc/net/route")[1:]]
    return tuple(row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000" and int(row[3], 16) & RTF_UP)


def default_route6() -> bool:
    """Is there an IPv6 default route, by whatever device (net/ipv6/route.c)?"""
    for line in _lines("/proc/net/ipv6_route"):
        row = line.split()
        if len(row) > 9 and row[1] == "00" and not int(row[0], 16) and row[9] != "lo" and not int(row[8], 16) & RTF_REJECT:
            return True
    return False


def public_addresses6(devices: Collection[str]) -> tuple[str, ...]:
    """Addresses within 2000::/3 on these devices (net/ipv6/addrconf.c)."""
    found = []
    for line in _lines("/proc/net/if_inet6"):
        row = line.split()
        if len(row) == 6 and row[5] in devices and row[0][0] in "23":
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])))
    return tuple(found)


def neighbours() -> dict[str, str]:
    """The device of each IPv4 neighbour."""
    rows = [line.split() for line in _lines("/proc/net/arp")[1:]]
    return {row[0]: row[5] for row in rows if len(row) == 6 and row[3] != "00:00:00:00:00:00"}


def conntrack_room() -> tuple[int, int]:
    """How many connections are tracked, and how many may be; zeros where that can't be read."""
    with contextlib.suppress(IndexError, ValueError):
        count, limit = (int(_lines(f"/proc/sys/net/netfilter/nf_conntrack_{name}")[0]) for name in ("count", "max"))
        return count, limit
    return 0, 0


def syn_timeout() -> int:
    """Seconds for which conntrack keeps an unanswered TCP connection; the kernel's default where that can't be read."""
    with contextlib.suppress(IndexError, ValueError):
        return int(_lines("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_sent")[0])
    return 120


def listeners() -> tuple[Listener, ...]:
    """The router's own sockets on the ports of VPNs, that listen on more than the loopback, with the program's name."""
    found: dict[tuple[str, int], str] = {}
    for proto, state in (("udp", "07"), ("tcp", "0A")):
        for family in ("", "6"):
            for line in _lines(f"/proc/net/{proto}{family}")[1:]:
                row = line.split()
                address, _, port = row[1].partition(":")
                key = (proto, int(port, 16))
                if row[3] == state and key in ROUTER_PORTS and address not in ("0100007F", "7F000001"):
                    found.setdefault(key, row[9])
    programs = _programs(set(found.values())) if found else {}
    return tuple(Listener(proto=proto, port=port, program=programs.get(inode, "")) for (proto, port), inode in found.items())


def _programs(inodes: Collection[str]) -> dict[str, str]:
    """Which program has a socket, by its inode."""
    found: dict[str, str] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        for link in _sockets(pid):
            if link in wanted:
                found.setdefault(wanted[link], (_lines(f"/proc/{pid}/comm") or [""])[0])
        if len(found) == len(wanted):
            break
    return found


def _sockets(pid: str) -> Iterator[str]:
    with contextlib.suppress(OSError):  # it may have ended meanwhile
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            yield os.readlink(f"/proc/{pid}/fd/{descriptor}")


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
