# SPDX-License-Identifier: GPL-2.0-or-later
"""Attempts of the last minutes that conntrack has forgotten: it keeps an unanswered flow for a minute or two."""
from __future__ import annotations

from ..doctor.facts import Attempt
from ..wire.conntrack import ESP, TCP, UDP, Flow, Tuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..daemon.sessions_feed import SessionsFeed
    from ..sessions.table import Session

RECENT = 600
"""Seconds for which a session that has ended still counts."""
OF_ITSELF = ("timeout", "client gone")
"""Reasons for an end that neither the user nor the firewall caused."""


def ike1(feed: SessionsFeed) -> frozenset[tuple[bytes, bytes]]:
    """(client, server) that speak IKEv1."""
    return frozenset((key[1], key[2]) for key, session in feed.sessions.live.items() if session.ikes == "IKEv1")


def attempts(feed: SessionsFeed, now: int) -> tuple[Attempt, ...]:
    """Calls that were answered by a reset."""
    return tuple(Attempt(protocol=protocol, client=client, server=server, proto=TCP, port=port, ago=max(0, now - int(when)))
                 for when, protocol, client, server, port in feed.attempts if now - when < RECENT)


def refused(feed: SessionsFeed) -> tuple[tuple[str, bytes], ...]:
    """(protocol, client) of the attempts that we refused lately."""
    return tuple((one.protocol, one.client) for one in feed.sessions.refused)


def unanswered(feed: SessionsFeed, now: int) -> tuple[tuple[str, Flow], ...]:
    """Sessions that ended without a packet from the server, as flows; not those whose client and server have talked since."""
    better = {session.key for session in feed.sessions.live.values() if session.counts()[2]}
    refused = {(attempt.protocol, attempt.client, attempt.server) for attempt in attempts(feed, now)}
    found = []
    for session, when, reason in reversed(feed.sessions.ended):
        if session.counts()[2]:
            better.add(session.key)
        counts = now - when < RECENT and reason in OF_ITSELF and session.key not in refused and session.key not in better
        flow = _flow(session) if counts else None
        if flow is not None:
            found.append((session.key[0], flow))
    return tuple(found)


def _flow(session: Session) -> Flow | None:
    sent, octets, came, _ = session.counts()
    if came or not sent:
        return None
    _, client, server = session.key
    proto = ESP if session.variant == "ESP" else TCP if session.variant in ("PPTP", "NAT-T/TCP") else UDP
    port = session.ports[1] if len(session.ports) > 1 and proto != ESP else None
    if proto != ESP and port is None:
        return None
    return Flow(2, Tuple(client, server, proto, port, port), packets=(sent, 0), octets=(octets, 0))
