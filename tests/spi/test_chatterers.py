# SPDX-License-Identifier: GPL-2.0-or-later
"""A client that speaks all the time and that the server has never answered (rule 9): it gets copies for seconds, and wins nothing.

Played with real packets by tests/attack/test_neighbours.py.
"""
from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Exchange, Fan, Paired, RoundTrip, SpiOut, SpiShared

if TYPE_CHECKING:
    from vpnpt.spi.messages import Event

S, VICTIM, CHATTERER = b"\xcb\x00\x71\x01", b"\xc0\xa8\x01\x0b", b"\xc0\xa8\x01\x0c"
BOTH = frozenset((VICTIM, CHATTERER))
MESSAGE = b"cookie.." + b"\0\0\0\1c"


def rekeying(heard: bool) -> list[tuple[float, Event]]:
    """The victim makes a new SA with a server that has answered it before; heard: the other one, too."""
    events: list[tuple[float, Event]] = [(0.0, Paired(server=S, client=CHATTERER, heard=heard)),
                                         (0.0, Paired(server=S, client=VICTIM, heard=True)),
                                         (0.0, RoundTrip(server=S, seconds=0.001))]
    return events + [(when, Exchange(server=S, client=VICTIM, message=MESSAGE, outbound=outbound, auth=False, sure=True))
                     for when, outbound in ((0.1, True), (0.102, False))]


def speaks(client: bytes, spi: bytes, every: float, until: float, chance: random.Random) -> list[tuple[float, Event]]:
    """One packet every so many seconds, more or less."""
    when, sequence, events = 0.11, 0, list[tuple[float, "Event"]]()
    while when < until:
        sequence += 1
        events.append((when, SpiOut(server=S, client=client, spi=spi, sequence=sequence)))
        when += every * chance.uniform(0.8, 1.25)
    return events


def answers(questions: list[tuple[float, Event]], spi: bytes, after: float, chance: random.Random) -> list[tuple[float, Event]]:
    """One packet for each, some time later."""
    return [(when + after * chance.uniform(0.8, 2.0), SpiShared(server=S, spi=spi, sequence=number + 1, waiting=BOTH, copied=BOTH))
            for number, (when, _) in enumerate(questions)]


def play(events: list[tuple[float, Event]], owner: dict[bytes, bytes]) -> dict[bytes, float]:
    """Nobody loses anything. When was each SPI its owner's alone for the last time that this was decided?"""
    engine, decided = Engine(), dict[bytes, float]()
    for when, event in sorted(events, key=lambda item: item[0]):
        for action in engine.handle(event, 100.0 + when):
            if isinstance(action, Fan):
                assert owner[action.spi] in action.clients, (when, action)
                decided.pop(action.spi, None)
            elif isinstance(action, Assign):
                assert action.client == owner[action.spi], (when, action)
                decided.setdefault(action.spi, when)
    return decided


@pytest.mark.parametrize("every", [0.005, 0.01, 0.02, 0.04])
@pytest.mark.parametrize("seed", range(5))
def test_copies_end(every: float, seed: int) -> None:
    """Wherever the victim's answers come from: not from the server itself, whose distance is known, but from somewhere behind it."""
    chance = random.Random(seed)
    asked = speaks(VICTIM, b"out1", 0.09, 12.0, chance)
    decided = play(rekeying(False) + asked + speaks(CHATTERER, b"madeup", every, 12.0, chance) + answers(asked, b"in1 ", 0.012, chance),
                   {b"in1 ": VICTIM})
    assert decided[b"in1 "] < 10.0


@pytest.mark.parametrize("every", [0.01, 0.02, 0.04, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_who_begins_is_no_chatterer(every: float, seed: int) -> None:
    """A new client with manual keys, whose first answers come just then, loses none of them; nor does one that was answered before."""
    for heard in (False, True):
        chance = random.Random(seed)
        asked, also = speaks(VICTIM, b"out1", 0.09, 12.0, chance), speaks(CHATTERER, b"out2", every, 12.0, chance)
        play(rekeying(heard) + asked + also + answers(asked, b"in1 ", 0.012, chance) + answers(also, b"in2 ", 0.012, chance),
             {b"in1 ": VICTIM, b"in2 ": CHATTERER})
