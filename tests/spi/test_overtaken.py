# SPDX-License-Identifier: GPL-2.0-or-later
"""What a server sends with a new SPI may overtake its answer in IKE (rules 1 and 2): that SPI is nobody else's, and hides no need."""
from __future__ import annotations

import itertools

import pytest

from tests.sim.people import People
from tests.spi.story import Story
from vpnpt.spi.evidence import HALF_OPEN
from vpnpt.spi.messages import Exchange, SpiOut, SpiShared, SpiTaken

S = b"\xcb\x00\x71\x01"
A, B, C = CLIENTS = tuple(bytes([192, 168, 1, number]) for number in (11, 12, 13))
FAR, EVERY = 0.06, 0.05
"""Seconds that an exchange takes, and between the questions of all clients, which ask at the same moments."""


class Tale(Story):
    """Of one server."""

    def __init__(self) -> None:
        super().__init__()
        self.sequences: dict[bytes, int] = {}

    def ike(self, client: bytes, number: int, *, outbound: bool, after: float = 0.0) -> None:
        self.tell(Exchange(server=S, client=client, message=client * 2 + number.to_bytes(4, "big"), outbound=outbound, auth=number == 1,
                           sure=number == 1), after)

    def comes(self, spi: bytes, after: float = 0.0) -> None:
        """From the server, to all who may own it, or to whom it is known to be."""
        self.sequences[spi] = self.sequences.get(spi, 0) + 1
        self.now += after
        if spi not in self.assigned:
            self.tell(SpiShared(server=S, spi=spi, sequence=self.sequences[spi], waiting=frozenset(), copied=frozenset(CLIENTS)))

    def gets(self, spi: bytes) -> set[bytes]:
        return {self.assigned[spi]} if spi in self.assigned else set(self.engine.servers[S].open[spi].candidates)


def old(client: bytes) -> bytes:
    return b"old" + client[3:]


def new(client: bytes) -> bytes:
    return b"new" + client[3:]


def begin(story: Tale, *clients: bytes) -> None:
    """IKE of these, and a first answer to each, at the same moment."""
    for client in clients:
        story.ike(client, 1, outbound=True)
        story.ike(client, 1, outbound=False, after=FAR)
    for client in clients:
        story.comes(old(client), after=0.001)
    story.now += 1.0


@pytest.mark.parametrize("early", [who for count in range(4) for who in itertools.combinations(CLIENTS, count)])
@pytest.mark.parametrize("order", list(itertools.permutations(CLIENTS)))
def test_clients_in_lockstep_rekey_one_after_the_other(order: tuple[bytes, ...], early: tuple[bytes, ...]) -> None:
    """As three real IKEv2 programs did: what overtook the answers of the first and the last one took the keys of the one between."""
    story = Tale()
    begin(story, *CLIENTS)
    uses = {client: old(client) for client in CLIENTS}

    def all_ask() -> None:
        for client in CLIENTS:
            story.tell(SpiOut(server=S, client=client, spi=b"out" + uses[client][:1]))
        for client in CLIENTS:
            story.comes(uses[client], after=0.001)
        story.now += EVERY

    for client in order:
        story.ike(client, 2, outbound=True)
        if client in early:
            story.comes(new(client), after=FAR - 0.01)
        uses[client] = new(client)
        story.ike(client, 2, outbound=False, after=0.01)
        all_ask()
    for _ in range(20):
        all_ask()
    assert all(client in story.gets(spi) for client, spi in uses.items())
    assert all(client in story.gets(new(client)) for client in CLIENTS)


def test_a_server_answers_faster_than_ever_before() -> None:
    """It computed, or was busy, when its answers were timed first: half of that time tells nothing."""
    story = Tale()
    story.ike(A, 1, outbound=True)
    story.ike(B, 1, outbound=True, after=0.5)
    story.ike(A, 1, outbound=False, after=0.1)
    story.comes(new(B), after=0.1)
    assert B in story.gets(new(B))


def test_an_exchange_that_was_asked_for_once_more_is_under_way_again() -> None:
    story = Tale()
    begin(story, A)
    begin(story, B)
    story.ike(A, 2, outbound=True)
    story.ike(A, 2, outbound=True, after=HALF_OPEN + 2)
    story.ike(B, 2, outbound=True, after=0.1)
    story.ike(B, 2, outbound=False, after=FAR)
    story.comes(new(A), after=0.01)
    assert A in story.gets(new(A))


def test_two_that_are_under_way_need_one_each() -> None:
    """One of them has its SPI already: so many SPIs as needs are open only if nobody counts what is under way."""
    story = Tale()
    begin(story, A, B, C)
    story.ike(A, 2, outbound=True)
    story.ike(C, 2, outbound=True, after=0.02)
    story.ike(A, 2, outbound=False, after=0.01)
    story.comes(new(C), after=0.04)
    story.comes(new(A), after=0.001)
    assert A in story.gets(new(A)) and C in story.gets(new(C))


@pytest.mark.parametrize("alone", [True, False], ids=["the kernel decides", "the engine decides"])
def test_who_has_its_spi_before_the_answer_needs_no_other(alone: bool) -> None:
    """Else it were a candidate of the others' SPIs for a day."""
    story = Tale()
    begin(story, A)
    begin(story, B)
    story.ike(A, 2, outbound=True)
    if alone:
        story.tell(SpiTaken(server=S, client=A, spi=new(A)), after=FAR - 0.01)
    else:
        story.comes(new(A), after=FAR - 0.01)
        assert story.gets(new(A)) == {A}
    story.ike(A, 2, outbound=False, after=0.01)
    story.ike(B, 2, outbound=True, after=1.0)
    story.ike(B, 2, outbound=False, after=FAR)
    story.comes(new(B), after=0.01)
    assert story.gets(new(B)) == {B}


def asks(story: Tale, count: int) -> None:
    """A asks now and then, alone, and is answered with its old SPI."""
    for turn in range(count):
        story.tell(SpiOut(server=S, client=A, spi=b"out1"), after=0.4 + 0.07 * (turn % 5))
        if old(A) in story.assigned:
            break
        story.comes(old(A), after=FAR)


def test_who_is_proven_to_own_one_may_own_what_overtakes_its_answer() -> None:
    """Its one need is met by then, as far as answers tell."""
    story = Tale()
    begin(story, A, B)
    asks(story, 100)
    answers = story.sequences[old(A)]
    assert story.gets(old(A)) == {A} and answers > 3
    story = Tale()
    begin(story, A, B)
    asks(story, answers - 2)
    assert story.gets(old(A)) == {A, B}
    story.ike(A, 2, outbound=True)
    story.comes(new(A), after=FAR - 0.01)
    asks(story, 2)
    assert story.gets(old(A)) == {A} and A in story.gets(new(A))


def test_what_is_under_way_is_not_sent_ahead_of_a_need() -> None:
    """The server is the first to use new keys only where more SPIs come than anybody needs: B's next outbound SPI shows a need."""
    story = Tale()
    story.ike(A, 1, outbound=True)
    story.ike(A, 1, outbound=False, after=FAR)
    story.tell(SpiOut(server=S, client=B, spi=b"out2"))
    story.comes(old(A), after=FAR)
    story.ike(A, 2, outbound=True, after=1.0)
    story.comes(old(B), after=0.001)
    story.comes(new(A), after=FAR - 0.01)
    assert story.gets(new(A)) == {A, B}
    story.tell(SpiOut(server=S, client=B, spi=b"out4"), after=0.001)
    assert story.engine.servers[S].pairs[B].needs() == 2


@pytest.mark.parametrize("seed", [443, 477, 573, 625, 729, 785])
def test_whoever_rekeys_in_lockstep_loses_nothing(seed: int) -> None:
    """Two to five clients: of nine hundred such worlds these were the ones in which packets were lost."""
    people = People("rekeys", seed, ike=True, clients=2 + seed % 4)
    people.run(21)
    assert not people.router.missing
