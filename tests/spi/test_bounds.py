# SPDX-License-Identifier: GPL-2.0-or-later
"""What is remembered is bounded, and nobody's memory is at another's cost (rule 8)."""
from __future__ import annotations

from tests.spi.test_transcript import A, B, C, S, X, both, fan, pairs, shared
from vpnpt.spi.bounds import CLIENT_CAP, OPEN_ALL_CAP, OPEN_CAP, PAIRS_CAP
from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Forget, Paired, SpiOut


def test_rule_8_open_spis_are_bounded() -> None:
    engine = Engine()
    for event in pairs(A, B):
        engine.handle(event, 0.0)
    forgotten = 0
    for number in range(OPEN_CAP + 100):
        forgotten += sum(isinstance(action, Forget) for action in engine.handle(shared(number.to_bytes(4, "big")), 1.0))
    assert forgotten == 100
    assert len(engine.servers[S].open) == OPEN_CAP


def test_rule_8_a_scan_costs_nobody_else_his_memory() -> None:
    """One host speaks with very many servers, also in the name of others; A and B need an SPI of theirs."""
    engine = Engine()
    for event in [*pairs(A, B), *both(A), *both(B)]:
        engine.handle(event, 1000.0)
    for number in range(20000):
        server = number.to_bytes(4, "big")
        engine.handle(Paired(server=server, client=C), 1001.0)
        engine.handle(SpiOut(server=server, client=C, spi=b"made"), 1001.0)
        if number % 2:
            engine.handle(SpiOut(server=server, client=bytes([10, 0, number >> 8, number & 255]), spi=b"made"), 1001.0)
    known = engine.pairs()
    assert len(known) <= PAIRS_CAP
    assert sum(client == C for client, _ in known) <= CLIENT_CAP
    assert engine.handle(shared(X), 1002.0) == [fan(X, A, B)]


def test_rule_8_who_was_alone_with_a_server_is_known_when_another_comes() -> None:
    engine = Engine()
    engine.handle(Paired(server=S, client=A), 0.0)
    assert engine.servers == {}, "of a server with one client nothing is to be decided"
    engine.handle(Paired(server=S, client=B), 1.0)
    assert engine.pairs() == [(A, S), (B, S)]


def test_rule_8_open_spis_of_all_servers_are_bounded() -> None:
    engine = Engine()
    for server in range(8):
        name = bytes([198, 51, 100, server])
        for client in (A, B):
            engine.handle(Paired(server=name, client=client), 0.0)
        for number in range(OPEN_CAP):
            engine.handle(shared(number.to_bytes(4, "big")).replace(server=name), 1.0 + server)
    assert sum(len(server.open) for server in engine.servers.values()) == OPEN_ALL_CAP
