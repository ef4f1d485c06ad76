# SPDX-License-Identifier: GPL-2.0-or-later
"""Between kernel and engine: notices become events, actions become elements of the kernel's maps."""

from __future__ import annotations

from socket import inet_ntoa as _text
from sys import byteorder as BYTEORDER

from ..kernel.inject import Injector
from ..kernel.maps import Learned
from ..kernel.netfilter import NetlinkError
from ..kernel.xfrm import associations
from ..ruleset import notices
from ..ruleset.maps import SLOTS
from ..spi.engine import Engine
from ..spi.messages import (
    Alive,
    Ask,
    Assign,
    AssignRouter,
    Began,
    CookieShared,
    Deliver,
    Doubt,
    Exchange,
    Fan,
    Fanned,
    Forget,
    Paired,
    RoundTrip,
    Say,
    SpiOfRouter,
    SpiOut,
    SpiShared,
    SpiTaken,
    Tick,
    Unpaired,
)
from ..wire.esp import parse_esp
from ..wire.ike import AGGRESSIVE, AUTH, CREATE_CHILD, MAIN, SA_INIT, parse_ike
from ..wire.ip import parse_ipv4, parse_udp
from .l2tp_driver import L2tpTracker
from .lists import Lists, cap
from .moments import Moments
from .moved import Moves
from .readings import Readings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ..kernel.netfilter import Netlink
    from ..spi.messages import Action, Event
    from ..wire.ip import Ipv4
    from ..wire.nflog import LogPacket
    from .log import Log

ESP, UDP = 50, 17
HELD_CAP = 4096
"""SPIs seen once that are remembered."""
BEGUN_CAP = 256
"""IKE SAs whose first answer is waited for."""
SERVERS_CAP = 1024
"""Servers with several clients that are looked at, and whose slots are remembered; beyond, what is read by key is read again."""
ASKED_RATE = 2000
"""Keys a second that are looked up because the engine asks who waits; beyond, all of those may."""
PAUSE, SHARE = 2.0, 20
"""Lost notices: the kernel's maps are read again so many seconds after the last time, or that many times as long as it took."""


class Tracker:
    """Feeds the engine and does what it says. `clock` gives seconds that never go back.

    A notice only becomes an event. What it does not say itself (which client has this zone, who got the kernel's copies) is looked up
    by key; whole maps are read at the start, every few minutes, and some time after notices were lost.
    """

    def __init__(self, sock: Netlink, log: Log, clock: Callable[[], float]) -> None:
        self.engine = Engine()
        self.pending_timeout = 10.0  # vpnpt.global.pending_timeout, in force from the next `resync` on
        self._learned, self._log, self._clock = Learned(sock), log, clock
        self._readings = Readings(self._learned, clock)
        self.hush = self._readings.hush
        self._clients: dict[int, bytes | None] = {}  # zones, as long as one batch of notices is handled
        self._slots: dict[bytes, list[bytes]] = {}
        self._lists = Lists(self._learned, clock)
        self._moments, self._moves = Moments(), Moves(self._learned, self._lists)
        self._held: dict[tuple[bytes, bytes], Fan] = {}
        self._opening: tuple[bytes, bytes] | None = None
        self._begun: dict[bytes, float] = {}
        self._ended: set[tuple[bytes, bytes]] = set()
        self._asked, self._asked_since, self._not_before = 0, 0.0, 0.0
        self._read_at: float | None = None  # when the maps are to be read again
        self._injector = Injector()
        self.l2tp = L2tpTracker(sock, log, clock, self._injector)

    def on_removal(self, tell: Callable[[list[tuple[str, bytes]]], None]) -> None:
        """`tell` hears which keys are about to be taken out of the kernel's maps."""
        self._learned.removing = tell

    # the kernel's state

    def resync(self) -> None:
        """Takes over what the kernel knows: at our start, after lost notices, and when the tables were put back."""
        began = self._clock()
        self._read_at = None
        try:
            self._clients.clear()
            self._slots.clear()
            self._handle(Began(pending_timeout=self.pending_timeout))
            everybody: dict[bytes, list[bytes]] = {}
            contended = self._some(self._learned.contended())
            heard = set(self._learned.spi_owners()) if contended else set()
            ike = {(server, zone) for server, zone, _, _ in self._learned.zoned("cookie_zone", 8, 0.0)} if contended else set()
            for server in contended:
                for client in self._clients_of(server, everybody):
                    key = (server, self._learned.zone_of(client))
                    self._handle(Paired(server=server, client=client, heard=key in heard, ike=key in ike))
            self._held.clear()
            for (server, spi), clients, spills in self._lists.read():
                listed = self._clients_of(server, everybody) if spills else clients
                self._handle(Fanned(server=server, spi=spi, clients=tuple(listed)))
        except NetlinkError as error:
            self._log.debug("RESYNC", "the tables can't be read: {problem}", problem=error.strerror)
        ended = self._clock()
        self._not_before = ended + max(PAUSE, SHARE * (ended - began))

    def overrun(self) -> None:
        """Notices were lost: the maps are read again by `tick`, soon, but not more often than we can bear."""
        self._handle(Began(pending_timeout=self.pending_timeout, lost=True))
        if self._read_at is None:
            self._read_at = max(self._clock(), self._not_before)

    def _some(self, servers: Iterable[bytes]) -> list[bytes]:
        """Those that the engine knows first, so many at most."""
        return sorted(servers, key=lambda server: server not in self.engine.servers)[:SERVERS_CAP]

    def _clients_of(self, server: bytes, everybody: dict[bytes, list[bytes]]) -> list[bytes]:
        """A server's clients that the kernel has, in the order of their slots. everybody: for the next server, of all pairs."""
        found = self._learned.slots(server)
        if len(found) == SLOTS and self._learned.is_crowded(server):
            if not everybody:
                for client, own in self._learned.pairs():
                    everybody.setdefault(own, []).append(client)
            found += [client for client in everybody.get(server, ()) if client not in found]
        return [client for client in found if self._learned.talks(client, server)]

    def _set_clients(self, server: bytes, clients: Iterable[bytes]) -> None:
        zones = [(client, self._learned.zone_of(client)) for client in clients]
        self._learned.set_clients({server: [(client, zone) for client, zone in zones if zone is not None]})
        self._slots.pop(server, None)

    def renumbered(self, local: Collection[bytes]) -> None:
        """The router's addresses are others than before: nothing of the old ones stays."""
        self._lists.renumbered(local)
        try:
            self._learned.forget_addresses(local)
        except NetlinkError as error:
            self._log.warning("KERNEL", "what is known of an old address could not be removed: {problem}", problem=error.strerror)

    def housekeep(self) -> None:
        """Clients that the kernel has forgotten with a server leave it: what was contended may be no longer."""
        try:
            everybody: dict[bytes, list[bytes]] = {}
            for server in self._some({*self._learned.contended(), *(server for _, server in self._ended)}):
                slots = self._learned.slots(server)
                known = self._clients_of(server, everybody)
                if all(client in known for client in slots):
                    continue
                self._set_clients(server, known)
                for client in set(slots) - set(known):
                    self._handle(Unpaired(server=server, client=client))
            self._handle(Alive(pairs=frozenset(pair for pair in self.engine.pairs() if self._learned.talks(*pair))))
            self._ended.clear()
            self._slots.clear()
        except NetlinkError as error:
            self._log.debug("HOUSEKEEPING", "the tables can't be read: {problem}", problem=error.strerror)

    def undecided(self) -> set[bytes]:
        """Servers of whose SPIs some are not known to be one client's."""
        return {server for server, _ in (*self._lists, *self._held)}

    def client_of(self, ident: int) -> bytes | None:
        """The client in whose zone a logged packet was."""
        try:
            return self._client(ident)
        except NetlinkError:
            return None

    def forget_pair(self, protocol: str, client: bytes, server: bytes) -> None:
        """The user has ended what a client has with a server; its flows are gone already. Raises NetlinkError.

        The engine hears of it from `housekeep`, if the client has not come back by then: an SPI that is still open may be its.
        """
        if protocol == "l2tp":
            self.l2tp.forget_pair(client, server)
        elif protocol == "ipsec":
            zone = self._learned.zone_of(client)
            if zone is not None:
                self._learned.end([(client, server, zone)])
            self._ended.add((client, server))

    def refuse(self, pairs: Collection[tuple[bytes, bytes]]) -> None:
        """These (client, server) may not have IPsec any more; their flows are gone already. Raises NetlinkError.

        The engine hears of it at once, and no copy goes there any more. The maps are read once, however many pairs there are.
        """
        zones, known = self._learned.zones(), self._learned.clients()
        gone: dict[bytes, set[bytes]] = {}
        for client, server in pairs:
            gone.setdefault(server, set()).add(client)
        self._learned.end([(client, server, zones[client]) for client, server in pairs if client in zones])
        self._learned.set_clients({server: [(client, zones[client]) for client in known.get(server, ())
                                            if client not in clients and client in zones] for server, clients in gone.items()})
        for server, clients in gone.items():
            self._slots.pop(server, None)
            for client in clients:
                self._handle(Unpaired(server=server, client=client))

    # time

    def next_deadline(self) -> float | None:
        """When `tick` is due, by our clock."""
        deadlines = (self.engine.next_deadline(), self.l2tp.next_deadline(), self._read_at, self._readings.due)
        return min((when for when in deadlines if when is not None), default=None)

    def tick(self) -> None:
        """A deadline has come: of the engine, of L2TP, or for what is to be read again."""
        if self._read_at is not None and self._read_at <= self._clock():
            self.resync()
        try:
            self._readings.feed(self.engine.servers, self._handle)
            self._handle(Tick())
        except NetlinkError as error:
            self._log.warning("KERNEL", "a decision could not be put into the kernel: {problem}", problem=error.strerror)
        self.l2tp.tick()

    # notices

    def on_notices(self, batch: Iterable[LogPacket]) -> None:
        """Packets that the rules logged, in their order. What can't be read is none."""
        self._clients.clear()
        self._learned.routers.clear()
        self._moments.look(self._clock)
        for notice in batch:
            self.on_notice(notice)

    def on_notice(self, notice: LogPacket) -> None:
        """A packet that the rules logged. What can't be read is none."""
        packet = parse_ipv4(notice.payload)
        if packet is None:
            return
        if notice.prefix in notices.L2TP_ALL:
            self.l2tp.on_notice(notice, packet)
            return
        try:
            self._keep(notice.prefix, packet)
            when = self._moments.of(notice.time, self._clock())
            for event in self._events(notice, packet, when):
                self._handle(event, when)
            self._readings.feed(self.engine.servers, self._handle)
        except NetlinkError as error:
            # The tables may just have been deleted: they come back, and so does the next packet.
            self._log.warning("KERNEL", "a decision could not be put into the kernel: {problem}", problem=error.strerror)

    def _keep(self, kind: str, packet: Ipv4) -> None:
        """What the kernel's maps lack, by this notice, is written again: a list that is old or gone, a client that came while we wrote."""
        if kind in (notices.SHARED, notices.FANNED) and packet.proto == ESP:
            self._lists.renew((packet.src, packet.payload[:4]), in_force=kind == notices.FANNED)
        elif kind == notices.PAIRED:
            slots = self._learned.slots(packet.dst)
            if len(slots) < SLOTS and packet.src not in slots and self._learned.talks(packet.src, packet.dst):
                self._set_clients(packet.dst, [*slots, packet.src])

    def _events(self, notice: LogPacket, packet: Ipv4, when: float) -> list[Event]:
        kind, whole = notice.prefix, notice.payload if notice.group != notices.GROUP else b""
        if kind == notices.PAIRED:
            return self._paired(packet)
        if kind == notices.EXCHANGE:
            return self._exchange(packet)
        if kind in (notices.LEARNED, notices.ANSWERED):
            return self._first_answer(packet, when, answered=kind == notices.ANSWERED)
        if kind == notices.SHARED and packet.proto == UDP:
            return [CookieShared(server=packet.src, copied=self._copied(packet.src), packet=whole)]
        esp = parse_esp(packet.payload) if packet.proto == ESP else None
        if esp is None:
            return []
        if kind == notices.SPI_OUT:
            out = SpiOut(server=packet.dst, client=packet.src, spi=esp.spi, sequence=esp.sequence, size=packet.length)
            return [*self._moves.look(packet.dst, packet.src, esp.spi), out]
        self._lists.came(packet.src, packet.dst)
        if kind == notices.SPI_TAKEN:
            client = self._client(packet.ident)
            return [] if client is None else [SpiTaken(server=packet.src, client=client, spi=esp.spi, packet=whole)]
        if kind not in (notices.SHARED, notices.FANNED, notices.SAME_SPI):
            return []
        if self._learned.router_speaks(packet.src):
            own = [association for association in associations() if packet.src in (association.src, association.dst)]
            if any(association.spi == esp.spi and association.src == packet.src for association in own):
                return [SpiOfRouter(server=packet.src, spi=esp.spi)]
            if not own:
                # An IPsec in userspace: nobody says which SPIs are its own. While that is open, every packet goes to the router and to all
                # clients, and nothing is decided.
                return [CookieShared(server=packet.src, copied=self._copied(packet.src), packet=whole)]
        same = kind == notices.SAME_SPI
        return [SpiShared(server=packet.src, spi=esp.spi, sequence=esp.sequence, size=packet.length, waiting=None,
                          copied=self._copied(packet.src, esp.spi if kind == notices.FANNED else b""), packet=whole, same=same,
                          owner=self._client(packet.ident) if same else self._had(packet.src, esp.spi))]

    def _paired(self, packet: Ipv4) -> list[Event]:
        """A new pair. Of a server that has others already, all are told of, in case that a notice about one was lost."""
        self._slots.pop(packet.dst, None)
        others = () if packet.dst in self.engine.servers or not self._learned.is_contended(packet.dst) else self._learned.slots(packet.dst)
        found = [Paired(server=packet.dst, client=client) for client in others if client != packet.src]
        esp = parse_esp(packet.payload) if packet.proto == ESP else None
        moved = () if esp is None else self._moves.look(packet.dst, packet.src, esp.spi)
        heard = esp is not None and packet.dst in self.engine.servers and self._learned.hears(packet.src, packet.dst)
        return [*found, Paired(server=packet.dst, client=packet.src, heard=heard, speaks=esp is not None), *moved]

    def _exchange(self, packet: Ipv4) -> list[Event]:
        udp = parse_udp(packet.payload)
        ike = parse_ike(udp.payload) if udp is not None else None
        if ike is None:
            return []
        owner = self._client(packet.ident)
        if owner is None:
            return []
        outbound = owner == packet.src
        # Either end counts its own IKEv2 exchanges from 0 (RFC 7296 2.2); IKEv1 names each at random (RFC 2409 5.5).
        by_client = outbound != ike.is_response if ike.version == 2 else None
        message = ike.icookie + ike.message_id.to_bytes(4, "big") + {True: b"c", False: b"s", None: b""}[by_client]
        return [Exchange(server=packet.dst if outbound else packet.src, client=owner, message=message, outbound=outbound,
                         auth=ike.exchange == AUTH, sure=ike.exchange != CREATE_CHILD)]

    def _first_answer(self, packet: Ipv4, when: float, *, answered: bool) -> list[Event]:
        """An IKE SA begins, or its first answer comes."""
        udp = parse_udp(packet.payload) if packet.proto == UDP else None
        ike = parse_ike(udp.payload) if udp is not None else None
        if ike is None or ike.exchange not in (MAIN, AGGRESSIVE, SA_INIT):
            return []
        if not answered:
            self._begun[ike.icookie] = when
            cap(self._begun, BEGUN_CAP)
            return []
        began = self._begun.pop(ike.icookie, None)
        return [] if began is None else [RoundTrip(server=packet.src, seconds=when - began)]

    # what notices do not say

    def _client(self, ident: int) -> bytes | None:
        """Whose zone a logged packet's IP ID holds: the kernel wrote it there in its own byte order. Looked up once a batch."""
        zone = int.from_bytes(ident.to_bytes(2, "big"), BYTEORDER)
        if zone not in self._clients:
            self._clients[zone] = self._learned.client_of(zone)
        return self._clients[zone]

    def _had(self, server: bytes, spi: bytes) -> bytes | None:
        """Of an SPI that is new to the engine: the client that got it while the server had no other."""
        return None if self.engine.knows(server, spi) else self._learned.had_unasked(server, spi)

    def _copied(self, server: bytes, spi: bytes = b"") -> frozenset[bytes]:
        """Who got the kernel's own copy: all in the server's slots, or (spi) those that were listed for it."""
        if not spi:
            if server not in self._slots:
                self._slots[server] = self._learned.slots(server)
                cap(self._slots, SERVERS_CAP)
            return frozenset(self._slots[server])
        return self._lists.copied((server, spi))

    def _waiting(self, ask: Ask) -> frozenset[bytes]:
        """Who of these waits? Where too many are asked for, all of them may."""
        now = self._clock()
        if now - self._asked_since >= 1.0:
            self._asked, self._asked_since = 0, now
        found = set()
        for client in ask.clients:
            self._asked += 1
            if self._asked > ASKED_RATE:
                found.add(client)
            else:
                zone = self._learned.zone_of(client)
                if zone is not None and self._learned.waits(ask.event.server, zone):
                    found.add(client)
        return frozenset(found)

    # what the engine wants done

    def _handle(self, event: Event, when: float | None = None) -> None:
        """when: the packet passed that it is about; None: now."""
        now = self._clock() if when is None else when
        self._opening = None
        if isinstance(event, SpiShared) and not event.same:
            key = (event.server, event.spi)
            held = self._held.pop(key, None)
            if held is not None:
                self._do(held, now)
            elif key not in self._lists:
                self._opening = key
        for action in self.engine.handle(event, now):
            self._do(action, now)

    def _do(self, action: Action, now: float) -> None:
        if isinstance(action, Ask):
            for following in self.engine.handle(action.event.replace(waiting=self._waiting(action)), now):
                self._do(following, now)
        elif isinstance(action, Assign):
            key = (action.server, action.spi)
            if not action.credit and self._lists.was_given(key, action.client, now):
                return
            self._forget(*key)
            zone = self._learned.zone_of(action.client)
            if zone is not None:
                self._learned.assign(*key, zone, credit=action.credit)
                self._lists.give(key, action.client)
                self._log.debug("ASSIGNED", "an SPI of {server} is {client}'s", server=_text(action.server), client=_text(action.client))
        elif isinstance(action, AssignRouter):
            self._forget(action.server, action.spi)
            self._learned.assign_router(action.server, action.spi)
        elif isinstance(action, Fan):
            self._fan(action)
        elif isinstance(action, Forget):
            if not self._forget(action.server, action.spi):
                self._learned.forget(action.server, action.spi)
        elif isinstance(action, Doubt):
            self._learned.doubt(action.server, yes=action.yes)
        elif isinstance(action, Deliver):
            for client in action.clients:
                self._injector.send(action.packet, client)
        elif isinstance(action, Say):
            self._log.write(action.level, action.code, action.text)

    def _fan(self, action: Fan) -> None:
        key = (action.server, action.spi)
        if key not in self._lists and key == self._opening:
            # Made-up SPIs are seen once and are not worth the kernel's time: the kernel copies to all until the second packet.
            self._held[key] = action
            cap(self._held, HELD_CAP)
            return
        self._held.pop(key, None)
        self._lists.put(key, action.clients, spills=action.spills)
        self._log.debug("FANNED", "an SPI of {server} may be of one of these: {clients}", server=_text(action.server),
                        clients=", ".join(map(_text, action.clients)))

    def _forget(self, server: bytes, spi: bytes) -> bool:
        """The list of this SPI is no more. Was it only held back, so that the kernel does not have it?"""
        self._lists.drop((server, spi))
        return self._held.pop((server, spi), None) is not None
