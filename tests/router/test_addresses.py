# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses and neighbours, from copies of what the kernel shows under /proc/net, and from this kernel."""
from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from vpnpt.router import addresses
from vpnpt.router.addresses import Networks, Silent, local_addresses, neighbours
from vpnpt.sessions.table import packed_address

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.golden.kernel import Kernel

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.168.1.0/24 2 0 2
        +-- 192.168.1.0/30 2 0 2
           |-- 192.168.1.0
              /24 link UNICAST
           |-- 192.168.1.1
              /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 198.51.100.9
        /32 link UNICAST
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000100000000000000000001 02 40 00 80   br-lan
"""
ROUTE = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wan	00000000	FE7100CB	0003	0	0	0	00000000	0	0	0
br-lan	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	8001A8C0	00000000	0001	0	0	0	C0FFFFFF	0	0	0
br-lan	0000000A	0201A8C0	0003	0	0	0	000000FF	0	0	0
"""
IPV6_ROUTE = """\
20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001   br-lan
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003      wan
20010db8000100000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001       lo
"""  # noqa: E501


def test_local_addresses(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    assert local_addresses(str(tmp_path)) == {socket.inet_aton("192.168.1.1"), socket.inet_aton("127.0.0.1"),
                                              socket.inet_pton(socket.AF_INET6, "::1"),
                                              socket.inet_pton(socket.AF_INET6, "2001:db8:1::1")}


def test_networks(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTE)
    (tmp_path / "ipv6_route").write_text(IPV6_ROUTE)
    lan = Networks(["br-lan"], str(tmp_path))
    inside = {"192.168.1.20": True, "192.168.1.129": False, "192.168.1.192": True, "192.168.2.1": False, "10.9.8.7": True, "8.8.8.8": False,
              "2001:db8:1::7": True, "2001:db8:2::7": False}
    assert {address: lan(packed_address(address) or b"") for address in inside} == inside


def test_nothing_there(tmp_path: Path) -> None:
    """No IPv6, no /proc at all."""
    assert local_addresses(str(tmp_path)) == set()
    assert not Networks(["br-lan"], str(tmp_path))(bytes(4))


def test_many_are_asked_about_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When thousands of sessions end, the neighbours are not read for each of them: that takes a twentieth of the time at most."""
    now, read = [100.0], [0]

    def known() -> dict[bytes, str]:
        read[0] += 1
        now[0] += 0.05
        return {bytes([10, 0, 0, 1]): ""}

    monkeypatch.setattr(addresses, "_neighbours", known)
    silent = Silent(lambda: now[0])
    assert [silent(bytes([10, 0, 0, number])) for number in range(200)] == [number == 1 for number in range(200)]
    assert read == [1]
    now[0] += 1.1
    assert silent(bytes([10, 0, 0, 1])) and read == [2]


def test_this_kernel(kernel: Kernel) -> None:
    kernel.run("ip", "-batch", "-", text="link add d0 type veth peer d1\nlink set d1 up\nlink set d0 up\naddr add 192.0.2.7/24 dev d0\n"
               "addr add 2001:db8::7/64 dev d0 nodad\nneigh add 192.0.2.8 lladdr 02:00:5E:10:00:08 dev d0\n"
               "neigh add 2001:db8::8 lladdr 02:00:5e:10:00:08 dev d0\nneigh add 192.0.2.9 nud failed dev d0\n")
    with kernel.inside():
        local, known = local_addresses("/proc/thread-self/net"), neighbours()
        silent = Silent()
        assert silent(socket.inet_aton("192.0.2.9")) and not silent(socket.inet_aton("192.0.2.8"))
        assert not silent(socket.inet_aton("192.0.2.10"))
        lan = Networks(["d0"], "/proc/thread-self/net")
        assert lan(socket.inet_aton("192.0.2.200")) and lan(socket.inet_pton(socket.AF_INET6, "2001:db8::9"))
        assert not lan(socket.inet_aton("192.0.3.1"))
    assert {socket.inet_aton("192.0.2.7"), socket.inet_pton(socket.AF_INET6, "2001:db8::7")} <= local
    assert socket.inet_aton("192.0.2.255") not in local
    assert known == dict.fromkeys((socket.inet_aton("192.0.2.8"), socket.inet_pton(socket.AF_INET6, "2001:db8::8")), "02:00:5e:10:00:08")
