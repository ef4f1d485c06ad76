# SPDX-License-Identifier: GPL-2.0-or-later
"""Feeds the table of sessions: conntrack's events as they come, dumps only when somebody asks or events were lost.

The kernel passes on only events of flows that may be VPNs (wire/bpf.py), so that at rest, and while the router does other things, nothing
wakes us. Sockets and /proc are here; what it means is in sessions/table.py and sessions/classify.py.
"""
from __future__ import annotations

import contextlib
import errno
import time
from collections import deque

from ..kernel.maps import Learned as Maps
from ..kernel.netfilter import Netlink, NetlinkError, Overrun, attach_largest, delete_flow, first_flows
from ..model import Said
from ..router.addresses import Networks, Silent, local_addresses
from ..router.hosts import hosts
from ..ruleset import FAMILIES, refused_set
from ..ruleset import notices as prefixes
from ..sessions.classify import entry_of
from ..sessions.table import Learned, Refusal, Sessions, text_of
from ..wire import conntrack as ct
from ..wire import nftables
from ..wire.ike import parse_ike
from ..wire.ip import parse_ipv4, parse_udp
from ..wire.l2tp import parse_l2tp_udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..model import Config
    from ..sessions.table import Change, Entry, Key, Session
    from ..wire.nflog import LogPacket
    from .apply import Service
    from .log import Log

    Place = tuple[int, int, int | None, int | None]

ACCOUNTING = "/proc/sys/net/netfilter/nf_conntrack_acct"
TIMEOUTS = "/proc/sys/net/netfilter/nf_conntrack_"
ATTEMPTS = 64
"""Calls that were answered by a reset: how many are remembered."""
STORM = 2000
"""Events within STORM_SECONDS (or lost ones) at which we stop listening for a while: the engine must have its turn."""
STORM_SECONDS, PAUSE = 2.0, 10.0
FRESH = 60.0
"""Seconds that a key's last use may be older than the kernel's fast path remembers, for the key still to be one in use."""
PAIRS_MAX, IDS_MAX = 256, 8
"""Pairs that speak L2TP version 3 over UDP, and IDs of one, that are remembered."""
LOOKED_AT = 4096
"""Flows that are looked at when somebody asks: a table full of made-up ones must not hold everything up."""
RETURNS = 60.0
"""Seconds in which a client whose session was ended may come back as if nothing had been; then it is counted among a server's no more."""
PPTP_GRE, PPTP_GRE_STREAM = 600, 18000  # seconds, net/netfilter/nf_conntrack_pptp.c
_PROTOCOLS = (ct.ESP, ct.AH, ct.GRE, ct.L2TP)


class SessionsFeed:
    """`tell` hears of sessions that begin and end; `later` is told what is due in how many seconds: sessions (`listen`), housekeeping."""

    def __init__(self, service: Service, log: Log, tell: Callable[[dict[str, str]], None], later: Callable[[str, float], None]) -> None:
        self.sessions = Sessions(Silent())
        self.events: Netlink | None = None
        self.hosts = hosts(service.config_dir)
        self._service, self._log, self._tell, self._later = service, log, tell, later
        self._ask = Netlink()
        self._maps = Maps(self._ask)
        self._quiet_until = 0.0
        self._burst = (0.0, 0)
        self._filtered = True  # are other protocols' events kept from us?
        self._local: set[bytes] = set()
        self._lan: Callable[[bytes], bool] = Networks(())
        self.attempts: deque[tuple[float, str, bytes, bytes, int]] = deque(maxlen=ATTEMPTS)
        self.entry_of: Callable[..., Entry | None] = entry_of  # of counted flows; without `last` of one that has ended
        self._version3: dict[tuple[bytes, bytes], list[int]] = {}

    # listening

    def listen(self) -> None:
        """Begins anew, as the configuration in force says; what is there is read at once."""
        self._drain()
        self.close()
        config, now = self._service.config, time.monotonic()
        if config is None or not config.general.enabled:
            return
        if now < self._quiet_until:
            self._later("sessions", self._quiet_until - now)
            return
        self._enable_accounting()
        try:
            self.events = Netlink([], receive_buffer=1 << 19)
            self._filtered = attach_largest(self.events, _PROTOCOLS, *_ports(config)) > 0
            if not self._filtered:
                self._log.info("SESSIONS", "the kernel takes no socket filter: the events of all connections are looked at")
            for group in (ct.GROUP_NEW, ct.GROUP_UPDATE, ct.GROUP_DESTROY):
                self.events.subscribe(group)
            self.refresh(whole=True, quietly=not self.sessions.live)
        except NetlinkError as error:
            # EINVAL: nfnetlink knows no conntrack; EPROTONOSUPPORT: the kernel knows no nfnetlink at all.
            missing = error.errno in (errno.EINVAL, errno.EPROTONOSUPPORT)
            self._log.warning("SESSIONS", "sessions can't be seen: {problem} (is kmod-nf-conntrack-netlink installed?)" if missing
                              else "sessions can't be seen: {problem}", problem=error.strerror)
            self.close()

    def close(self) -> None:
        """Listens no more."""
        if self.events is not None:
            self.events.close()
            self.events = None

    def on_ready(self) -> bool:
        """What has arrived. False: we listen no more, for now."""
        return self._drain()[2]

    def _drain(self) -> tuple[set[int], set[int], bool]:
        """Takes all events: numbers of flows that were destroyed, and of those that were seen; False if we had to stop."""
        gone: set[int] = set()
        seen: set[int] = set()
        config, sock = self._service.config, self.events
        while config is not None and sock is not None:
            found = sock.receive(256)
            now = time.time()
            lost = False
            for message in found:
                if isinstance(message, Overrun):
                    lost = True
                    continue
                event = ct.decode(message)
                if event is None or event.flow.ident is None:
                    continue
                if event.kind == "destroy":
                    gone.add(event.flow.ident)
                    entry = self.entry_of(config, event.flow, self._local, self._lan)
                    self._changed(self.sessions.gone(event.flow.ident, now, self._reason(message.pid, event.flow.ident), entry))
                    if entry is not None and not message.pid:
                        self._note_refusal(entry, event.flow, now)
                else:
                    seen.add(event.flow.ident)
                    self._on_flow(config, event.flow, now, new=event.kind == "new")
            if not self._bearable(STORM if lost else len(found)):
                return gone, seen, False
            if len(found) < 256:
                break
        return gone, seen, True

    def _reason(self, port: int, ident: int) -> str:
        """Why a flow was destroyed. port: of whose request it was, 0 where the kernel let it go."""
        if port == self._service.port:
            return "blocked" if ident in self._service.cutter.cut else "deleted"
        return {0: "timeout", self._ask.port: "killed"}.get(port, "deleted")

    def _on_flow(self, config: Config, flow: ct.Flow, now: float, *, new: bool) -> None:
        entry = entry_of(config, flow, self._local, self._lan, now)
        if entry is None:
            return
        if not any(entry.counts) and not new:
            # An update carries no counters: what is known of them stays.
            known = self.sessions.live.get(entry.key)
            if known is not None and entry.ident in known.flows:
                entry.counts = known.flows[entry.ident].counts
        entry.counted = True  # events say nothing of it
        entry.place = next((place for place in _places(config) if _is_at(flow, place)), None)
        self._changed(self.sessions.flow(entry, now))

    def _note_refusal(self, entry: Entry, flow: ct.Flow, now: float) -> None:
        """A call that was answered by a reset: conntrack lets go of it at once, with most of its time left (nf_conntrack_tcp_packet())."""
        if flow.orig.proto == ct.TCP and not entry.answered and (flow.timeout_s or 0) > 1:
            self.attempts.append((now, entry.protocol, entry.client, entry.server, flow.orig.dport or 0))

    def _bearable(self, events: int) -> bool:
        now = time.monotonic()
        began, count = self._burst
        self._burst = (began, count + events) if now - began < STORM_SECONDS else (now, events)
        if self._burst[1] < STORM:
            return True
        what = Said("flows of VPN protocols") if self._filtered else Said("connections, of whatever protocol,")
        self._log.warning("SESSIONS", "more {what} begin and end than can be looked at: their beginnings and ends are told again in "
                                      "{seconds} s", what=what, seconds=int(PAUSE))
        self._quiet_until = now + PAUSE
        self._later("sessions", PAUSE)
        return False

    def _changed(self, changes: Iterable[Change]) -> None:
        for change in changes:
            protocol, client, server = change.session.key
            self._service.used(protocol)
            told = {"event": change.event, "protocol": protocol, "client": text_of(client), "server": text_of(server),
                    "id": change.session.ident}
            self._tell({**told, "reason": change.reason} if change.reason else told)

    def on_notices(self, batch: Iterable[LogPacket]) -> None:
        """Packets that the rules logged, in their order."""
        for notice in batch:
            self.on_notice(notice)

    def on_notice(self, notice: LogPacket) -> None:
        """What the rules log of IKE tells of rekeying, of L2TP its version."""
        if notice.prefix not in (prefixes.EXCHANGE, prefixes.LEARNED, prefixes.L2TP):
            return
        packet = parse_ipv4(notice.payload)
        udp = parse_udp(packet.payload) if packet is not None else None
        if packet is None or udp is None:
            return
        if notice.prefix == prefixes.L2TP:
            self._on_l2tp(packet.src, packet.dst, udp.payload)
            return
        ike = parse_ike(udp.payload)
        if ike is None:
            return
        client, server = packet.src, packet.dst
        owner = self._service.tracker.client_of(packet.ident) or packet.src
        if ("ipsec", client, server) not in self.sessions.live and owner != packet.src:
            client, server = owner, packet.src
        self.sessions.ike(client, server, time.time(), ike.version, makes_sas=notice.prefix == prefixes.EXCHANGE)

    def _on_l2tp(self, client: bytes, server: bytes, payload: bytes) -> None:
        """Version 3 over UDP has control connection IDs where version 2 has tunnel IDs (RFC 3931 4.1.2).

        When all tunnels of a pair were ended, its flow lives on for a while, and may carry another one.
        """
        message = parse_l2tp_udp(payload)
        if message is None or message.version != 3:
            for name, state in self._service.tracker.l2tp.engine.servers.items():
                if name in (client, server):
                    living = {tunnel.client for tunnel in state.tunnels.values() if tunnel.ends is None}
                    for whose in {tunnel.client for tunnel in state.tunnels.values()}:
                        self.sessions.mark(("l2tp", whose, name), "" if whose in living else "closed")
            return
        own = self._version3.setdefault((client, server), [])
        own += [ident for ident in (message.assigned_tunnel, message.tunnel) if ident and ident not in own]
        del own[:-IDS_MAX]
        while len(self._version3) > PAIRS_MAX:
            del self._version3[next(iter(self._version3))]

    # asking

    def refresh(self, *, whole: bool = False, quietly: bool = False) -> None:
        """Looks at all flows again. whole: also where events told of none. quietly: nobody is told what is new. Raises NetlinkError."""
        config = self._service.config
        if config is None or not config.general.enabled or self._service.devices is None:
            self._changed(self.sessions.only((), time.time()))
            return
        self._local, self._lan = local_addresses(), Networks(self._service.devices.lan)
        self._drain()
        known = None if whole or self.events is None else self.sessions.places()
        places = [place for place in _places(config) if known is None or place in known]
        entries = self._entries(config, places, LOOKED_AT)
        more = len(entries) >= LOOKED_AT
        gone, seen, _ = self._drain()
        changes = self.sessions.only([entry for ident, entry in entries.items() if ident not in gone], time.time(), also=seen,
                                     more=more)
        if not quietly:
            self._changed(changes)
        for protocol in {key[0] for key in self.sessions.live}:
            self._service.used(protocol)

    def _entries(self, config: Config, places: Iterable[Place], limit: int,
                 show: Callable[[ct.Flow, Entry], None] = lambda *_: None) -> dict[int, Entry]:
        """The flows at these places that are sessions', so many at most; the kernel chooses them (Linux 5.8), others cost nothing.

        It walks through its table once for each place, so only those should be asked for where there is something. show: is shown each.
        """
        now, timeouts = time.time(), _Timeouts()
        found: dict[int, Entry] = {}

        def made(flow: ct.Flow) -> Entry | None:
            entry = self.entry_of(config, flow, self._local, self._lan, timeouts.last(flow, now))
            if entry is not None:
                show(flow, entry)
            return entry

        for place in places:
            if len(found) >= limit:
                break
            for entry in first_flows(limit - len(found), made, *place):
                entry.place = place
                found[entry.ident] = entry
        return found

    def snapshot(self) -> dict[str, Any]:
        """The answer to `sessions`. Raises NetlinkError."""
        self.refresh()
        self.learn()
        self.hosts.read()
        return self.sessions.snapshot(time.time(), self.hosts.name, self.hosts.mac)

    def learn(self) -> None:
        """What sessions are called on the wire, and what was refused."""
        found: dict[Key, Learned] = {}
        config = self._service.config
        with contextlib.suppress(NetlinkError):  # the tables may just have been deleted: they come back
            if config is not None and config.shares_servers and self.sessions.count("ipsec"):
                self._learn_ipsec(found, FRESH + config.general.fast_timeout, config.general.key_timeout)
        self._learn_l2tp(found)
        self.sessions.learn(found, time.time())
        self.sessions.refuse(self._refusals(config) if config is not None else (), time.time())

    def _learn_ipsec(self, found: dict[Key, Learned], fresh: float, timeout: float) -> None:
        clients = {zone: client for client, zone in self._maps.zones().items()}
        copied = {element.key: element.counted for element in self._maps.counted(ct.AF_INET, "copied") if element.counted}
        inbound = [(server, clients[zone], spi) for server, zone, spi in _in_use(self._maps.inbound(timeout), fresh) if zone in clients]
        for (server, spi), owners in self._maps.fans().items():
            for client in (known := {*owners} - {b""}):
                inbound.append((server, client, spi))
                found.setdefault(("ipsec", client, server), Learned()).shared_with |= known - {client}
        for server, client, spi in inbound:
            learned = found.setdefault(("ipsec", client, server), Learned())
            learned.spis_in += (spi,)
            packets, octets = copied.get(server + spi, (0, 0))
            learned.copied = (learned.copied[0] + packets, learned.copied[1] + octets)
        for server, zone, cookie in _in_use(self._maps.zoned("cookie_zone", 8, timeout), fresh):
            if zone in clients:
                found.setdefault(("ipsec", clients[zone], server), Learned()).cookies += (cookie,)
        for client, server, spi in _in_use(self._maps.outbound(timeout), fresh):
            found.setdefault(("ipsec", client, server), Learned()).spis_out += (spi,)
        for server, zone in self._maps.all_waiting():
            if zone in clients:
                found.setdefault(("ipsec", clients[zone], server), Learned()).waiting = True

    def _learn_l2tp(self, found: dict[Key, Learned]) -> None:
        for server, state in self._service.tracker.l2tp.engine.servers.items():
            for tunnel in state.tunnels.values():
                if not tunnel.over:
                    learned = found.setdefault(("l2tp", tunnel.client, server), Learned())
                    learned.tunnel_ids += tuple(ident for ident in (tunnel.ident, tunnel.peer) if ident)
                    learned.session_ids += tuple(tunnel.sessions)

        for (client, server), idents in self._version3.items():
            learned = found.setdefault(("l2tp", client, server), Learned())
            learned.version, learned.tunnel_ids = "L2TPv3", tuple(idents)

    def _refusals(self, config: Config) -> Iterator[Refusal]:
        now = time.time()
        for family, size in zip(FAMILIES, (4, 16), strict=True):
            for name in config.protocols:
                try:
                    elements = self._maps.counted(ct.AF_INET if family == "ip" else ct.AF_INET6, refused_set(name))
                except NetlinkError:
                    continue  # nothing of this protocol is refused in this family
                for element in elements:
                    fields = nftables.unpack_key(element.key, size, size)
                    if fields and element.counted:
                        age = ((element.timeout_ms or 0) - (element.expires_ms or 0)) / 1000 if element.timeout_ms else 0.0
                        yield Refusal(name, fields[0], fields[1], *element.counted, now - age)

    # ending

    def kill(self, chosen: Callable[[Session], bool], reason: str = "killed") -> int:
        """Ends sessions: how many. Raises NetlinkError."""
        self.refresh()
        config = self._service.config
        if config is None:
            return 0
        keys = {session.key: session for session in self.sessions.live.values() if chosen(session)}
        for key in keys:
            self.sessions.mark(key, reason)
        own = {flow.place for session in keys.values() for flow in session.flows.values()}
        flows: list[ct.Flow] = []
        self._entries(config, [place for place in _places(config) if place in own], 1 << 20,
                      lambda flow, entry: flows.append(flow) if entry.key in keys else None)
        for flow in flows:
            delete_flow(self._ask, flow)
        for protocol, client, server in keys:
            if len(client) == 4:
                self._service.tracker.forget_pair(protocol, client, server)
                self._later("housekeeping", RETURNS)
        self._drain()
        self.refresh()
        return len(keys)

    def _enable_accounting(self) -> None:
        try:
            with open(ACCOUNTING, encoding="ascii") as file:
                if file.read().strip() != "0":
                    return
            with open(ACCOUNTING, "w", encoding="ascii") as file:
                file.write("1")
        except OSError:
            return  # not ours to change, or no conntrack yet: sessions are shown without their bytes
        self._log.info("ACCOUNTING", "conntrack counts packets and bytes from now on (net.netfilter.nf_conntrack_acct)")


class _Timeouts:
    """When a packet of a flow passed: conntrack gives it the same time to live again at each one."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def last(self, flow: ct.Flow, now: float) -> float:
        """Seconds of the epoch; 0.0 if it can't be told."""
        left = flow.timeout_s
        if left is None or flow.status & ct.OFFLOAD:
            return 0.0
        assured = bool(flow.status & ct.ASSURED)
        whole: tuple[int, ...]
        if flow.orig.proto == ct.UDP:
            whole = (self._seconds("udp_timeout_stream" if assured else "udp_timeout"),)
        elif flow.orig.proto == ct.TCP:
            whole = (self._seconds("tcp_timeout_unacknowledged"), self._seconds("tcp_timeout_established")) if flow.tcp_state == 3 else ()
        elif flow.orig.proto == ct.GRE:
            whole = (self._seconds("gre_timeout_stream"), PPTP_GRE_STREAM) if assured else (self._seconds("gre_timeout"), PPTP_GRE)
        else:
            whole = (self._seconds("generic_timeout"),)
        fits = [seconds for seconds in sorted(whole) if seconds >= left]
        return now - (fits[0] - left) if fits else 0.0

    def _seconds(self, name: str) -> int:
        if name not in self._known:
            self._known[name] = 0
            with contextlib.suppress(OSError, ValueError), open(TIMEOUTS + name, encoding="ascii") as file:
                self._known[name] = int(file.read())
        return self._known[name]


def _ports(config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ports of VPN servers: of UDP, of TCP (protocol_of in sessions/classify.py)."""
    own = {name: protocol.ports for name, protocol in config.protocols.items()}
    udp = (500, *own["ipsec"], *own["l2tp"], *own["openvpn"], *own["wireguard"])
    return tuple(dict.fromkeys(udp)), tuple(dict.fromkeys((*own["pptp"], *own["openvpn"], 4500)))


def _places(config: Config) -> Iterator[Place]:
    """Where flows that may be VPNs are, as `dump_conntrack` wants it."""
    udp, tcp = _ports(config)
    for family in (ct.AF_INET, ct.AF_INET6):
        yield from ((family, proto, None, None) for proto in _PROTOCOLS)
        yield from ((family, ct.UDP, None, port) for port in udp)
        yield from ((family, ct.UDP, port, None) for port in config.protocols["l2tp"].ports)
        yield from ((family, ct.TCP, None, port) for port in tcp)


def _is_at(flow: ct.Flow, place: Place) -> bool:
    family, proto, sport, dport = place
    return (flow.family, flow.orig.proto) == (family, proto) and sport in (None, flow.orig.sport) and dport in (None, flow.orig.dport)


def _in_use(rows: Iterable[tuple[Any, Any, bytes, float]], fresh: float) -> list[tuple[Any, Any, bytes]]:
    """Keys of each pair, the last used first: those used so lately that they must still be in use, or at least the last one."""
    best: dict[tuple[Any, Any], list[tuple[float, bytes]]] = {}
    for one, other, key, age in rows:
        best.setdefault((one, other), []).append((age, key))
    found = []
    for (one, other), keys in best.items():
        keys.sort()
        found += [(one, other, key) for age, key in keys if age <= max(fresh, keys[0][0])]
    return found
