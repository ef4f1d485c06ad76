# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may own an inbound SPI that is first seen now (rules 1 and 2), and whether the kernel knows enough to say so alone."""

from __future__ import annotations

from .assignment import sated
from .evidence import FAN, FOLLOWS
from .tally import ASKED, FAR_PAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .evidence import Open, Server

SURELY = 0.8
"""Of `pending_timeout`, the part for which the kernel surely knows who waits."""
LATE = 2.0
"""Seconds beyond `pending_timeout` for which the kernel may still call a client waiting that has its SPI."""

PROTECTED = 60.0
"""Seconds for which nobody that the server has never answered ends the candidacy of one that it has."""
UNSURE = 60.0
"""Seconds after lost notices for which it is not known who needs an SPI."""
IN_ROWS = 32
"""Questions that a row of packets is taken to have answered, at most: another's row must not hide for long that a client starves."""
STARVES = 5.0
"""Seconds without an answer, while it sends, after which a client starves."""


def candidates_of(server: Server, waiting: Iterable[bytes], now: float, pending: float, *, unsure: bool = False) -> tuple[bytes, ...]:
    """The clients that may own it, the likeliest first; empty if nobody is known to need one.

    waiting: clients that wait as the kernel says. pending: seconds for which the kernel remembers that. unsure: notices were lost (13).
    """
    for pair in server.pairs.values():
        pair.expire(now)
    unexplained = {client for client in waiting if _unexplained(server, client, now, pending)}
    for client in unexplained:
        server.pairs[client].waits_by(now)
    needy = {client for client, pair in server.pairs.items() if pair.needs() or client in unexplained} - sated(server, unexplained)
    needy.update(client for client, pair in server.pairs.items() if pair.under_way(now))
    if needy:
        needy.update(client for client, pair in server.pairs.items() if pair.follows)
        # Of the others, each may have what it waits for: the server was the first to use it.
        surely = [pair for client in needy if (pair := server.pairs[client]).needs() or pair.requests or pair.exchanges]
        if not any(pair.heard for pair in surely):
            needy.update(listeners(server))
    if unsure and len(server.pairs) <= FAN:
        needy.update(client for client, pair in server.pairs.items() if pair.heard)
    return by_likelihood(server, needy, now)


def listeners(server: Server) -> set[bytes]:
    """Rule 9: clients with manual keys that the server has answered before: nothing need tell that it begins to use new keys."""
    return {client for client, pair in server.pairs.items() if pair.heard and not pair.ike}


def protected(server: Server, found: Open, best: bytes, now: float) -> set[bytes]:
    """Whose candidacy timing can't end, though it speaks for `best`: whoever was given it for a need (rule 6); where the server has never
    answered the best one, those that it has, and that began to need an SPI not long before it came, or have had it (rule 9)."""
    kept = {found.incumbent} if found.kept and found.incumbent is not None else set()
    if server.pairs[best].heard or now - found.first > PROTECTED:
        return kept
    return kept | {client for client in found.candidates if server.pairs[client].heard and (found.unsure or client == found.incumbent or (
        server.pairs[client].needs() and server.pairs[client].latest() > found.first - FOLLOWS))}


def chatterers(server: Server, found: Open, best: bytes) -> set[bytes]:
    """Rule 9: who was never answered by the server, beside one that was, and had copies for long enough to show that one is its own."""
    known = server.pairs.get(best)
    if known is None or not known.heard or found.last - found.first < STARVES:
        return set()
    return {client for client in found.first_candidates if client not in server.pairs or not server.pairs[client].heard}


def by_likelihood(server: Server, clients: Collection[bytes], now: float) -> tuple[bytes, ...]:
    """Who asked about a round trip ago first, then by the last sign of a need."""
    def rank(client: bytes) -> tuple[bool, float, bytes]:
        pair = server.pairs[client]
        early, late = server.window(now)
        last = max([FAR_PAST, *(end for _, end in pair.spurts[-1:]), *(when for when, _ in pair.entitled.values())])
        return not pair.asked(early, late), -last, client
    return tuple(sorted(clients, key=rank))


def to_be_asked(server: Server, now: float, pending: float) -> tuple[bytes, ...]:
    """The clients of which it matters whether the kernel has them waiting: nothing that we know would explain it."""
    for pair in server.pairs.values():
        pair.expire(now)
    return tuple(client for client in server.pairs if _unexplained(server, client, now, pending))


def _unexplained(server: Server, client: bytes, now: float, pending: float) -> bool:
    return server.pairs[client].unexplained(now, pending + LATE)


def doubts(server: Server, now: float, pending: float) -> bool:
    """May the kernel not decide alone, because a client needs an SPI of which it no longer knows?

    Nor where the server is the first to use new keys: who then asks may have its SPI already, and the next one be another client's.
    """
    forgotten = now - SURELY * pending
    return len(server.pairs) > 1 and (
        any(pair.follows or (pair.needs() and pair.latest() < forgotten) for pair in server.pairs.values())
        or (any(found.loose for found in server.open.values()) and bool(listeners(server))))


def lost(server: Server, client: bytes, since: float) -> list[tuple[bytes, float]]:
    """Rule 6: decisions (SPI, when it was first seen) that this client lost and that may have been wrong, if it starves since then.

    None where an open SPI could be its own, or where it starved before.
    """
    if any(client in found.candidates and (
            (tally := found.tally.get(client)) is None or tally.unanswered < ASKED + min(tally.in_rows, IN_ROWS))
           for found in server.open.values()):
        return []
    return [(spi, decision.first) for spi, decision in server.settled.items()
            if client in decision.losers and not decision.challenged and abs(decision.first - since) < STARVES]
