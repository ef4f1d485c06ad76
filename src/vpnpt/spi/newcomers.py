# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions that may have been about somebody of whom nothing told: clients with manual keys (rule 6)."""

from __future__ import annotations

from .candidates import PROTECTED, STARVES

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
    pair = server.pairs[client]
    if pair.ike or pair.entitled:
        return []
    if pair.heard and not pair.outbound:
        return []
    since = now - (STARVES if pair.heard else PROTECTED)
    return [spi for spi, decision in server.settled.items() if decision.first > since and not (
        decision.challenged or decision.proven or decision.owner == client)][-NEWEST:]


def overstayed(found: Open, now: float) -> list[bytes]:
    """Newcomers that are no candidates any more, as timing has not spoken for them: who makes up ESP gets no copies for longer."""
    if not found.kept or now - found.first < WITHIN:
        return []
    return [client for client in found.candidates if client not in (found.incumbent, found.proven)]
