# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel chooses for us: events by a BPF program, entries of a dump by port, and counters of a set's elements."""
from __future__ import annotations

import contextlib
import errno
import itertools
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vpnpt.kernel.netfilter import Netlink, NetlinkError, attach_largest, dump_conntrack, dump_elements, first_flows
from vpnpt.wire import conntrack as ct
from vpnpt.wire.bpf import RANGES_MAX, conntrack_filter, ranges
from vpnpt.wire.nftables import IPV4, IPV6

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
SOURCES = itertools.count(61000)
"""A source port for each flow, none of those that the filters look for."""
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


@pytest.mark.parametrize(("ports", "most", "expected"), [
    ((), 4, []),
    ((5, 3, 4, 9, 4), 4, [(3, 5), (9, 9)]),
    ((1, 10, 13, 100, 110), 4, [(1, 1), (10, 13), (100, 100), (110, 110)]),
    ((1, 10, 13, 100, 110), 3, [(1, 13), (100, 100), (110, 110)]),
    ((1, 10, 13, 100, 110), 2, [(1, 13), (100, 110)]),
    ((1, 10, 13, 100, 110), 1, [(1, 110)]),
])
def test_ranges(ports: tuple[int, ...], most: int, expected: list[tuple[int, int]]) -> None:
    assert ranges(ports, most) == expected


def heard(sock: Netlink, sent: Iterable[int], proto: int = ct.UDP) -> list[int | None]:
    """To which of these ports the socket heard of a flow."""
    for port in sent:
        send(proto, port, next(SOURCES))
    return [event.flow.orig.dport for message in sock.receive(1000) if (event := ct.decode(message))]


@pytest.mark.parametrize("most", [RANGES_MAX // 2, 30, 2, 1])
def test_what_lies_between_joined_ports_passes_too(tracked: Kernel, most: int) -> None:
    """Exactly what the ranges say, whichever jump it takes: single ports, ranges, several blocks of them, the last one."""
    wanted = [*range(1000, 1900, 4), 1901, 1902, 1903, 40000]
    program = conntrack_filter((), wanted, (1723,), most)
    sent = [999, 1000, 1001, 1002, 1396, 1400, 1401, 1796, 1799, 1800, 1900, 1901, 1902, 1903, 1904, 1999, 2000, 39999, 40000, 40001]
    expected = [port for port in sent if any(first <= port <= last for first, last in ranges(wanted, most))]
    with tracked.inside(), Netlink() as sock:
        sock.attach_filter(program)
        sock.subscribe(ct.GROUP_NEW)
        assert heard(sock, sent) == expected and set(wanted) & set(sent) <= set(expected)


def test_the_largest_program_is_one(tracked: Kernel) -> None:
    last = 2 * RANGES_MAX
    with tracked.inside(), Netlink() as sock:
        try:
            sock.attach_filter(conntrack_filter(range(18, 118), range(0, last + 1, 2), range(1, last, 2)))
        except NetlinkError as error:
            # The kernel looks for room only once it has found the program to be one (sk_attach_filter): else this were EINVAL.
            assert error.errno == errno.ENOMEM
            pytest.skip("what the largest filter lets pass was not tested: net.core.optmem_max of this kernel is less (before Linux 6.7)")
        sock.subscribe(ct.GROUP_NEW)
        assert heard(sock, (last, last + 1000)) == [last]


def test_a_kernel_with_little_room_for_filters(tracked: Kernel) -> None:
    """Before Linux 6.7 net.core.optmem_max is 20 KiB, half of it where pointers are short: the largest that it takes is taken.

    A namespace of Linux 6.1 does not show it, so there it is the kernel's own, which is too little where pointers are short.
    """
    wanted = range(1000, 1000 + 8 * RANGES_MAX, 4)
    with tracked.inside(), Netlink() as sock:
        path = Path("/proc/sys/net/core/optmem_max")
        before = path.read_text() if path.exists() else ""
        try:
            if before:
                path.write_text("2048")
                with pytest.raises(NetlinkError) as caught:
                    sock.attach_filter(conntrack_filter((50,), wanted, wanted))
                assert caught.value.errno == errno.ENOMEM
            most = attach_largest(sock, (50,), wanted, wanted)
        finally:
            if before:
                path.write_text(before)
        assert most == 8 if before else most > 0
        sock.subscribe(ct.GROUP_NEW)
        sent = (53, 1004, wanted[-1], wanted[-1] + 4, *range(1005, wanted[-1], 311))
        passing = [port for port in sent if any(first <= port <= last for first, last in ranges(wanted, most))]
        assert heard(sock, sent) == passing and {1004, wanted[-1]} <= set(passing) < set(sent)


def test_dumps(tracked: Kernel) -> None:
    with tracked.inside(), Netlink() as sock:
        for port, source in ((7001, 0), (7002, 0), (7002, 0), (7003, 7002)):
            send(ct.UDP, port, source)
        send(ct.TCP, 7002)
        assert [flow.orig.dport for flow in dump_conntrack(sock, ct.AF_INET, ct.UDP, dport=7001)] == [7001]
        assert [flow.orig.proto for flow in dump_conntrack(sock, ct.AF_INET, ct.UDP, dport=7002)] == [ct.UDP, ct.UDP]
        assert [flow.orig.dport for flow in dump_conntrack(sock, ct.AF_INET, ct.UDP, sport=7002)] == [7003]
        assert first_flows(1, lambda flow: flow.orig.dport, ct.AF_INET, ct.UDP, None, 7002) == [7002]
        assert first_flows(9, lambda flow: flow.orig.dport, ct.AF_INET, ct.UDP, None, 7002) == [7002, 7002]
        assert first_flows(9, lambda _: None, ct.AF_INET, ct.UDP, None, 7002) == []
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
