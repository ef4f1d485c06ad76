# SPDX-License-Identifier: GPL-2.0-or-later
"""Which L2TP tunnel is whose. Pure: events in, actions out, no clock of its own.

The rules
 1. A client's SCCRQ names its tunnel ID; conntrack says which port the router gave that flow. Both together are a tunnel: a packet with the
    ID goes to that port, and what comes to the port is the client's. Only flows that conntrack has count: the firewall let them pass.
 2. A tunnel lives while conntrack has its flow, looked at every CHECK seconds. StopCCN ends it LINGER seconds later: its
    acknowledgement must still pass. Its flow stays known while conntrack has it: the client may ask for another tunnel in it.
 3. A client does not use one tunnel ID twice: a new SCCRQ with it replaces the old tunnel.
 4. Two clients may choose the same ID. Sessions that only one of them has are told apart by their IDs, by the kernel. The rest comes
    here: SCCRP goes to the client that asked first and has no answer yet (a repeated one to the same), StopCCN to the one whose tunnel the
    server means by its own ID, everything else to all of them. The log says so.
 5. A packet that is here before its tunnel is known waits PATIENCE seconds for it.
 6. What is remembered is bounded: per client so many tunnels, per tunnel so many sessions; beyond, the oldest go.

Elements of the kernel's maps are what `_wanted` says; what differs from what was put there is put or removed.
"""

from __future__ import annotations

from ..model import Said
from ..wire.l2tp import SCCRP, STOPCCN
from .messages import Deliver, Found, Locate, Located, Lost, Moved, Opened, Put, Remove, Requested, Say, Stopped, Tick, Unclear

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .messages import Action, Event, Key, Value

CHECK = 60.0
RENEW = 900.0
"""Seconds after which elements that last an hour are put anew."""
RENEW_SHARED = 20.0
LINGER = 2.0
PATIENCE = 1.0
RETRIES = (0.005, 0.02, 0.1, 0.5)
"""Seconds until a flow that conntrack did not have is looked for again: its first packet may still have been under way."""
CLIENT_CAP, TUNNEL_CAP, SESSION_CAP, WAITING_CAP = 128, 8192, 256, 64
"""Tunnels of one client, of all, sessions of a tunnel, packets of one server that wait."""
PORT = 1701


class Tunnel:
    """One tunnel. nat: its flow's port on the WAN, 0 while unknown. asked: the server's port that the client called, remote: from which
    it answers. peer: what the server calls it, 0 while unknown. due: when its flow is looked for. ends: when it has ended; over: then only
    its flow counts."""

    def __init__(self, client: bytes, port: int, remote: int, ident: int, due: float) -> None:
        self.client, self.port, self.remote, self.ident, self.due = client, port, remote, ident, due
        self.asked = remote
        self.over = False
        self.nat = 0
        self.peer = 0
        self.tries = 0
        self.ends: float | None = None
        self.sessions: dict[int, None] = {}


class Server:
    """Everything about one server. shown: what is in the kernel by us. waiting: packets that nobody is known for, and until when.
    shared: tunnel IDs that several clients have; told: of these, what was logged. renewed: when the elements were put anew."""

    def __init__(self, now: float) -> None:
        self.tunnels: dict[tuple[bytes, int], Tunnel] = {}  # by client and its tunnel ID
        self.shown: dict[Key, Value] = {}
        self.waiting: list[tuple[float, Unclear]] = []
        self.shared: set[int] = set()
        self.told: set[int] = set()
        self.renewed = self.renewed_shared = now

    def by_ident(self, ident: int) -> list[Tunnel]:
        """Tunnels whose client calls them so, oldest first."""
        return [tunnel for (_, own), tunnel in self.tunnels.items() if own == ident and not tunnel.over]

    def same_idents(self) -> set[int]:
        """Those that tunnels of several ports on the WAN have."""
        first: dict[int, int] = {}
        return {tunnel.ident for tunnel in self.tunnels.values()
                if tunnel.nat and not tunnel.over and first.setdefault(tunnel.ident, tunnel.nat) != tunnel.nat}

    def of_flow(self, client: bytes, port: int) -> list[Tunnel]:
        """A flow's tunnels."""
        return [tunnel for tunnel in self.tunnels.values() if (tunnel.client, tunnel.port) == (client, port)]


class Tunnels:
    """All state in one place. `handle` takes an event and the time, and says what to do; `next_deadline` when to send a Tick."""

    def __init__(self) -> None:
        self.servers: dict[bytes, Server] = {}
        self._own: dict[bytes, dict[tuple[bytes, int], None]] = {}  # client to its tunnels, by server and ID, oldest first

    def handle(self, event: Event, now: float) -> list[Action]:
        """One event in, what to do out. Never raises for anything that came from the wire."""
        if isinstance(event, Tick):
            return self._tick(now)
        if isinstance(event, Lost):
            return self._lost(now)
        actions = self._of_server(event, now)
        self._clear(event.server)
        return actions

    def _of_server(self, event: Event, now: float) -> list[Action]:
        assert not isinstance(event, (Lost, Tick))
        if isinstance(event, Requested):
            return self._requested(event, now)
        if isinstance(event, Found):
            self._found(event, now)
            return []
        server = self.servers.get(event.server)
        if server is None:
            return []
        if isinstance(event, Opened):
            return self._opened(server, event, now)
        if isinstance(event, Stopped):
            return self._stopped(server, event, now)
        if isinstance(event, Located):
            return self._located(server, event, now)
        if isinstance(event, Moved):
            return self._moved(server, event)
        assert isinstance(event, Unclear)
        return self._unclear(server, event, now)

    def next_deadline(self) -> float | None:
        """When a Tick is due, None if there is no tunnel."""
        return min((when for server in self.servers.values() for when in _deadlines(server)), default=None)

    def tunnels(self) -> int:
        """How many there are."""
        return sum(map(len, self._own.values()))

    def _add(self, name: bytes, tunnel: Tunnel, now: float) -> bool:
        """A tunnel more, if there is room."""
        key = (tunnel.client, tunnel.ident)
        self._drop(name, key)
        own = self._own.get(tunnel.client, {})
        if len(own) >= CLIENT_CAP:
            oldest, ident = next(iter(own))
            self._drop(oldest, (tunnel.client, ident))
        if self.tunnels() >= TUNNEL_CAP:
            return False
        self._own.setdefault(tunnel.client, {})[name, tunnel.ident] = None
        self.servers.setdefault(name, Server(now)).tunnels[key] = tunnel
        return True

    def _drop(self, name: bytes, key: tuple[bytes, int]) -> None:
        server = self.servers.get(name)
        if server is None or server.tunnels.pop(key, None) is None:
            return
        del self._own[key[0]][name, key[1]]
        if not self._own[key[0]]:
            del self._own[key[0]]

    def _clear(self, name: bytes) -> None:
        """Nothing is kept of a server without tunnels."""
        server = self.servers.get(name)
        if server is not None and not server.tunnels and not server.waiting and not server.shown:
            del self.servers[name]

    # what clients say

    def _requested(self, event: Requested, now: float) -> list[Action]:
        server = self.servers.get(event.server)
        known = server.tunnels.get((event.client, event.tunnel)) if server is not None else None
        if known is None or (known.port, known.ends) != (event.port, None):
            known = Tunnel(event.client, event.port, event.remote, event.tunnel, now + CHECK)
            if not self._add(event.server, known, now):
                return []
        known.due, known.tries = now + CHECK, 0
        return [Locate(server=event.server, client=event.client, port=event.port, remote=event.remote)]

    def _opened(self, server: Server, event: Opened, now: float) -> list[Action]:
        own = server.of_flow(event.client, event.port)
        tunnel = next((tunnel for tunnel in own if tunnel.peer == event.peer), None) \
            or next((tunnel for tunnel in reversed(own) if not tunnel.peer), None)
        if tunnel is None or tunnel.over:
            return []
        tunnel.peer = event.peer
        if event.session:
            tunnel.sessions[event.session] = None
        if len(tunnel.sessions) > SESSION_CAP:
            del tunnel.sessions[next(iter(tunnel.sessions))]
        return self._show(event.server, server, now) if server.shared else []

    def _stopped(self, server: Server, event: Stopped, now: float) -> list[Action]:
        if event.client:
            ending = [tunnel for tunnel in server.of_flow(event.client, event.port) if tunnel.ident == event.tunnel]
        else:
            ending = server.by_ident(event.tunnel)
            if len(ending) > 1:
                ending = [tunnel for tunnel in ending if event.peer == tunnel.peer != 0] \
                    or [tunnel for tunnel in ending if tunnel.nat == event.port != tunnel.asked]
        for tunnel in ending:
            tunnel.ends = tunnel.ends or now + LINGER
        return []

    # what conntrack says

    def _located(self, server: Server, event: Located, now: float) -> list[Action]:
        for tunnel in server.of_flow(event.client, event.port):
            if event.nat is not None:
                tunnel.nat, tunnel.due, tunnel.tries = event.nat, now + CHECK, 0
            elif not tunnel.nat and tunnel.tries < len(RETRIES):
                tunnel.due = now + RETRIES[tunnel.tries]
                tunnel.tries += 1
            else:
                self._drop(event.server, (tunnel.client, tunnel.ident))
        actions = self._mend(event, server) + self._show(event.server, server, now)
        waiting, server.waiting = server.waiting, []
        for until, packet in waiting:
            actions += self._place(server, packet, until, now)
        return actions

    def _mend(self, event: Located, server: Server) -> list[Action]:
        """The kernel took the client's own port for the one on the WAN. Where that was wrong and is nobody's, it is taken back."""
        if event.nat in (None, event.port) or any(tunnel.nat == event.port for tunnel in server.tunnels.values()):
            return []
        return [Remove(keys=(("l2tp_ports", event.server, event.port), ("l2tp_way", event.server, event.port)))]

    def _moved(self, server: Server, event: Moved) -> list[Action]:
        new = [tunnel for tunnel in server.tunnels.values() if tunnel.nat == event.nat and tunnel.remote != event.remote]
        for tunnel in new:
            tunnel.remote = event.remote
        if not new:
            return []
        return [Say(level="debug", code="MOVED", text=Said("answers from port {port}", port=event.remote), server=event.server,
                    clients=tuple({tunnel.client for tunnel in new}))]

    def _found(self, event: Found, now: float) -> None:
        server = self.servers.get(event.server)
        if server is None or (event.client, event.tunnel) not in server.tunnels:
            tunnel = Tunnel(event.client, event.port, event.remote, event.tunnel, now)
            tunnel.nat, tunnel.asked = event.nat, PORT
            tunnel.sessions = dict.fromkeys(event.sessions)
            self._add(event.server, tunnel, now)

    def _lost(self, now: float) -> list[Action]:
        for server in self.servers.values():
            server.shown = {}
        return [action for name, server in self.servers.items() for action in self._show(name, server, now)]

    # packets that the kernel could not place

    def _unclear(self, server: Server, event: Unclear, now: float) -> list[Action]:
        return self._place(server, event, now + PATIENCE, now)

    def _place(self, server: Server, event: Unclear, until: float, now: float) -> list[Action]:
        # It must have come to the flow's own port, or to the port that was asked, as some servers send always.
        owners = [tunnel for tunnel in server.by_ident(event.tunnel) if tunnel.nat and event.nat in (tunnel.nat, tunnel.asked)]
        by_port = [tunnel for tunnel in owners if tunnel.nat == event.nat != tunnel.asked]
        expected = event.message == SCCRP and any(not tunnel.nat for tunnel in server.by_ident(event.tunnel))
        if not owners or (expected and not by_port):
            if now < until and len(server.waiting) < WAITING_CAP:
                server.waiting.append((until, event))
            return []
        actions: list[Action] = []
        if len(owners) > 1 and not by_port and event.tunnel not in server.told:
            server.told.add(event.tunnel)
            text = Said("chose the same tunnel ID {tunnel}, and it sends to port {port} only: what names no session goes to all",
                        tunnel=event.tunnel, port=event.nat)
            actions.append(Say(level="warning", code="SAME-TUNNEL", text=text, server=event.server,
                               clients=tuple(tunnel.client for tunnel in owners)))
        if len(owners) > 1:
            owners = by_port or _meant(owners, event)
        if event.message == SCCRP and len(owners) == 1 and event.peer:
            owners[0].peer = event.peer
        ports = tuple(dict.fromkeys(tunnel.nat for tunnel in owners if not (event.passed and tunnel.nat == event.nat)))
        return [*actions, Deliver(packet=event.packet, ports=ports)] if ports else actions

    # time

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for name, server in list(self.servers.items()):
            server.waiting = [(until, event) for until, event in server.waiting if until > now]
            for tunnel in server.tunnels.values():
                tunnel.over = tunnel.ends is not None and tunnel.ends <= now
            flows: dict[tuple[bytes, int, int], None] = {}
            for tunnel in server.tunnels.values():
                if tunnel.due <= now:
                    tunnel.due = now + CHECK
                    flows[tunnel.client, tunnel.port, tunnel.remote] = None
            actions += [Locate(server=name, client=client, port=port, remote=remote) for client, port, remote in flows]
            actions += self._show(name, server, now)
            self._clear(name)
        return actions

    # what the kernel is to know

    def _show(self, name: bytes, server: Server, now: float) -> list[Action]:
        """What has changed since it was last shown, and what must be renewed."""
        actions: list[Action] = []
        shared = server.shared = server.same_idents()
        server.told &= shared
        wanted = dict(_wanted(name, server, shared))
        gone = tuple(key for key in server.shown if key not in wanted)
        if gone:
            actions.append(Remove(keys=gone))
        renew, renew_shared = now - server.renewed >= RENEW, now - server.renewed_shared >= RENEW_SHARED
        server.renewed, server.renewed_shared = now if renew else server.renewed, now if renew_shared else server.renewed_shared
        actions += [Put(key=key, value=value) for key, value in wanted.items()
                    if server.shown.get(key) != value or (renew_shared if key[0] == "l2tp_shared" else renew)]
        server.shown = wanted
        return actions


def _wanted(name: bytes, server: Server, shared: Iterable[int]) -> Iterator[tuple[Key, Value]]:
    """The elements for a server's tunnels. Of two flows with one port on the WAN the newer is right: conntrack has but one.

    Most of what is about flows the kernel has put there itself: it is renewed, and removed when it has ended.
    """
    located = [tunnel for tunnel in server.tunnels.values() if tunnel.nat]
    if len({tunnel.client for tunnel in located}) > 1:
        yield ("l2tp_many", name), ()
    for tunnel in located:
        yield ("l2tp_servers", name), ()
        yield ("l2tp_pairs", name, tunnel.client), ()
        yield ("l2tp_flows", tunnel.client, tunnel.port, name), ()
        yield ("l2tp_ports", name, tunnel.nat), ()
        yield ("l2tp_way", name, tunnel.nat), (tunnel.client, tunnel.port)
        yield ("l2tp_solo", name), (tunnel.nat,)
        if tunnel.nat != tunnel.asked or len(located) > 1:
            yield ("l2tp_odd", name), ()
        if tunnel.over:
            continue
        if tunnel.ident not in shared:
            yield ("l2tp_port", name, tunnel.ident), (tunnel.nat,)
            continue
        yield ("l2tp_shared", name, tunnel.ident), ()
        others = {session for other in server.by_ident(tunnel.ident) if other is not tunnel for session in other.sessions}
        for session in tunnel.sessions:
            if session not in others:
                yield ("l2tp_session", name, tunnel.ident, session), (tunnel.nat,)


def _meant(owners: list[Tunnel], event: Unclear) -> list[Tunnel]:
    """Of several clients with one tunnel ID: those that this packet may be for (rule 4)."""
    if event.peer:
        called = [tunnel for tunnel in owners if tunnel.peer == event.peer]
        if called:
            return called
        unanswered = [tunnel for tunnel in owners if not tunnel.peer]
        if event.message == SCCRP and unanswered:
            return unanswered[:1]
        return unanswered if event.message == STOPCCN and unanswered else owners
    having = [tunnel for tunnel in owners if event.session in tunnel.sessions] if event.session else []
    return having or owners


def _deadlines(server: Server) -> Iterator[float]:
    for tunnel in server.tunnels.values():
        yield tunnel.due if tunnel.ends is None or tunnel.over else min(tunnel.due, tunnel.ends)
    for until, _ in server.waiting:
        yield until
    if server.shared:
        yield server.renewed_shared + RENEW_SHARED
