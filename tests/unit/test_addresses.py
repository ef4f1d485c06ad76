"""Addresses and neighbours, from copies of what the kernel shows under /proc/net, and from this kernel."""
from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from vpnpt.addresses import local_addresses, neighbours

if TYPE_CHECKING:
    from pathlib import Path

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
ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.101    0x1         0x2         02:00:5E:10:00:01     *        br-lan
192.168.1.102    0x1         0x0         00:00:00:00:00:00     *        br-lan
"""


def test_local_addresses(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    assert local_addresses(str(tmp_path)) == {socket.inet_aton("192.168.1.1"), socket.inet_aton("127.0.0.1"),
                                              socket.inet_pton(socket.AF_INET6, "::1"),
                                              socket.inet_pton(socket.AF_INET6, "2001:db8:1::1")}


def test_neighbours(tmp_path: Path) -> None:
    (tmp_path / "arp").write_text(ARP)
    assert neighbours(str(tmp_path)) == {socket.inet_aton("192.168.1.101"): "02:00:5e:10:00:01"}


def test_nothing_there(tmp_path: Path) -> None:
    """No IPv6, no ARP, no /proc at all."""
    assert local_addresses(str(tmp_path)) == set()
    assert neighbours(str(tmp_path)) == {}
    (tmp_path / "arp").write_text("")
    assert neighbours(str(tmp_path)) == {}


def test_this_kernel(kernel: Kernel) -> None:
    kernel.run("ip", "-batch", "-", text="link add d0 type veth peer d1\nlink set d1 up\nlink set d0 up\naddr add 192.0.2.7/24 dev d0\n"
               "addr add 2001:db8::7/64 dev d0 nodad\nneigh add 192.0.2.8 lladdr 02:00:5e:10:00:08 dev d0\n")
    with kernel.inside():
        local, known = local_addresses("/proc/thread-self/net"), neighbours("/proc/thread-self/net")
    assert {socket.inet_aton("192.0.2.7"), socket.inet_pton(socket.AF_INET6, "2001:db8::7")} <= local
    assert socket.inet_aton("192.0.2.255") not in local
    assert known == {socket.inet_aton("192.0.2.8"): "02:00:5e:10:00:08"}
