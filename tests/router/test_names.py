# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of hosts, from files as dnsmasq, odhcpd and people write them."""
from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from vpnpt.router import names
from vpnpt.router.names import Hosts
from vpnpt.sessions.table import packed_address

if TYPE_CHECKING:
    from pathlib import Path

A, B, C, D, E = (socket.inet_aton(f"192.168.1.{number}") for number in (101, 102, 103, 104, 105))
SIX = packed_address("2001:db8:1::101") or b""
FILES = {
    "tmp/dhcp.leases": "1700000000 02:00:5E:10:00:01 192.168.1.101 laptop 01:02:00:5e:10:00:01\n"
                       "1700000000 02:00:5e:10:00:02 192.168.1.102 * *\nbroken\n1700000000 - 192.168.1.103 <b>x</b> *\n",
    "tmp/hosts/odhcpd": "# br-lan 00010001 4 printer 1700000000 65 128 2001:db8:1::101/128\n2001:db8:1::101\tprinter.lan\tprinter\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 ip6-localhost\n198.51.100.11 vpn.example # the office\n192.168.1.101 other\nnonsense\n",
    "etc/ethers": "02:00:5E:10:00:04 phone\n02:00:5e:10:00:05 192.168.1.9\n",
    "etc/config/dhcp": "config dnsmasq\n\toption leasefile '/var/leases'\n\tlist addnhosts '/srv/hosts'\n"
                       "config host\n\toption name 'tablet'\n\toption mac '02:00:5E:10:00:06 02:00:5e:10:00:07'\n",
    "var/leases": "1700000000 02:00:5e:10:00:08 192.168.1.104 camera *\n", "srv/hosts": "192.168.1.105 nas\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    macs = {B: "02:00:5e:10:00:04", C: "02:00:5e:10:00:07", bytes(4): "02:00:5e:10:00:01"}
    monkeypatch.setattr(names, "neighbours", lambda: macs)
    found = Hosts(root=str(root))
    found.read()
    assert {address: found.name(address) for address in (A, B, C, D, E, SIX, bytes(4))} == {
        A: "laptop", B: "phone", C: "tablet", D: "camera", E: "nas", SIX: "printer.lan", bytes(4): "laptop"}
    assert found.name(socket.inet_aton("198.51.100.11")) == "vpn.example"
    assert found.name(socket.inet_aton("127.0.0.1")) == found.name(socket.inet_aton("192.168.1.200")) == ""
    assert (found.mac(B), found.mac(A)) == ("02:00:5e:10:00:04", "")


def test_a_lease_that_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "neighbours", dict)
    found = Hosts(root=str(root))
    found.read()
    (root / "tmp/dhcp.leases").write_text("1700000001 02:00:5e:10:00:01 192.168.1.101 renamed *\n")
    os.utime(root / "tmp/dhcp.leases", (1, 1))
    found.read()
    assert found.name(A) == "renamed"
    (root / "etc/config/dhcp").unlink()
    found.read()
    assert found.name(D) == "" and found.name(A) == "renamed"


def test_what_is_no_file_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no dnsmasq runs, /tmp/dhcp.leases and /tmp/hosts are anybody's to make. Opening a pipe waits for ever, opening a device may
    start it."""
    monkeypatch.setattr(names, "neighbours", dict)
    for name in ("tmp/dhcp.leases", "etc/ethers", "etc/config/dhcp"):
        (root / name).unlink()
        os.mkfifo(root / name)
    os.mkfifo(root / "tmp/hosts/a")
    (root / "tmp/hosts/b").symlink_to("/dev/zero")
    for number in range(names.FILES_MAX):
        (root / f"tmp/hosts/p{number:02}").write_text("192.168.1.103 many\n")
    found = Hosts(root=str(root))
    found.read()
    assert found.name(SIX) == "printer.lan" and found.name(A) == "other"


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "neighbours", dict)
    found = Hosts(root=str(tmp_path))
    found.read()
    assert found.name(A) == found.mac(A) == ""
