# SPDX-License-Identifier: GPL-2.0-or-later
"""What the other open SPIs of a server say of who owns one: each client owns as many as it needs."""

from __future__ import annotations

from .evidence import MANY
from .tally import FAR_PAST, HINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .evidence import Open, Server


def sated(server: Server, waiting: set[bytes], likely: bool = False) -> set[bytes]:
    """Rule 2: the clients of each group that needs just as many SPIs as are open among its members, and those whose own are proven.

    None of their needs may be younger than the last of these SPIs, or it is by accident that there are just as many. More open ones
    than needs means that a need has been forgotten: then nothing is concluded. waiting: who needs one besides those that we know
    of, as the kernel says. likely: see `Pair.latest`.
    """
    group: dict[bytes, bytes] = {}

    def root(client: bytes) -> bytes:
        while group.setdefault(client, client) != client:
            group[client] = client = group[group[client]]
        return client

    among = [found for found in server.open.values() if found.plain() and not found.unsure]
    for found in among:
        first = root(next(iter(found.candidates)))
        for client in found.candidates:
            group[root(client)] = first
    balance: dict[bytes, int] = {}
    youngest: dict[bytes, float] = {}
    for found in among:
        name = root(next(iter(found.candidates)))
        balance[name], youngest[name] = balance.get(name, 0) + 1, max(youngest.get(name, FAR_PAST), found.first)
    late: set[bytes] = set()
    for client in list(group):
        name = root(client)
        pair = server.pairs[client]
        balance[name] -= pair.needs() or client in waiting or (likely and pair.since > pair.answered)
        balance[name] -= len(pair.under_way(youngest[name]))
        if pair.latest(likely) > youngest[name]:
            late.add(name)
    sated = {client for client in group if balance[root(client)] == 0 and root(client) not in late}
    proven: dict[bytes, list[float]] = {}
    for found in among:
        if found.proven in found.candidates and found.proven is not None:
            proven.setdefault(found.proven, []).append(found.first)
    for client, opened in proven.items():
        if len(opened) >= server.pairs[client].needs() and server.pairs[client].latest() <= max(opened):
            sated.add(client)
    return sated


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
    if not 0 < len(others) < MANY or server.pairs[best].needs() != 1 or best not in sated(server, set(), likely=True) or any(
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
