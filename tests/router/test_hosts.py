# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts on a router without vpnpt-tools."""
from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from vpnpt.router.hosts import Nameless, hosts
from vpnpt.router.names import Hosts

if TYPE_CHECKING:
    import pytest

    from tests.golden.kernel import Kernel


def test_without_the_names_there_are_ethernet_addresses(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(hosts(None), Hosts)
    monkeypatch.setitem(sys.modules, "vpnpt.router.names", None)
    found = hosts(None)
    assert isinstance(found, Nameless)
    kernel.run("ip", "-batch", "-", text="link add h0 type veth peer h1\nlink set h0 up\naddr add 192.0.2.1/24 dev h0\n"
               "neigh add 192.0.2.8 lladdr 02:00:5e:10:00:08 dev h0\n")
    with kernel.inside():
        found.read()
    host = socket.inet_aton("192.0.2.8")
    assert (found.name(host), found.mac(host)) == ("", "02:00:5e:10:00:08")
