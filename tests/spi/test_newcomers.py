# SPDX-License-Identifier: GPL-2.0-or-later
"""SPIs that came before their owner: it sends its first ESP later, or goes on with another address."""
from __future__ import annotations

from random import Random

import pytest

from tests.spi.test_transcript import A, B, C, D, S, X, Y, assign, both, fan, out, pairs, shared
from vpnpt.spi.candidates import PROTECTED, STARVES
from vpnpt.spi.engine import CHALLENGE, Engine
from vpnpt.spi.evidence import FAN
from vpnpt.spi.messages import Assign, Fan, Paired, SpiMoved, SpiTaken
from vpnpt.spi.newcomers import WITHIN


def fed(*events: object) -> Engine:
    """An engine that has heard these, one a second, before time 0."""
    engine = Engine()
    for number, event in enumerate(events):
        engine.handle(event, number - 100.0)  # type: ignore[arg-type]
    return engine


def test_rule_2_what_nobody_needs_may_be_of_who_sends_his_first_esp() -> None:
    engine = fed(*pairs(A, B))
    assert engine.handle(shared(X), 0.0) == [fan(X, A, B)]
    assert engine.handle(Paired(server=S, client=C), 1.0) == []  # by IKE
    assert engine.handle(Paired(server=S, client=D, speaks=True), 1.0) == [fan(X, A, B, D)]
    assert engine.handle(Paired(server=S, client=D, speaks=True), 2.0) == []


def test_rule_2_what_somebody_needs_is_not() -> None:
    engine = fed(*pairs(A, B), *both(A), *both(B))
    assert engine.handle(shared(X), 0.0)[0] == fan(X, B, A)
    assert engine.handle(Paired(server=S, client=D, speaks=True), 1.0) == []


def test_rule_6_who_had_it_unasked_keeps_it_where_nobody_else_needs_one() -> None:
    engine = fed(*pairs(A, B))
    assert engine.handle(shared(X, owner=A, copied=()), 0.0) == [assign(X, A, credit=False)]


def test_rule_6_who_had_it_unasked_shares_it_with_who_asks_now() -> None:
    engine = fed(*pairs(A), Paired(server=S, client=B, speaks=True), out(B))
    assert engine.handle(shared(X, (B,), owner=A), 0.0)[0] == fan(X, A, B)
    assert engine.knows(S, X) and not engine.knows(S, Y)


def test_rule_6_another_newcomer_shares_what_one_has_opened() -> None:
    """Manual keys: the server has sent with a key of who begins only now, and a third one has begun before it."""
    engine = fed(*pairs(A), Paired(server=S, client=A, speaks=True), out(A))
    engine.handle(SpiTaken(server=S, spi=X, client=A), 0.0)
    assert engine.handle(Paired(server=S, client=B, speaks=True), 0.1)[0] == fan(X, A, B)
    assert engine.handle(Paired(server=S, client=D, speaks=True), 0.2) == [fan(X, A, B, D)]
    assert engine.handle(Paired(server=S, client=C), 0.3) == [], "by IKE"


def test_rule_6_no_more_newcomers_share_than_the_kernel_can_copy_to() -> None:
    """Who makes up ESP from many addresses does not send the packets of a tunnel by way of the daemon."""
    engine = fed(*pairs(A), Paired(server=S, client=A, speaks=True), out(A))
    engine.handle(SpiTaken(server=S, spi=X, client=A), 0.0)
    for number in range(3 * FAN):
        for action in engine.handle(Paired(server=S, client=bytes([10, 0, 0, number]), speaks=True), 0.1):
            assert isinstance(action, Fan)
            assert action.clients[0] == A
            assert not action.spills
    assert len(engine.servers[S].open[X].candidates) == FAN


def test_rule_6_nor_do_more_addresses_that_use_one_outbound_spi() -> None:
    engine = fed(*pairs(A, B), *both(A), *both(B))
    engine.handle(shared(X), 0.0)
    for number in range(3 * FAN):
        moved = SpiMoved(server=S, spi=X, owner=A, client=bytes([10, 0, 0, number]), outbound=b"outA")
        assert not any(action.spills for action in engine.handle(moved, 0.1) if isinstance(action, Fan))
    assert len(engine.servers[S].open[X].candidates) == FAN


def test_rule_6_a_newcomer_that_is_not_answered_has_lost() -> None:
    engine = fed(*pairs(A), Paired(server=S, client=B, speaks=True), out(B))
    engine.handle(shared(X, (B,), owner=A), 0.0)
    asked = [engine.handle(out(B), second + 0.5) for second in range(CHALLENGE)]
    assert asked == [[]] * (CHALLENGE - 1) + [[assign(X, A, credit=False)]]


def test_rule_6_a_newcomer_that_gets_answers_has_not_though_no_round_trip_is_known() -> None:
    """Manual keys: each question is followed by a packet, and IKE has told nothing about how far the server is."""
    engine = fed(*pairs(A), Paired(server=S, client=B, speaks=True), out(B))
    engine.handle(shared(X, (B,), owner=A), 0.0)
    for second in range(3 * CHALLENGE):
        assert engine.handle(out(B), second + 0.5) == []
        assert engine.handle(shared(X, (B,), sequence=second + 2), second + 0.54) == []


@pytest.mark.parametrize(("until", "wins"), [(PROTECTED - 5, False), (PROTECTED + 60, True)])
def test_rule_9_a_newcomer_ends_nobody_within_a_minute(until: float, wins: bool) -> None:
    """Its questions are answered as if the SPI were its own: who had it before is a candidate for a minute all the same."""
    engine = fed(*pairs(A, B), *both(A), *both(B), Paired(server=S, client=A, heard=True), Paired(server=S, client=D, speaks=True))
    engine.servers[S].round_trip = 0.04
    engine.handle(shared(X, (D,), owner=A), 0.0)
    found, second, chance = [], 1.0, Random(1)
    while second < until:
        found += engine.handle(out(D, b"outD"), second)
        found += engine.handle(shared(X, (D,), sequence=int(second * 10)), second + 0.04)
        second += chance.uniform(0.8, 2.0)
    assert any(isinstance(action, Assign) and action.client == D for action in found) == wins
    assert not any(isinstance(action, Fan) and A not in action.clients for action in found)


def test_rule_6_nobody_who_comes_later_takes_away_what_was_given_for_a_need() -> None:
    """A neighbour that makes up ESP, a round trip before each packet that it sees, beside a client that only listens: for ten minutes."""
    engine = fed(*pairs(A, B), *both(A), Paired(server=S, client=A, heard=True))
    engine.servers[S].round_trip = 0.04
    assert engine.handle(shared(X, (A,)), 0.0)[0] == assign(X, A)
    found, second = engine.handle(Paired(server=S, client=D, speaks=True), 0.5), 1.0
    assert found[0] == fan(X, A, D)
    while second < 600.0:
        found += engine.handle(out(D, b"outD"), second)
        found += engine.handle(shared(X, (D,), sequence=int(second * 10)), second + 0.04)
        second += 1.37 if int(second) % 7 else 2.9
    assert not any(isinstance(action, Assign) and action.client == D for action in found)
    assert not any(isinstance(action, Fan) and A not in action.clients for action in found)
    assert set(engine.servers[S].open[X].candidates) == {A, D}, "it may as well be a host whose server spoke first"


@pytest.mark.parametrize("every", [0.0, 0.02])
def test_rule_9_who_makes_up_esp_gets_copies_for_seconds_only(every: float) -> None:
    """One packet, or a stream in which every packet of the server seems to be an answer; the client that has the SPI only listens."""
    engine = fed(*pairs(A, B), *both(A), Paired(server=S, client=A, heard=True))
    engine.servers[S].round_trip = 0.04
    engine.handle(shared(X, (A,)), 0.0)
    assert engine.handle(Paired(server=S, client=D, speaks=True), 0.5)[0] == fan(X, A, D)
    found, second, packets = [], 0.5, 0
    while second < WITHIN + 2:
        second, packets = second + 0.02, packets + 1
        found += engine.handle(out(D, b"outD"), second) if every else []
        if packets % 25 == 0:
            found += engine.handle(shared(X, (D,), sequence=packets), second)
    assert assign(X, A, credit=False) in found and not engine.servers[S].open


def test_an_address_has_changed_both_get_it() -> None:
    moved = SpiMoved(server=S, spi=X, owner=A, client=B, outbound=b"outA")
    engine = fed(*pairs(A), *both(A))
    assert engine.handle(shared(X, (A,), copied=()), 0.0) == [assign(X, A)]
    assert engine.handle(moved, 1.0) == [fan(X, A, B)]
    assert engine.handle(moved, 2.0) == []
    assert engine.handle(SpiMoved(server=S, spi=X, owner=A, client=C, outbound=b"outA"), 3.0) == [fan(X, A, B, C)]


def test_who_has_moved_needs_what_came_for_it_before() -> None:
    """It gets another SPI, which it has asked for by IKE: that ends nothing."""
    engine = fed(*pairs(A, B), *both(A))
    assert engine.handle(shared(X, (A,), copied=()), 0.0) == [assign(X, A)]
    assert engine.handle(SpiMoved(server=S, spi=X, owner=A, client=B, outbound=b"outA"), 1.0) == [fan(X, A, B)]
    for event in (*both(B), out(B, b"outB")):
        assert engine.handle(event, 2.0) == []
    assert engine.handle(shared(Y, (B,), copied=()), 2.1) == [assign(Y, B)]
    assert X in engine.servers[S].open


def test_an_address_has_changed_of_a_decision_that_is_not_remembered() -> None:
    engine = fed(*pairs(A, B))
    assert engine.handle(SpiMoved(server=S, spi=X, owner=A, client=B, outbound=b"outA"), 0.0) == [fan(X, A, B)]


def test_rule_6_what_one_got_for_its_need_may_be_of_who_sends_its_first_esp() -> None:
    engine = fed(*pairs(A), out(A))
    assert engine.handle(shared(X, (A,)), 0.0)[0] == assign(X, A)
    assert engine.handle(Paired(server=S, client=C), 1.0) == []  # by IKE
    assert engine.handle(Paired(server=S, client=D, speaks=True), 50.0)[0] == fan(X, A, D)
    assert engine.handle(Paired(server=S, client=B, speaks=True), 55.0) == [], "once"
    assert engine.handle(out(D, b"outD"), 56.0) == []
    assert engine.handle(shared(Y, (D,)), 56.1) == [fan(Y, D, A)], "either may be either's"


def test_rule_6_one_newcomer_opens_few_decisions_and_no_old_one() -> None:
    """One packet of a host that the server does not know must not send the packets of hundreds of tunnels the long way."""
    engine, clients = Engine(), [bytes([10, 0, 0, number]) for number in range(1, 101)]
    for number, client in enumerate(clients):
        for event in both(client):
            engine.handle(event, float(number))
        assert engine.handle(shared(bytes([9, 9, 9, number]), (client,)), number + 0.1)[0] == assign(bytes([9, 9, 9, number]), client)
    opened = [action for action in engine.handle(Paired(server=S, client=D, speaks=True), 100.0) if isinstance(action, Fan)]
    assert [action.spi for action in opened] == [bytes([9, 9, 9, number]) for number in range(96, 100)]
    assert not any(isinstance(action, Fan) for action in engine.handle(Paired(server=S, client=C, speaks=True), 500.0))


def test_rule_6_who_gets_an_spi_of_its_own_leaves_what_came_before() -> None:
    engine = fed(*pairs(A), *both(A))
    assert engine.handle(shared(X, (A,)), 0.0)[0] == assign(X, A)
    assert engine.handle(Paired(server=S, client=D, speaks=True), 1.0)[0] == fan(X, A, D)
    assert engine.handle(out(D, b"outD"), 2.0) == []
    assert engine.handle(shared(Y, (D,)), 2.1) == [assign(Y, D), assign(X, A, credit=False)]


@pytest.mark.parametrize(("after", "opened"), [(STARVES - 1, True), (STARVES + 1, False)])
def test_rule_6_or_of_who_begins_to_use_another_spi_at_that_time(after: float, opened: bool) -> None:
    """Manual keys: the server is the first to use new ones."""
    engine = fed(*pairs(A), Paired(server=S, client=B, heard=True), *both(A))
    assert engine.handle(shared(X, (A,)), 0.0)[0] == assign(X, A)
    assert (fan(X, A, B) in engine.handle(out(B, b"new2"), after)) == opened


def test_rule_6_but_not_of_who_has_asked_in_ike() -> None:
    engine = fed(*pairs(A, B), *both(A))
    assert engine.handle(shared(X, (A,)), 0.0)[0] == assign(X, A)
    for event in both(B):
        engine.handle(event, 1.0)
    assert not any(isinstance(action, Fan) for action in engine.handle(out(B, b"new2"), 2.0))


def test_who_was_alone_until_the_next_one_came_has_waited_no_longer_than_that() -> None:
    """Manual keys, all at once: the first to speak is as likely to be meant as the second, though nothing was told of it while alone."""
    engine = Engine()
    for when, client in ((0.0, A), (0.1, B)):
        engine.handle(Paired(server=S, client=client, speaks=True), when)
    engine.handle(shared(X, (A, B)), 0.2)
    first, second = (engine.servers[S].open[X].tally[client].prior for client in (A, B))
    assert first == second > 0.0


def test_rule_7_a_newcomer_may_have_chosen_the_spi_that_it_challenges() -> None:
    """It got copies of another's for ten seconds, and nothing after these: its own began while that one was open."""
    engine = fed(*pairs(A), *both(A), out(A))
    engine.handle(SpiTaken(server=S, spi=X, client=A), 0.0)
    assert engine.handle(Paired(server=S, client=B, speaks=True), 5.0)[0] == fan(X, A, B)
    engine.handle(shared(X, (B,), sequence=1), 5.1)
    for turn in range(30):
        engine.handle(out(B), 6.0 + turn)
        engine.handle(shared(X, (B,), sequence=turn + 2), 6.1 + turn)
        engine.handle(shared(X, (B,), sequence=turn + 9), 6.4 + turn)
    assert set(engine.servers[S].open[X].candidates) == {A, B}


@pytest.mark.parametrize(("later", "share"), [(0.3, False), (3.0, True)])
def test_rule_7_an_spi_that_begins_anew_among_its_candidates_is_theirs(later: float, share: bool) -> None:
    """All who need one had its packets already. The network may send a first packet twice, but not after seconds."""
    engine = fed(*pairs(A, B), *both(A), *both(B))
    engine.handle(shared(X, sequence=1), 0.0)
    engine.handle(shared(X, sequence=1), later)
    assert set(engine.servers[S].open[X].candidates) == {A, B} and engine.servers[S].open[X].shared == share
