# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel chooses for us: events by a BPF program, entries of a dump by port, and counters of a set's elements."""
from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from vpnpt.kernel.netfilter import Netlink, dump_conntrack, dump_elements
from vpnpt.wire import conntrack as ct
from vpnpt.wire.bpf import PORTS_MAX, conntrack_filter
from vpnpt.wire.nftables import IPV4, IPV6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.golden.kernel import Kernel

TRACKED = """table inet t {
	chain out {
		type filter hook output priority filter; policy accept;
		ct state new accept
	}
}
"""
COUNTING = """table ip vpnpt {
	set seen {
		typeof ip saddr . ip daddr
		size 16
		flags dynamic,timeout
		timeout 60s
	}
	set plain {
		typeof ip saddr
		size 16
		flags dynamic,timeout
		timeout 60s
	}
	chain out {
		type filter hook output priority filter; policy accept;
		udp dport 9 update @seen { ip saddr . ip daddr counter } update @plain { ip saddr }
	}
}
"""
LOOPBACK = bytes([127, 0, 0, 1])


@pytest.fixture
def tracked(kernel: Kernel) -> Iterator[Kernel]:
    kernel.clear()
    kernel.run("ip", "link", "set", "lo", "up")
    kernel.load(TRACKED)
    yield kernel
    kernel.clear()


def send(proto: int, port: int = 0, source: int = 0, to: str = "127.0.0.1") -> None:
    """One packet over loopback; for TCP, the first of a connection that is refused."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    kind = {ct.UDP: socket.SOCK_DGRAM, ct.TCP: socket.SOCK_STREAM}.get(proto, socket.SOCK_RAW)
    with socket.socket(family, kind, proto if kind == socket.SOCK_RAW else 0) as sock:
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", source))
        with contextlib.suppress(ConnectionRefusedError):
            if proto == ct.TCP:
                sock.connect((to, port))
            else:
                sock.sendto(bytes(24), (to, port))


def test_events(tracked: Kernel) -> None:
    """Of everything that happens only what was asked for is told, of both families."""
    program = conntrack_filter((ct.ESP, ct.AH), (500, 1701), (1723,))
    with tracked.inside(), Netlink() as sock:
        sock.attach_filter(program)
        sock.subscribe(ct.GROUP_NEW)
        sock.subscribe(ct.GROUP_DESTROY)
        for to in ("127.0.0.1", "::1"):
            for proto, port, source in ((ct.UDP, 53, 0), (ct.UDP, 500, 0), (ct.UDP, 1723, 0), (ct.UDP, 40001, 1701), (ct.TCP, 1723, 0),
                                        (ct.TCP, 500, 0), (ct.ESP, 0, 0), (132, 0, 0), (ct.AH, 0, 0)):
                send(proto, port, source, to)
        found = [event.flow for message in sock.receive() if (event := ct.decode(message)) and event.kind == "new"]
    expected = [(ct.UDP, 500), (ct.UDP, 40001), (ct.TCP, 1723), (ct.ESP, None), (ct.AH, None)]
    # In IPv6 conntrack takes AH for one more header before what it carries (ipv6_skip_exthdr).
    for family, known in ((ct.AF_INET, expected), (ct.AF_INET6, expected[:-1])):
        assert [(flow.orig.proto, flow.orig.dport) for flow in found if flow.family == family] == known


def test_with_too_many_ports_everything_passes() -> None:
    assert conntrack_filter((), range(PORTS_MAX + 1), ()) == struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF)
    assert len(conntrack_filter((50,), range(PORTS_MAX), ())) // 8 < 4096


def test_the_largest_program_is_one(tracked: Kernel) -> None:
    with tracked.inside(), Netlink() as sock:
        sock.attach_filter(conntrack_filter(range(18, 118), range(1, PORTS_MAX), (1723,)))
        sock.subscribe(ct.GROUP_NEW)
        send(ct.UDP, PORTS_MAX - 1)
        send(ct.UDP, PORTS_MAX + 1000)
        assert [event.flow.orig.dport for message in sock.receive() if (event := ct.decode(message))] == [PORTS_MAX - 1]


def test_dumps(tracked: Kernel) -> None:
    with tracked.inside(), Netlink() as sock:
        for port, source in ((7001, 0), (7002, 0), (7002, 0), (7003, 7002)):
            send(ct.UDP, port, source)
        send(ct.TCP, 7002)
        assert [flow.orig.dport for flow in dump_conntrack(sock, ct.AF_INET, ct.UDP, dport=7001)] == [7001]
        assert [flow.orig.proto for flow in dump_conntrack(sock, ct.AF_INET, ct.UDP, dport=7002)] == [ct.UDP, ct.UDP]
        assert [flow.orig.dport for flow in dump_conntrack(sock, ct.AF_INET, ct.UDP, sport=7002)] == [7003]
        assert len(dump_conntrack(sock, ct.AF_INET, ct.UDP, dport=7002, limit=1)) == 1
        assert dump_conntrack(sock, ct.AF_INET6, ct.UDP, dport=7002) == []


def test_counted_elements(tracked: Kernel) -> None:
    tracked.load(COUNTING)
    with tracked.inside():
        for _ in range(3):
            send(ct.UDP, 9)
    (element,) = dump_elements(tracked.netlink, IPV4, "vpnpt", "seen")
    assert (element.key, element.counted) == (LOOPBACK * 2, (3, 3 * (20 + 8 + 24)))
    (plain,) = dump_elements(tracked.netlink, IPV4, "vpnpt", "plain")
    assert plain.counted is None
    assert IPV6 == ct.AF_INET6, "families are numbered alike"
