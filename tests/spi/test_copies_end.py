# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that come up within the same moment: copies end within seconds, and nobody loses a packet. Traffic: tests/sim/people.py."""
from __future__ import annotations

import pytest

from tests.sim.people import People

SETTLED, OVER = 10.0, 15.0
"""Seconds of the simulated clock after which nothing is copied any more, and until when that is watched."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", ["bursts", "rates", "onsets"])
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
def test_copies_end(what: str, seed: int, ike: bool) -> None:
    people = People(what, seed, ike=ike)
    people.run(SETTLED)
    copies = people.router.copies
    people.run(OVER)
    people.router.until(OVER + 1)
    assert (people.router.copies - copies, people.router.missing) == (0, {})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("ike", "settled"), [(True, 3.0), (False, 4.0)], ids=["ike", "manual keys"])
def test_copies_of_bursts_end_within_seconds(ike: bool, settled: float, seed: int) -> None:
    """As in the lab: answers of up to 20 packets, 10 ms from one to the next. Who begins to send says more than who sends."""
    people = People("bursts", seed, ike=ike, confirms=(0.001, 0.004), even=0.8, jitter=0.0003, pace=0.01)
    people.run(settled)
    copies = people.router.copies
    people.run(OVER)
    people.router.until(OVER + 1)
    assert (people.router.copies - copies, people.router.missing) == (0, {})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
def test_copies_end_of_ten(ike: bool, seed: int) -> None:
    """With few packets of each, one that comes as long after another client's question as an earlier one is nothing in common."""
    people = People("bursts", seed, ike=ike, clients=10)
    people.run(SETTLED)
    copies = people.router.copies
    people.run(OVER)
    people.router.until(OVER + 1)
    assert (people.router.copies - copies, people.router.missing) == (0, {})


@pytest.mark.parametrize("even", [0.4, 0.8])
@pytest.mark.parametrize("what", ["rates", "onsets"])
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
def test_copies_end_where_clients_are_slow_to_confirm(what: str, ike: bool, even: float) -> None:
    """Other transfers' packets come meanwhile, so timing tells nothing: how many have come does."""
    people = People(what, 0, ike=ike, confirms=(0.004, 0.012), even=even)
    people.run(SETTLED)
    copies = people.router.copies
    people.run(SETTLED + 2)
    people.router.until(OVER)
    assert (people.router.copies - copies, people.router.missing) == (0, {})


@pytest.mark.parametrize("what", ["uploads", "slow_uploads"])
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("seed", range(3))
def test_copies_of_uploads_end(seed: int, ike: bool, what: str) -> None:
    """What comes confirms what several clients send at about the same pace: only its number tells whose it is."""
    people = People(what, seed, ike=ike, jitter=0.0003)
    people.run(SETTLED)
    copies = people.router.copies
    people.run(SETTLED + 1)
    people.router.until(SETTLED + 2)
    assert (people.router.copies - copies, people.router.missing) == (0, {})


@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("seed", range(3))
def test_uploads_of_one_busy_machine_prove_nothing_wrong(seed: int, ike: bool) -> None:
    """Some ten packets a second are confirmed: that stays copied for a minute."""
    people = People("one_machine", seed, ike=ike, jitter=0.0003, ike_far=0.0004)
    people.run(10.0)
    people.router.until(11.0)
    assert people.router.missing == {}


@pytest.mark.parametrize("clients", [3, 8])
@pytest.mark.parametrize("jitter", [0.0005, 0.004])
def test_telephones_in_step_prove_nothing_wrong(clients: int, jitter: float) -> None:
    """Both ends of each send every 20 ms: all are always as far from each other."""
    people = People("calls", 1, ike=True, clients=clients, jitter=jitter)
    people.run(6.0)
    people.router.until(7.0)
    assert people.router.missing == {}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("far", "ike_far", "settled"), [(0.012, 0.0015, 4.5), (0.012, 0.09, 6.0), (0.05, 0.02, 7.0)])
def test_copies_end_where_ike_tells_another_distance(far: float, ike_far: float, settled: float, seed: int) -> None:
    """Its daemon computes, or hosts far behind the server answer: how long that takes is learned of each client."""
    people = People("bursts", seed, ike=True, far=far, ike_far=ike_far, confirms=(0.001, 0.004), even=0.8, jitter=0.001, pace=0.01)
    people.run(settled)
    copies = people.router.copies
    people.run(OVER)
    people.router.until(OVER + 1)
    assert (people.router.copies - copies, people.router.missing) == (0, {})


@pytest.mark.parametrize("what", ["push", "oneway"])
@pytest.mark.parametrize("clients", [2, 3, 5, 8])
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
def test_even_questions_prove_nothing(ike: bool, clients: int, what: str) -> None:
    """The servers speak by themselves; whoever asks every second is always as far from what comes every second."""
    for seed in range(8):
        people = People(what, seed, ike=ike, clients=clients)
        people.run(20.0)
        people.router.until(21.0)
        assert people.router.missing == {}, seed
