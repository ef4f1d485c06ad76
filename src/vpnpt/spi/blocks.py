# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts in blocks (rule 15): so many packets of the SPI for so many that its owner has sent, over many of either.

What confirms an upload comes a round trip late, by twos and threes, in step with what others are sent: no packet of it tells anything. But
while single packets come at any time, their number stays in proportion to what the owner sends, and no rival's does for long: transfers
share a line evenly for moments only. So once in so many packets it is predicted how many have come by now, as in counts.py: from how many
each candidate has sent, from the time, and from what everybody has sent and got. A candidate gains the logarithm of the likelihood ratio
of its own number over all others together.
"""

from __future__ import annotations

from math import log

from .counts import BACKLOG, Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SIZES = (12, 3), (48, 12), (192, 48)
"""Packets of a block, and by how many a prediction of these may be wrong and still be right: for slow transfers, and for fast ones, of
which more is under way."""
PARTS = 4, 16
"""The same where counters are read, now and then: so many parts of what has come since the last time."""
LEARNS = 4
"""Blocks by which each way to predict is learned before it is compared."""
SHARE = 0.1
"""What part of how far each number is believed is dealt out anew with each block."""
SPARSE, RICH = 0.75, 1.5
"""So many packets come at most, or at least, for one that the owner sends. Between these they may be another's, sent to this client."""
LARGER = 3
"""So many times as large as what confirms them are the packets of a transfer, at least. What is sent to another client may be fewer or more
when it comes there, as in a conference, but is no smaller."""
TIME, ALL = b"t", b"a"


class Blocks:
    """Of one SPI, in blocks of `size` packets or more. unit: by how many a prediction may be wrong; parts: or what part of them it is.
    speaks: for each candidate, over all else; alone: the same over the time and what everybody does only, not over the other candidates.
    Natural logarithms."""

    __slots__ = ("size", "unit", "parts", "last", "ways", "steps", "speaks", "alone")

    def __init__(self, size: int, unit: int, parts: int = 0) -> None:
        self.size, self.unit, self.parts, self.steps = size, unit, parts, -1
        self.last: tuple[int, Mapping[bytes, float]] = 0, {}
        self.ways: dict[bytes, Way] = {}
        self.speaks: dict[bytes, float] = {}
        self.alone: dict[bytes, float] = {}

    def comes(self, came: int, given: Mapping[bytes, float], strangers: Collection[bytes]) -> None:
        """So many packets have come by now. given: how many each candidate has sent, the time, and how many have passed of everybody.
        strangers: candidates that the server has never answered, which are no rivals of those that it has."""
        if came - self.last[0] < self.size:
            return
        (before, had), self.last = self.last, (came, given)
        self.steps += 1
        if not self.steps:
            return
        if self.parts:
            self.unit = max(1, (came - before) // self.parts)
        trust, right, both = dict[bytes, float](), dict[bytes, float](), dict[bytes, float]()
        for name, number in given.items():
            way = self.ways.setdefault(name, Way())
            way.unit = self.unit
            first, second = way.step(came - before, number - had.get(name, number))
            trust[name], both[name] = sum(way.believed), (first + second) / 2
            way.believed = way.believed[0] * first, way.believed[1] * second
            right[name] = sum(way.believed)
        probable = sum(right.values())
        base = (right[TIME] + right[ALL]) / (trust[TIME] + trust[ALL])
        for name in given:
            way = self.ways[name]
            way.believed = tuple((1 - SHARE) * part / probable + SHARE / (2 * len(given)) for part in way.believed)  # type: ignore[assignment]
            if self.steps > LEARNS and name not in (TIME, ALL):
                rivals = [rival for rival in given if rival != name and (name in strangers or rival not in strangers)]
                own, rest = both[name] * (1 - SHARE), sum(right[rival] for rival in rivals) / sum(trust[rival] for rival in rivals)
                self.speaks[name] = max(BACKLOG, self.speaks.get(name, 0.0) + log(own / rest))
                self.alone[name] = max(BACKLOG, self.alone.get(name, 0.0) + log(own / base))

    def proof(self, client: bytes, came: float = 0.0, sent: float = 0.0) -> float:
        """What speaks for it over all else, if packets come for what it sends, and are not what it sends to somebody else. came, sent: the
        usual sizes of these packets; 0: not known, and nothing is proven."""
        way = self.ways.get(client)
        if way is None or not came or not sent or not (LARGER * came <= sent if way.came <= SPARSE * way.given else
                               way.came >= RICH * way.given and LARGER * sent <= came):
            return 0.0
        return self.speaks.get(client, 0.0)

    def sends(self, client: bytes) -> bool:
        """Has it sent anything?"""
        return client in self.ways and self.ways[client].given > 0
