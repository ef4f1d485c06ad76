# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts as evidence (rule 12): between two packets of who confirms a transfer come as many of the SPI as ever, however long that takes.

ESP's sequence numbers say how many packets an SPI has carried, also where notices are lost. So for each packet that a candidate sends it is
known how many it has sent, and how many have come with the SPI. How many come until the next one is predicted in several ways: from how
many the candidate has sent meanwhile, from the time that went by, from what everybody else has sent and got meanwhile (all of a router's
transfers may stand still together), and from how many each rival has sent (they may ask in step). Each way predicts from the packet
before, and from the level of all before; how often each of these is right, and wrong by how much, is counted, so that it says itself how
probable is what comes (Krichevsky and Trofimov). The candidate gains the logarithm of the likelihood ratio: what its own count makes of
it, over what all others do together. Each of these is believed as far as it has been right, and a part of that is dealt out anew each
time, as another one may be right from now on (Herbster and Warmuth: fixed share). So whatever explains the packets without the candidate
is soon believed: even rhythms, a link that stalls, a fair queue, hosts that wait together.
"""

from __future__ import annotations

from bisect import bisect_right
from math import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FORGETS = 1 / 32
"""How fast is forgotten how many packets come for one that is sent: what it was over about so many packets."""
FOLLOWS_LEVEL = 1 / 6
"""The same of the level from which the second prediction is made."""
BOUNDS = (1, 2, 4, 8)
"""A prediction is right, or wrong by less than these (whole packets), or by more: each way a class of its own."""
CLASSES = 2 * len(BOUNDS) + 1
WIDTHS = (64, 4, 2, 1, 1, 1, 2, 4, 64)
"""Numbers of packets in each class."""
RIGHT = len(BOUNDS)
KEPT = 128
"""Halves of packets that are counted before all counts are halved: habits change."""
LEARNS = 8
"""Packets by which each way to predict is learned before it is compared."""
SHARE = 0.25
"""What part of how far each way is believed is dealt out anew with each packet. As much is taken from the candidate's own count: where that
and another way are both right, neither gains."""
BACKLOG = -3.0
"""What speaks against a candidate is not counted beyond this: it may begin to do something else."""
EXACT, CONFIRMS = 0.7, 1.5
"""For a proof: how often the candidate's own count predicts right; how many packets come for one that it sends. Who sends as many as come,
or more, may send them to another client, whose packets these are: its own count says as much of that one's SPI."""
JUMP = 4096
"""Sequence numbers between two notices, at most: whoever jumps further is not believed."""
EVERY = 0.003
"""Seconds between two looks at one candidate: each takes time."""


def between(before: int, sequence: int) -> int:
    """How many packets have sequence numbers after `before` and up to this one? One, if that is not known; none, if it was overtaken."""
    if not before or not sequence or sequence - before > JUMP:
        return 1
    return max(0, sequence - before)


class Way:
    """One way to predict how many packets come: so many times as many as `given` of something else. unit: packets that count as one."""

    __slots__ = ("came", "given", "above", "classes", "believed", "unit")

    def __init__(self, unit: int = 1) -> None:
        self.unit = unit
        self.came = self.given = self.above = 0.0
        self.classes = [1] * (2 * CLASSES)
        self.believed = 1.0, 1.0

    def step(self, came: int, given: float) -> tuple[float, float]:
        """What comes next came: how probable was that, by the packet before, and by the level of all before?"""
        expected = given * self.came / self.given if self.given else 0.0
        probable = self._judge(0, came - round(expected)), self._judge(CLASSES, came - round(expected - self.above))
        self.above = (self.above + came - expected) * (1 - FOLLOWS_LEVEL)
        self.came, self.given = self.came * (1 - FORGETS) + came, self.given * (1 - FORGETS) + given
        return probable

    def _judge(self, start: int, wrong: int) -> float:
        far = bisect_right(BOUNDS, abs(wrong) // self.unit)
        place = RIGHT + (far if wrong > 0 else -far)
        counts = self.classes[start:start + CLASSES]
        total = sum(counts)
        self.classes[start + place] += 2
        if total > KEPT:
            self.classes[start:start + CLASSES] = [count + 1 >> 1 for count in self.classes[start:start + CLASSES]]
        return counts[place] / total / WIDTHS[place]

    def right(self) -> float:
        """How often it predicts right, 0 to 1, by the better of its two predictions."""
        return max(self.classes[start + RIGHT] / sum(self.classes[start:start + CLASSES]) for start in (0, CLASSES))


def without(came: int, ways: list[tuple[Way, float]]) -> float:
    """How probable was it that so many packets come, by all these ways together, each with what it is given?"""
    judged = [(way, way.step(came, given)) for way, given in ways]
    total = sum(sum(way.believed) for way, _ in judged)
    probable = sum(way.believed[0] * first + way.believed[1] * second for way, (first, second) in judged) / total
    keeps, anew = (1 - SHARE) / (probable * total), SHARE / (2 * len(ways))
    for way, (first, second) in judged:
        way.believed = way.believed[0] * first * keeps + anew, way.believed[1] * second * keeps + anew
    return probable


class Counts:
    """What counting says of one candidate for one SPI. speaks: a natural logarithm, steps: from so many packets."""

    __slots__ = ("last", "own", "time", "others", "rivals", "steps", "speaks")

    def __init__(self) -> None:
        self.last: tuple[int, int, float, int, Mapping[bytes, int]] = 0, 0, 0.0, 0, {}
        self.own, self.time, self.others = Way(), Way(), Way()
        self.rivals: dict[bytes, Way] = {}
        self.steps, self.speaks = -1, 0.0

    def sends(self, came: int, sent: int, now: float, passed: int, rivals: Mapping[bytes, int]) -> None:
        """The candidate sends. How many packets have come with the SPI, has it sent, have passed of everybody else, has each rival sent?"""
        before = self.last
        if self.steps >= 0 and now - before[2] < EVERY:
            return
        self.last = came, sent, now, passed, rivals
        self.steps += 1
        if not self.steps:
            return
        came -= before[0]
        own = sum(self.own.step(came, sent - before[1])) / 2
        rest = without(came, [(self.time, now - before[2]), (self.others, passed - before[3]), *(
            (self.rivals.setdefault(rival, Way()), count - before[4].get(rival, 0)) for rival, count in rivals.items())])
        if self.steps > LEARNS:
            self.speaks = max(BACKLOG, self.speaks + log(own * (1 - SHARE) / rest))

    def confirms(self, least: float) -> bool:
        """Is it proven that it confirms what comes, by more than `least`?"""
        return self.speaks > least and self.own.came >= CONFIRMS * self.own.given and self.own.right() >= EXACT

    def heard(self) -> bool:
        """Has it sent enough for its count to say something?"""
        return self.steps > LEARNS
