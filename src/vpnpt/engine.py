"""Who owns an inbound SPI of a server with several clients. Pure: events in, actions out, no clock of its own.

The rules
 1. A server sends with a new SPI only after an exchange that made it: an IKE child exchange of which both directions have passed
    entitles its client to one new SPI; an outbound SPI without an answer shows a client that waits for one (manual keys too).
 2. The candidates for an SPI are the clients that need one when it is first seen. Who begins to need one later is none: the SPI
    was there before. Where nobody is known to need one, every client of the server is a candidate.
 3. One candidate: it is the owner. Several: all get every packet, until only one is left. Nothing is lost meanwhile, and only
    the holder of the keys can use what it gets.
 4. A client that got its SPI needs no other, and leaves the other SPIs' candidates: that may leave one there (elimination).
 5. Timing: a lone request of one candidate, answered after the server's round-trip time by a lone packet with the SPI, while no other
    candidate had a request out, is a point for it. PROOF points and none for another decide.
 6. A decision can be revised: if another candidate of then starves (sends on, long unanswered, and no SPI is open that could be its own),
    the SPI is open again for REOPENED seconds, once.
 7. Two clients may choose the same SPI. A known SPI that begins anew with sequence number 1 while others wait is shared by
    them for good.
 8. What is remembered is bounded: per client and server so many outbound SPIs, per server so many open ones; beyond, the oldest go.
"""

from __future__ import annotations

from .actions import Assign, Deliver, Fan, Forget, Say
from .events import CookieShared, Exchange, Fanned, Paired, SpiOut, SpiShared, SpiTaken, Tick, Unpaired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .actions import Action
    from .events import Event

NEED = 30.0
"""Seconds for which a finished exchange entitles its client to a new SPI."""
HALF_OPEN = 5.0
"""Seconds for which an exchange that only one direction has been seen of is taken to be under way."""
CREDIT = 1.0
"""Seconds for which notices about an outbound SPI that has just been answered may still be on their way."""
OUT_LIFE = 60.0
"""Seconds after which an outbound SPI that is not used again counts no more."""
IDLE = 3600.0
"""Seconds without a packet after which an open SPI is forgotten."""
STARVES = 5.0
"""Seconds without an answer, while it sends, after which a client starves."""
REOPENED = 60.0
PROOF = 5
"""Points that decide by timing."""
FAN = 8
"""Candidates that the kernel can copy to."""
OUTBOUND_CAP, OPEN_CAP, SETTLED_CAP, EXCHANGE_CAP = 64, 1024, 4096, 64


class Pair:
    """One client of one server: what it needs."""

    def __init__(self) -> None:
        self.exchanges: dict[bytes, tuple[float, set[bool]]] = {}
        self.entitled: dict[bytes, float] = {}
        self.outbound: dict[bytes, tuple[float, float]] = {}
        self.credited: dict[bytes, float] = {}
        self.requests: list[float] = []
        self.answered = -1e9

    def expire(self, now: float) -> None:
        """Drops what is too old to count."""
        for name in [name for name, when in self.entitled.items() if now - when > NEED]:
            del self.entitled[name]
        for spi in [spi for spi, (_, last) in self.outbound.items() if now - last > OUT_LIFE]:
            del self.outbound[spi]

    def needs(self) -> int:
        """How many new inbound SPIs this client may be waiting for: an exchange, and an outbound SPI seen after it, are about one."""
        if not self.entitled:
            return len(self.outbound)
        since = min(self.entitled.values())
        older = sum(first < since for first, _ in self.outbound.values())
        return older + max(len(self.entitled), len(self.outbound) - older)

    def in_exchange(self, now: float) -> bool:
        """Is an exchange under way of which only one direction has passed: nothing new can come of it yet?"""
        return any(len(seen) == 1 and now - began < HALF_OPEN for began, seen in self.exchanges.values())

    def spend(self, now: float) -> None:
        """An SPI was given to this client: the oldest need is met."""
        self.answered = now
        if self.entitled:
            del self.entitled[next(iter(self.entitled))]
        if self.outbound:
            spi = next(iter(self.outbound))
            del self.outbound[spi]
            self.credited[spi] = now
            _cap(self.credited, OUTBOUND_CAP)


class Open:
    """An inbound SPI whose owner is not known.

    shared: several own it. loose: nobody is known to need it, so that elimination tells nothing. until, was: open again for a while,
    and whose it was before.
    """

    def __init__(self, candidates: tuple[bytes, ...], now: float) -> None:
        self.candidates = candidates
        self.points: dict[bytes, int] = {}
        self.first = self.last = self.previous = now
        self.until = 0.0
        self.shared = False
        self.loose = False
        self.was: bytes | None = None


class Settled:
    """A decision that may have to be revised: owner, and who else it could have been."""

    def __init__(self, owner: bytes, losers: tuple[bytes, ...], when: float, *, reopened: bool) -> None:
        self.owner, self.losers, self.when, self.reopened = owner, losers, when, reopened


class Server:
    """Everything about one server."""

    def __init__(self) -> None:
        self.pairs: dict[bytes, Pair] = {}
        self.open: dict[bytes, Open] = {}
        self.settled: dict[bytes, Settled] = {}
        self.round_trip = 0.0

    def sample(self, seconds: float) -> None:
        """A time from question to answer: the shortest counts, and older ones count less and less."""
        self.round_trip = min(seconds, self.round_trip * 1.1) if self.round_trip else seconds


class Engine:
    """All state in one place. `handle` takes an event and the time, and says what to do; `next_deadline` when to send a Tick."""

    def __init__(self) -> None:
        self.servers: dict[bytes, Server] = {}

    def handle(self, event: Event, now: float) -> list[Action]:
        """One event in, what to do out. Never raises for anything that came from the wire."""
        if isinstance(event, Tick):
            return self._tick(now)
        server = self.servers.setdefault(event.server, Server())
        if isinstance(event, Paired):
            server.pairs.setdefault(event.client, Pair())
            return []
        if isinstance(event, Exchange):
            return self._exchange(server, event, now)
        if isinstance(event, SpiOut):
            return self._outbound(server, event, now)
        if isinstance(event, SpiTaken):
            server.settled[event.spi] = Settled(event.client, (), now, reopened=True)
            _cap(server.settled, SETTLED_CAP)
            return self._given(event.server, server, event.client, now)
        if isinstance(event, Fanned):
            return self._fanned(server, event, now)
        if isinstance(event, SpiShared):
            return self._shared(server, event, now)
        if isinstance(event, CookieShared):
            return _deliver(event.packet, server.pairs, event.copied)
        assert isinstance(event, Unpaired)
        return self._unpaired(event.server, server, event.client)

    def next_deadline(self) -> float | None:
        """When a Tick is due, None if nothing is open: at rest the engine needs no time at all."""
        return min((found.until or found.last + IDLE for server in self.servers.values() for found in server.open.values()), default=None)

    # needs

    def _exchange(self, server: Server, event: Exchange, now: float) -> list[Action]:
        pair = server.pairs.setdefault(event.client, Pair())
        began, seen = pair.exchanges.setdefault(event.message, (now, set()))
        if len(seen) == 1 and not event.outbound and event.outbound not in seen:
            server.sample(now - began)
        seen.add(event.outbound)
        if len(seen) == 2:
            # One IKE SA makes one child with IKE_AUTH, however many messages that takes.
            pair.entitled[event.message[:8] if event.auth else event.message] = now
        _cap(pair.exchanges, EXCHANGE_CAP)
        _cap(pair.entitled, EXCHANGE_CAP)
        return []

    def _outbound(self, server: Server, event: SpiOut, now: float) -> list[Action]:
        pair = server.pairs.setdefault(event.client, Pair())
        pair.expire(now)
        pair.requests.append(now)
        del pair.requests[:-16]
        if now - pair.credited.get(event.spi, -CREDIT) < CREDIT:
            return []
        first, _ = pair.outbound.get(event.spi, (now, now))
        pair.outbound[event.spi] = (first, now)
        _cap(pair.outbound, OUTBOUND_CAP)
        if now - first >= STARVES and now - pair.answered >= STARVES:
            return self._starves(event.server, server, event.client, now)
        return []

    def _given(self, name: bytes, server: Server, client: bytes, now: float) -> list[Action]:
        """This client got an SPI: it may need no other and leave the candidates of others, and so on (rule 4)."""
        actions: list[Action] = []
        owners = [client]
        while owners:
            owner = owners.pop()
            pair = server.pairs.setdefault(owner, Pair())
            pair.spend(now)
            if not pair.needs():
                actions += self._eliminate(name, server, owner, owners, now)
        return actions

    # open SPIs

    def _shared(self, server: Server, event: SpiShared, now: float) -> list[Action]:
        decision = server.settled.get(event.spi)
        if decision is not None and not event.same:
            # Sent before the kernel had the decision, or long ago and forgotten there.
            return [*_deliver(event.packet, [decision.owner], event.copied),
                    Assign(server=event.server, spi=event.spi, client=decision.owner, credit=False)]
        known = server.open.get(event.spi)
        if known is None:
            return self._opened(server, event, now)
        self._judge_timing(server, known, now)
        known.last = now
        decided = self._decided(event.server, server, event.spi, known, now)
        return _deliver(event.packet, known.candidates, event.copied) + decided

    def _opened(self, server: Server, event: SpiShared, now: float) -> list[Action]:
        for pair in server.pairs.values():
            pair.expire(now)
        for client in (*event.waiting, *event.copied):
            server.pairs.setdefault(client, Pair())
        if event.same and event.owner is not None:
            return self._same_spi(server, event, now)
        candidates = self._candidates(server, event.waiting, now)
        found = Open(candidates or tuple(sorted(server.pairs)), now)
        found.loose, candidates = not candidates, found.candidates
        server.open[event.spi] = found
        actions = _deliver(event.packet, candidates, event.copied)
        if len(server.open) > OPEN_CAP:
            oldest = next(iter(server.open))
            del server.open[oldest]
            actions.append(Forget(server=event.server, spi=oldest))
        self._judge_timing(server, found, now)
        decided = self._decided(event.server, server, event.spi, found, now)
        if not decided and len(candidates) <= FAN:
            decided = [Fan(server=event.server, spi=event.spi, clients=candidates)]
        return actions + decided

    def _candidates(self, server: Server, waiting: Iterable[bytes], now: float) -> tuple[bytes, ...]:
        """Who may own an SPI that is first seen now (rules 1 and 2); empty if nobody is known to need one."""
        needy = {client for client, pair in server.pairs.items() if pair.needs()}
        needy.update(client for client in waiting if not server.pairs[client].in_exchange(now))
        return tuple(sorted(needy))

    def _same_spi(self, server: Server, event: SpiShared, now: float) -> list[Action]:
        assert event.owner is not None
        others = [client for client in self._candidates(server, event.waiting, now) if client != event.owner]
        if not others:
            return [Assign(server=event.server, spi=event.spi, client=event.owner, credit=False)]
        clients = tuple(sorted({event.owner, *others}))[:FAN]
        found = Open(clients, now)
        found.shared = True
        server.open[event.spi] = found
        server.settled.pop(event.spi, None)
        say = Say(level="warning", code="SAME-SPI", text=f"{len(clients)} clients chose the same SPI with one server: all get its packets")
        return [*_deliver(event.packet, clients, event.copied), Fan(server=event.server, spi=event.spi, clients=clients), say]

    def _fanned(self, server: Server, event: Fanned, now: float) -> list[Action]:
        for client in event.clients:
            server.pairs.setdefault(client, Pair())
        found = Open(tuple(sorted(event.clients)), now)
        found.shared = True
        server.open[event.spi] = found
        return []

    def _owner(self, found: Open) -> bytes | None:
        """The decision about an open SPI, if there is enough to make it (rules 3 and 5)."""
        if found.shared:
            return None
        if len(found.candidates) == 1:
            return found.candidates[0]
        scored = [client for client in found.candidates if found.points.get(client)]
        return scored[0] if len(scored) == 1 and found.points[scored[0]] >= PROOF else None

    def _decided(self, name: bytes, server: Server, spi: bytes, found: Open, now: float) -> list[Action]:
        owner = self._owner(found)
        if owner is None:
            return []
        return [self._settle(name, server, spi, found, owner, now), *self._given(name, server, owner, now)]

    def _settle(self, name: bytes, server: Server, spi: bytes, found: Open, owner: bytes, now: float) -> Action:
        del server.open[spi]
        losers = tuple(client for client in found.candidates if client != owner)
        server.settled[spi] = Settled(owner, losers, now, reopened=bool(found.until) or not losers)
        _cap(server.settled, SETTLED_CAP)
        return Assign(server=name, spi=spi, client=owner)

    def _eliminate(self, name: bytes, server: Server, client: bytes, owners: list[bytes], now: float) -> list[Action]:
        """`client` needs nothing more: out of all candidates; where one is left, that is an owner too, added to `owners`."""
        actions: list[Action] = []
        for spi, found in list(server.open.items()):
            if found.shared or found.loose or client not in found.candidates or len(found.candidates) < 2:
                continue
            found.candidates = tuple(other for other in found.candidates if other != client)
            owner = self._owner(found)
            if owner is not None:
                actions.append(self._settle(name, server, spi, found, owner, now))
                owners.append(owner)
            elif len(found.candidates) <= FAN:
                actions.append(Fan(server=name, spi=spi, clients=found.candidates))
        return actions

    # evidence

    def _judge_timing(self, server: Server, found: Open, now: float) -> None:
        """Rule 5: does this packet, alone on its SPI, answer the lone request of exactly one candidate?"""
        lone, found.previous = now - found.previous > server.round_trip or found.first == now, now
        if not server.round_trip or not lone:
            return
        early, late = now - server.round_trip * 2 - 0.005, now - server.round_trip * 0.9 + 0.001
        asked = []
        for client in found.candidates:
            out = [when for when in server.pairs[client].requests if when > early - server.round_trip and when <= late]
            if out:
                asked.append((client, len(out) == 1 and out[0] >= early))
        if len(asked) == 1 and asked[0][1]:
            client = asked[0][0]
            found.points[client] = found.points.get(client, 0) + 1

    def _starves(self, name: bytes, server: Server, client: bytes, now: float) -> list[Action]:
        """Rule 6: nothing open could be this client's; a decision that it lost may have been wrong."""
        if any(client in found.candidates for found in server.open.values()):
            return []
        actions: list[Action] = []
        for spi, decision in list(server.settled.items()):
            if client in decision.losers and not decision.reopened:
                del server.settled[spi]
                found = Open(tuple(sorted({decision.owner, client})), now)
                found.until, found.was = now + REOPENED, decision.owner
                server.open[spi] = found
                actions.append(Fan(server=name, spi=spi, clients=found.candidates))
        return actions

    # time and change

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for name, server in list(self.servers.items()):
            for spi, found in list(server.open.items()):
                if found.until and now >= found.until and found.was is not None and not found.shared:
                    actions.append(self._settle(name, server, spi, found, found.was, now))
                elif now - found.last >= IDLE:
                    del server.open[spi]
                    actions.append(Forget(server=name, spi=spi))
        return actions

    def _unpaired(self, name: bytes, server: Server, client: bytes) -> list[Action]:
        server.pairs.pop(client, None)
        actions: list[Action] = []
        for spi, found in list(server.open.items()):
            if client in found.candidates:
                found.candidates = tuple(other for other in found.candidates if other != client)
                found.shared = found.shared and len(found.candidates) > 1
                if not found.candidates:
                    del server.open[spi]
                    actions.append(Forget(server=name, spi=spi))
                elif len(found.candidates) <= FAN:
                    actions.append(Fan(server=name, spi=spi, clients=found.candidates))
        for spi in [spi for spi, decision in server.settled.items() if decision.owner == client]:
            del server.settled[spi]
        if not server.pairs:
            del self.servers[name]
        return actions


def _deliver(packet: bytes, clients: Iterable[bytes], copied: frozenset[bytes]) -> list[Action]:
    rest = tuple(client for client in clients if client not in copied)
    return [Deliver(packet=packet, clients=rest)] if packet and rest else []


def _cap(remembered: dict[bytes, Any], limit: int) -> None:
    """Rule 8: the oldest go."""
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
