# SPDX-License-Identifier: GPL-2.0-or-later
"""Between kernel and the L2TP engine: logged packets become events, actions become elements, look-ups in conntrack, packets."""

from __future__ import annotations

import socket
from errno import EEXIST

from ..kernel.inject import Injector
from ..kernel.netfilter import NetlinkError, delete_elements, dump_conntrack, dump_elements, get_flow
from ..l2tp import messages as l2tp
from ..l2tp.tunnels import PORT, RETRIES, Tunnels
from ..ruleset import TABLE, notices
from ..wire import conntrack, nftables
from ..wire import l2tp as wire
from ..wire.ip import UDP, parse_udp
from ..wire.nftables import IPV4, Element, pack_key, unpack_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..kernel.netfilter import Netlink
    from ..wire.ip import Ipv4, Udp
    from ..wire.nflog import LogPacket
    from .log import Log

ATTEMPTS = 3
"""How often a write is tried that a packet comes between."""
_OPENS = (7, 8, 10, 11)  # OCRQ, OCRP, ICRQ, ICRP: their sender names a session of its own


class L2tpTracker:
    """Feeds the engine and does what it says. `clock` gives seconds that never go back."""

    def __init__(self, sock: Netlink, log: Log, clock: Callable[[], float], injector: Injector) -> None:
        self.engine = Tunnels()
        self._sock, self._log, self._clock, self._injector = sock, log, clock, injector

    def resync(self) -> None:
        """Takes over the tunnels that the kernel's maps name, and puts there what they lack. Without maps there is nothing to know."""
        try:
            self._read()
        except NetlinkError:
            self.engine = Tunnels()
            return
        self._handle(l2tp.Lost())

    def _read(self) -> None:
        ways = {(server, _number(nat)): (client[:4], _number(client[4:6])) for (server, nat), client in self._rows("l2tp_way", 4, 2)}
        named: dict[tuple[bytes, int, int], list[int]] = {}
        for (server, tunnel), nat in self._rows("l2tp_port", 4, 2):
            named[server, _number(tunnel), _number(nat)] = []
        for (server, tunnel, session), nat in self._rows("l2tp_session", 4, 2, 2):
            named.setdefault((server, _number(tunnel), _number(nat)), []).append(_number(session))
        remotes = self._remotes() if named else {}
        for (server, ident, nat_port), sessions in named.items():
            if (server, nat_port) in ways:
                client, port = ways[server, nat_port]
                self._handle(l2tp.Found(server=server, client=client, port=port, remote=remotes.get((client, port, server), PORT),
                                        nat=nat_port, tunnel=ident, sessions=tuple(sessions)))

    def forget_pair(self, client: bytes, server: bytes) -> None:
        """The tunnels of a client with a server are no more, and nor are their flows. Raises NetlinkError."""
        known = self.engine.servers.get(server)
        for port in {tunnel.port for tunnel in known.tunnels.values() if tunnel.client == client} if known is not None else ():
            for _ in range(len(RETRIES) + 1):
                self._do(l2tp.Located(server=server, client=client, port=port, nat=None))
        gone = [way for way, owner in self._rows("l2tp_way", 4, 2) if way[0] == server and owner[:4] == client]
        for way, nat in gone:
            self._write([l2tp.Remove(keys=(("l2tp_ports", way, _number(nat)), ("l2tp_way", way, _number(nat))))])

    def next_deadline(self) -> float | None:
        """When `tick` is due, by our clock."""
        return self.engine.next_deadline()

    def tick(self) -> None:
        """The engine's deadline has come, or not yet."""
        self._handle(l2tp.Tick())

    def on_notice(self, notice: LogPacket, packet: Ipv4) -> None:
        """A packet that the L2TP rules logged."""
        udp = parse_udp(packet.payload)
        event = self._event(notice, packet, udp) if udp is not None else None
        if event is not None:
            self._handle(event)

    def _event(self, notice: LogPacket, packet: Ipv4, udp: Udp) -> l2tp.Event | None:
        if notice.prefix == notices.L2TP_MOVED:
            return l2tp.Moved(server=packet.src, nat=udp.dport, remote=udp.sport)
        message = wire.parse_l2tp_udp(udp.payload)
        if message is None or message.version != 2 or message.tunnel is None or message.session is None:
            return None
        if notice.prefix in (notices.L2TP_HELD, notices.L2TP_PASSED):
            return l2tp.Unclear(server=packet.src, tunnel=message.tunnel, session=message.session, message=message.message,
                                peer=message.assigned_tunnel, nat=udp.dport, passed=notice.prefix == notices.L2TP_PASSED,
                                packet=notice.payload)
        if message.message == wire.STOPCCN and packet.src in self.engine.servers:
            return l2tp.Stopped(server=packet.src, client=b"", port=udp.dport, tunnel=message.tunnel, peer=message.assigned_tunnel or 0)
        assigned = message.assigned_tunnel
        if message.message == wire.SCCRQ and assigned:
            return l2tp.Requested(server=packet.dst, client=packet.src, port=udp.sport, remote=udp.dport, tunnel=assigned)
        if message.message == wire.STOPCCN and assigned:
            return l2tp.Stopped(server=packet.dst, client=packet.src, port=udp.sport, tunnel=assigned, peer=message.tunnel)
        if message.message == wire.SCCCN or (message.message in _OPENS and message.assigned_session):
            return l2tp.Opened(server=packet.dst, client=packet.src, port=udp.sport, peer=message.tunnel,
                               session=message.assigned_session or 0)
        return None

    def _handle(self, event: l2tp.Event) -> None:
        try:
            self._do(event)
        except NetlinkError as error:
            # The tables may just have been deleted: they come back.
            self._log.warning("KERNEL", "L2TP tunnels could not be put into the kernel: {problem}", problem=error.strerror)

    def _do(self, event: l2tp.Event) -> None:
        events = [event]
        while events:
            actions = self.engine.handle(events.pop(), self._clock())
            self._write([action for action in actions if isinstance(action, (l2tp.Put, l2tp.Remove))])
            for action in actions:
                if isinstance(action, l2tp.Locate):
                    events.append(l2tp.Located(server=action.server, client=action.client, port=action.port, nat=self._locate(action)))
                elif isinstance(action, l2tp.Deliver):
                    for port in action.ports:
                        self._injector.send_to_port(action.packet, port)
                elif isinstance(action, l2tp.Say):
                    clients = ", ".join(sorted(map(socket.inet_ntoa, action.clients)))
                    server = socket.inet_ntoa(action.server)
                    self._log.write(action.level, action.code, "{clients} with L2TP server {server}: {what}", clients=clients,
                                    server=server, what=action.text)

    def _locate(self, action: l2tp.Locate) -> int | None:
        """The flow may have begun on either side; only a translated one counts."""
        flow = get_flow(self._sock, IPV4, conntrack.Tuple(action.client, action.server, UDP, action.port, action.remote))
        if flow is None or flow.reply is None:
            return None
        outer = flow.reply if flow.orig.src == action.client else flow.orig
        return outer.dport if outer.dst != action.client else None

    def _remotes(self) -> dict[tuple[bytes, int | None, bytes], int]:
        """(source, its port, destination) to the other port, of all UDP flows in both directions."""
        found = {}
        for flow in dump_conntrack(self._sock, IPV4, UDP):
            for way in (flow.orig, flow.reply):
                if way is not None and way.dport is not None:
                    found[way.src, way.sport, way.dst] = way.dport
        return found

    def _rows(self, name: str, *sizes: int) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """The elements of a map: the fields of the key, and the value."""
        for element in dump_elements(self._sock, IPV4, TABLE, name):
            fields = unpack_key(element.key, *sizes)
            if fields is not None and element.data is not None:
                yield fields, element.data

    def _write(self, actions: list[l2tp.Put | l2tp.Remove]) -> None:
        """What goes and what comes, in one transaction where the kernel can delete what may not be there (Linux 6.3)."""
        puts = {action.key: action.value for action in actions if isinstance(action, l2tp.Put)}
        gone = [key for action in actions if isinstance(action, l2tp.Remove) for key in action.keys]
        requests: list[bytes] = []
        if (gone or puts) and self._sock.can_destroy is None:
            # The first deletion tells whether the kernel knows NFT_MSG_DESTROYSETELEM.
            delete_elements(self._sock, IPV4, TABLE, "l2tp_shared", [bytes(8)])
        for attempt in range(ATTEMPTS):
            requests.clear()
            for key in dict.fromkeys([*gone, *puts]):
                if self._sock.can_destroy:
                    requests += nftables.delete_elements(IPV4, TABLE, key[0], [_packed(key[1:])], destroy=True)
                else:
                    delete_elements(self._sock, IPV4, TABLE, key[0], [_packed(key[1:])])
            for key, value in puts.items():
                requests += nftables.add_elements(IPV4, TABLE, key[0], [Element(_packed(key[1:]), _packed(value) if value else None)])
            try:
                if requests:
                    self._sock.transaction(requests)
                return
            except NetlinkError as error:
                # A packet may have put one of them back, with another value, between its deletion and now.
                if error.errno != EEXIST or attempt == ATTEMPTS - 1:
                    raise


def _packed(fields: tuple[bytes | int, ...]) -> bytes:
    """A key or value: addresses as they are, ports and IDs as on the wire."""
    return pack_key(*(field if isinstance(field, bytes) else field.to_bytes(2, "big") for field in fields))


def _number(data: bytes) -> int:
    """A port or an ID; a single value comes padded to 4 bytes or not."""
    return int.from_bytes(data[:2], "big")
