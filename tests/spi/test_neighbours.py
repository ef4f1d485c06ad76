# SPDX-License-Identifier: GPL-2.0-or-later
"""A neighbour that makes up ESP wins nothing (rule 9)."""
from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.spi.test_transcript import A, B, C, S, X, Y, assign, exchange, fan, out, pairs, play, shared, taken
from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Deliver, Fan, Paired

if TYPE_CHECKING:
    from vpnpt.spi.messages import Action, Event


def made_up(engine: Engine, start: float, seconds: float, every: float, jitter: float, spis: int, spi: bytes, stream: float,
            ) -> tuple[list[tuple[float, Action]], set[bytes]]:
    """C makes up ESP while the server sends `spi` to somebody who only listens: what is done, and who gets copies in the end."""
    chance = Random(3)
    events: list[tuple[float, Event]] = []
    at, number = start, 0
    while at < start + seconds:
        events.append((at, out(C, b"mad%d" % (number % spis))))
        at, number = at + every * (1 + jitter * (chance.random() - 0.5)), number + 1
    number = 0
    while 1.0 + number * stream < seconds:
        events.append((start + 1.0 + number * stream, shared(spi, (A, B, C), copied=(A, B, C), sequence=number + 1)))
        number += 1
    actions = [(when, action) for when, event in sorted(events, key=lambda item: item[0]) for action in play(engine, event, when)]
    found = engine.servers[S].open.get(spi)
    return actions, set(found.candidates) if found is not None else {engine.servers[S].settled[spi].owner}


@pytest.mark.parametrize("stream", [0.02, 0.07, 1.0])
@pytest.mark.parametrize("spis", [1, 5])
@pytest.mark.parametrize("jitter", [0.0, 1.0])
@pytest.mark.parametrize("every", [0.02, 0.07, 0.2, 1.0])
@pytest.mark.parametrize("keys", ["ike", "manual"])
def test_rule_9_who_makes_up_esp_wins_nothing(keys: str, every: float, jitter: float, spis: int, stream: float) -> None:
    """A has a new SPI, and listens. By IKE, or with manual keys, of which the server is the first to use the new ones."""
    engine = Engine()
    for event, when in (*((event, 0.0) for event in pairs(A, B, C)), (exchange(A), 0.1), (exchange(A, outbound=False), 0.105)):
        if keys == "ike" or isinstance(event, Paired):
            engine.handle(event, when)
    if keys == "manual":
        engine.handle(out(A, b"manu"), 0.2)
    assert engine.handle(shared(Y, copied=(A, B, C)), 0.3) == [assign(Y, A)]
    if keys == "ike":
        for event, when in ((exchange(A, number=7), 20.0), (exchange(A, number=7, outbound=False), 20.005)):
            engine.handle(event, when)
    actions, receivers = made_up(engine, 20.1, 30.0, every, jitter, spis, X, stream)
    assert A in receivers, "the victim loses nothing"
    for when, action in actions:
        if isinstance(action, (Assign, Fan)) and action.spi == X:
            assert A in (action.clients if isinstance(action, Fan) else [action.client]), (when, action)


def test_rule_9_the_kernel_may_have_been_deceived() -> None:
    """C is the only one that seems to wait, but the server has never answered it: A, with manual keys, may be meant."""
    engine = Engine()
    for event in [*pairs(A, B, C), out(A, b"manu"), shared(Y)]:
        engine.handle(event, 1.0)
    engine.handle(out(C, b"made"), 20.0)
    assert play(engine, taken(X, C, b"packet"), 20.1) == [Deliver(packet=b"packet", clients=(A,)), fan(X, C, A)]
