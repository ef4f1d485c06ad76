# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules 11 and 14: what the times of a candidate's answers say of it, and what the other open SPIs add."""
from __future__ import annotations

from random import Random

import pytest

from tests.spi.test_transcript import A, B, S, X, Y, out, shared
from vpnpt.spi.answers import AT_MOST, BACKLOG, Answers
from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Paired

OFTEN = 2.0
"""Questions a second, of somebody who has nothing to do with the packets."""


def comes(answers: Answers, times: list[float], chance: float = 0.0) -> None:
    """A packet that came so long after each of the last questions. chance: of a right guess, if it is not by how often one asks."""
    for guess, (late, early) in answers.windows(0.0):
        guess.comes(any(early < time < late for time in times), chance or OFTEN * (late - early))
    answers.remember([-time for time in times], 0.0)


def test_the_first_packet_says_nothing() -> None:
    answers = Answers()
    comes(answers, [0.08])
    assert answers.best() == (0.0, 0)


@pytest.mark.parametrize("far", [0.001, 0.012, 0.3])
def test_times_that_are_alike_speak_for_the_owner(far: float) -> None:
    answers, chance = Answers(), Random(1)
    for _ in range(20):
        comes(answers, [far * chance.uniform(1, 1.05), far + chance.uniform(0.1, 0.15)])
    speaks, packets = answers.best()
    assert speaks > 12 and packets > 16


def test_times_that_differ_speak_for_nobody() -> None:
    answers, chance = Answers(), Random(1)
    for _ in range(50):
        comes(answers, [chance.uniform(0.0, 0.5)])
    assert answers.best()[0] < 3


def test_a_wrong_guess_never_speaks_for_anybody() -> None:
    """Nor where it is next to certain that somebody who speaks all the time would be there."""
    answers = Answers()
    for turn in range(200):
        comes(answers, [0.01 if turn % 2 else 0.3], chance=AT_MOST)
    assert BACKLOG <= answers.best()[0] <= 0


def test_one_late_answer_is_no_proof_that_the_others_are_none() -> None:
    """Who asks another client through the server is as far from that one's packets as that one is from its own."""
    answers = Answers()
    for times in ([0.01], [0.01], [0.4], [0.01]):
        comes(answers, times)
    assert answers.wrong() == 0
    for _ in range(5):
        comes(answers, [])
    assert answers.wrong() == 4


def asked(engine: Engine, times: int) -> bool:
    """A and B ask by turns, unevenly, each a tenth of a second before its answer. Is anything decided?"""
    chance, now, decided = Random(3), 1.0, False
    for turn in range(times):
        for client, spi in ((A, X), (B, Y)):
            engine.handle(out(client, b"out" + client[-1:]), now)
            decided |= any(isinstance(action, Assign) for action in engine.handle(
                shared(spi, (A, B), sequence=turn + 2, copied=(A, B)), now + 0.1))
            now += chance.uniform(0.12, 0.4)
    return decided


def rounds(*more: bytes, told: bool = True) -> int:
    """After how many is anything decided? more: who may own either as well. told: of their first packets; else only as of new pairs."""
    for times in range(2, 30):
        engine = Engine()
        for client in (A, B, *more):
            engine.handle(Paired(server=S, client=client, speaks=not told), 0.0)
            if told:
                engine.handle(out(client, b"out" + client[-1:]), 0.0)
        for spi in (X, Y):
            engine.handle(shared(spi, (A, B, *more), copied=(A, B)), 0.05)
        if asked(engine, times):
            return times
    return 30


def test_rule_14_two_that_need_two_prove_each_other_sooner() -> None:
    """Who it is of X says that Y is the other's. Where somebody else may own either, that says nothing."""
    assert rounds() < rounds(b"\xc0\xa8\x01\x63") < 30


def test_rule_14_what_was_answered_had_begun_before() -> None:
    """Also where the first packets were told of as new pairs only, and the second ones come after the answers."""
    assert rounds(told=False) <= rounds() + 1
