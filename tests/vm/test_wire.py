# SPDX-License-Identifier: GPL-2.0-or-later
"""What the witness of the real peers takes for lost, and for a copy; and that it hears what crosses a real router."""
from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab.topology import Lab
from tests.vm.peers.wire import Crossing, Wire, crossings, esp_name


def ipv4(protocol: int, body: bytes, fragment: int = 0) -> bytes:
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0, bytes(4), bytes(4)) + body


@pytest.mark.parametrize("packet, name", [
    (ipv4(50, struct.pack(">II", 7, 9)), (7, 9)),
    (ipv4(50, struct.pack(">II", 7, 9), 0x2000), (7, 9)),
    (ipv4(50, struct.pack(">II", 7, 9), 100), None),
    (ipv4(17, struct.pack(">HHHHII", 4500, 31000, 16, 0, 7, 9)), (7, 9)),
    (ipv4(17, struct.pack(">HHHHII", 4500, 4500, 16, 0, 0, 9)), None),
    (ipv4(17, struct.pack(">HHHHII", 500, 500, 16, 0, 7, 9)), None),
    (ipv4(17, struct.pack(">HHHHB", 4500, 4500, 9, 0, 255)), None),
    (ipv4(50, b"\0\0\0\7"), None),
    (ipv4(6, bytes(20)), None),
])
def test_esp_is_known_by_spi_and_sequence_number(packet: bytes, name: tuple[int, int] | None) -> None:
    assert esp_name(packet) == name


def test_what_did_not_reach_the_end_with_the_keys_is_lost() -> None:
    seen = {"s1": ({(1, 1): 5.0, (1, 2): 6.0, (2, 1): 6.5, (9, 1): 7.0}, {(11, 1): 8.0}),
            "c1": ({(11, 1): 7.5, (11, 2): 8.5}, {(1, 1): 5.5, (2, 1): 7.0, (9, 1): 7.5}), "c2": ({}, {(1, 2): 6.25, (2, 1): 7.0})}
    assert crossings(seen, "s1", {"c1": {1}, "c2": {2}}, {9}) == {"c1": Crossing(4, 2, 1, 2.0, 2.5), "c2": Crossing(1, 0, 1, 1.25, 2.5)}


def test_nothing_sent_tells_nothing() -> None:
    assert crossings({"s1": ({}, {}), "c1": ({}, {})}, "s1", {"c1": set()}, set()) is None


def test_a_real_router_is_heard(sandbox: None, tmp_path: Path) -> None:
    """Two clients' ESP with keys set by hand; behind a stock router the second one's is lost."""
    with Lab(clients=2, servers=1, ipv6=False) as lab:
        for host in lab.hosts:
            host.quiet()
        site: Any = SimpleNamespace(lab=lab, server=SimpleNamespace(host=lab.servers[0], address=lab.servers[0].address),
                                    clients=[SimpleNamespace(host=client) for client in lab.clients])
        wire = Wire(site, tmp_path)
        wire.begin()
        for number, client in enumerate(lab.clients):
            client.protocol(50).send(struct.pack(">II", 0x100 + number, 1) + bytes(40), lab.servers[0].address)
        found = wire.end()
        wire.close()
    assert found == {"c1": Crossing(1, 0, 0), "c2": Crossing(1, 1, 0)}
