# SPDX-License-Identifier: GPL-2.0-or-later
"""What tells whose an SPI is where packets come one after the other: who confirms them (rule 10), and by how many (rules 12, 15)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from math import log

from .assignment import claims, jointly
from .blocks import ALL, PARTS, SIZES, TIME, Blocks
from .candidates import chatterers
from .counts import EVERY, LEARNS, Counts
from .evidence import MANY, NEVER, RESUMES
from .tally import CERTAIN, FAR_PAST, HINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .evidence import Open, Server
    from .messages import Counted

SOON = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.032)
"""Seconds within which a client that confirms what it gets does so: whichever fits best."""
CONFIRMS = 0.9
"""How probable it is that a packet of the owner comes that soon after one of its SPI's, while it confirms them."""
MARGIN = 1.15
"""What chance does by what we take for it is multiplied by this: nobody's habits are quite what we take them for."""
BACKLOG = -2.0
"""What speaks against a candidate is not counted beyond this: it may begin to do something else."""
OUTWEIGHS = 4
"""How many times as strong as what speaks for a rival a proof is that stands against it: of many packets some look like answers."""
TURNS = 0.75
"""Of how often a candidate's own count predicts right: who does as often as this may be its SPI's owner."""
HISTORY = 5
"""Packets of a client by which its habits are known, at least."""


def listen(found: Open, client: bytes, server: Server, now: float) -> None:
    """A candidate sends: does it so just when it has got a packet of this SPI, more often than its habits explain?

    Had it nothing to do with this SPI, then it might as well have paused before this packet as long as before any of its last ones, or
    have been as early or late as any of these against an even rhythm. Judged is its last packet but two: what came around it is known.
    What speaks for it is noted under b"", and over each rival without what came while that one spoke, too; there, that the two are in step
    is another explanation.
    """
    if not found.followed or not found.plain() or len(found.candidates) > MANY:
        return
    _count(found, client, server, now)
    past, sent = server.pairs[client].sent[:-3], server.pairs[client].sent[-3:]
    if len(past) < HISTORY or past[-1] < found.came[0] or now - found.heard < EVERY:
        return
    found.heard, at, came = now, sent[0], found.came

    def lag(when: float) -> float:
        if when > now:
            when = now
        place = bisect_right(came, when)
        return when - came[place - 1] if place else NEVER

    length, middle = len(past), (len(past) - 1) / 2
    step = sum((turn - middle) * when for turn, when in enumerate(past)) * 12 / (length ** 3 - length)
    paused = sorted(lag(past[-1] + late - early) for early, late in pairwise(past))
    even = sorted(lag(when + step * (length - turn)) for turn, when in enumerate(past))
    after, in_step = lag(at), dict[bytes, list[float]]()
    for kind, soon in enumerate(SOON):
        chance = MARGIN * max((1 + bisect_right(paused, soon)) / length, (1 + bisect_right(even, soon)) / (1 + length))
        if chance >= CONFIRMS:
            continue
        hit = after <= soon
        gain = log(CONFIRMS / chance if hit else (1 - CONFIRMS) / (1 - chance))
        for rival in (b"", *found.candidates):
            over = gain
            if hit and rival not in (b"", client):
                other = server.pairs[rival]
                if other.spoke(at - after, at + soon):
                    continue
                if rival not in in_step:
                    in_step[rival] = sorted(map(lag, _in_step(past, at, other.sent)))
                lags = in_step[rival]
                # Of a rival that speaks too often for it to be known, nothing speaks against their being in step.
                likely = MARGIN * (1 + bisect_right(lags, soon)) / (1 + len(lags)) if len(other.sent) >= HISTORY else 0.0
                over = log(CONFIRMS / max(chance, likely))
            score = found.tally[client].echoes.setdefault(rival, [-log(len(SOON))] * len(SOON))
            score[kind] = max(BACKLOG, score[kind] + over)


def _in_step(past: list[float], at: float, rival: list[float]) -> list[float]:
    """When might who only sends in step with the rival have sent instead: as long after that one's last packet as before, where known.

    All packets are answers to somebody. What makes two hosts wait together (one radio, one machine) would look like a confirmation.
    """
    places = [bisect_right(rival, when) for when in past]
    gaps = [when - rival[place - 1] for when, place in zip(past, places, strict=True) if place]
    last = bisect_right(rival, at)
    return [rival[last - 1] + gap for gap in gaps] if last else []


def _count(found: Open, client: bytes, server: Server, now: float) -> None:
    """A candidate sends: what does that say of how many packets have come with this SPI?"""
    if found.passed > LEARNS:
        tally, pair = found.tally[client], server.pairs[client]
        if tally.counts is None:
            tally.counts = Counts()
        rivals = {rival: server.pairs[rival].passed for rival in found.candidates if rival != client}
        tally.counts.sends(found.passed, pair.passed, now, server.passed - found.passed - pair.passed, rivals)


def _count_blocks(found: Open, server: Server) -> None:
    """A packet of this SPI has come."""
    if not found.followed or not found.plain() or len(found.candidates) > MANY or found.passed < max(SIZES[0][0], found.resumed + RESUMES):
        return
    found.blocks = found.blocks or tuple(Blocks(*size) for size in SIZES)
    due = [blocks for blocks in found.blocks if found.passed - blocks.last[0] >= blocks.size]
    if due:
        given = {client: float(server.pairs[client].passed) for client in found.candidates}
        given |= {TIME: found.last, ALL: float(server.passed - found.passed)}
        for blocks in due:
            blocks.comes(found.passed, given, _strangers(found, server))
        _note(found)


def read(server: Server, event: Counted, now: float) -> list[bytes]:
    """Counters were read. Of which open SPIs do they tell something?"""
    passed, told = sum(event.came.values()) + sum(event.sent.values()), list[bytes]()
    for spi, came in event.came.items():
        found = server.open.get(spi)
        if found is None or not found.followed or not found.plain() or len(found.candidates) > MANY:
            continue
        given = {client: float(event.sent.get(client, 0)) for client in found.candidates} | {TIME: now, ALL: float(passed - came)}
        if not found.readings or came < found.readings[0].last[0]:  # the first time; the tables were put back
            found.readings = tuple(Blocks(SIZES[0][0], 1, parts) for parts in PARTS)
        for blocks in found.readings:
            blocks.comes(came, given, _strangers(found, server))
        _note(found)
        told.append(spi)
    return told


def _strangers(found: Open, server: Server) -> set[bytes]:
    return {client for client in found.candidates if not server.pairs[client].heard}


def _note(found: Open) -> None:
    for client in found.candidates.keys() & found.tally.keys():
        found.tally[client].numbers = max(blocks.alone.get(client, 0.0) for blocks in (*found.blocks, *found.readings))


def confirmed(server: Server, found: Open) -> tuple[bytes, set[bytes]]:
    """Who confirms what comes with this SPI, and the candidates over which that proves it. Nothing that compares may speak for these.

    More may speak for nobody else, either: where that is so, packets only come together with those that are confirmed.
    """
    _count_blocks(found, server)
    least, speaks = CERTAIN + log(len(found.candidates)), dict[bytes, float]()
    for client in found.candidates.keys() & found.tally.keys():
        tally = found.tally[client]
        proofs = {rival: proof for rival, echoes in tally.echoes.items()
                  if rival in found.candidates and (proof := max(echoes)) > least and not _turns(found, client, rival)}
        if tally.counts and tally.counts.confirms(least):
            # What of its own could it confirm that we do not see? The SPI that it was given before.
            only = server.pairs[client].answered == FAR_PAST
            for rival in found.candidates:
                if only or found.counted(rival):
                    proofs[rival] = max(proofs.get(rival, 0.0), tally.counts.speaks)
        sizes = found.size, server.pairs[client].size
        counting = (*found.blocks, *found.readings)
        proof = max((blocks.proof(client, *sizes) for blocks in counting), default=0.0) - log(max(1, len(counting)))
        proof += jointly(server, found, client, _numbers) if HINT < proof <= least else 0.0
        if proof > least:
            only = server.pairs[client].answered == FAR_PAST
            proofs |= {rival: max(proofs.get(rival, 0.0), proof) for rival in found.candidates
                       if only or any(blocks.sends(rival) for blocks in counting)}
        proofs = {rival: proof for rival, proof in proofs.items() if proof > least and rival != client}
        if not proofs:
            continue
        speaks = speaks or {name: found.tally[name].evidence() for name in found.candidates if name in found.tally}
        noise = chatterers(server, found, client)
        beaten = {rival for rival, proof in proofs.items() if rival in noise or (
            speaks.get(rival, 0.0) < max(HINT, proof / OUTWEIGHS) and not (rival in found.tally and found.tally[rival].numbers > HINT))}
        most = max(said for rival, said in speaks.items() if rival not in noise)
        if beaten and speaks[client] == most and claims(server, client) <= max(1, server.pairs[client].needs()):
            return client, beaten
    return b"", set()


def _numbers(found: Open, client: bytes) -> float:
    return max((blocks.speaks.get(client, 0.0) for blocks in found.readings or found.blocks), default=0.0)


def _turns(found: Open, client: bytes, rival: bytes) -> bool:
    """Do both send so regularly one for so many packets that they may only take turns, all in one row?

    Then who asked comes before a packet, and somebody else after it, as if he confirmed it.
    """
    own, other = found.tally[client].counts, found.tally[rival].counts if rival in found.tally else None
    return own is not None and other is not None and other.heard() and other.own.right() > TURNS * own.own.right()
