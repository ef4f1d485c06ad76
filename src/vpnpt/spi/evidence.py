# SPDX-License-Identifier: GPL-2.0-or-later
"""What the engine knows about a server with several clients: who needs what, what is open, what speaks for whom. Rules: engine.py."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import islice
from math import log

from .counts import between
from .tally import FAR_PAST, REACTS_TO, Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from .blocks import Blocks
    from .messages import Exchange

NEED = 86400.0
"""Seconds for which a finished exchange entitles its client to a new SPI: no SA is used for longer without a rekey."""
HALF_OPEN = 5.0
"""Seconds for which an exchange that only one direction has been seen of is taken to be under way, since that was sent last."""
OUT_LIFE = 3600.0
"""Seconds after which an outbound SPI that is not used again counts no more."""
FOLLOWS = 60.0
"""Seconds within which a client may follow, with a new outbound SPI, a server that was the first to send with new keys."""
SPURT = 0.05
"""Seconds between packets of a client that belong together: a question, or what confirms an answer."""
STREAM = 0.3
"""Seconds of a spurt after which each packet seems to answer it."""
RECENT, LONG = 10.0, 60.0
"""Seconds over which it is counted how much of its time a client speaks."""
BEGUN, STEADY = 1.0, 3
"""The same, of a client that has begun only just now, at least; who speaks so many times within that is taken to do so all the time. Of who
speaks less often the time counts since the first of these, STREAM at least."""
AT_ONCE, NEVER = 0.5, 200.0
"""Seconds: who began to need an SPI so long ago is as likely to get one now as somebody later, or earlier, is."""
MEASURED = 86400.0
"""Seconds for which a round trip that was measured without any computing counts: ways change."""
NEAR = 0.25
"""Seconds within which a server answers at the latest, but for what takes it time: who has not spoken for so long was not answered, and
begins something of its own when it speaks again."""
REACTS = 0.03
"""Seconds within which a client's own packet is a reaction to one that it has just got."""
RHYTHM = 3
"""Questions by which it is known whether a client asks in a rhythm, at least."""
FAN = 8
"""Candidates that the kernel can copy to."""
ALONE = 0.1
"""Seconds before a packet without another one of its SPI, for it to be alone where no round trip is known."""
SIZED = 1 / 32
"""What part of a packet's size is taken over into the usual one: what that was over about so many packets."""
RESUMES = 6
"""Packets that nobody told of, at least, before notices come again that were not sent for a while; and after it, until all are heard."""
MANY = 16
"""Candidates beyond which nobody looks who confirms what, nobody counts, and nobody asks who has begun to send: each look takes time."""
CHANCE = 0.01
"""The least probability of a hit by chance."""
OUTBOUND_CAP, EXCHANGE_CAP, SPURT_CAP, SENT_CAP, CAME_CAP = 64, 64, 32, 20, 64


class Pair:
    """One client of one server: what it needs.

    requests: of exchanges that one way was seen of, message → when it began, and was told of last; whether outbound; its name in
    entitled; whether it must make an SPI. exchanges: those that both ways were seen of. entitled: exchange → when, and whether it must
    have made an SPI. outbound: SPI without an answer → first and last use. credited: SPI → when it was answered. sent: when unanswered
    SPIs were used. spurts: the same, from when to when. follows: those of `outbound` that may have been answered before they were seen,
    by an SPI that was ahead: they count as no need. heard: the server has answered this client, in IKE or with an SPI. ike: its SPIs
    are made by IKE. passed: how many packets it has sent with unanswered SPIs; latest_out: the last one's SPI and sequence number;
    size: of the last ones, in bytes. since: when it was known to use one, not which.
    """

    __slots__ = ("requests", "exchanges", "entitled", "outbound", "follows", "credited", "spurts", "sent", "answered", "heard", "ike",
                 "passed", "latest_out", "size", "since")

    def __init__(self) -> None:
        self.requests: dict[bytes, tuple[float, float, bool, bytes, bool]] = {}
        self.exchanges: dict[bytes, None] = {}
        self.entitled: dict[bytes, tuple[float, bool]] = {}
        self.outbound: dict[bytes, tuple[float, float]] = {}
        self.follows: set[bytes] = set()
        self.credited: dict[bytes, float] = {}
        self.spurts: list[list[float]] = []
        self.sent: list[float] = []
        self.answered = FAR_PAST
        self.heard = self.ike = False
        self.passed, self.latest_out, self.size, self.since = 0, (b"", 0), 0.0, FAR_PAST

    def expire(self, now: float) -> None:
        """Drops what is too old to count."""
        for name in [name for name, (when, _) in self.entitled.items() if now - when > NEED]:
            del self.entitled[name]
        for spi in [spi for spi, (_, last) in self.outbound.items() if now - last > OUT_LIFE]:
            del self.outbound[spi]
        self.follows &= self.outbound.keys()

    def needs(self) -> int:
        """How many new inbound SPIs this client may be waiting for: an exchange, and an outbound SPI seen after it, are about one."""
        sure = [first for spi, (first, _) in self.outbound.items() if spi not in self.follows]
        if not self.entitled:
            return len(sure)
        since = min(when for when, _ in self.entitled.values())
        older = sum(first < since for first in sure)
        return older + max(len(self.entitled), len(sure) - older)

    def latest(self, likely: bool = False) -> float:
        """When the youngest need began. likely: if its only outbound SPI is the one that it was known to use before that was told of."""
        if likely and len(self.outbound) == 1 and not self.entitled and self.since > self.answered:
            return self.since
        return max([FAR_PAST, *(when for when, _ in self.entitled.values()), *(first for first, _ in self.outbound.values())])

    def must_have(self) -> bool:
        """Is a need certain, or is there only an exchange that may have been about an IKE SA?"""
        return bool(self.outbound) or any(sure for _, sure in self.entitled.values())

    def under_way(self, now: float) -> list[bytes]:
        """The exchanges that the server may have answered by then, though no answer had passed: packets may overtake it."""
        return [message for message, (began, last, *_) in self.requests.items() if began < now < last + HALF_OPEN]

    def overtakes(self, now: float) -> None:
        """An SPI came then that is its own: an exchange under way has made that, or a need that counts already. One need more, anyway."""
        for message in self.under_way(now)[:1]:
            self.finishes(message, now)

    def finishes(self, message: bytes, now: float) -> None:
        """This exchange entitles to an SPI from now on; what is seen of it later tells nothing more."""
        *_, name, sure = self.requests.pop(message)
        self.exchanges[message] = None
        self.entitled[name], self.ike = (now, sure), True
        cap(self.exchanges, EXCHANGE_CAP)
        cap(self.entitled, EXCHANGE_CAP)

    def unexplained(self, now: float, remembers: float) -> bool:
        """Where the kernel says that this client waits: is that for nothing that we know? Then a notice was lost, or is yet to come.

        remembers: seconds for which the kernel may go on to say so of a client that has its SPI.
        """
        return not (self.needs() or self.under_way(now) or now - self.answered < remembers)

    def waits(self, spi: bytes, now: float) -> float:
        """It uses an outbound SPI that has not been answered: since when?"""
        first, _ = self.outbound.get(spi, (now, now))
        self.outbound[spi] = (first, now)
        cap(self.outbound, OUTBOUND_CAP)
        return first

    def waits_by(self, now: float) -> None:
        """It is known to use one, not which."""
        self.since = self.since if self.since > self.answered else now

    def begins(self, now: float) -> bool:
        """Its first packet, of which nothing else tells. See `speaks`."""
        self.waits_by(now)
        return self.speaks(now)

    def spend(self, now: float) -> None:
        """An SPI was given to this client: the oldest need is met."""
        self.answered, self.heard = now, True
        if self.entitled:
            del self.entitled[next(iter(self.entitled))]
        if self.outbound:
            spi = next(iter(self.outbound))
            del self.outbound[spi]
            self.follows.discard(spi)
            self.credited[spi] = now
            cap(self.credited, OUTBOUND_CAP)

    def speaks(self, now: float) -> bool:
        """An unanswered SPI is used. Is that the beginning of something?"""
        self.sent.append(now)
        del self.sent[:-SENT_CAP]
        if self.spurts and now - self.spurts[-1][1] < SPURT:
            self.spurts[-1][1] = now
            return False
        self.spurts.append([now, now])
        del self.spurts[:-SPURT_CAP]
        return True

    def sends(self, spi: bytes, sequence: int, size: int = 0) -> int:
        """A packet with an unanswered SPI: how many are that, with those of which no notice told? sequence, size: 0 if not known."""
        self.size += (size - self.size) * (SIZED if self.size else 1)
        before, self.latest_out = self.latest_out, (spi, sequence)
        more = between(before[1] if before[0] == spi else 0, sequence)
        self.passed += more
        return more

    def spoke(self, early: float, late: float) -> bool:
        """Has it sent anything at this time, as far as it is remembered?"""
        return bool(self.sent) and (self.sent[0] > early or bisect_right(self.sent, late) > bisect_left(self.sent, early))

    def asked(self, early: float, late: float) -> bool:
        """Is a question of this time known?"""
        for start, end in reversed(self.spurts):
            if end < early:
                return False
            if start <= late:
                return True
        return False

    def began(self, early: float, late: float, silent: float = 0.0) -> bool:
        """Has it begun to speak at this time, after so many seconds of silence?"""
        for turn in range(len(self.spurts) - 1, -1, -1):
            start = self.spurts[turn][0]
            if start < early:
                return False
            if start <= late and (not turn or start - self.spurts[turn - 1][1] >= silent):
                return True
        return False

    def rhythm(self, early: float, late: float) -> float:
        """Of its pauses between questions, as far as they are known then, the part after which it would ask at this time."""
        starts, about = [start for start, _ in self.spurts], (late - early) / 2
        count = bisect_left(starts, early)
        if count < RHYTHM:
            return 0.0
        least, most = early - about - starts[count - 1], late + about - starts[count - 1]
        return sum(least < starts[at] - starts[at - 1] < most for at in range(1, count)) / (count - 1)

    def chances(self, now: float, widths: Iterable[float]) -> list[float]:
        """How probable it is that there is a question in a window of so many seconds that has nothing to do with this client."""
        speaks = self._speaks(now)
        return [min(1.0, max(share + rate * width for share, rate in speaks)) for width in widths]

    def chance_to_begin(self, now: float, width: float) -> float:
        """The same, of the beginning of one."""
        return min(1.0, max(share if share == 1.0 else rate * width for share, rate in self._speaks(now)))

    def _speaks(self, now: float) -> list[tuple[float, float]]:
        """The part of the time in which it speaks, and how often in a second it begins to: over long, lately, and just now."""
        if not self.spurts:
            return [(0.0, 0.0)]
        start, end = self.spurts[-1]
        if end - start > STREAM and now - end < SPURT:
            return [(1.0, 0.0)]
        speaks = []
        for period in (RECENT, LONG):
            covered, count = 0.0, 0
            for start, end in reversed(self.spurts):
                if end <= now - period:
                    break
                if start > now:
                    continue
                covered, count = covered + end - max(start, now - period), count + 1
            if count == SPURT_CAP:
                period = max(now - self.spurts[0][0], SPURT)
            elif count == len(self.spurts) and not self.heard:
                # It has spoken for less time than that, and may have begun to speak all the time (rule 9).
                period = min(period, max(now - self.spurts[0][0], BEGUN))
            speaks.append((covered / period, count / period))
        lately = [spurt for spurt in self.spurts if now - BEGUN < spurt[1] and spurt[0] <= now]
        if lately:
            # The period begins with the first: of few that one tells nothing of how often there is another.
            least, count = (SPURT, len(lately)) if len(lately) >= STEADY else (STREAM, len(lately) - 1)
            period = max(now - lately[0][0], least)
            speaks.append((sum(end - start for start, end in lately) / period, count / period))
        return speaks

    def prior(self, now: float, *, waits: bool) -> float:
        """How much more likely it is that an SPI that is seen first now is this client's than that of one that has waited for very long.

        Of those who wait, each is the less likely to begin now the longer it has waited: in proportion. As a natural logarithm. waits: the
        kernel says so, though nothing else may: of a pair's first packet it tells that there is a pair.
        """
        began = self.spurts[0][0] if waits and len(self.spurts) == 1 and not self.needs() else self.latest()
        return log(NEVER / min(max(now - began, AT_ONCE), NEVER))


class Open:
    """An inbound SPI whose owner is not known.

    first: since when it is open, seen: since when it is known, if it was decided before. judged_at: when the last packet came that was
    judged. ahead: the server is the first to use it. begun: it was first seen with sequence number 1. shared: several own it. loose:
    nobody is known to need it, so that nothing is concluded; unsure: notices were lost, so that elimination tells nothing. incumbent:
    whose it is by a decision that the others challenge; unasked: it only got it because the server had no other client; kept: it needed
    one, so that nobody who comes later takes it away. proven: whose timing speaks for it, though it is not decided yet. came: when its
    last packets did; alone: those of them that came alone. heard: when it was looked at last who confirms them; followed: whether
    anybody looks (bounds.py). passed: how many it has carried since it was first seen, number: the last one's sequence number; resumed:
    how many it had carried when notices came again that were not sent for a while; size: of the last ones, in bytes.
    """

    __slots__ = ("candidates", "first_candidates", "tally", "first", "last", "seen", "judged_at", "alone", "proven", "incumbent", "ahead",
                 "shared", "loose", "unsure", "unasked", "kept", "begun", "came", "heard", "followed", "passed", "number",
                 "blocks", "readings", "resumed", "size")

    def __init__(self, candidates: tuple[bytes, ...], now: float) -> None:
        self.candidates = dict.fromkeys(candidates)
        self.first_candidates = candidates
        self.tally: dict[bytes, Tally] = {}
        self.first = self.last = self.seen = now
        self.came, self.heard = [now], FAR_PAST
        self.judged_at, self.alone = FAR_PAST, list[float]()
        self.proven: bytes | None = None
        self.incumbent: bytes | None = None
        self.ahead = self.shared = self.loose = self.unsure = self.unasked = self.kept = self.begun = False
        self.followed = True
        self.passed = self.number = self.resumed = 0
        self.blocks: tuple[Blocks, ...] = ()
        self.readings: tuple[Blocks, ...] = ()
        self.size = 0.0

    def plain(self) -> bool:
        """Is this one SPI for one need of one of its candidates, so that counting tells something?"""
        return not (self.shared or self.loose or self.incumbent)

    def was_challenged(self) -> bool:
        """Whose it is by a decision has had to show it? Who only had it as the server's only client, where nobody else asks, has not."""
        return self.incumbent is not None and not (self.unasked and len(self.first_candidates) == 1)

    def counted(self, client: bytes) -> bool:
        """Has this candidate sent enough for it to mean something that its count says nothing?"""
        counts = self.tally[client].counts if client in self.tally else None
        return counts is not None and counts.heard()

    def fan(self) -> tuple[bytes, ...]:
        """The likeliest candidates, as many as the kernel can copy to."""
        return tuple(islice(self.candidates, FAN))

    def comes(self, now: float, sequence: int, size: int = 0) -> int:
        """A packet with this SPI. How many are that, with those of which no notice told?"""
        self.size += (size - self.size) * (SIZED if self.size else 1)
        more = between(self.number, sequence)
        if more > RESUMES and now - self.last > ALONE:
            self.resumed = self.passed + more
        self.last = now
        self.came.append(now)
        del self.came[:-CAME_CAP]
        self.passed, self.number = self.passed + more, max(self.number, sequence)
        return more

    def asks(self, client: bytes, now: float, *, begins: bool) -> None:
        """A packet from a candidate: a question (if a spurt begins), or what it does at once with the packet that has just come."""
        tally = self.tally.setdefault(client, Tally())
        if begins and now - self.last >= REACTS:
            tally.unanswered += 1
        if self.judged_at != tally.reacted_to and now - self.judged_at < REACTS:
            tally.reacted_to = self.judged_at
            tally.hits[REACTS_TO] += 1
            if tally.told == self.judged_at:
                tally.strict[REACTS_TO][1] += 1

    def answers(self, pairs: dict[bytes, Pair], now: float, *, by_chance: bool) -> None:
        """A packet came: whoever has asked since the one before may have its answer. by_chance: in a row, it may as well be none."""
        for client, tally in self.tally.items():
            if client in self.candidates and pairs[client].asked(self.last, now):
                tally.in_rows += by_chance
                tally.unanswered = max(0, tally.unanswered - (not by_chance))


class Settled:
    """A decision that may have to be revised: owner, who else it could have been, since when, whether it was challenged already, and
    whether timing has proven it."""

    def __init__(self, owner: bytes, losers: tuple[bytes, ...], first: float, *, challenged: bool, proven: bool = False) -> None:
        self.owner, self.losers, self.first, self.challenged, self.proven = owner, losers, first, challenged, proven


class Server:
    """Everything about one server."""

    def __init__(self) -> None:
        self.pairs: dict[bytes, Pair] = {}
        self.open: dict[bytes, Open] = {}
        self.settled: dict[bytes, Settled] = {}
        self.round_trip = 0.0
        self.usual = 0.0  # seconds from question to answer, in ESP, when that was learned first
        self.measured = FAR_PAST  # when last by an answer that needs no computing
        self.doubted: float | None = None  # when the kernel was told last that it may not decide alone
        self.passed = 0  # packets with SPIs that are open or unanswered

    def sample(self, seconds: float, now: float, *, pure: bool = False) -> None:
        """A time from question to answer: the shortest counts, and older ones count less and less.

        pure: the server had nothing to compute. As long as such a one is known, the others may only make it shorter.
        """
        if pure and now - self.measured > MEASURED:
            self.round_trip = 0.0
        if pure:
            self.measured = now
        grows = pure or now - self.measured > MEASURED
        self.round_trip = min(seconds, self.round_trip * (1.1 if grows else 1.0)) if self.round_trip else seconds

    def exchanged(self, pair: Pair, event: Exchange, now: float) -> None:
        """A message of an exchange that creates SAs (rule 1)."""
        if event.message in pair.exchanges:
            return
        # One IKE SA makes one child with IKE_AUTH, however many messages that takes.
        name = event.message[:8] if event.auth else event.message
        began, _, outbound, name, sure = pair.requests.get(event.message, (now, now, event.outbound, name, event.sure))
        pair.requests[event.message] = began, now, outbound, name, sure
        cap(pair.requests, EXCHANGE_CAP)
        if event.outbound != outbound:
            if outbound:
                self.sample(now - began, now)
            pair.heard = True
            pair.finishes(event.message, now)

    def surplus(self, candidates: Collection[bytes], waiting: Collection[bytes], now: float) -> bool:
        """Would these, with one more open SPI among themselves, need fewer than are open? waiting: as of `sated`."""
        inside = sum(found.candidates.keys() <= set(candidates) for found in self.open.values() if not found.shared)
        return inside + 1 > sum(self.pairs[client].needs() + len(self.pairs[client].under_way(now)) or client in waiting
                                for client in candidates)

    def was_ahead(self, client: bytes, now: float) -> bool:
        """Has an SPI come of late that may be this client's, before anything showed that need?"""
        return any(found.ahead and client in found.candidates and now - found.first < FOLLOWS for found in self.open.values())

    def window(self, now: float) -> tuple[float, float]:
        """From when to when a question was asked that is answered now."""
        return now - self.round_trip * 2.5 - 0.03, now - self.round_trip * 0.8 + 0.005

    def alone(self, found: Open, now: float) -> bool:
        """Has no other packet of this SPI come for so long that the one which comes now may answer a question?"""
        early, late = self.window(now)
        return not found.first < now < found.last + (late - early if self.round_trip else ALONE)


def cap(remembered: dict[bytes, Any], limit: int) -> None:
    """Rule 8: the oldest go."""
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
