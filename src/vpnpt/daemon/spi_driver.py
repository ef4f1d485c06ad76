# SPDX-License-Identifier: GPL-2.0-or-later
"""Between kernel and engine: notices become events, actions become elements of the kernel's maps."""

from __future__ import annotations

import socket
from sys import byteorder as BYTEORDER

from ..kernel.inject import Injector
from ..kernel.maps import Learned
from ..kernel.netfilter import NetlinkError
from ..kernel.xfrm import associations
from ..ruleset import notices
from ..spi.engine import Engine
from ..spi.messages import (
    Assign,
    CookieShared,
    Deliver,
    Exchange,
    Fan,
    Fanned,
    Forget,
    Paired,
    RoundTrip,
    Say,
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..kernel.netfilter import Netlink
    from ..spi.messages import Action, Event
    from ..wire.ip import Ipv4
    from ..wire.nflog import LogPacket
    from .log import Log

ESP, UDP = 50, 17
DOUBT_RENEWED = 1800.0
"""Seconds after which the kernel is told again; it forgets after an hour."""
QUEUED = 10.0
"""Seconds for which a logged packet may have waited for us."""
HELD_CAP = 4096
"""SPIs seen once that are remembered."""
BEGUN_CAP = 256
"""IKE SAs whose first answer is waited for."""


class Tracker:
    """Feeds the engine and does what it says. `clock` gives seconds that never go back."""

    def __init__(self, sock: Netlink, log: Log, clock: Callable[[], float]) -> None:
        self.engine = Engine()
        self._learned, self._log, self._clock = Learned(sock), log, clock
        self._zones: dict[bytes, int] = {}
        self._clients: dict[int, bytes] = {}
        self._slots: dict[bytes, list[bytes]] = {}
        self._addresses: dict[bytes, set[bytes]] = {}
        self._fans: dict[tuple[bytes, bytes], tuple[bytes, ...]] = {}
        self._retired: dict[tuple[bytes, bytes], list[tuple[float, tuple[bytes, ...]]]] = {}
        self._held: dict[tuple[bytes, bytes], Fan] = {}
        self._opening: tuple[bytes, bytes] | None = None
        self._doubted: dict[bytes, float] = {}
        self._begun: dict[bytes, float] = {}
        self._injector = Injector()
        self.l2tp = L2tpTracker(sock, log, clock, self._injector)

    def resync(self) -> None:
        """Takes over what the kernel knows: at our start, after an overrun, and when the tables were put back."""
        try:
            self._read_clients()
            self._slots = self._learned.slots()
            for client, server in self._learned.pairs():
                self._handle(Paired(server=server, client=client))
            self._doubted.clear()
            self._fans.clear()
            self._retired.clear()
            self._held.clear()
            for (server, spi), clients in self._learned.fans().items():
                self._fans[server, spi] = tuple(clients)
                self._handle(Fanned(server=server, spi=spi, clients=tuple(clients)))
        except NetlinkError as error:
            self._log.debug("RESYNC", f"the tables can't be read: {error.strerror}")

    def renumbered(self, local: Collection[bytes]) -> None:
        """The router's addresses are others than before: nothing of the old ones stays."""
        self._addresses = {server: known & set(local) for server, known in self._addresses.items()}
        try:
            self._learned.forget_addresses(local)
        except NetlinkError as error:
            self._log.warning("KERNEL", f"what is known of an old address could not be removed: {error.strerror}")

    def housekeep(self) -> None:
        """Clients that the kernel has forgotten with a server leave it: what was contended may be no longer."""
        try:
            alive = set(self._learned.pairs())
            slots = self._learned.slots()
            self._read_clients()
            for server, clients in slots.items():
                known = [client for client, own in alive if own == server]
                if all(client in known for client in clients):
                    continue
                staying = [client for client in clients if client in known]
                staying += [client for client in known if client not in staying]
                self._learned.set_clients(server, [(client, self._zones[client]) for client in staying if client in self._zones])
                for client in set(clients) - set(known):
                    self._handle(Unpaired(server=server, client=client))
            for event in self.engine.gone(alive, self._clock()):
                self._handle(event)
            self._slots = self._learned.slots()
        except NetlinkError as error:
            self._log.debug("HOUSEKEEPING", f"the tables can't be read: {error.strerror}")

    def undecided(self) -> set[bytes]:
        """Servers of whose SPIs some are not known to be one client's."""
        return {server for server, _ in (*self._fans, *self._held)}

    def client_of(self, ident: int) -> bytes | None:
        """The client in whose zone a logged packet was."""
        return self._client(ident)

    def forget_pair(self, protocol: str, client: bytes, server: bytes) -> None:
        """The user has ended what a client has with a server; its flows are gone already. Raises NetlinkError.

        The engine hears of it from `housekeep`, if the client has not come back by then: an SPI that is still open may be its.
        """
        if protocol == "l2tp":
            self.l2tp.forget_pair(client, server)
        elif protocol == "ipsec":
            self._read_clients()
            if client in self._zones:
                self._learned.end([(client, server, self._zones[client])])

    def refuse(self, pairs: Collection[tuple[bytes, bytes]]) -> None:
        """These (client, server) may not have IPsec any more; their flows are gone already. Raises NetlinkError.

        The engine hears of it at once, and no copy goes there any more. The maps are read once, however many pairs there are.
        """
        self._read_clients()
        self._learned.end([(client, server, self._zones[client]) for client, server in pairs if client in self._zones])
        gone: dict[bytes, set[bytes]] = {}
        for client, server in pairs:
            gone.setdefault(server, set()).add(client)
        staying = {server: [client for client in self._slots.get(server, ()) if client not in clients] for server, clients in gone.items()}
        for client, server in self._learned.pairs():
            if server in gone and client not in gone[server] and client not in staying[server]:
                staying[server].append(client)
        for server, clients in gone.items():
            self._learned.set_clients(server, [(client, self._zones[client]) for client in staying[server] if client in self._zones])
            for client in clients:
                self._handle(Unpaired(server=server, client=client))
        self._slots = self._learned.slots()

    def next_deadline(self) -> float | None:
        """When `tick` is due, by our clock."""
        return min((when for when in (self.engine.next_deadline(), self.l2tp.next_deadline()) if when is not None), default=None)

    def tick(self) -> None:
        """The engine's deadline has come."""
        try:
            self._handle(Tick())
        except NetlinkError as error:
            self._log.warning("KERNEL", f"a decision could not be put into the kernel: {error.strerror}")
        self.l2tp.tick()

    def on_notice(self, notice: LogPacket) -> None:
        """A packet that the rules logged. What can't be read is none."""
        packet = parse_ipv4(notice.payload)
        if packet is None:
            return
        if notice.prefix in notices.L2TP_ALL:
            self.l2tp.on_notice(notice, packet)
            return
        try:
            event = self._event(notice, packet)
            if event is not None:
                self._handle(event)
        except NetlinkError as error:
            # The tables may just have been deleted: they come back, and so does the next packet.
            self._log.warning("KERNEL", f"a decision could not be put into the kernel: {error.strerror}")

    def _event(self, notice: LogPacket, packet: Ipv4) -> Event | None:
        kind, whole = notice.prefix, notice.payload if notice.group != notices.GROUP else b""
        if kind == notices.PAIRED:
            self._slots = self._learned.slots()
            return Paired(server=packet.dst, client=packet.src)
        if kind == notices.EXCHANGE:
            return self._exchange(packet)
        if kind in (notices.LEARNED, notices.ANSWERED):
            return self._first_answer(packet, answered=kind == notices.ANSWERED)
        if kind == notices.SHARED and packet.proto == UDP:
            return CookieShared(server=packet.src, copied=self._copied(packet.src), packet=whole)
        esp = parse_esp(packet.payload) if packet.proto == ESP else None
        if esp is None:
            return None
        if kind == notices.SPI_OUT:
            return SpiOut(server=packet.dst, client=packet.src, spi=esp.spi)
        self._addresses.setdefault(packet.src, set()).add(packet.dst)
        if kind == notices.SPI_TAKEN:
            client = self._client(packet.ident)
            return None if client is None else SpiTaken(server=packet.src, client=client, spi=esp.spi, packet=whole)
        if kind in (notices.SHARED, notices.FANNED, notices.SAME_SPI):
            if self._may_be_the_routers(notice, packet, esp.spi):
                return None
            same = kind == notices.SAME_SPI
            return SpiShared(server=packet.src, spi=esp.spi, sequence=esp.sequence, waiting=self._waiting(packet.src),
                             copied=self._copied(packet.src, esp.spi if kind == notices.FANNED else b""), packet=whole, same=same,
                             owner=self._client(packet.ident) if same else None)
        return None

    def _may_be_the_routers(self, notice: LogPacket, packet: Ipv4, spi: bytes) -> bool:
        """Is the router a candidate? Its kernel says which SPIs are its own; of an IPsec in userspace nobody does.

        While that is open, every packet goes to the router and to all clients: nothing is decided.
        """
        if packet.src not in self._learned.router_peers():
            return False
        own = [association for association in associations() if packet.src in (association.src, association.dst)]
        if any(association.spi == spi and association.src == packet.src for association in own):
            self._learned.assign_router(packet.src, spi)
            return True
        if own:
            return False
        if notice.group != notices.GROUP:
            copied = self._copied(packet.src)
            clients = tuple(client for client, server in self._learned.pairs() if server == packet.src and client not in copied)
            self._do(Deliver(packet=notice.payload, clients=clients))
        return True

    def _exchange(self, packet: Ipv4) -> Event | None:
        udp = parse_udp(packet.payload)
        ike = parse_ike(udp.payload) if udp is not None else None
        if ike is None:
            return None
        outbound = packet.src in self._zones or self._client(packet.ident) == packet.src
        client, server = (packet.src, packet.dst) if outbound else (self._client(packet.ident), packet.src)
        if client is None:
            return None
        # Either end counts its own IKEv2 exchanges from 0 (RFC 7296 2.2); IKEv1 names each at random (RFC 2409 5.5).
        by_client = outbound != ike.is_response if ike.version == 2 else None
        message = ike.icookie + ike.message_id.to_bytes(4, "big") + {True: b"c", False: b"s", None: b""}[by_client]
        return Exchange(server=server, client=client, message=message, outbound=outbound, auth=ike.exchange == AUTH,
                        sure=ike.exchange != CREATE_CHILD)

    def _first_answer(self, packet: Ipv4, *, answered: bool) -> Event | None:
        """An IKE SA begins, or its first answer comes."""
        udp = parse_udp(packet.payload) if packet.proto == UDP else None
        ike = parse_ike(udp.payload) if udp is not None else None
        if ike is None or ike.exchange not in (MAIN, AGGRESSIVE, SA_INIT):
            return None
        now = self._clock()
        if not answered:
            self._begun[ike.icookie] = now
            while len(self._begun) > BEGUN_CAP:
                del self._begun[next(iter(self._begun))]
            return None
        began = self._begun.pop(ike.icookie, None)
        return None if began is None else RoundTrip(server=packet.src, seconds=now - began)

    def _client(self, ident: int) -> bytes | None:
        """Whose zone a logged packet's IP ID holds: the kernel wrote it there in its own byte order."""
        zone = int.from_bytes(ident.to_bytes(2, "big"), BYTEORDER)
        if zone not in self._clients:
            self._read_clients()
        return self._clients.get(zone)

    def _read_clients(self) -> None:
        self._zones = self._learned.zones()
        self._clients = {zone: client for client, zone in self._zones.items()}

    def _waiting(self, server: bytes) -> frozenset[bytes]:
        zones = self._learned.waiting(server)
        if any(zone not in self._clients for zone in zones):
            self._read_clients()
        return frozenset(self._clients[zone] for zone in zones if zone in self._clients)

    def _copied(self, server: bytes, spi: bytes = b"") -> frozenset[bytes]:
        """Who got the kernel's own copy: all in the server's slots, or (spi) those that were listed for it."""
        if not spi:
            return frozenset(self._slots.get(server, ()))
        copied = frozenset(self._fans.get((server, spi), ()))
        # The packet may have come while an earlier list was in force: a second copy does no harm, none does.
        for until, clients in self._retired.get((server, spi), ()):
            if self._clock() - until < QUEUED:
                copied &= frozenset(clients)
        return copied

    def _handle(self, event: Event) -> None:
        self._opening = None
        if isinstance(event, SpiShared) and not event.same:
            key = (event.server, event.spi)
            held = self._held.pop(key, None)
            if held is not None:
                self._do(held)
            elif key not in self._fans:
                self._opening = key
        now = self._clock()
        for action in self.engine.handle(event, now):
            self._do(action)
        if isinstance(event, (Exchange, SpiOut, SpiTaken, SpiShared)):
            self._doubt(event.server, now)

    def _doubt(self, server: bytes, now: float) -> None:
        """Tells the kernel when it may not decide alone, and for how long: the element dies an hour after us."""
        doubts = len(self._slots.get(server, ())) > 1 and self.engine.doubts(server, now)
        told = self._doubted.get(server)
        if doubts != (told is not None) or (told is not None and now - told > DOUBT_RENEWED):
            self._learned.doubt(server, yes=doubts)
            if doubts:
                self._doubted[server] = now
            else:
                del self._doubted[server]

    def _do(self, action: Action) -> None:
        if isinstance(action, Assign):
            zone = self._zones.get(action.client)
            if zone is None:
                self._read_clients()
                zone = self._zones.get(action.client)
            self._held.pop((action.server, action.spi), None)
            self._fans.pop((action.server, action.spi), None)
            self._retired.pop((action.server, action.spi), None)
            if zone is not None:
                self._learned.assign(action.server, action.spi, zone, credit=action.credit)
                self._log.debug("ASSIGNED", f"an SPI of {_text(action.server)} is {_text(action.client)}'s")
        elif isinstance(action, Fan):
            key = (action.server, action.spi)
            if key not in self._fans and key == self._opening:
                # Made-up SPIs are seen once and are not worth the kernel's time: the kernel copies to all until the second packet.
                self._held[key] = action
                while len(self._held) > HELD_CAP:
                    del self._held[next(iter(self._held))]
                return
            self._held.pop(key, None)
            if key in self._fans:
                self._retired[key] = [*self._retired.get(key, ())[-3:], (self._clock(), self._fans[key])]
            self._fans[key] = action.clients
            self._learned.fan(action.server, action.spi, action.clients, self._addresses.get(action.server, ()),
                              spills=self.engine.spills(action.server, action.spi))
            self._log.debug("FANNED", f"an SPI of {_text(action.server)} may be {' or '.join(map(_text, action.clients))}'s")
        elif isinstance(action, Forget):
            if self._held.pop((action.server, action.spi), None) is None:
                self._fans.pop((action.server, action.spi), None)
                self._retired.pop((action.server, action.spi), None)
                self._learned.forget(action.server, action.spi)
        elif isinstance(action, Deliver):
            for client in action.clients:
                self._injector.send(action.packet, client)
        elif isinstance(action, Say):
            self._log.write(action.level, action.code, action.text)


def _text(address: bytes) -> str:
    return socket.inet_ntoa(address)
