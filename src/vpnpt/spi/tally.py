# SPDX-License-Identifier: GPL-2.0-or-later
"""What speaks for a candidate for an SPI, and how much of it proves something. The rules are in the docstring of this package."""

from __future__ import annotations

from math import log

from .answers import NOTHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .counts import Counts

SURE = 12.0
"""Natural logarithm of how unlikely chance must be for a proof by timing, for one candidate."""
CERTAIN = 13.0
"""The same against candidates that are silent, so that nothing speaks against them."""
APART = 4.0
"""The same for that part of it which came while another candidate had not spoken, or nothing is proven against that one."""
HINT = 5.0
"""The same for a suspicion, which is enough to stop another's proof."""
ASKED = 2
"""Unanswered questions after which a candidate is taken to have nothing to do with an SPI that another's timing proves."""
CHALLENGE = 8
"""Unanswered questions after which a challenger has lost."""
ASKS, SHARPLY, REACTS_TO = range(3)
"""Kinds of hits. A packet came alone, and this candidate had sent something about a round trip before (ASKS); about as long before as an
answer takes where nothing is slow (SHARPLY); or it sent something just after."""
FAR_PAST = -1e9


class Tally:
    """What speaks for a candidate: of the packets judged by a round trip, how many were hits of each kind, and how many chance would
    give.

    strict: of each kind, how many of them told anything, as it does not speak all the time then; how many of these were hits; and how
    many chance would give, if it is chance that who speaks in a rhythm goes on so; told: when the last one came that told of a reaction.
    alone: how many came alone, judged or not. apart: how many of these while it had not spoken for long. unanswered: questions that no
    packet answered; in_rows: that packets in a row may have. prior: what spoke for it from the beginning. echoes: what its confirming
    speaks for it (under b"") and for it over each rival. counts: what counting says, if it was counted. answers: what the times say after
    which it is answered.
    numbers: what its number of packets says, in blocks, over the time and what everybody does.
    """

    __slots__ = ("prior", "judged", "alone", "hits", "by_chance", "strict", "told", "apart", "unanswered", "in_rows", "reacted_to",
                 "echoes", "counts", "answers", "numbers")

    def __init__(self, prior: float = 0.0) -> None:
        self.prior = prior
        self.judged = self.alone = self.apart = self.unanswered = self.in_rows = 0
        self.hits, self.by_chance = [0] * 3, [0.0] * 3
        self.strict: list[list[float]] = []
        self.reacted_to = self.told = FAR_PAST
        self.echoes: dict[bytes, list[float]] = {}
        self.counts: Counts | None = None
        self.answers = NOTHING
        self.numbers = 0.0

    def score(self) -> float:
        """How unlikely it is that its hits are chance, as a natural logarithm."""
        return self.prior + self._best()[0]

    def evidence(self) -> float:
        """The same of all that speaks for it, without what did so from the beginning."""
        return max(self._best()[0], max(self.echoes.get(b"", (0.0,))), self.counts.speaks if self.counts else 0.0, self.numbers)

    def strict_score(self) -> float:
        """The same, where that it speaks in a rhythm, or goes on with a transfer, is counted as chance: that proves nothing over others."""
        return self.prior + max((self.answers.begun(), *(unlikely(*kind) for kind in self.strict)))

    def _best(self) -> tuple[float, int]:
        kinds = [(unlikely(self.judged, hits, chance), hits) for hits, chance in zip(self.hits, self.by_chance, strict=True)]
        return max(*kinds, self.answers.best())

    def apart_from(self, other: Tally) -> float:
        """Of the packets that speak for this candidate, the part (0 to 1) that surely came while the other one had nothing to be answered.

        Two that speak at the same intervals are always as far from each other: then all packets of one seem to answer the other.
        """
        count = self._best()[1]
        return max(0, count + max(other.apart, other.answers.wrong()) - self.alone) / count if count else 0.0


def unlikely(trials: float, hits: float, by_chance: float) -> float:
    """Chernoff's bound on the probability of so many hits where so many come by chance, as a natural logarithm, positive."""
    if not trials or hits <= by_chance:
        return 0.0
    found, chance = min(hits / trials, 1.0), min(by_chance / trials, 0.999)
    return trials * (found * log(found / chance) + ((1 - found) * log((1 - found) / (1 - chance)) if found < 1 else 0.0))
