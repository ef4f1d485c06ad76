# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a candidate's answers take, learned while they come (rule 11): the owner is answered as long after each question as before.

That needs no round trip to be known, and finds it where IKE's is another one: its daemon computes, or hosts behind the server answer.
Before each packet it is guessed when the candidate must have begun to speak, by the times that most of the packets before have in common.
The candidate gains the logarithm of the likelihood ratio: how often its guesses were right so far (Krichevsky and Trofimov), over how
probable it is that somebody begins to speak just then who has nothing to do with the SPI. A guess is never made after the fact, so that a
proof by it is as rare as by a number of hits (Ville).
"""

from __future__ import annotations

from math import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FARTHEST = 0.5
"""Seconds that an answer may take, for it to be known as one."""
BACKLOG = -3.0
"""What speaks against a candidate is not counted beyond this: it may begin to be answered."""
WIDTHS = (0.002, 1 / 16), (0.004, 1 / 8), (0.012, 1 / 2)
"""By how much times that are alike may differ, in three tries: seconds, and part of the time itself. Ways are even, or are not."""
REMEMBERED = 8
"""Packets from which times are guessed, at most, and questions of which one may be the answer."""
AT_MOST = 0.99
"""Chance beyond which nothing is gained, so that nothing is lost either."""


class Guess:
    """By times that differ by as much as one of WIDTHS. time: the guess. right: how often, of `made`. speaks: a natural logarithm; begun:
    the same without the guesses that were right where the client may only have gone on with what it did."""

    __slots__ = ("least", "part", "time", "right", "made", "speaks", "begun")

    def __init__(self, least: float, part: float) -> None:
        self.least, self.part, self.time = least, part, 0.0
        self.right, self.made, self.speaks, self.begun = 1.0, 1.5, 0.0, 0.0

    def window(self, packets: list[list[float]]) -> tuple[float, float]:
        """From how long to how long before the next packet must its question have begun? packets: the same, of those before.

        What most of them have in common changes at most to a time of the last one: to look at all is too slow for a router.
        """
        most, width = 0, self.least
        for time in (*([self.time] if self.time else ()), *packets[-1]):
            wide = self.least + time * self.part
            count = sum(any(abs(time - other) < wide for other in others) for others in packets)
            if count >= most:
                self.time, most, width = time, count, wide
        return self.time + width, max(0.0, self.time - width)

    def comes(self, hit: bool, chance: float, *, begins: bool = True) -> None:
        """A packet came. Was the guess right, and how probable was that by chance? That it was wrong never speaks for anybody.

        begins: had the client been silent before what was guessed right?
        """
        probable, chance = self.right / self.made, min(chance, AT_MOST)
        gain = log(probable / chance) if hit else min(0.0, log((1 - probable) / (1 - chance)))
        self.speaks = max(BACKLOG, self.speaks + gain)
        self.begun = max(BACKLOG, self.begun + (gain if begins or gain < 0 else 0.0))
        self.right, self.made = self.right + hit, self.made + 1


class Answers:
    """What this says of one candidate for one SPI. times: of each packet, the seconds since each of the client's questions before it."""

    __slots__ = ("times", "guesses")

    def __init__(self) -> None:
        self.times: list[list[float]] = []
        self.guesses = [Guess(*width) for width in WIDTHS]

    def windows(self, round_trip: float) -> list[tuple[Guess, tuple[float, float]]]:
        """When must a question have begun that is answered now? round_trip: what IKE says of it, 0 if nothing."""
        packets = ([[round_trip]] if round_trip else []) + self.times
        return [(guess, guess.window(packets)) for guess in self.guesses] if packets else []

    def remember(self, starts: Iterable[float], now: float) -> None:
        """A packet came. starts: when the candidate began to speak, of late."""
        if times := [now - start for start in starts if 0 < now - start < FARTHEST]:
            self.times.append(times)
            del self.times[:-REMEMBERED]

    def best(self) -> tuple[float, int]:
        """What speaks for the candidate, a natural logarithm, and in how many packets."""
        guess = max(self.guesses, key=lambda guess: guess.speaks)
        return guess.speaks, int(guess.right) - 1

    def begun(self) -> float:
        """The same, of packets before which it began something: in a transfer its packets wait in one row with others', and are in step."""
        return max(guess.begun for guess in self.guesses)

    def wrong(self) -> int:
        """How many packets were surely no answers: as many as more guesses were wrong than right, even where times may differ most."""
        return max(0, min(round(guess.made - 2 * guess.right + 0.5) for guess in self.guesses))


NOTHING = Answers()
"""Of each candidate that nobody has looked at: where there are many, they are many times more."""
