# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine: what is to be done about each event. The rules that it follows, with their numbers, are in the docstring of this package."""

from __future__ import annotations

from math import log

from ..model import Said
from .assignment import claims, jointly
from .bounds import DOUBT_RENEWED, IDLE, SETTLED_CAP, Known, forget_open, forgotten
from .candidates import STARVES, UNSURE, by_likelihood, candidates_of, chatterers, doubts, listeners, lost, protected, to_be_asked
from .echoes import confirmed, listen, read
from .evidence import FAN, MANY, Open, Pair, Server, Settled, cap
from .messages import (
    Alive,
    Ask,
    Assign,
    AssignRouter,
    Began,
    CookieShared,
    Counted,
    Doubt,
    Exchange,
    Fan,
    Fanned,
    Forget,
    Paired,
    RoundTrip,
    Say,
    SpiMoved,
    SpiOfRouter,
    SpiOut,
    SpiShared,
    SpiTaken,
    Tick,
    Unpaired,
    deliver,
)
from .newcomers import came_before, may_join, overstayed
from .tally import APART, ASKED, CERTAIN, CHALLENGE, FAR_PAST, HINT, SURE, Tally
from .timing import judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .messages import Action, Event

CREDIT = 1.0
"""Seconds for which notices about an outbound SPI that has just been answered may still be on their way."""
BEGINS, TWICE = 1.0, 0.05
"""Seconds by which a packet with sequence number 1 may be late without being the first one of another SA; and come twice."""


class Engine:
    """All state in one place. `handle` takes an event and the time, and says what to do; `next_deadline` when to send a Tick.

    pending_timeout: seconds for which the kernel remembers who waits for a new SPI; the event Began changes it.
    """

    def __init__(self, pending_timeout: float = 10.0) -> None:
        self.servers: dict[bytes, Server] = {}
        self.pending_timeout, self._unsure_until = pending_timeout, FAR_PAST
        self._known = Known()
        self._handlers: dict[type, Callable[..., list[Action]]] = {
            Exchange: self._exchange, SpiOut: self._outbound, SpiTaken: self._taken, SpiMoved: self._moved, SpiShared: self._shared,
            Fanned: self._fanned, Counted: self._counted}

    def handle(self, event: Event, now: float) -> list[Action]:
        """One event in, what to do out. Never raises for anything that came from the wire."""
        actions = self._on_event(event, now)
        if isinstance(event, (Exchange, SpiOut, SpiTaken, SpiShared)):
            actions += self._doubt(event.server, now)
        for name, client in self._known.beyond(self.servers):
            actions += self._unpaired(name, self.servers[name], client)
        return actions

    def _on_event(self, event: Event, now: float) -> list[Action]:
        if isinstance(event, Tick):
            return self._tick(now)
        if isinstance(event, Alive):
            return self._alive(event.pairs, now)
        if isinstance(event, Began):
            self.pending_timeout, self._unsure_until = event.pending_timeout, now + UNSURE if event.lost else self._unsure_until
            for state in self.servers.values():
                state.doubted = None
            return []
        if isinstance(event, RoundTrip):
            if event.server in self.servers:  # who has no clients would never be forgotten
                self.servers[event.server].sample(event.seconds, now, pure=True)
            return []
        new = event.server not in self.servers
        if new and (isinstance(event, Unpaired) or (isinstance(event, Paired) and not event.heard and self._known.is_alone(event, now))):
            return []
        server = self.servers.setdefault(event.server, Server())
        if isinstance(event, Paired):
            for client, spoke in self._known.first(event.server):
                pair = self._pair(event.server, client)
                if spoke > FAR_PAST:
                    pair.begins(spoke)
            pair = self._pair(event.server, event.client)
            pair.heard, pair.ike = pair.heard or event.heard, pair.ike or event.ike
            pair.answered = max(pair.answered, 0.0) if event.heard else pair.answered  # some time before we began
            return self._joins(event.server, server, event.client, now) if event.speaks and pair.begins(now) else []
        if isinstance(event, CookieShared):
            return deliver(event.packet, server.pairs, event.copied)
        if isinstance(event, SpiOfRouter):
            server.open.pop(event.spi, None)
            server.settled.pop(event.spi, None)
            return [AssignRouter(server=event.server, spi=event.spi)]
        if isinstance(event, Unpaired):
            return self._unpaired(event.server, server, event.client)
        return self._handlers[type(event)](server, event, now)

    def next_deadline(self) -> float | None:
        """When a Tick is due, None if nothing is open: at rest the engine needs no time at all."""
        return min((found.last + IDLE for server in self.servers.values() for found in server.open.values()), default=None)

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """(client, server) of each pair that is remembered."""
        return [(client, name) for name, server in self.servers.items() for client in server.pairs]

    def _doubt(self, name: bytes, now: float) -> list[Action]:
        """Tells the kernel when it may not decide alone, and when it may again."""
        if (server := self.servers.get(name)) is None:
            return []
        yes = doubts(server, now, self.pending_timeout)
        if yes == (server.doubted is not None) and (server.doubted is None or now - server.doubted < DOUBT_RENEWED):
            return []
        server.doubted = now if yes else None
        return [Doubt(server=name, yes=yes)]

    def _pair(self, name: bytes, client: bytes) -> Pair:
        pairs = self.servers[name].pairs
        if client not in pairs:
            pairs[client] = Pair()
            self._known.add(name, client)
        return pairs[client]

    def knows(self, server: bytes, spi: bytes) -> bool:
        """Is this SPI open, or decided?"""
        return (known := self.servers.get(server)) is not None and (spi in known.open or spi in known.settled)

    # needs

    def _joins(self, name: bytes, server: Server, client: bytes, now: float) -> list[Action]:
        """A client's first ESP: what the server has sent before may be its (rules 2 and 6)."""
        actions: list[Action] = []
        for spi, found in server.open.items():
            if may_join(found, server, client, now):
                found.candidates[client] = None
                actions.append(self._fan(name, spi, found))
        return actions + [action for spi in came_before(server, client, now)
                          for action in self._challenge(name, server, spi, (client,), now, kept=True)]

    def _exchange(self, server: Server, event: Exchange, now: float) -> list[Action]:
        server.exchanged(self._pair(event.server, event.client), event, now)
        return []

    def _outbound(self, server: Server, event: SpiOut, now: float) -> list[Action]:
        pair = self._pair(event.server, event.client)
        pair.expire(now)
        begins = pair.speaks(now)
        server.passed += pair.sends(event.spi, event.sequence, event.size)
        if now - pair.credited.get(event.spi, FAR_PAST) < CREDIT:
            return []
        if event.spi not in pair.outbound and not pair.entitled and server.was_ahead(event.client, now):
            pair.follows.add(event.spi)
        first = pair.waits(event.spi, now)
        actions = [] if first < now else self._joins(event.server, server, event.client, now)
        for inbound, found in list(server.open.items()):
            if event.client in found.candidates:
                found.asks(event.client, now, begins=begins)
                listen(found, event.client, server, now)
                if not found.shared and found.incumbent not in (None, event.client) and found.tally[event.client].unanswered >= CHALLENGE:
                    actions += self._without(event.server, server, inbound, found, {event.client}, [])
        if actions:
            return actions
        if now - first >= STARVES and now - pair.answered >= STARVES:
            return [action for spi, opened in lost(server, event.client, first)
                    for action in self._challenge(event.server, server, spi, (event.client,), opened)]
        return []

    def _given(self, name: bytes, server: Server, client: bytes, now: float) -> list[Action]:
        """This client got an SPI: it may need no other and leave the candidates of others, and so on (rule 4)."""
        actions: list[Action] = []
        owners = [client]
        while owners:
            owner = owners.pop()
            pair = self._pair(name, owner)
            pair.spend(now)
            if not pair.needs():
                for spi, found in [(spi, found) for spi, found in server.open.items() if not pair.under_way(found.first)]:
                    if (found.plain() and not found.unsure) or found.incumbent not in (None, owner):
                        actions += self._without(name, server, spi, found, {owner}, owners)
        return actions

    # open SPIs

    def _taken(self, server: Server, event: SpiTaken, now: float) -> list[Action]:
        pair = self._pair(event.server, event.client)
        others = tuple(client for client in candidates_of(server, (), now, self.pending_timeout) if client != event.client)
        others = others or (() if pair.heard else tuple(sorted(listeners(server) - {event.client})))
        if pair.follows or (others and not pair.heard):  # what the kernel took for a need of this client may have been none
            others = tuple(client for client in server.pairs if client != event.client) if pair.follows else others
            found = server.open[event.spi] = Open((event.client, *others), now)
            found.loose = bool(pair.follows)
            return [*deliver(event.packet, others, frozenset()), self._fan(event.server, event.spi, found),
                    *forget_open(event.server, server, self.servers)]
        pair.overtakes(now)
        server.settled[event.spi] = Settled(event.client, others, now, challenged=False)
        cap(server.settled, SETTLED_CAP)
        actions = self._given(event.server, server, event.client, now)
        if others and len(server.pairs) > 1:  # nothing says that it is this client's, and not that of another one that needs one
            actions += self._challenge(event.server, server, event.spi, others, now, event.packet)
        return actions

    def _moved(self, server: Server, event: SpiMoved, now: float) -> list[Action]:
        self._pair(event.server, event.client).waits(event.outbound, now)
        self._pair(event.server, event.owner)
        if event.spi not in server.open:
            server.settled.setdefault(event.spi, Settled(event.owner, (), now, challenged=True))
            return self._challenge(event.server, server, event.spi, (event.client,), now)
        found = server.open[event.spi]
        if event.client in found.candidates or len(found.candidates) >= FAN:
            return []  # as in newcomers.py
        found.candidates[event.client] = None
        return [self._fan(event.server, event.spi, found)]

    def _challenge(self, name: bytes, server: Server, spi: bytes, challengers: tuple[bytes, ...], now: float, packet: bytes = b"",
                   *, kept: bool = False) -> list[Action]:
        """Rule 6: what is decided is open again, with the incumbent first."""
        decision = server.settled.pop(spi)
        found = server.open[spi] = Open((decision.owner, *challengers), now)
        found.incumbent, found.kept, found.seen = decision.owner, kept, decision.first
        return [*deliver(packet, challengers, frozenset()), self._fan(name, spi, found), *forget_open(name, server, self.servers)]

    def _shared(self, server: Server, event: SpiShared, now: float) -> list[Action]:
        named = event.copied | (event.waiting or frozenset()) | ({event.owner} if event.owner is not None else frozenset())
        for client in sorted(named):
            self._pair(event.server, client)
        decision = server.settled.get(event.spi)
        if decision is not None and not event.same:
            # Sent before the kernel had the decision, or long ago and forgotten there.
            return [*deliver(event.packet, [decision.owner], event.copied),
                    Assign(server=event.server, spi=event.spi, client=decision.owner, credit=False)]
        known = server.open.get(event.spi)
        if event.waiting is None and (known is None or event.sequence == 1):
            if asked := to_be_asked(server, now, self.pending_timeout):
                return [Ask(event=event, clients=asked)]
            event = event.replace(waiting=frozenset())
        if known is None:
            return self._opened(server, event, now)
        if event.sequence == 1 and now - known.seen > (TWICE if known.begun else BEGINS) and not known.shared:
            return self._begins_anew(server, event, known, now)
        actions = deliver(event.packet, known.candidates, event.copied)
        if self._judge_timing(server, known, now):
            actions += self._proof(event.server, server, event.spi, known, now)
        actions += self._confirmed(event.server, server, event.spi, now)
        actions += self._without(event.server, server, event.spi, known, overstayed(known, now), [])
        server.passed += known.comes(now, event.sequence, event.size)
        return actions

    def _confirmed(self, name: bytes, server: Server, spi: bytes, now: float) -> list[Action]:
        """Rules 10, 12 and 15."""
        best, beaten = confirmed(server, server.open[spi]) if spi in server.open else (b"", set())
        return self._out(name, server, spi, server.open[spi], best, beaten, now) if beaten else []

    def _counted(self, server: Server, event: Counted, now: float) -> list[Action]:
        return [action for spi in read(server, event, now) for action in self._confirmed(event.server, server, spi, now)]

    def _opened(self, server: Server, event: SpiShared, now: float) -> list[Action]:
        if event.same and event.owner is not None:
            return self._same_spi(server, event, now)
        unsure = now < self._unsure_until
        candidates = candidates_of(server, event.waiting or (), now, self.pending_timeout, unsure=unsure)
        had = () if event.owner is None else (event.owner,)
        loose = not candidates and not had
        candidates = tuple(dict.fromkeys((*had, *candidates))) or by_likelihood(server, server.pairs, now)
        if not candidates:
            return []
        found = Open(candidates, now)
        if had:
            found.incumbent, found.unasked = event.owner, True
        found.loose, found.unsure, found.begun = loose, unsure, event.sequence == 1
        found.tally = {client: Tally(server.pairs[client].prior(now, waits=client in (event.waiting or ()))) for client in candidates}
        found.ahead = server.surplus(candidates, event.waiting or (), now)
        actions = deliver(event.packet, candidates, event.copied)
        if len(candidates) == 1:
            return [*actions, self._settle(event.server, server, event.spi, found, candidates[0]),
                    *self._given(event.server, server, candidates[0], now)]
        server.open[event.spi] = found
        self._judge_timing(server, found, now)
        return [*actions, self._fan(event.server, event.spi, found), *forget_open(event.server, server, self.servers)]

    def _begins_anew(self, server: Server, event: SpiShared, known: Open, now: float) -> list[Action]:
        """Rule 7, for an SPI that is open: whoever needs one now may have chosen the same."""
        needy = candidates_of(server, event.waiting or (), now, self.pending_timeout)
        more = [client for client in needy if client not in known.candidates]
        shares = bool(more) or (now - known.seen > BEGINS and len({*needy, known.incumbent} - {None}) > 1)
        known.candidates, known.shared, known.last = dict.fromkeys((*more, *known.candidates)), shares, now
        return [*deliver(event.packet, known.candidates, event.copied), self._fan(event.server, event.spi, known)]

    def _same_spi(self, server: Server, event: SpiShared, now: float) -> list[Action]:
        assert event.owner is not None
        others = [client for client in candidates_of(server, event.waiting or (), now, self.pending_timeout) if client != event.owner]
        if not others:
            return [*deliver(event.packet, [event.owner], event.copied),
                    Assign(server=event.server, spi=event.spi, client=event.owner, credit=False)]
        found = server.open[event.spi] = Open((event.owner, *others), now)
        found.shared, found.incumbent = True, event.owner
        server.settled.pop(event.spi, None)
        text = Said("{count} clients chose the same SPI with one server: all get its packets", count=len(found.candidates))
        return [*deliver(event.packet, found.candidates, event.copied), self._fan(event.server, event.spi, found),
                Say(level="warning", code="SAME-SPI", text=text), *forget_open(event.server, server, self.servers)]

    def _fan(self, name: bytes, spi: bytes, found: Open) -> Action:
        return Fan(server=name, spi=spi, clients=found.fan(), spills=len(found.candidates) > FAN)

    def _fanned(self, server: Server, event: Fanned, now: float) -> list[Action]:
        for client in event.clients:
            self._pair(event.server, client)
        if not event.clients or event.spi in server.open:
            return []
        found = server.open[event.spi] = Open(tuple(sorted(event.clients)), now)
        found.shared = True
        return forget_open(event.server, server, self.servers)

    def _settle(self, name: bytes, server: Server, spi: bytes, found: Open, owner: bytes) -> Action:
        server.open.pop(spi, None)
        if owner != found.incumbent:
            server.pairs[owner].overtakes(found.first)
        losers = tuple(set(found.first_candidates) - chatterers(server, found, owner) - {owner})
        server.settled[spi] = Settled(owner, losers, found.first, challenged=found.was_challenged(), proven=found.proven == owner)
        cap(server.settled, SETTLED_CAP)
        return Assign(server=name, spi=spi, client=owner, credit=owner != found.incumbent)

    def _without(self, name: bytes, server: Server, spi: bytes, found: Open, out: Collection[bytes], owners: list[bytes]) -> list[Action]:
        """These are candidates no more. Where one is left, that is an owner, added to `owners`; the last one never leaves."""
        gone = [client for client in out if client in found.candidates]
        if not gone or len(gone) == len(found.candidates):
            return []
        before = found.fan()
        for client in gone:
            del found.candidates[client]
        if len(found.candidates) == 1:
            [owner] = found.candidates
            if owner != found.incumbent:
                owners.append(owner)
                if found.incumbent in server.pairs and found.incumbent is not None and not found.unasked:
                    # What it was given was not its own: it still waits for that.
                    server.pairs[found.incumbent].entitled[b"again" + spi] = found.first, True
            return [self._settle(name, server, spi, found, owner)]
        return [self._fan(name, spi, found)] if found.fan() != before else []

    # evidence

    def _judge_timing(self, server: Server, found: Open, now: float) -> bool:
        """Rules 5 and 11: whose question may this packet answer? Only one that comes alone tells anything."""
        alone = server.alone(found, now)
        if not (alone and server.round_trip):
            found.answers(server.pairs, now, by_chance=not alone and (server.round_trip > 0 or not found.incumbent))
        if not alone or found.shared or found.loose:
            return False
        judge(found, server, now)
        return True

    def _proof(self, name: bytes, server: Server, spi: bytes, found: Open, now: float) -> list[Action]:
        """Whose candidacy ends by rule 5?"""
        scores = {client: found.tally[client].score() for client in found.candidates}
        actions: list[Action] = []
        if len(scores) > FAN:
            before, found.candidates = found.fan(), dict.fromkeys(sorted(scores, key=lambda client: -scores[client]))
            if set(before) != set(found.fan()):
                actions.append(self._fan(name, spi, found))
        best, *others = sorted(scores, key=lambda client: -scores[client])
        chance = log(len(scores))
        # More than one may be right: the one asks the other, through the server.
        rivals = {client for client in others if found.tally[client].evidence() > HINT + chance}
        lead = scores[best] - max((scores[client] for client in others if client not in rivals), default=0.0) - chance
        lead += jointly(server, found, best, lambda its, client: its.tally[client].score()) if HINT < lead < SURE else 0.0
        if lead < SURE or found.tally[best].evidence() < HINT:
            return actions
        # Who has spoken whenever a packet came may be right as well.
        chatter = chatterers(server, found, best)
        together = {client for client in set(others) - chatter if lead * found.tally[best].apart_from(found.tally[client]) < APART}
        claimed = claims(server, best)
        if claimed > max(1, server.pairs[best].needs()):
            return actions
        # Is it only a rhythm or a transfer that speaks for it? Nobody looks for that where there are many.
        steady = len(scores) <= MANY and lead - scores[best] + found.tally[best].strict_score() < SURE
        certain = lead > CERTAIN and claimed == 1 and not steady
        if rivals:
            return actions + self._without(name, server, spi, found, set(others) - rivals - together - protected(server, found, best, now)
                                           if certain else (), [])
        out = chatter if steady else {client for client in others if certain or client == found.incumbent
                                      or found.tally[client].unanswered >= ASKED or not server.pairs[client].must_have()}
        return actions + self._out(name, server, spi, found, best, out - together, now, certain=not together and not steady)

    def _out(self, name: bytes, server: Server, spi: bytes, found: Open, best: bytes, out: set[bytes], now: float, *, certain: bool = False,
             ) -> list[Action]:
        """These are candidates no more, as timing speaks for the best one. certain: for nobody else who is left."""
        out -= protected(server, found, best, now)
        owners: list[bytes] = []
        actions = self._without(name, server, spi, found, out, owners)
        if not certain and len(found.candidates) > 1:
            return actions + [action for owner in owners for action in self._given(name, server, owner, now)]
        found.proven = best
        if server.pairs[best].needs() <= 1:
            for other, its in list(server.open.items()):
                if its is not found and its.plain() and not its.unsure and not server.pairs[best].under_way(its.first):
                    actions += self._without(name, server, other, its, {best}, owners)
        for owner in owners:
            actions += self._given(name, server, owner, now)
        return actions

    # time and change

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for name, server in list(self.servers.items()):
            for spi in [spi for spi, found in server.open.items() if now - found.last >= IDLE]:
                del server.open[spi]
                actions.append(Forget(server=name, spi=spi))
        return actions

    def _alive(self, alive: frozenset[tuple[bytes, bytes]], now: float) -> list[Action]:
        """Pairs that the kernel has forgotten, and of which nothing has been heard for long, are no more."""
        return [action for name, client in forgotten(self.servers, alive, now)
                for action in self._unpaired(name, self.servers[name], client)]

    def _unpaired(self, name: bytes, server: Server, client: bytes) -> list[Action]:
        server.pairs.pop(client, None)
        self._known.remove(name, client)
        actions: list[Action] = []
        for spi, found in list(server.open.items()):
            if client in found.candidates:
                del found.candidates[client]
                found.shared = found.shared and len(found.candidates) > 1
                if not found.candidates:
                    del server.open[spi]
                    actions.append(Forget(server=name, spi=spi))
                else:
                    actions.append(self._fan(name, spi, found))
        for spi in [spi for spi, decision in server.settled.items() if decision.owner == client]:
            del server.settled[spi]
        if not server.pairs:
            del self.servers[name]
        return actions
