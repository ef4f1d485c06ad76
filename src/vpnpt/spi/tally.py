# SPDX-License-Identifier: GPL-2.0-or-later
"""What speaks for a candidate for an SPI, and how much of it proves something. The rules are in the docstring of this package."""

from __future__ import annotations

from math import log

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
STEP, ALIKE = 0.01, 4
"""Seconds by which times from a question to its answer are told apart, and how many such steps they may differ."""
ASKS, SHARPLY, BEGINS, EXACTLY, REACTS_TO = range(5)
KINDS = 5
"""Kinds of hits. A packet came alone, and this candidate had sent something about a round trip before (ASKS); about as long before as an
answer takes where nothing is slow (SHARPLY); had begun to send then (BEGINS); just as long before (EXACTLY); or it sent something just
after (REACTS_TO). Who sends much of the time seldom begins to, so that this says more."""
KINDS_OF_FEW, KINDS_OF_MANY = (ASKS, SHARPLY, BEGINS, EXACTLY), (ASKS, SHARPLY)
"""Those that are asked for where there are few candidates, and where there are many. What is not asked for speaks for nobody."""
FAR_PAST = -1e9


class Tally:
    """What speaks for a candidate: of the packets judged, how many were hits of each kind, and how many chance would give.

    apart: how many came while it had not spoken for long. unanswered: questions that no packet answered. prior: what spoke for it from
    the beginning. echoes: what its confirming speaks for it (under b"") and for it over each rival. counts: what counting says, if it
    was counted.
    """

    __slots__ = ("prior", "judged", "hits", "by_chance", "apart", "delays", "unanswered", "reacted_to", "echoes", "counts")

    def __init__(self, prior: float = 0.0) -> None:
        self.prior = prior
        self.judged = self.apart = self.unanswered = 0
        self.hits, self.by_chance = [0] * KINDS, [0.0] * KINDS
        self.reacted_to = FAR_PAST
        self.delays: dict[int, int] = {}
        self.echoes: dict[bytes, list[float]] = {}
        self.counts: Counts | None = None

    def inconsistent(self) -> int:
        """Of the packets that came when it had spoken of late, how many surely were no answers to it.

        Answers come a time after the question that does not change much. Where few of these times are alike, few are answers, however
        often it speaks. Hosts that ask in step are always as far from each other: then all of them are alike. Only where it asked once
        is it known which question could be meant.
        """
        alike = max((sum(self.delays.get(step + more, 0) for more in range(ALIKE)) for step in self.delays), default=0)
        return max(0, sum(self.delays.values()) - 2 * alike)

    def score(self) -> float:
        """How unlikely it is that its hits are chance, as a natural logarithm."""
        return self.prior + max(self._kinds())[0]

    def evidence(self) -> float:
        """The same of all that speaks for it, without what did so from the beginning."""
        return max(max(self._kinds())[0], max(self.echoes.get(b"", (0.0,))), self.counts.speaks if self.counts else 0.0)

    def _kinds(self) -> tuple[tuple[float, int], ...]:
        return tuple((unlikely(self.judged, hits, chance), hits) for hits, chance in zip(self.hits, self.by_chance, strict=True))

    def apart_from(self, other: Tally) -> float:
        """Of the packets that speak for this candidate, the part (0 to 1) that surely came while the other one had nothing to be answered.

        Two that speak at the same intervals are always as far from each other: then all packets of one seem to answer the other.
        """
        count = max(self._kinds())[1]
        return max(0, count + other.apart + other.inconsistent() - self.judged) / count if count else 0.0


def unlikely(trials: int, hits: int, by_chance: float) -> float:
    """Chernoff's bound on the probability of so many hits where so many come by chance, as a natural logarithm, positive."""
    if not trials or hits <= by_chance:
        return 0.0
    found, chance = min(hits / trials, 1.0), min(by_chance / trials, 0.999)
    return trials * (found * log(found / chance) + ((1 - found) * log((1 - found) / (1 - chance)) if found < 1 else 0.0))
