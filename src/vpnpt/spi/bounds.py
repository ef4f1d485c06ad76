# SPDX-License-Identifier: GPL-2.0-or-later
"""How much is remembered of whom (rule 8): a scan, or a host that makes up others, costs nobody else his memory."""

from __future__ import annotations

from .messages import Forget
from .tally import FAR_PAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .evidence import Server
    from .messages import Action, Paired

PAIRS_CAP = 8192
"""Pairs in all."""
CLIENT_CAP = 64
"""Servers of one client."""
OPEN_CAP, OPEN_ALL_CAP = 1024, 4096
"""Open SPIs of one server, and of all together."""
FOLLOWED_CAP = 64
"""Open SPIs in all beyond which nobody looks who confirms one that is opened then: with 16 candidates each look remembers up to 200 KB."""
ALONE_CAP = 1024
"""Servers with one client, which is all that is known of them. The kernel knows them, too."""
SETTLED_CAP = 1024
"""Decisions of one server that may have to be revised."""
IDLE = 3600.0
"""Seconds without a packet after which an open SPI is forgotten."""
GONE = 600.0
"""Seconds: a need that is younger may be of a pair that the kernel has not registered yet."""
DOUBT_RENEWED = 1800.0
"""Seconds after which the kernel is told again that it may not decide alone; it forgets that after an hour."""
AT_ONCE = 64
"""Pairs that go at once when there are too many: looking for them takes time."""


class Known:
    """The pairs that the engine has, by client; and the lone clients of servers of which nothing else is known."""

    def __init__(self) -> None:
        self._servers: dict[bytes, dict[bytes, None]] = {}
        self._alone: dict[bytes, tuple[bytes, float]] = {}
        self._count = 0
        self._crowded: set[bytes] = set()

    def is_alone(self, event: Paired, now: float) -> bool:
        """Is this the only client of the server, as far as we know? Then that is remembered, and when it began to speak, if it did."""
        client, spoke = self._alone.get(event.server, (event.client, FAR_PAST))
        if client != event.client:
            return False
        self._alone[event.server] = client, now if event.speaks else spoke
        while len(self._alone) > ALONE_CAP:
            del self._alone[next(iter(self._alone))]
        return True

    def first(self, server: bytes) -> tuple[tuple[bytes, float], ...]:
        """The client that was alone with the server until now, if known, and when it spoke: it is remembered elsewhere from now on."""
        known = self._alone.pop(server, None)
        return () if known is None else (known,)

    def add(self, server: bytes, client: bytes) -> None:
        """A pair that was not known."""
        own = self._servers.setdefault(client, {})
        own[server] = None
        self._count += 1
        if len(own) > CLIENT_CAP:
            self._crowded.add(client)

    def remove(self, server: bytes, client: bytes) -> None:
        """The pair is forgotten."""
        own = self._servers.get(client, {})
        if server in own:
            del own[server]
            self._count -= 1
            if not own:
                del self._servers[client]

    def beyond(self, servers: dict[bytes, Server]) -> list[tuple[bytes, bytes]]:
        """(server, client) of what is to be forgotten: of a client with too many, or of those with the most, if there are too many in all.

        What was never answered goes first, then what has been quiet for longest. The newest stays.
        """
        gone = []
        for client in self._crowded:
            own = list(self._servers.get(client, ()))
            if len(own) > CLIENT_CAP:
                gone += [(server, client) for server in _idlest(servers, client, own[:-1])[:len(own) - CLIENT_CAP]]
        self._crowded.clear()
        if not gone and self._count > PAIRS_CAP:
            busiest = sorted(self._servers, key=lambda client: -len(self._servers[client]))
            for client in busiest[:AT_ONCE]:
                own = list(self._servers[client])
                gone += [(server, client) for server in _idlest(servers, client, own)[:max(1, len(own) // 2)]]
        return gone


def _idlest(servers: dict[bytes, Server], client: bytes, own: Iterable[bytes]) -> list[bytes]:
    def rank(server: bytes) -> tuple[bool, float]:
        pair = servers[server].pairs[client]
        return pair.answered > 0, max(pair.answered, pair.latest())
    return sorted(own, key=rank)


def forgotten(servers: dict[bytes, Server], alive: Collection[tuple[bytes, bytes]], now: float) -> list[tuple[bytes, bytes]]:
    """(server, client) of the pairs that are not alive, and of which nothing has been heard for long."""
    return [(name, client) for name, server in servers.items() for client, pair in server.pairs.items()
            if (client, name) not in alive and max(pair.latest(), pair.answered) < now - GONE]


def forget_open(name: bytes, server: Server, servers: dict[bytes, Server]) -> list[Action]:
    """An SPI of this server was opened: where there are too many, one is forgotten, of the server that has the most."""
    actions: list[Action] = []
    count = sum(len(other.open) for other in servers.values())
    next(reversed(server.open.values())).followed = count <= FOLLOWED_CAP
    while len(server.open) > OPEN_CAP:
        actions.append(_forget_idlest(name, server))
    if count - len(actions) > OPEN_ALL_CAP:
        most = max(servers, key=lambda other: len(servers[other].open))
        actions.append(_forget_idlest(most, servers[most]))
    return actions


def _forget_idlest(name: bytes, server: Server) -> Action:
    """Made-up SPIs are seen once: what is in use stays."""
    idlest = min(server.open, key=lambda spi: server.open[spi].last)
    del server.open[idlest]
    return Forget(server=name, spi=idlest)
