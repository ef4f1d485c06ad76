# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions that may have been about somebody of whom nothing told: clients with manual keys (rule 6)."""

from __future__ import annotations

from .candidates import STARVES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .evidence import Server


def came_before(server: Server, client: bytes, now: float) -> list[bytes]:
    """SPIs that may be this client's, which has just begun to use an outbound SPI: they were given to another for its need alone.

    All, if the server has never answered it; else those that came not long before.
    """
    pair = server.pairs[client]
    if pair.ike or pair.entitled:
        return []
    return [spi for spi, decision in server.settled.items() if not (decision.challenged or decision.proven or decision.owner == client)
            and (not pair.heard or now - decision.first < STARVES)]
