# SPDX-License-Identifier: GPL-2.0-or-later
"""What a network namespace of its own needs for the tests against the real kernel; run inside one only."""
from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

GROUP = 7
LOOPBACK = bytes([127, 0, 0, 1])

TABLE = """table ip t {
  map key_zone { typeof ip saddr . @th,64,64 : ct zone; flags dynamic,timeout; size 65536; timeout 1h;
    elements = { 192.0.2.1 . 0x1122334455667788 : 20480, 192.0.2.2 . 0x1 timeout 100s : 258 } }
  map zone_key { typeof ct zone . ip saddr : ip daddr; size 1024; elements = { 20480 . 192.0.2.9 : 10.0.0.1 } }
  map clients { typeof ip saddr : ct zone; flags timeout; size 65536; elements = { 192.0.2.9 : 258 } }
  set spis { typeof ip saddr . ip daddr . esp spi; flags timeout; size 1024; elements = { 192.0.2.9 . 10.0.0.1 . 0x01020304 } }
  chain out { type filter hook output priority raw; policy accept;
    udp dport 4500 ct zone set 20490
    udp dport 4501 ct original zone set 20491
    udp dport 4502 ct zone set ip saddr map @clients
  }
  chain raw { type filter hook prerouting priority raw; policy accept;
    udp dport 500 log prefix "seen" group 7
  }
  chain idle {
  }
}
"""


def prepare() -> None:
    """Loopback up, flows counted."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1\n")


def load(text: str) -> None:
    """Load a ruleset with nft."""
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def listing(*what: str) -> str:
    """What nft lists, as one line."""
    done = subprocess.run(["nft", "list", *what], text=True, check=True, capture_output=True)
    return " ".join(done.stdout.split())


def send_udp(port: int, payload: bytes, to: str = "127.0.0.1") -> int:
    """One datagram over loopback; its source port."""
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(payload, (to, port))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def tcp(port: int = 0) -> Iterator[tuple[int, int]]:
    """A TCP connection over loopback: the ports of who connected and of who listened."""
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(server.getsockname()) as here:
        there, _address = server.accept()
        with there:
            yield here.getsockname()[1], server.getsockname()[1]


def send_raw(proto: int, payload: bytes) -> None:
    """One packet of an IP protocol over loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, proto) as sock:
        sock.sendto(payload, ("127.0.0.1", 0))


def ping() -> None:
    """One ICMP echo request, identifier 0x1234; the kernel answers it."""
    send_raw(1, bytes.fromhex("0800e5ca12340001"))
