# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose question may a packet answer that comes alone on its SPI? Rules 5 and 11."""

from __future__ import annotations

from .answers import NOTHING, REMEMBERED, Answers
from .evidence import CHANCE, MANY, NEAR, REACTS
from .tally import ASKS, HINT, REACTS_TO, SHARPLY, Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .evidence import Open, Server

TELLS = 0.25
"""Chance beyond which a hit proves nothing over a client that the server knows: who speaks so much is in a transfer, and in step with
others by the line that they share."""


def judge(found: Open, server: Server, now: float) -> None:
    """A packet came alone. Where no round trip is known, only what is learned of the times of answers tells anything."""
    pairs, known, few = server.pairs, server.round_trip > 0, len(found.candidates) <= MANY
    # Sharply: the server answers by itself, or what is near it.
    sharp = now - server.round_trip * 1.25 - 0.015, now - server.round_trip * 0.9 + 0.003
    windows = server.window(now), sharp, (now, now + REACTS)
    near = min(now - NEAR, windows[ASKS][0])
    asked = [{client for client in found.candidates if known and pairs[client].asked(*window)} for window in windows[:REACTS_TO]]
    # Where many start at once, many have asked just now. Who speaks all the time tells nothing of that.
    chances = {client: pairs[client].chances(now, [late - early for early, late in windows]) for client in found.candidates}
    common = [sum(chances[client][kind] < 1 for client in who) for kind, who in enumerate(asked)]
    for client, chance in chances.items():
        tally, pair = found.tally.setdefault(client, Tally()), pairs[client]
        tally.judged, tally.alone = tally.judged + known, tally.alone + 1
        if known and few and not tally.strict:
            tally.strict = [[0.0] * 3 for _ in windows]
        for kind, (window, count) in enumerate(zip(windows if known else (), (*common, common[SHARPLY]), strict=False)):
            likely, hit = max((count - 1) / max(1, len(chances) - 1), CHANCE, chance[kind]), kind < REACTS_TO and client in asked[kind]
            tally.hits[kind] += hit
            tally.by_chance[kind] += likely
            if few and chance[kind] <= TELLS:
                strict = tally.strict[kind]
                strict[:] = strict[0] + 1, strict[1] + hit, strict[2] + max(likely, pair.rhythm(*window))
                tally.told = now if kind == REACTS_TO else tally.told
        tally.apart += not pair.asked(near, now)
        if client in asked[ASKS]:
            tally.unanswered = max(0, tally.unanswered - 1)
    if known:
        found.judged_at = now
    found.alone.append(now)
    del found.alone[:-REMEMBERED]
    if few:
        _, usual = max(_guess(found, server, client, now) for client in found.candidates)
        if usual and not server.usual:
            server.usual = usual
            _look_again(server, found)


def _guess(found: Open, server: Server, client: bytes, now: float) -> tuple[float, float]:
    """Rule 11, for one candidate. What speaks for it, and how long its answers seem to take, in seconds, if that is more than a hint."""
    pair, tally, least, usual = server.pairs[client], found.tally[client], HINT, 0.0
    if tally.answers is NOTHING:
        tally.answers = Answers()
    for guess, (late, early) in tally.answers.windows(server.usual or server.round_trip) if pair.spurts else ():
        window = now - late, now - early
        others = sum(server.pairs[other].began(*window) for other in found.candidates if other != client)
        chance = max(CHANCE, others / len(found.candidates), pair.chance_to_begin(now, late - early), pair.rhythm(*window))
        hit = pair.began(*window)
        guess.comes(hit, chance, begins=hit and pair.began(*window, NEAR))
        if hit and guess.speaks > least:
            least, usual = guess.speaks, (late + early) / 2
    tally.answers.remember((start for start, _ in pair.spurts[-REMEMBERED:]), now)
    return least, usual


def _look_again(server: Server, known: Open) -> None:
    """What one SPI's packets have told of how long answers take is a guess for the others', from their first packet on."""
    for found in list(server.open.values())[-MANY:]:
        if found is not known and len(found.candidates) <= MANY:
            for client in found.candidates.keys() & found.tally.keys():
                found.tally[client].answers = NOTHING
                for when in found.alone:
                    _guess(found, server, client, when)
