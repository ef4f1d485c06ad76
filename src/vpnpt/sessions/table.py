# SPDX-License-Identifier: GPL-2.0-or-later
"""The VPN sessions that cross the router. Pure: flows in, changes out, no clock of its own (seconds of the epoch come in as `now`).

The rules
 1. A session is all that one client does with one server by one protocol: IKE, plain ESP and NAT-T together, a PPTP control
    connection and its calls, every tunnel of an L2TP pair. It begins with its first flow in conntrack and ends with its last one.
 2. The client is the LAN's end, whoever began. Out is what it sends.
 3. blocked      the router refuses it: attempts are counted, and conntrack has no flow of it.
    failing      the client sent at least twice, and nothing came back for FAILS seconds since the session began; or answers came
                 earlier, but at least SILENT_PACKETS packets in SILENT seconds had none (counters are read only when somebody asks).
    negotiating  both ends talk, or begin to, but data does not flow yet: for IPsec no ESP, AH or NAT-T was answered, for PPTP no GRE;
                 where control and data share a flow (UP_AFTER), fewer packets passed than the set-up takes.
    rekeying     IPsec that was up, and within the last REKEY seconds made new SAs or waits for a new SPI that no client has yet.
    idle         it was up, and nothing passed for IDLE seconds.
    up           everything else.
 4. A session that has ended is remembered with the reason, HISTORY of them: killed (by `kill`), blocked (refused from then on), closed (its
    TCP connection or its tunnel was ended by either end), client gone (timed out, and the client no longer answers ARP or ND), deleted (by
    another program or the firewall), timeout (its conntrack entries expired: nothing passed).
 5. At most CAP sessions are kept; beyond, a new one is left out; but an answered one takes the place of the
    oldest that never was answered.
"""
from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    Key = tuple[str, bytes, bytes]

FAILS, SILENT, SILENT_PACKETS = 10.0, 30.0, 5
REKEY, SETTLED, IDLE = 10.0, 2.0, 180.0
HISTORY, CAP, BLOCKED_CAP = 100, 2048, 256
DATA = {"ipsec": ("ESP", "AH", "NAT-T", "NAT-T/TCP"), "pptp": ("GRE",)}
"""Kinds of flows that carry data, where others do not."""
UP_AFTER = {"NAT-T": (2, 2), "NAT-T/TCP": (5, 4), "L2TPv2": (4, 2), "OpenVPN": (4, 4), "WireGuard": (2, 1)}
"""Packets out and in from which on a flow of both control and data is past its negotiation; other kinds need an answer only."""
VARIANTS = {"ipsec": ("ESP", "NAT-T", "NAT-T/TCP", "AH"), "pptp": ("PPTP",), "l2tp": ("L2TPv3", "L2TPv2")}
"""Kinds by which a session is called, strongest first."""


class Entry:
    """What conntrack says of one flow of a session, its directions as the session has them (out: from the client).

    ident: conntrack's ID of it. kind: IKE, ESP, AH, NAT-T, NAT-T/TCP, PPTP, GRE, L2TPv2, L2TPv3, OpenVPN, WireGuard. ports: of client and
    server, for GRE its call IDs, () if it has none. nat_port: of the router for it, 0 if there is none. counts: packets out, bytes out,
    packets in, bytes in. last: when a packet passed, 0.0 if that can't be told. closed: TCP, and its end was seen. counted: conntrack
    counts it. place: where the feed finds it again in conntrack.
    """

    __slots__ = ("ident", "protocol", "client", "server", "kind", "ports", "nat_port", "counts", "last", "answered", "closed", "counted",
                 "place")

    def __init__(self, ident: int, protocol: str, client: bytes, server: bytes, kind: str, ports: tuple[int, ...] = (),
                 nat_port: int = 0, counts: tuple[int, int, int, int] = (0, 0, 0, 0), last: float = 0.0, answered: bool = False,
                 closed: bool = False, counted: bool = True) -> None:
        self.ident, self.protocol, self.client, self.server, self.kind = ident, protocol, client, server, kind
        self.ports, self.nat_port, self.counts, self.last, self.answered, self.closed = ports, nat_port, counts, last, answered, closed
        self.counted = counted
        self.place: object = None

    @property
    def key(self) -> Key:
        """Which session it belongs to."""
        return self.protocol, self.client, self.server

    def carries_data(self) -> bool:
        """Is it past its negotiation? Where conntrack does not count, one answer is enough."""
        out, back = UP_AFTER.get(self.kind, (0, 0)) if self.counted else (0, 0)
        return self.answered and self.counts[0] >= out and self.counts[2] >= back


class Learned:
    """The IDs of a session on the wire, from the kernel's maps and the engines. waiting: its client waits for a new inbound SPI.

    copied: packets and bytes that came in as copies, while the SPI had several candidates: conntrack does not see them. shared_with: other
    clients that may own, or do own, an SPI of `spis_in`.
    """

    __slots__ = ("cookies", "spis_out", "spis_in", "tunnel_ids", "session_ids", "version", "waiting", "copied", "shared_with")

    def __init__(self) -> None:
        self.cookies: tuple[bytes, ...] = ()
        self.spis_out: tuple[bytes, ...] = ()
        self.spis_in: tuple[bytes, ...] = ()
        self.tunnel_ids: tuple[int, ...] = ()
        self.session_ids: tuple[int, ...] = ()
        self.version = ""
        self.waiting = False
        self.copied = (0, 0)
        self.shared_with: set[bytes] = set()


class Session:
    """One session. base: counters of its flows that have ended. heard: packets in, when they last changed; sent: packets out at that time;
    heard_at: that time. mark: the reason that its end will have, if it is known before."""

    __slots__ = ("ident", "key", "since", "last", "flows", "base", "up_at", "rekeyed", "heard", "sent", "heard_at", "mark", "variant",
                 "ikes", "learned", "nat_port", "ports", "call_ids")

    def __init__(self, ident: str, key: Key, now: float) -> None:
        self.ident, self.key, self.since, self.last = ident, key, now, now
        self.flows: dict[int, Entry] = {}
        self.base = (0, 0, 0, 0)
        self.up_at: float | None = None
        self.rekeyed = 0.0
        self.heard, self.sent, self.heard_at = 0, 0, now
        self.mark = self.variant = self.ikes = ""
        self.learned: Learned | None = None
        self.nat_port = 0
        self.ports: tuple[int, ...] = ()
        self.call_ids: tuple[int, ...] = ()

    def counts(self) -> tuple[int, int, int, int]:
        """Packets out, bytes out, packets in, bytes in, since it began."""
        total = self.base
        for flow in self.flows.values():
            total = _add(total, flow.counts)
        return _add(total, (0, 0, *self.learned.copied)) if self.learned is not None else total

    def take(self, entry: Entry, now: float) -> None:
        """Adds a flow, or takes its new counters."""
        _, entry.client, entry.server = self.key  # one copy for all
        before = self.flows.get(entry.ident)
        self.flows[entry.ident] = entry
        if not entry.last and before is not None and before.counts != entry.counts:
            self.last = now
        self.last = max(self.last, entry.last)
        if entry.kind == "GRE":
            self.call_ids = tuple(dict.fromkeys((*self.call_ids, *entry.ports)))[-16:]
        elif entry.ports and (entry.kind != "IKE" or not self.ports):
            self.ports, self.nat_port = entry.ports, entry.nat_port
        if entry.kind in DATA.get(self.key[0], (entry.kind,)) and entry.carries_data():
            self.up_at = now if self.up_at is None else self.up_at
        kinds = {flow.kind for flow in self.flows.values()}
        answered = {flow.kind for flow in self.flows.values() if flow.answered}
        ranked = [kind for kind in VARIANTS.get(self.key[0], ()) if kind in answered] or \
                 [kind for kind in VARIANTS.get(self.key[0], ()) if kind in kinds]
        if ranked:
            self.variant = ranked[0]
        elif not self.variant:
            self.variant = entry.kind

    def sample(self, now: float) -> None:
        """The counters were just read: remembers when packets in last changed."""
        counts = self.counts()
        if counts[2] != self.heard:
            self.heard, self.sent, self.heard_at = counts[2], counts[0], now

    def _waits(self) -> bool:
        # What is open between several clients comes to each of them: nobody waits for it.
        return self.learned is not None and self.learned.waiting and not self.learned.shared_with

    def state(self, now: float) -> str:
        """The state, by rule 3 at the head of this file."""
        counts = self.counts()
        copied = self.learned is not None and self.learned.copied[0] > 0
        answered = copied or any(flow.answered for flow in self.flows.values())
        if self.mark == "closed" or not self.flows:
            return "failing" if self.up_at is None else "idle"
        if not answered and self.up_at is None and (counts[0] >= 2 or not any(counts)) and now - self.since >= FAILS:
            return "failing"
        if answered and counts[0] - self.sent >= SILENT_PACKETS and now - self.heard_at >= SILENT:
            return "failing"
        if self.up_at is None:
            return "negotiating"
        if self.key[0] == "ipsec" and (now - self.rekeyed < REKEY or (self._waits() and now - self.up_at > SETTLED)):
            return "rekeying"
        return "idle" if now - self.last >= IDLE else "up"


class Refusal:
    """Attempts that the router refused: how many packets and bytes, and when the last one was."""

    __slots__ = ("protocol", "client", "server", "packets", "octets", "last")

    def __init__(self, protocol: str, client: bytes, server: bytes, packets: int, octets: int, last: float) -> None:
        self.protocol, self.client, self.server = protocol, client, server
        self.packets, self.octets, self.last = packets, octets, last


class Change:
    """A session is new, or has ended for a reason."""

    __slots__ = ("event", "session", "reason")

    def __init__(self, event: str, session: Session, reason: str = "") -> None:
        self.event, self.session, self.reason = event, session, reason


class Sessions:
    """The table. Flows come by `flow`, `gone` and `only`; their IDs on the wire by `learn`.

    silent: did this client not answer the router's last ARP or ND request?
    """

    def __init__(self, silent: Callable[[bytes], bool] = lambda _: False) -> None:
        self._silent = silent
        self.live: dict[Key, Session] = {}
        self.ended: list[tuple[Session, float, str]] = []
        self.left_out = 0
        self._by_flow: dict[int, Session] = {}
        self._over: set[int] = set()  # flows of sessions that were closed, which conntrack still has
        self._totals: dict[str, tuple[int, int, int, int]] = {}
        self._blocked: dict[Key, tuple[str, float]] = {}
        self.refused: list[Refusal] = []
        self._serial = 0
        self._versions: dict[Key, str] = {}  # of IKE that was seen before its session began

    def flow(self, entry: Entry, now: float) -> list[Change]:
        """A flow is in conntrack: new, or with new counters."""
        changes = []
        session = self.live.get(entry.key)
        if entry.ident in self._over:
            return []
        if session is None and entry.closed:
            return []
        if session is None:
            if len(self.live) >= CAP and entry.answered:
                changes += self._make_room(now)
            if len(self.live) >= CAP:
                self.left_out += 1
                return changes
            session = self.live[entry.key] = Session(self._name(entry.key, now), entry.key, now)
            session.ikes = self._versions.pop(entry.key, "")
            changes.append(Change("new", session))
        self._by_flow[entry.ident] = session
        session.take(entry, now)
        return changes + self._close(session, now) if entry.closed else changes

    def gone(self, ident: int, now: float, reason: str, last: Entry | None = None) -> list[Change]:
        """conntrack no longer has a flow. last: the flow with its final counters."""
        session = self._by_flow.pop(ident, None)
        self._over.discard(ident)
        if session is None:
            return []
        flow = session.flows[ident]
        if last is not None:
            if any(last.counts):
                flow.counts, flow.answered = last.counts, flow.answered or last.counts[2] > 0
            session.take(flow, now)
            reason = "closed" if last.closed else reason
        del session.flows[ident]
        session.base = _add(session.base, flow.counts)
        self._count(session.key[0], flow.counts)
        return [] if session.flows else self._end(session, now, reason)

    def only(self, entries: Iterable[Entry], now: float, also: Iterable[int] = (), *, more: bool = False) -> list[Change]:
        """These are all flows in conntrack, and those with the IDs in `also`. more: there were too many to read them all."""
        changes, seen = [], set(also)
        for entry in entries:
            seen.add(entry.ident)
            changes += self.flow(entry, now)
        if not more:
            for ident in [ident for ident in self._by_flow if ident not in seen]:
                changes += self.gone(ident, now, "timeout")
            self._over &= seen
        for session in self.live.values():
            session.sample(now)
        return changes

    def mark(self, key: Key, reason: str) -> None:
        """Sets the reason with which the session is about to end; '' takes it back."""
        if key in self.live:
            self.live[key].mark = reason

    def ike(self, client: bytes, server: bytes, now: float, version: int, *, makes_sas: bool) -> None:
        """An IKE packet was seen. makes_sas: it is of an exchange that makes SAs; where data flows already, that is a rekey."""
        key = ("ipsec", client, server)
        session = self.live.get(key)
        if session is None:
            # The notice of a first packet comes before conntrack's event.
            self._versions[key] = f"IKEv{version}"
            while len(self._versions) > BLOCKED_CAP:
                del self._versions[next(iter(self._versions))]
        else:
            session.ikes = f"IKEv{version}"
            # The notice of the first exchange may come after the first data.
            if makes_sas and session.up_at is not None and now - session.up_at > SETTLED:
                session.rekeyed = now

    def learn(self, found: Mapping[Key, Learned], now: float) -> None:
        """Takes the sessions' IDs on the wire; a session that is not named keeps what it has."""
        for key, learned in found.items():
            session = self.live.get(key)
            if session is not None:
                session.learned = learned
                if learned.copied[0] and session.up_at is None:
                    session.up_at = now

    def refuse(self, refused: Iterable[Refusal], now: float) -> None:
        """All attempts that the router refused lately."""
        self.refused = sorted(refused, key=lambda one: -one.last)[:BLOCKED_CAP]
        known, self._blocked = self._blocked, {}
        for one in self.refused:
            key = (one.protocol, one.client, one.server)
            self._blocked[key] = known.get(key) or (self._name(key, one.last), one.last)

    def find(self, session: str = "", client: bytes = b"", protocol: str = "") -> list[Session]:
        """Live sessions with this ID, or of this client and, if it is not '', this protocol."""
        if session:
            return [one for one in self.live.values() if one.ident == session]
        return [one for one in self.live.values() if one.key[1] == client and protocol in ("", one.key[0])]

    def totals(self) -> dict[str, tuple[int, int, int, int]]:
        """By protocol: packets out, bytes out, packets in, bytes in; of those that have ended as well."""
        found = dict(self._totals)
        for session in self.live.values():
            for flow in session.flows.values():
                found[session.key[0]] = _add(found.get(session.key[0], (0, 0, 0, 0)), flow.counts)
            if session.learned is not None:
                found[session.key[0]] = _add(found.get(session.key[0], (0, 0, 0, 0)), (0, 0, *session.learned.copied))
        return found

    def places(self) -> set[object]:
        """Where the flows of all sessions are."""
        return {flow.place for session in self.live.values() for flow in session.flows.values()}

    def count(self, protocol: str) -> int:
        """How many live ones of a protocol there are."""
        return sum(key[0] == protocol for key in self.live)

    def snapshot(self, now: float, name: Callable[[bytes], str], mac: Callable[[bytes], str]) -> dict[str, Any]:
        """The shape that ubus, CLI and LuCI print. name: host name of an address or '', mac: its Ethernet address or ''."""
        live = [_shape(session, session.state(now), name, mac) for session in self.live.values()]
        for one in self.refused:
            key = (one.protocol, one.client, one.server)
            if key not in self.live:
                live.append(_blocked(one, *self._blocked[key], name, mac))
        live.sort(key=lambda one: (one["client"], one["protocol"], one["server"]))
        ended = [{**_shape(session, session.state(when), name, mac), "ended": int(when), "reason": reason}
                 for session, when, reason in reversed(self.ended)]
        return {"now": int(now), "sessions": live, "ended": ended}

    def _end(self, session: Session, now: float, reason: str) -> list[Change]:
        del self.live[session.key]
        reason = session.mark or ("client gone" if reason == "timeout" and self._silent(session.key[1]) else reason)
        self.ended.append((session, now, reason))
        if session.learned is not None:
            self._count(session.key[0], (0, 0, *session.learned.copied))
        del self.ended[:-HISTORY]
        return [Change("ended", session, reason)]

    def _close(self, session: Session, now: float) -> list[Change]:
        """A TCP connection of the session has ended, and so has the session, though conntrack keeps the flows for a while."""
        for ident, flow in session.flows.items():
            del self._by_flow[ident]
            self._over.add(ident)
            self._count(session.key[0], flow.counts)
            session.base = _add(session.base, flow.counts)
        session.flows = {}
        return self._end(session, now, "closed")

    def _make_room(self, now: float) -> list[Change]:
        """Ends the oldest session that never had an answer."""
        oldest = next((one for one in self.live.values()
                       if one.up_at is None and not any(flow.answered for flow in one.flows.values())), None)
        if oldest is None:
            return []
        for ident, flow in oldest.flows.items():
            del self._by_flow[ident]
            self._count(oldest.key[0], flow.counts)
            oldest.base = _add(oldest.base, flow.counts)
        oldest.flows = {}
        self.left_out += 1
        return self._end(oldest, now, "timeout")

    def _count(self, protocol: str, counts: tuple[int, int, int, int]) -> None:
        self._totals[protocol] = _add(self._totals.get(protocol, (0, 0, 0, 0)), counts)

    def _name(self, key: Key, now: float) -> str:
        """A new ID, as `ipsec-0a1b2c3d`: FNV-1a over key, time and serial number."""
        while True:
            self._serial += 1
            number = 0x811C9DC5
            for byte in b"%s|%s|%s|%d|%d" % (key[0].encode(), key[1], key[2], int(now), self._serial):
                number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
            found = f"{key[0]}-{number:08x}"
            if not any(found == one.ident for one in self.live.values()):
                return found


def text_of(address: bytes) -> str:
    """An address of 4 or 16 bytes as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def packed_address(text: str) -> bytes | None:
    """The 4 or 16 bytes of an address, None if it is none."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return None


def _add(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _shape(session: Session, state: str, name: Callable[[bytes], str], mac: Callable[[bytes], str]) -> dict[str, Any]:
    protocol, client, server = session.key
    counts = session.counts()
    variant = session.variant
    if variant == "IKE" or (protocol == "ipsec" and not variant):
        variant = session.ikes or "IKE"
    elif protocol == "l2tp" and session.learned is not None and session.learned.version:
        variant = session.learned.version
    return {
        "id": session.ident, "protocol": protocol, "variant": variant, "family": 4 if len(client) == 4 else 6,
        "client": text_of(client), "client_name": name(client), "mac": mac(client), "server": text_of(server), "server_name": name(server),
        "state": state, "since": int(session.since), "last": int(session.last), "packets_out": counts[0], "bytes_out": counts[1],
        "packets_in": counts[2], "bytes_in": counts[3], "nat_port": session.nat_port, "details": dict(_details(session))}


def _details(session: Session) -> Iterator[tuple[str, Any]]:
    learned = session.learned
    if learned is not None:
        for field in ("cookies", "spis_out", "spis_in"):
            if getattr(learned, field):
                yield field, [one.hex() for one in getattr(learned, field)]
        for field in ("tunnel_ids", "session_ids"):
            if getattr(learned, field):
                yield field, list(getattr(learned, field))
        if learned.shared_with:
            yield "shared_with", [text_of(client) for client in sorted(learned.shared_with)]
    if session.call_ids:
        yield "call_ids", list(session.call_ids)
    if session.ports:
        yield "ports", list(session.ports)


def _blocked(one: Refusal, ident: str, since: float, name: Callable[[bytes], str], mac: Callable[[bytes], str]) -> dict[str, Any]:
    return {
        "id": ident, "protocol": one.protocol, "variant": "", "family": 4 if len(one.client) == 4 else 6,
        "client": text_of(one.client), "client_name": name(one.client), "mac": mac(one.client), "server": text_of(one.server),
        "server_name": name(one.server), "state": "blocked", "since": int(since), "last": int(one.last), "packets_out": one.packets,
        "bytes_out": one.octets, "packets_in": 0, "bytes_in": 0, "nat_port": 0, "details": {"attempts": one.packets}}
