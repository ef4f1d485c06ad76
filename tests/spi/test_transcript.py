# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's rules, each as a transcript: what the kernel tells, at what time, and what is to be done."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from vpnpt.spi.engine import CHALLENGE, FAN, IDLE, Engine
from vpnpt.spi.messages import (
    Alive,
    Ask,
    Assign,
    AssignRouter,
    Began,
    CookieShared,
    Deliver,
    Doubt,
    Exchange,
    Fan,
    Fanned,
    Forget,
    Paired,
    Say,
    SpiOfRouter,
    SpiOut,
    SpiShared,
    SpiTaken,
    Tick,
    Unpaired,
)

if TYPE_CHECKING:
    from vpnpt.spi.messages import Action, Event

    Transcript = list[tuple[float, Event | list[Event], list[Action]]]

S = b"\xcb\x00\x71\x01"
A, B, C, D = (bytes([192, 168, 1, number]) for number in (11, 12, 13, 14))
X, Y, Z = b"\0\0\0\x0a", b"\0\0\0\x0b", b"\0\0\0\x0c"


def exchange(client: bytes, *, number: int = 0x51234567, outbound: bool = True, auth: bool = False, sure: bool = True) -> Event:
    return Exchange(server=S, client=client, message=client * 2 + number.to_bytes(4, "big"), outbound=outbound, auth=auth, sure=sure)


def both(client: bytes, **more: Any) -> list[Event]:
    """Request and answer of an exchange."""
    return [exchange(client, **more), exchange(client, outbound=False, **more)]


def out(client: bytes, spi: bytes = b"out1") -> Event:
    return SpiOut(server=S, client=client, spi=spi)


def shared(spi: bytes, waiting: tuple[bytes, ...] | None = (), *, copied: tuple[bytes, ...] = (A, B), **more: Any) -> SpiShared:
    return SpiShared(server=S, spi=spi, sequence=more.pop("sequence", 1), waiting=None if waiting is None else frozenset(waiting),
                     copied=frozenset(copied), **more)


def taken(spi: bytes, client: bytes, packet: bytes = b"") -> Event:
    return SpiTaken(server=S, spi=spi, client=client, packet=packet)


def assign(spi: bytes, client: bytes, *, credit: bool = True) -> Action:
    return Assign(server=S, spi=spi, client=client, credit=credit)


def fan(spi: bytes, *clients: bytes) -> Action:
    return Fan(server=S, spi=spi, clients=clients)


def pairs(*clients: bytes) -> list[Event]:
    return [Paired(server=S, client=client) for client in clients]


TRANSCRIPTS: dict[str, Transcript] = {
    "rule 1: a finished exchange entitles its client": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (1.0, shared(X), [assign(X, A)]),
    ],
    "rule 1: an outbound SPI without an answer does, too": [
        (0.0, [*pairs(A, B), out(B)], []),
        (1.0, shared(X), [assign(X, B)]),
    ],
    "rule 1: an exchange and the outbound SPI after it are about one inbound SPI": [
        (0.0, [*pairs(A, B), *both(A), out(A)], []),
        (1.0, shared(X), [assign(X, A)]),
        (2.0, [*both(B)], []),
        (3.0, shared(Y), [assign(Y, B)]),
    ],
    "rule 1: IKE_AUTH of several rounds makes one child": [
        (0.0, [*pairs(A, B), *both(A, number=1, auth=True), *both(A, number=2, auth=True)], []),
        (1.0, shared(X), [assign(X, A)]),
        (2.0, [*both(B)], []),
        (3.0, shared(Y), [assign(Y, B)]),
    ],
    "rule 1: an answer that the SPI's first packet has overtaken": [
        (0.0, [*pairs(A, B), out(B)], []),
        (0.5, exchange(A), []),
        (0.6, shared(X), [fan(X, B, A)]),
    ],
    "rule 13: notices were lost, so all that the server has answered may need one; a minute later that is over": [
        (0.0, [*pairs(A, B, C), Paired(server=S, client=A, heard=True, ike=True)], []),
        (1.0, [Began(pending_timeout=10.0, lost=True), out(C)], []),
        (2.0, shared(X), [fan(X, C, A)]),
        (62.0, shared(Y), [assign(Y, C)]),
    ],
    "rule 2: who begins to need one later is no candidate": [
        (0.0, [*pairs(A, B, C), *both(A), *both(B)], []),
        (1.0, shared(X), [fan(X, A, B)]),
        (2.0, [*both(C)], []),
        (3.0, shared(X, sequence=2), []),
    ],
    "rule 2: nobody is known to need one: everybody is a candidate": [
        (0.0, [*pairs(A, B, C)], []),
        (1.0, shared(X), [fan(X, A, B, C)]),
    ],
    "rule 2: however long somebody has waited": [
        (0.0, [*pairs(A, B), *both(A, sure=False), out(A)], []),
        (70.0, [out(A), *both(B)], []),
        (3000.0, shared(X, (A, B)), [fan(X, A, B)]),
    ],
    "rule 2: two that need two SPIs, and two are open among them, need no third": [
        (0.0, [*pairs(A, B, C), *both(A), *both(B)], []),
        (1.0, shared(X), [fan(X, A, B)]),
        (1.1, shared(Y), [fan(Y, A, B)]),
        (2.0, [*both(C)], []),
        (3.0, shared(Z), [assign(Z, C)]),
    ],
    "rule 2: but then one of them has begun to need another": [
        (0.0, [*pairs(A, B, C), *both(A), *both(B)], []),
        (1.0, shared(X), [fan(X, A, B)]),
        (1.1, shared(Y), [fan(Y, A, B)]),
        (2.0, [*both(A, number=0x61234567), *both(C)], []),
        (3.0, shared(Z), [fan(Z, A, C, B)]),
    ],
    "rule 2: the kernel's gift to the only one that needs one stands": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (1.0, taken(X, A), []),
        (2.0, [*both(B)], []),
        (3.0, shared(Y), [assign(Y, B)]),
    ],
    "rule 6: the kernel's gift, while another needs one: that one is a challenger": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (15.0, [*both(B)], []),
        (16.0, taken(X, B, b"packet"), [Deliver(packet=b"packet", clients=(A,)), fan(X, B, A)]),
        (17.0, [shared(Y)], [assign(Y, A), assign(X, B, credit=False)]),
    ],
    "rule 6: a challenger that asks in vain has lost": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (15.0, [*both(B)], []),
        (16.0, taken(X, B), [fan(X, B, A)]),
        *((20.0 + number, out(A), []) for number in range(CHALLENGE - 1)),
        (40.0, out(A), [assign(X, B, credit=False)]),
    ],
    "rule 3: nine candidates: the kernel copies to eight, the rest is ours": [
        (0.0, [event for number in range(FAN + 1) for event in both(bytes([10, 0, 0, number]))], []),
        (1.0, shared(X, copied=(A,), packet=b"packet"),
         [Deliver(packet=b"packet", clients=tuple(bytes([10, 0, 0, number]) for number in range(FAN + 1))),
          Fan(server=S, spi=X, clients=tuple(bytes([10, 0, 0, number]) for number in range(FAN)), spills=True)]),
    ],
    "rule 3: a packet that the kernel copied to all is not delivered again": [
        (0.0, [*pairs(A, B), *both(A), *both(B)], []),
        (1.0, shared(X, packet=b"packet"), [fan(X, A, B)]),
    ],
    "rule 4: who gets its SPI leaves the others, and so on": [
        (0.0, [*pairs(A, B, C), *both(A), *both(B), *both(C)], []),
        (1.0, shared(X), [fan(X, A, B, C)]),
        (1.1, shared(Y), [fan(Y, A, B, C)]),
        (2.0, Unpaired(server=S, client=C), [fan(X, A, B), fan(Y, A, B)]),
        (3.0, Unpaired(server=S, client=B), [fan(X, A), fan(Y, A)]),
    ],
    "rule 7: a known SPI begins anew while another client waits": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (1.0, shared(X), [assign(X, A)]),
        (2.0, [*both(B)], []),
        (3.0, shared(X, same=True, owner=A),
         [fan(X, A, B), Say(level="warning", code="SAME-SPI", text="2 clients chose the same SPI with one server: all get its packets")]),
        (4.0, shared(X, sequence=9), []),
    ],
    "rule 7: two of many that begin at once chose the same SPI": [
        (0.0, [*pairs(A, B, C, D), *both(A), *both(B)], []),
        (1.0, shared(X), [fan(X, A, B)]),
        (1.02, shared(X), []),  # a packet came twice
        (1.1, both(C), []),
        (1.2, shared(X), [fan(X, C, A, B)]),
        (1.3, both(D), []),
        (1.4, shared(X, sequence=2), []),
    ],
    "rule 7: the first packet is late": [
        (0.0, [*pairs(A, B, C), *both(A), *both(B)], []),
        (1.0, shared(X, sequence=2), [fan(X, A, B)]),
        (1.1, both(C), []),
        (1.2, shared(X), []),
    ],
    "rule 7: it was a repeated packet: nobody waits": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (1.0, shared(X), [assign(X, A)]),
        (3.0, shared(X, same=True, owner=A, copied=(B,), packet=b"packet"),
         [Deliver(packet=b"packet", clients=(A,)), assign(X, A, credit=False)]),
    ],
    "a notice that was sent before the kernel had the decision": [
        (0.0, [*pairs(A, B), *both(A)], []),
        (1.0, shared(X), [assign(X, A)]),
        (1.001, shared(X, sequence=2, copied=(B,), packet=b"packet"),
         [Deliver(packet=b"packet", clients=(A,)), assign(X, A, credit=False)]),
    ],
    "IKE with a cookie that nobody knows goes to all that have no copy": [
        (0.0, pairs(A, B, C), []),
        (1.0, CookieShared(server=S, copied=frozenset({A, B}), packet=b"packet"), [Deliver(packet=b"packet", clients=(C,))]),
    ],
    "who waits is asked by key, of those that nothing explains": [
        (0.0, [*pairs(A, B, C), *both(A)], []),
        (1.0, shared(X, None), [Ask(event=shared(X, None), clients=(B, C))]),
        (1.0, shared(X, (C,)), [fan(X, A, C)]),
        (1.1, shared(X, None, sequence=2), []),
    ],
    "an SPI of the router's own is nobody else's": [
        (0.0, [*pairs(A, B), *both(A), *both(B)], []),
        (1.0, shared(X), [fan(X, A, B)]),
        (2.0, SpiOfRouter(server=S, spi=X), [AssignRouter(server=S, spi=X)]),
    ],
    "found in the kernel at the start: stays as it is": [
        (0.0, Fanned(server=S, spi=X, clients=(A, B)), []),
        (1.0, shared(X), []),
    ],
    "silence: forgotten after an hour": [
        (0.0, pairs(A, B), []),
        (1.0, shared(X), [fan(X, A, B)]),
        (1.0 + IDLE, Tick(), [Forget(server=S, spi=X)]),
    ],
}


def play(engine: Engine, events: Event | list[Event], now: float) -> list[Action]:
    """What is to be done, but for what the kernel may not decide alone: that has tests of its own."""
    got = [action for event in (events if isinstance(events, list) else [events]) for action in engine.handle(event, now)]
    return [action for action in got if not isinstance(action, Doubt)]


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript(name: str) -> None:
    engine = Engine()
    for now, events, expected in TRANSCRIPTS[name]:
        assert play(engine, events, now) == expected, f"at {now}"


@pytest.mark.parametrize("timeout", [1.0, 10.0, 120.0])
def test_the_kernel_may_not_decide_alone_once_it_has_forgotten_who_waits(timeout: float) -> None:
    """timeout: for how long the kernel remembers that (pending_timeout)."""
    engine = Engine()
    for event in [Began(pending_timeout=timeout), *pairs(A, B), *both(A)]:
        assert engine.handle(event, 0.0) == []
    assert engine.handle(exchange(B), 0.5 * timeout) == []
    assert engine.handle(exchange(B, outbound=False), 0.9 * timeout) == [Doubt(server=S, yes=True)]
    assert engine.handle(out(B), 1.0 * timeout) == [], "said once"
    assert engine.handle(out(B), timeout + 2000.0) == [Doubt(server=S, yes=True)], "and again before the kernel forgets it"
    engine.handle(Began(pending_timeout=timeout), timeout + 2001.0)
    assert engine.handle(out(B), timeout + 2002.0) == [Doubt(server=S, yes=True)], "and when its tables are new"
    engine.handle(shared(X), timeout + 2003.0)
    assert engine.handle(shared(Y), timeout + 2003.0) == [fan(Y, B, A)]
    assert engine.handle(Unpaired(server=S, client=A), timeout + 2004.0) != []
    actions = engine.handle(shared(X, copied=(B,), sequence=3), timeout + 2005.0)
    assert Doubt(server=S, yes=False) in actions, "one client: there is nothing to decide"


def dialogue(engine: Engine, asks: bytes, spi: bytes, start: float, times: int, silent: float = 1.0) -> list[Action]:
    """`asks` asks every now and then, and a packet with `spi` comes a round trip of 50 ms later."""
    actions = []
    for number in range(times):
        now = start + number * silent + 0.037 * (number % 5)
        actions += play(engine, out(asks, b"o" + asks[1:]), now)
        actions += play(engine, shared(spi, sequence=number + 2), now + 0.05)
    return actions


def two_open() -> Engine:
    """A and B have finished exchanges with a round trip of 50 ms; X and Y may be anyone's."""
    engine = Engine()
    for client in (A, B):
        engine.handle(exchange(client), 0.0)
    for client in (A, B):
        engine.handle(exchange(client, outbound=False), 0.05)
    assert engine.handle(shared(X), 1.0) == [fan(X, A, B)]
    assert engine.handle(shared(Y), 1.2) == [fan(Y, A, B)]
    return engine


def test_rule_5_questions_answered_on_one_spi_are_proof() -> None:
    engine = two_open()
    for _ in range(2):
        engine.handle(out(A, b"o" + A[1:]), 2.0)
    assert assign(X, B) in dialogue(engine, B, X, 10.0, 12)


def test_rule_4_elimination_gives_the_other_spi_to_the_other() -> None:
    actions = dialogue(two_open(), B, X, 10.0, 20)
    given = {action.spi: action.client for action in actions if isinstance(action, Assign) and action.credit}
    assert given == {X: B, Y: A}


def test_rule_5_one_question_is_no_proof() -> None:
    assert dialogue(two_open(), B, X, 10.0, 2) == []


def test_rule_5_two_that_ask_at_the_same_time_prove_nothing() -> None:
    engine = two_open()
    actions = []
    for number in range(50):
        for client in (A, B):
            actions += play(engine, out(client, b"o" + client[1:]), 10.0 + number)
        actions += play(engine, shared(X, sequence=number + 2), 10.05 + number)
    assert actions == []


def test_rule_5_one_client_asks_the_other_through_the_server() -> None:
    """B's question comes out of the tunnel of A, who answers: B's timing is perfect, and so is A's reaction. Nothing is concluded."""
    engine = two_open()
    actions = []
    for number in range(50):
        now = 10.0 + number * 1.1
        actions += play(engine, out(B, b"ob"), now)
        actions += play(engine, shared(X, sequence=number + 2), now + 0.05)
        actions += play(engine, out(A, b"oa"), now + 0.055)
        actions += play(engine, shared(Y, sequence=number + 2), now + 0.105)
    assert actions == []


def test_rule_5_a_stream_proves_nothing() -> None:
    engine = two_open()
    actions = []
    for number in range(500):
        actions += play(engine, shared(X, sequence=number + 2), 10.0 + number * 0.02)
        if number % 10 == 0:
            actions += play(engine, out(B, b"ob"), 10.0 + number * 0.02)
    assert actions == []


def test_rule_2_more_spis_than_needs_exclude_nobody() -> None:
    """Three clients with undecided SPIs are rekeyed, but of these exchanges nothing was noticed. The server is the first to use each."""
    engine, clients = Engine(), (A, B, C)
    for event in [*pairs(*clients), *(event for client in clients for event in both(client))]:
        engine.handle(event, 0.0)
    for number in (0, 1):
        for index, client in enumerate(clients):
            now = 10 * number + index + 1.0
            spi = b"in%d%d" % (number, index)
            actions = engine.handle(shared(spi, clients, copied=clients), now)
            assert [action for action in actions if isinstance(action, Assign) and action.client != client] == []
            assert client in engine.servers[S].open[spi].candidates
            engine.handle(out(client, b"ou%d%d" % (number, index)), now + 0.01)


def test_rule_6_a_loser_that_starves_is_a_challenger_and_may_win() -> None:
    """X is A's; but its packets come just when B, who has no SPI yet either, could be answered. Then A asks, and gets nothing."""
    engine = Engine()
    for client in (A, B):
        engine.handle(exchange(client), 0.0)
        engine.handle(exchange(client, outbound=False), 0.05)
    assert engine.handle(shared(X), 1.0) == [fan(X, A, B)]
    for now in (2.0, 3.0):
        assert engine.handle(out(A, b"oa"), now) == []
    assert assign(X, B) in dialogue(engine, B, X, 10.0, 12)
    assert engine.handle(out(A, b"oa"), 40.0) == [fan(X, B, A)]
    assert assign(X, A) in dialogue(engine, A, X, 41.0, 12)
    assert engine.servers[S].pairs[B].needs(), "B still needs its own"


def test_rule_6_who_gets_a_row_of_packets_after_each_question_is_none_for_long() -> None:
    """A has lost X, and Y may be its own: in a transfer no packet comes alone, and each question may have its answer among them."""
    engine = Engine()
    for client in (A, B, C):
        for outbound, now in ((True, 0.0), (False, 0.05)):
            engine.handle(exchange(client, outbound=outbound), now)
    engine.handle(shared(X, copied=(A, B, C)), 1.0)
    for now in (2.0, 3.0):
        engine.handle(out(A, b"oa"), now)
    assert assign(X, B) in dialogue(engine, B, X, 10.0, 14)
    engine.handle(shared(Y, copied=(A, B, C)), 30.0)
    starved = []
    for number in range(120):
        engine.handle(shared(Y, copied=(A, B, C), sequence=number + 2), 31 + 0.1 * number)
        if number % 3 == 0:
            starved.append(bool(engine.handle(out(A, b"oa"), 31.09 + 0.1 * number)))
    assert not any(starved[:30])
    assert any(starved[30:]), "the row may be another's"


def test_rule_6_who_starved_before_is_none() -> None:
    engine = Engine()
    for now in (0.0, 10.0, 20.0):
        assert engine.handle(out(A, b"oa"), now) == []
    for event, now in ((exchange(B), 20.0), (exchange(B, outbound=False), 20.05), (out(B, b"ob"), 20.1)):
        engine.handle(event, now)
    assert engine.handle(shared(X), 20.15) == [fan(X, B, A)]
    assert assign(X, B) in dialogue(engine, B, X, 21.0, 20)
    assert [action for now in (51.0, 55.0, 59.0) for action in engine.handle(out(A, b"oa"), now)] == []


def test_pairs_that_the_kernel_has_forgotten_are_gone() -> None:
    engine = Engine()
    for event in [*pairs(A, B, C), *both(C)]:
        engine.handle(event, 1000.0)
    engine.handle(Alive(pairs=frozenset({(A, S)})), 1010.0)
    assert engine.pairs() == [(A, S), (C, S)], "C's need may be of a flow that is about to begin"
    engine.handle(Alive(pairs=frozenset({(A, S)})), 9000.0)
    assert engine.pairs() == [(A, S)]
