# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions that may have been about somebody of whom nothing told: clients with manual keys (rule 6)."""

from __future__ import annotations

from .candidates import STARVES

WITHIN = 10.0
"""Seconds in which timing must speak for a newcomer."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .evidence import Open, Server


def came_before(server: Server, client: bytes, now: float) -> list[bytes]:
    """SPIs that may be this client's, which has just begun to use an outbound SPI: they were given to another for its need alone.

    All, if the server has never answered it; else those that came not long before, if that SPI is a new one.
    """
    pair = server.pairs[client]
    if pair.ike or pair.entitled:
        return []
    return [spi for spi, decision in server.settled.items() if not (decision.challenged or decision.proven or decision.owner == client)
            and (not pair.heard or (pair.outbound and now - decision.first < STARVES))]


def overstayed(found: Open, now: float) -> list[bytes]:
    """Newcomers that are no candidates any more, as timing has not spoken for them: who makes up ESP gets no copies for longer."""
    if not found.kept or now - found.first < WITHIN:
        return []
    return [client for client in found.candidates if client not in (found.incumbent, found.proven)]
