# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule 15: what the numbers of packets prove over many of them, where no single one tells anything; and what they do not."""
from __future__ import annotations

from math import log
from pathlib import Path
from random import Random

import pytest

from tests.sim.people import SERVER, People
from vpnpt.spi.blocks import ALL, SIZES, TIME, Blocks
from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Ask, Assign, Counted, Exchange, Paired, SpiOut, SpiShared
from vpnpt.spi.tally import CERTAIN

S, A, B, C = b"\xcb\x00\x71\x01", b"\xc0\xa8\x01\x0b", b"\xc0\xa8\x01\x0c", b"\xc0\xa8\x01\x0d"
LEAST = CERTAIN + log(3 * len(SIZES))


def upload(chance: Random, seconds: float) -> list[float]:
    """When a packet is sent: as fast as a window allows that grows and is halved now and then, a round trip of 20 ms."""
    when, window, found = 0.0, 4.0, []
    while when < seconds:
        found += [when + 0.001 * number for number in range(int(window))]
        when, window = when + 0.02, window + 0.2 if window < chance.uniform(6, 16) else window / 2
    return found


def confirmed(chance: Random, sent: list[float], each: int = 2) -> list[float]:
    return [when + 0.02 + chance.uniform(0, 0.004) for when in sent[each - 1::each]]


def proofs(came: list[float], sent: dict[bytes, list[float]], strangers: tuple[bytes, ...] = (),
           sizes: tuple[int, int] = (100, 1400)) -> dict[bytes, float]:
    """The most that ever spoke for each client that sends at these times, while packets of one SPI came at those.
    sizes: of these and of those, in bytes."""
    found, most = [Blocks(*size) for size in SIZES], dict.fromkeys(sent, 0.0)
    passed = dict.fromkeys(sent, 0)
    came_by_now = 0
    for when, who in sorted([(when, b"") for when in came] + [(when, client) for client, times in sent.items() for when in times]):
        if who:
            passed[who] += 1
        else:
            came_by_now += 1
            for blocks in found:
                blocks.comes(came_by_now, {**passed, TIME: when, ALL: sum(passed.values())}, strangers)
            most = {client: max(most[client], *(blocks.proof(client, *sizes) for blocks in found)) for client in sent}
    return most


@pytest.mark.parametrize("seed", range(5))
def test_an_upload_is_whose_number_it_follows(seed: int) -> None:
    chance = Random(seed)
    sent = {client: upload(chance, 20.0) for client in (A, B, C)}
    most = proofs(confirmed(chance, sent[A]), sent)
    assert most[A] > LEAST
    assert max(most[B], most[C]) < LEAST / 3


@pytest.mark.parametrize("seed", range(5))
def test_what_is_sent_to_another_client_proves_nothing(seed: int) -> None:
    """B sends A a file through the server: packet for packet it comes for A, which confirms it."""
    chance = Random(seed)
    sent = {B: upload(chance, 20.0), C: upload(chance, 20.0)}
    came = [when + 0.02 for when in sent[B]]
    sent[A] = [when + 0.003 for when in came[1::2]]
    most = proofs(came, sent)
    assert most[B] == 0.0
    assert most[C] < LEAST / 3
    most = proofs([when + 0.02 for when in sent[A]], sent)
    assert most[A] == 0.0, "nor of what confirms it, which comes for B"
    assert most[C] < LEAST / 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("part", [2, 3])
def test_what_a_conference_forwards_proves_nothing(part: int, seed: int) -> None:
    """B sends its picture in several sizes, of which the server sends one on to A: for a part of what B sends something comes for A, which
    sends a picture of its own."""
    chance = Random(seed)

    def picture() -> list[float]:
        when, packets, found = 0.0, 12.0, []
        while when < 60.0:
            packets = min(40.0, max(4.0, packets * chance.uniform(0.8, 1.25)))
            found += [when + 0.0005 * number for number in range(int(packets))]
            when += 0.033
        return found

    sent = {A: picture(), B: picture()}
    came = [when + 0.02 for when in sent[B][::part]]
    assert proofs(came, sent)[B] > LEAST, "but for the sizes"
    assert max(proofs(came, sent, sizes=(1200, 1200)).values()) == 0.0


@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("clients", [2, 3])
def test_a_conference_proves_nothing_wrong(clients: int, ike: bool) -> None:
    people = People("conference", clients, ike=ike, clients=clients, jitter=0.0003)
    people.run(10.0)
    people.router.until(11.0)
    assert people.router.missing == {}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("what", ["uploads", "slow_uploads"])
def test_a_slow_router_reads_counters(what: str, ike: bool, seed: int) -> None:
    """Its daemon hears of so few packets that these prove nothing; the kernel has counted them all."""
    people = People(what, seed, ike=ike, slow=0.008)
    people.run(20.0)
    copies = people.router.copies
    people.run(24.0)
    assert people.router.copies == copies
    peer = people.router.kernel.peers[SERVER]
    assert [peer.spis.get(spi) for spi in people.inbound] == people.names
    assert people.router.missing == {}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("what", ["conference", "calls", "fair", "one_machine", "push", "oneway", "onsets"])
def test_counters_prove_nothing_wrong(what: str, ike: bool, seed: int) -> None:
    people = People(what, seed, ike=ike, slow=0.008, jitter=0.0003)
    people.run(9.0)
    people.router.until(9.5)
    assert not [when for when, *_ in people.router.missing.values() if when > 1.0], "before, a client may not have spoken yet"


@pytest.mark.parametrize("client", [A, B])
def test_clocks_prove_nothing(client: bytes) -> None:
    """As many in the same time, whoever sends what."""
    chance = Random(1)
    sent = {name: [0.01 * number + chance.uniform(0, 0.001) for number in range(3000)] for name in (A, B)}
    assert proofs(confirmed(chance, sent[A]), sent)[client] < LEAST / 2


@pytest.mark.parametrize("seed", range(3))
def test_in_step_with_another_nothing_is_proven(seed: int) -> None:
    """Whenever the owner sends, another one does as well, a little later; and the owner sends something else besides."""
    chance = Random(seed)
    own = upload(chance, 20.0)
    besides = [when + 0.001 * number for when in range(1, 20, 2) for number in range(chance.randint(5, 60))]
    sent = {A: sorted(own + besides), B: [when + 0.002 for when in own], C: [when + 0.004 for when in own]}
    most = proofs(confirmed(chance, own), sent)
    assert max(most.values()) < LEAST


@pytest.mark.parametrize("even", [0.0, 0.03, 0.15, 0.4])
@pytest.mark.parametrize("clients", [2, 4])
def test_a_line_that_serves_all_in_turn_proves_nothing_wrong(clients: int, even: float) -> None:
    """All are nearly equally fast, and one sends other things besides, so that its number tells less of its SPI than another's."""
    people = People("fair", clients, ike=True, clients=clients, even=even, jitter=0.0003)
    people.run(10.0)
    people.router.until(11.0)
    assert people.router.missing == {}


def test_who_was_never_answered_is_no_rival() -> None:
    """B gets copies of what confirms A's upload, and sends two packets for each, so that its number is the more exact one."""
    chance = Random(1)
    sent = {A: upload(chance, 20.0), C: upload(chance, 20.0)}
    came = confirmed(chance, sent[A])
    sent[B] = [when + 0.002 + 0.0001 * number for when in came for number in range(2)]
    assert proofs(came, sent)[A] < LEAST
    assert proofs(came, sent, strangers=(B,))[A] > LEAST


def test_a_neighbour_that_answers_each_copy_wins_nothing() -> None:
    """The same, with all that speaks for a client: not for a minute only."""
    engine, chance, owners = Engine(), Random(1), set()
    for client in (A, B, C):
        engine.handle(Paired(server=S, client=client), 1.0)
    for when, outbound in ((1.1, True), (1.2, False)):
        for client in (A, C):
            engine.handle(Exchange(server=S, client=client, message=client * 3, outbound=outbound, auth=True), when)
    sent = [when + 2 for when in upload(chance, 90.0)]
    came = confirmed(chance, sent)
    events = [(when, 0, number + 1) for number, when in enumerate(came)]
    events += [(when, 1, number + 1) for number, when in enumerate(sent)]
    events += [(when + 2, 2, number + 1) for number, when in enumerate(upload(chance, 90.0))]
    events += [(when + 0.002 + 0.0001 * twice, 3, 2 * number + twice + 1) for number, when in enumerate(came) for twice in range(2)]
    for when, which, number in sorted([*events, (1.9, 3, 1)]):
        event = SpiOut(server=S, client=(A, C, B)[which - 1], spi=(b"outA", b"outC", b"outB")[which - 1], sequence=number,
                       size=1400) if which else \
            SpiShared(server=S, spi=b"in A", sequence=number, waiting=None, copied=frozenset((A, B, C)), size=100)
        for action in engine.handle(event, when):
            done = engine.handle(action.event.replace(waiting=frozenset((A, B, C))), when) if isinstance(action, Ask) else [action]
            owners |= {found.client for found in done if isinstance(found, Assign) and found.spi == b"in A"}
        if owners:
            break
    assert owners == {A}


def test_what_counters_tell_of_one_upload_tells_of_the_others() -> None:
    """Recorded: three uploads at once through an emulated router. Each alone was proven after 7, 11 and 11 seconds (rule 14)."""
    clients, spis, engine = (A, B, C), (b"in1 ", b"in2 ", b"in3 "), Engine()
    for client in clients:
        engine.handle(Paired(server=S, client=client, speaks=True), 0.0)
    for spi in spis * 2:
        engine.handle(SpiShared(server=S, spi=spi, sequence=0, waiting=frozenset(clients), copied=frozenset(clients), size=140), 0.01)
    for client in clients:
        engine.handle(SpiOut(server=S, client=client, spi=b"out" + client[-1:], sequence=2, size=1440), 0.02)
    owners: dict[bytes, bytes] = {}
    for line in (Path(__file__).parent / "recorded" / "uploads.txt").read_text().splitlines():
        when, *numbers = map(float, line.split())
        came, sent = (dict(zip(names, map(int, part), strict=True)) for names, part in ((spis, numbers[:3]), (clients, numbers[3:])))
        owners |= {action.spi: action.client for action in engine.handle(Counted(server=S, came=came, sent=sent), 10 + when)
                   if isinstance(action, Assign) and when < 6}
    assert owners == dict(zip(spis, clients, strict=True))
