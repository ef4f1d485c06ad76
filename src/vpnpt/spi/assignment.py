# SPDX-License-Identifier: GPL-2.0-or-later
"""What the other open SPIs of a server say of who owns one: each client owns as many as it needs."""

from __future__ import annotations

from .evidence import MANY
from .tally import HINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .evidence import Open, Server


def claims(server: Server, client: bytes) -> int:
    """For how many open SPIs does something speak for this client, and not much more for another one?

    Who asks another client gets that one's answer, too: what comes out there looks like an answer as well.
    """
    count = 0
    for found in server.open.values():
        speaks = {name: tally.evidence() for name, tally in found.tally.items()}
        count += client in speaks and speaks[client] > max(HINT, max(speaks.values()) - HINT)
    return count


def jointly(server: Server, found: Open, best: bytes, says: Callable[[Open, bytes], float]) -> float:
    """What the other open SPIs add to what speaks for `best`, a natural logarithm (rule 14); 0 if it is not known where else it would be.

    says: what speaks for a client there. If this SPI were another client's, one of those were its own, and not that of whom most speaks for
    there: so much less likely is it.
    """
    others = [its for its in server.open.values() if its is not found and best in its.candidates]
    if not 0 < len(others) < MANY or server.pairs[best].needs() != 1 or best not in server.sated(set(), likely=True) or any(
            its.unsure or not its.plain() for its in (found, *others)):
        return 0.0
    owners, least = {best}, float("inf")
    for its in others:
        scores = {client: says(its, client) for client in its.candidates if client in its.tally}
        owner = max(scores, key=scores.__getitem__, default=best)
        if owner in owners or best not in scores:
            return 0.0
        owners.add(owner)
        least = min(least, scores[owner] - scores[best])
    return least
