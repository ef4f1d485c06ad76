# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions that may have been about somebody of whom nothing told: clients with manual keys (rule 6)."""

from __future__ import annotations

from .candidates import PROTECTED, STARVES
from .evidence import FAN

WITHIN = 10.0
"""Seconds in which timing must speak for a newcomer."""
NEWEST = 4
"""Decisions that one newcomer can open: whoever makes up ESP must not send everybody's packets the long way."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .evidence import Open, Server


def came_before(server: Server, client: bytes, now: float) -> list[bytes]:
    """SPIs that may be this client's, which has just begun to use an outbound SPI: they were given to another for its need alone.

    The newest that came within a minute, if the server has never answered it; else within seconds, if that SPI is a new one.
    """
    if not _may_be_late(server, client):
        return []
    since = now - (STARVES if server.pairs[client].heard else PROTECTED)
    return [spi for spi, decision in server.settled.items() if decision.first > since and not (
        decision.challenged or decision.proven or decision.owner == client)][-NEWEST:]


def may_join(found: Open, server: Server, client: bytes, now: float) -> bool:
    """Where nobody is known to need this SPI, or another newcomer has just opened it: may it be this client's, which only now begins?

    Of newcomers no more than the kernel can copy to: who makes up ESP from many addresses must not send packets by way of us.
    """
    return client not in found.candidates and (found.loose or (
        found.kept and len(found.candidates) < FAN and now - found.first < STARVES and _may_be_late(server, client)))


def _may_be_late(server: Server, client: bytes) -> bool:
    """May the server have sent this client something before it has begun to use its outbound SPI?"""
    pair = server.pairs[client]
    return not (pair.ike or pair.entitled or (pair.heard and not pair.outbound))


def overstayed(found: Open, now: float) -> list[bytes]:
    """Newcomers that are no candidates any more, as timing has not spoken for them: who makes up ESP gets no copies for longer."""
    if not found.kept or found.shared or now - found.first < WITHIN:
        return []
    return [client for client in found.candidates if client not in (found.incumbent, found.proven)]
