# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule 12: what the numbers of packets to and fro prove, and above all what they do not."""
from __future__ import annotations

from math import log
from random import Random
from typing import TYPE_CHECKING

import pytest

from vpnpt.spi.bounds import FOLLOWED_CAP
from vpnpt.spi.counts import Counts
from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Exchange, Fan, Paired, SpiOut, SpiShared
from vpnpt.spi.tally import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

S, A, B = b"\xcb\x00\x71\x01", b"\xc0\xa8\x01\x0b", b"\xc0\xa8\x01\x0c"
LEAST = CERTAIN + log(2)
PACKETS = 2000


def looks(came: list[float], sent: list[float], others: list[float], rival: Sequence[float] = ()) -> Iterator[Counts]:
    """What counting says after each packet that a client sends. Times at which packets of the SPI, of the client, of all others, and among
    these of the rival passed."""
    counts, events = Counts(), sorted([(when, 0) for when in came] + [(when, 1) for when in sent] + [(when, 2) for when in others]
                                      + [(when, 3) for when in rival])
    passed = [0, 0, 0, 0]
    for when, which in events:
        passed[which] += 1
        if which == 1:
            counts.sends(passed[0], passed[1], when, passed[2], {B: passed[3]})
            yield counts


def stream(chance: Random, pace: float, even: float = 0.4) -> list[float]:
    when, found = chance.uniform(0, pace), []
    for _ in range(PACKETS):
        found.append(when)
        when += pace * chance.uniform(1 - even, 1 + even)
    return found


def confirming(chance: Random, came: list[float], each: int = 2) -> list[float]:
    return [when + chance.uniform(0.001, 0.008) for when in came[each - 1::each]]


@pytest.mark.parametrize("seed", range(5))
def test_who_confirms_is_proven_and_nobody_else(seed: int) -> None:
    chance = Random(seed)
    own, other = stream(chance, 0.02), stream(chance, 0.013)
    sent, others = confirming(chance, own), confirming(chance, other)
    assert any(counts.confirms(LEAST) for counts in looks(own, sent, [*other, *others]))
    assert not any(counts.confirms(LEAST) for counts in looks(other, sent, [*own, *others]))
    assert not any(counts.confirms(LEAST) for counts in looks(own, others, [*other, *sent]))


@pytest.mark.parametrize("seed", range(5))
def test_who_confirms_among_ten_is_proven_soon(seed: int) -> None:
    """Of so many other ways to explain a packet one is right by chance, and another one the next time: that is no explanation."""
    chance, clients = Random(seed), 10
    streams = [stream(chance, 0.01 * 1.3 ** number) for number in range(clients)]
    events = sorted(event for number, came in enumerate(streams)
                    for event in [(when, 0, number) for when in came] + [(when, 1, number) for when in confirming(chance, came)])
    passed, sent, counts = [0] * clients, [0] * clients, Counts()
    for when, outbound, number in events:
        (sent if outbound else passed)[number] += 1
        if outbound and not number:
            others = sum(passed[1:]) + sum(sent[1:])
            counts.sends(passed[0], sent[0], when, others, {bytes([rival]): sent[rival] for rival in range(1, clients)})
            if counts.confirms(CERTAIN + log(clients)):
                break
    assert sent[0] <= 70


@pytest.mark.parametrize("seed", range(5))
def test_who_asks_in_step_with_another_is_not_taken_for_it(seed: int) -> None:
    """Two hosts wait together, however long (one radio, one machine); each question has two answers. The rest come and go as they like."""
    chance = Random(seed)
    asked = stream(chance, 0.05, 0.6)
    came = [when + after for when in asked for after in (0.004, 0.005)]
    step = [when + 0.012 for when in asked]
    rest = stream(chance, 0.008)
    assert not any(counts.confirms(LEAST) for counts in looks(came, step, [*asked, *rest], asked))
    assert not any(counts.confirms(LEAST) for counts in looks(came, asked, [*step, *rest], step)), "nor is it known of the owner"


@pytest.mark.parametrize("seed", range(5))
def test_equal_rates_prove_nothing(seed: int) -> None:
    chance = Random(seed)
    own, other = stream(chance, 0.02), stream(chance, 0.02)
    sent, others = confirming(chance, own), confirming(chance, other)
    assert not any(counts.confirms(LEAST) for counts in looks(other, sent, [*own, *others]))


@pytest.mark.parametrize("each", [1, 2, 3])
@pytest.mark.parametrize("even", [0.0, 0.02])
def test_clocks_prove_nothing(even: float, each: int) -> None:
    """Cameras and telephones: always as many packets in the same time, whoever sends what."""
    chance = Random(each)
    own, other = stream(chance, 0.02, even), stream(chance, 0.02, even)
    assert not any(counts.confirms(LEAST) for counts in looks(own, confirming(chance, other, each), other))


def test_a_link_that_stalls_proves_nothing() -> None:
    """All that comes waits for it, and comes at once: a fair queue lets a packet of each pass in turn."""
    chance, when = Random(1), 0.0
    own, other = [], []
    while len(own) < PACKETS:
        when += chance.expovariate(20)
        for _ in range(chance.choice((1, 2, 8, 20))):
            own.append(when)
            other.append(when + 0.001)
            when += 0.002
    sent = confirming(chance, own)
    assert not any(counts.confirms(LEAST) for counts in looks(other, sent, own))


def test_who_sends_to_another_client_is_not_taken_for_it() -> None:
    """What a client sends to another one, through the server, comes back with that one's SPI, packet for packet."""
    chance = Random(1)
    sent = stream(chance, 0.02, 0.9)
    assert not any(counts.confirms(LEAST) for counts in looks([when + 0.02 for when in sent], sent, stream(chance, 0.03)))


def transfer(engine: Engine, *, silent: bool, again: bool = False, every: int = 1) -> list[bytes]:
    """A and B come up together; A has a transfer, and B only sends now and then, or (silent) not at all. Who is named owner in the end?

    again: they have been answered before. every: of so many packets a notice comes of one.
    """
    chance = Random(3)
    for client in (A, B):
        engine.handle(Paired(server=S, client=client, heard=again), 100.0)
    for when, outbound in ((100.1, True), (100.2, False)):
        for client in (A, B):
            engine.handle(Exchange(server=S, client=client, message=client * 3, outbound=outbound, auth=True), when)
    came = [101.0 + when for when in stream(chance, 0.014)[:800]]
    events = [(when, 0, number + 1) for number, when in enumerate(came)]
    events += [(when + 0.003, 1, number + 1) for number, when in enumerate(confirming(chance, came))]
    if not silent:
        events += [(when + 101.0, 2, number + 1) for number, when in enumerate(stream(chance, 0.05, 0.9)[:240])]
    owners = []
    for when, which, number in sorted(events):
        if number % every:
            continue
        event = SpiShared(server=S, spi=b"in A", sequence=number, waiting=frozenset((A, B)), copied=frozenset((A, B))) if not which else \
            SpiOut(server=S, client=(A, B)[which - 1], spi=(b"outA", b"outB")[which - 1], sequence=number)
        for action in engine.handle(event, when):
            assert not isinstance(action, Fan) or A in action.clients
            if isinstance(action, Assign):
                owners.append(action.client)
        if owners:
            break
    return owners


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("every", [1, 2])
def test_a_transfer_is_its_confirmers(silent: bool, every: int) -> None:
    """every: sequence numbers tell how many packets there were, also if notices were lost."""
    assert transfer(Engine(), silent=silent, every=every)== [A]


def test_what_is_not_seen_may_be_confirmed() -> None:
    """A has an SPI from before, whose packets nobody tells of: it may confirm these, in step with those for B, which is silent."""
    assert transfer(Engine(), silent=True, again=True) == []


def test_made_up_spis_do_not_cost_the_memory_of_a_transfer() -> None:
    """Who confirms them is remembered of so many at once, and no more; the first ones were there before the flood."""
    engine, count = Engine(), FOLLOWED_CAP + 20
    for client in (A, B):
        engine.handle(Paired(server=S, client=client), 1.0)
        for number in range(60):
            engine.handle(SpiOut(server=S, client=client, spi=b"o" + bytes([client[3], 0, number]), sequence=1), 1.0)
    for turn in range(60):
        for number in range(count):
            engine.handle(SpiShared(server=S, spi=b"in" + number.to_bytes(2, "big"), sequence=7 + turn, waiting=frozenset((A, B)),
                                    copied=frozenset((A, B))), 2.0 + turn)
        for client in (A, B):
            engine.handle(SpiOut(server=S, client=client, spi=b"o" + bytes([client[3], 0, 0]), sequence=2 + turn), 2.5 + turn)
    looked_at = [found for found in engine.servers[S].open.values() if any(tally.echoes or tally.counts for tally in found.tally.values())]
    assert len(engine.servers[S].open) == count and len(looked_at) == FOLLOWED_CAP
