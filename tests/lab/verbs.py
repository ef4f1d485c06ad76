# SPDX-License-Identifier: GPL-2.0-or-later
"""What the steps of a scenario can do. Each `do_*` takes a step's arguments and answers with named results.

Results: a word ('up', 'arrived', ...), a number, or a Tally of packets. None: the step has no meaning on this router.
"""
from __future__ import annotations

import json
import random
import signal
import socket
from typing import TYPE_CHECKING, Any

from tests.lab import crafted
from tests.lab.ailments import Ailments
from tests.lab.disturbances import Disturbances
from tests.lab.peers.ledger import invariant
from tests.lab.tunnels import KINDS, IpsecTunnel, Peers, PptpTunnel, Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.lab.host import Host
    from tests.lab.packets import Captured
    from tests.lab.topology import Lab

# Words that mean success, for results a scenario does not mention.
GOOD = {"up", "done", "answered", "arrived", "connected", "back", "found", "ended"}
Results = dict[str, Any]


class Stage(Disturbances, Ailments):
    """A lab with the tunnels of one scenario."""

    def __init__(self, lab: Lab, tunnel: dict[str, Any], server: dict[str, Any], uci: Callable[[Any], str],
                 seed: int = 0) -> None:
        self.lab = lab
        self.stock = lab.mode == "stock"
        self.peers = Peers(lab, server)
        self.tunnels: dict[str, Tunnel] = {}
        self.diagnoses = []
        self._defaults = tunnel
        self._uci = uci
        self._random = random.Random(seed)
        self._heard = {}
        # What a stock router does not deliver at once it never will; the daemon may hold a packet until it knows.
        # Hundreds of clients get tens of thousands of copies, on a machine that may be busy.
        self.patience = 0.15 if self.stock else 8.0 if len(self.lab.clients) < 100 else 40.0

    def do(self, verb: str, arguments: Any) -> Results | None:
        """Runs one step."""
        method = getattr(self, f"do_{verb}")
        if isinstance(arguments, dict):
            return method(**{("source" if key == "from" else key): value for key, value in arguments.items()})
        if arguments is None:
            return method()
        return method(*arguments) if verb == "doctor" and isinstance(arguments, list) else method(arguments)

    def _chosen(self, who: Any) -> list[Tunnel]:
        return list(self.tunnels.values()) if who is None else [self.tunnels[name] for name in _names(who)]

    def _wait(self, conditions: dict[str, Callable[[], Any]], good: str) -> Results:
        self.lab.pump.run(lambda: all(condition() for condition in conditions.values()), self.patience)
        return {name: good if condition() else "failed" for name, condition in conditions.items()}

    def _settle(self, pairs: Iterable[tuple[Host, Host]]) -> None:
        for client, server in dict.fromkeys(pairs):
            self.lab.barrier(client, server)

    # tunnels

    def do_up(self, who: Any, to: str = "s1", together: bool = False, name: str = "", **options: Any) -> Results:
        """Brings up tunnels, one after the other or (together) all at once. Results: client: up | failed."""
        options = {**self._defaults, **options}
        kind = options.pop("kind", "ipsec")
        tunnels = []
        for client in _names(who):
            label = name or client
            self.tunnels[label] = KINDS[kind](label, self.lab.host(client), self.lab.host(to), self.peers, **options)
            tunnels.append(self.tunnels[label])
        results = {}
        if together:
            for tunnel in tunnels:
                tunnel.start()
            return self._wait({tunnel.name: tunnel.up for tunnel in tunnels}, "up")
        for tunnel in tunnels:
            tunnel.start()
            results |= self._wait({tunnel.name: tunnel.up}, "up")
        return results

    def do_traffic(self, who: Any = None, out: int = 2, back: int = 2, first: str = "out", size: int = 64,
                   shuffle: bool = False) -> Results:
        """Sends data: `out` packets from each client, `back` from the server, the `first` way first; clients take turns.

        shuffle: in each round the clients of either way come in an order of its own, from the scenario's seed.

        Results: tunnel: Tally of both ways; tunnel.out, tunnel.back; copies (to other hosts), wrong (only to others).
        """
        mark = self.lab.ledger.mark()
        tunnels = self._chosen(who)
        for number in range(max(out, back)):
            for way in (first, "back" if first == "out" else "out"):
                for tunnel in self._random.sample(tunnels, len(tunnels)) if shuffle else tunnels:
                    if number < (out if way == "out" else back):
                        tunnel.send(way == "out", size)
                        self.lab.pump.drain()
        return self._received(tunnels, mark)

    def do_stream(self, who: Any = None, seconds: float = 1.0, every: float = 0.05, size: int = 64,
                  meanwhile: str = "") -> Results:
        """Sends one packet each way on each tunnel every so many seconds, for a time. Results as of `traffic`.

        meanwhile: 'reload' or 'restart' of fw4 over and over while packets pass; `loads` says how often.
        """
        mark = self.lab.ledger.mark()
        tunnels = self._chosen(who)
        loading, loads = None, 0
        for _ in range(round(seconds / every)):
            if meanwhile and (loading is None or loading.poll() is not None):
                loading = self.lab.router.spawn("nft", "-f", f"{self.lab.router.directory}/{meanwhile}.nft")
                loads += 1
            for tunnel in tunnels:
                tunnel.send(True, size)
                tunnel.send(False, size)
            self.lab.pump.run_for(every)
        if loading:
            loading.wait(10)
        return self._received(tunnels, mark) | ({"loads": loads} if meanwhile else {})

    def _received(self, tunnels: list[Tunnel], mark: int) -> Results:
        """What became of the packets since a mark in the ledger, by tunnel."""
        self._settle((tunnel.client, tunnel.server) for tunnel in tunnels)
        arrived = self.lab.ledger.tally(mark)
        before = arrived.delivered, arrived.copies
        # A busy machine takes long for thousands of copies: as long as any arrive, the last one may be yet to come.
        while not self.lab.pump.run(lambda: not self.lab.ledger.tally(mark).lost, 0 if self.stock else self.patience):
            arrived = self.lab.ledger.tally(mark)
            if (arrived.delivered, arrived.copies) == before:
                break
            before = arrived.delivered, arrived.copies
        results: Results = {}
        for tunnel in tunnels:
            client, server = tunnel.client.name, tunnel.server.name
            outward = self.lab.ledger.tally(mark, source=client, owner=server)
            inward = self.lab.ledger.tally(mark, source=server, owner=client)
            results |= {tunnel.name: outward + inward, f"{tunnel.name}.out": outward, f"{tunnel.name}.back": inward}
        total = self.lab.ledger.tally(mark)
        return {**results, "copies": total.copies, "wrong": total.wrong}

    def do_rekey(self, who: Any = None, by: str = "client", what: str = "child", spi: int = 0) -> Results:
        """Replaces ESP SAs ('child') or the IKE SA ('ike', 'reauth': a new one from scratch). Results: tunnel: done | failed."""
        conditions = {}
        for tunnel in self._chosen(who):
            assert isinstance(tunnel, IpsecTunnel)
            endpoint, session = tunnel.by(by)
            if what == "child":
                count = len(session.children)
                endpoint.rekey_child(session, spi)
                conditions[tunnel.name] = lambda session=session, count=count, tunnel=tunnel: \
                    len(session.children) > count and tunnel.up()
                continue
            before = session.ike
            if what == "ike":
                endpoint.rekey_ike(session)
            else:
                endpoint.begin_ike(session)
            conditions[tunnel.name] = lambda session=session, before=before, tunnel=tunnel: \
                session.ike is not before and tunnel.ike_matches() and tunnel.up()
        return self._wait(conditions, "done")

    def do_drop_old(self, who: Any = None, by: str = "client") -> Results:
        """Deletes all but the newest ESP SAs on both sides."""
        conditions = {}
        for tunnel in self._chosen(who):
            assert isinstance(tunnel, IpsecTunnel)
            endpoint, session = tunnel.by(by)
            endpoint.drop_old(session)
            conditions[tunnel.name] = lambda tunnel=tunnel: \
                len(tunnel.session.children) == len(tunnel.server_session.children) == 1
        return self._wait(conditions, "done")

    def do_dpd(self, who: Any = None, by: str = "client", size: int = 0) -> Results:
        """Asks over IKE whether the peer lives. Results: tunnel: answered | failed."""
        conditions = {}
        for tunnel in self._chosen(who):
            assert isinstance(tunnel, IpsecTunnel)
            endpoint, session = tunnel.by(by)
            count = session.dpd_answers
            endpoint.dpd(session, size)
            conditions[tunnel.name] = lambda session=session, count=count: session.dpd_answers > count
        return self._wait(conditions, "answered")

    def do_ports(self, who: Any = None) -> Results:
        """The UDP port from which the server last heard IKE of each tunnel, 0 when never."""
        results = {}
        for tunnel in self._chosen(who):
            session = tunnel.theirs.sessions.get(tunnel.client.name)
            results[tunnel.name] = session.seen[-1] if session else 0
        return results

    def do_calls(self) -> Results:
        """The call IDs that a PPTP server sees: how many, and how many different ones."""
        calls = [tunnel.server_call for tunnel in self.tunnels.values() if isinstance(tunnel, PptpTunnel) and tunnel.up()]
        return {"calls": len(calls), "different": len({call.peer_call_id for call in calls})}

    def do_end(self, who: Any = None, how: str = "clear") -> Results:
        """Ends PPTP calls (clear, reset) or L2TP tunnels (stop). Results: tunnel: ended | failed."""
        conditions: dict[str, Callable[[], Any]] = {}
        for tunnel in self._chosen(who):
            if how == "stop":
                tunnel.ours.stop(tunnel.tunnel)
                conditions[tunnel.name] = lambda tunnel=tunnel: tunnel.theirs.tunnel_from(tunnel.client.name).ended
            elif how == "reset":
                theirs = tunnel.server_call.stream
                tunnel.call.stream.close(reset=True)
                conditions[tunnel.name] = lambda theirs=theirs: theirs.closed
            else:
                tunnel.ours.clear(tunnel.call)
                conditions[tunnel.name] = lambda tunnel=tunnel: tunnel.call.ended
        return self._wait(conditions, "ended")

    # single packets

    def do_probe(self, what: Any, source: str, to: str, ipv6: bool = False) -> Results:
        """Sends made-up packets of the kinds `what`; 'wan' as destination is the router's WAN address.

        Results: kind: arrived | changed (its integrity check fails) | dropped. On the way from WAN to LAN, 'arrived' means at
        any client.
        """
        results = {}
        sender = self.lab.host(source)
        for kind in [what] if isinstance(what, str) else what:
            target = None if to == "wan" else self.lab.host(to)
            address = self.lab.router.wan_address if target is None else target.address6 if ipv6 else target.address
            probe = crafted.probe(kind, sender.address6 if ipv6 else sender.address, address, self._call_id(kind))
            receivers = self.lab.clients if target is None else [target]
            seen: list[str] = []

            def arrived(probe: crafted.Probe = probe, receivers: list[Host] = receivers, seen: list[str] = seen) -> bool:
                seen[:] = [verdict for host in receivers for packet in host.packets if (verdict := probe.verdict(packet))]
                return bool(seen)

            sender.send_raw(probe.packet)
            clients = sender if sender in self.lab.clients else self.lab.clients[0]
            self._settle([(clients, sender if sender in self.lab.servers else self.lab.servers[0])])
            self.lab.pump.run(arrived, self.patience / 3)
            results[kind] = seen[0] if seen else "dropped"
        return results

    def _call_id(self, kind: str) -> int:
        calls = [tunnel.server_call for tunnel in self.tunnels.values() if isinstance(tunnel, PptpTunnel)]
        return calls[0].peer_call_id if kind == "gre" and calls else 7

    def do_icmp(self, about: str, who: str, sender: str = "isp", quote: str = "full", source: str = "") -> Results:
        """An ICMP error (fragmentation needed, Packet Too Big) about the last packet ('esp', 'ike', 'nat-t') of a tunnel.

        quote: 'full' or '8' (8 bytes of what follows the IP header). Results: how many errors each client got about it.
        """
        tunnel = self.tunnels[who]
        entries = self.lab.ledger.entries
        about_packet: Captured | None = None
        for packet in reversed(tunnel.server.packets):
            entry = entries.get(invariant(packet))
            if entry and entry.kind == about and entry.source == tunnel.client.name:
                about_packet = packet
                break
        if about_packet is None:
            return {client.name: 0 for client in self.lab.clients}
        origin = self.lab.host(sender)
        error = crafted.too_big(about_packet, origin.address6 if about_packet.version == 6 else origin.address, quote)
        marks = {client.name: len(client.packets) for client in self.lab.clients}
        (self.lab.host(source) if source else origin).send_raw(error)
        self._settle([(tunnel.client, tunnel.server)])
        self.lab.pump.run(lambda: any(client.received(crafted.is_too_big, marks[client.name]) for client in self.lab.clients),
                          self.patience / 3)
        return {client.name: sum(crafted.quotes(packet, client, tunnel.server)
                                 for packet in client.received(crafted.is_too_big, marks[client.name]))
                for client in self.lab.clients}

    def do_connect(self, source: str, to: str, port: int) -> Results:
        """A TCP connection. Results: tcp: connected | refused | timeout."""
        if port not in self.peers_ports(to):
            self.lab.host(to).listen(port, lambda stream: None)
        stream = self.lab.host(source).connect(self.lab.host(to).address, port)
        self.lab.pump.run(lambda: stream.connected or stream.closed, self.patience)
        result = "connected" if stream.connected else "refused" if stream.closed else "timeout"
        stream.close()
        return {"tcp": result}

    def peers_ports(self, host: str) -> set[int]:
        """TCP ports on which a host already listens."""
        listening = {item.getsockname()[1] for item in self.lab.host(host).sockets() if item.type == socket.SOCK_STREAM}
        return set(listening)

    # the router

    def do_forget(self, what: str = "all") -> Results:
        """The router's conntrack forgets everything, or all of one protocol ('udp', 'esp', 'gre'), as if time had passed."""
        if what == "all":
            self.lab.router.conntrack_flush()
        else:
            self.lab.router.conntrack_delete("-p", {"esp": "50", "gre": "47"}.get(what, what))
        return {}

    def do_sysctl(self, **values: Any) -> Results:
        """Sets those of the router below net.netfilter, so that time passes faster."""
        for name, value in values.items():
            self.lab.router.sysctl(f"net/netfilter/{name}", value)
        return {}

    def do_conntrack(self, match: str, becomes: int | None = None, within: float = 3.0) -> Results:
        """How many conntrack entries have a text in their line, after waiting until they become so many. Results: entries."""
        def count() -> int:
            return sum(match in line for line in self.lab.router.conntrack_list())
        if becomes is not None and self.stock:
            # There it does not: as long by the clock as on a fast machine, so that it does not end by its own timeout on a slow one.
            self.lab.pump.run(lambda: count() == becomes, within)
        elif becomes is not None:
            self.lab.router.wait_until(lambda: count() == becomes, within)
        return {"entries": count()}

    def do_fw4(self, what: str) -> Results:
        """reload, restart or flush, as OpenWrt's firewall does it."""
        getattr(self.lab.router, f"fw4_{what}")()
        return {}

    def do_recover(self, within: float = 1.0) -> Results | None:
        """Waits until vpnpt's tables are back. Results: tables: back | gone."""
        if self.stock:
            return None
        def back() -> bool:
            return "vpnpt" in self.lab.router.run("nft", "list", "tables").stdout
        return {"tables": "back" if self.lab.router.wait_until(back, within) else "gone"}

    def do_kill(self, how: str = "KILL") -> Results | None:
        """Ends the daemon by a signal."""
        if not self.stock:
            self.lab.router.kill_vpnpt(signal.Signals[f"SIG{how}"])
        return None

    def do_start(self) -> Results | None:
        """Starts the daemon again with the configuration that is there."""
        if not self.stock:
            self.lab.router.start_vpnpt((self.lab.router.config_dir / "vpnpt").read_text())
        return None

    def do_configure(self, config: Any = None, **sections: Any) -> Results | None:
        """Replaces the configuration and reloads."""
        if not self.stock:
            self.lab.router.write_config(self._uci(sections or config))
            self.lab.router.vpnpt("reload")
        return None

    def do_log(self, text: str) -> Results | None:
        """Waits for a text in the daemon's log. Results: text: found | missing."""
        if self.stock:
            return None
        found = self.lab.router.wait_until(lambda: text in self.lab.router.log_text(), self.patience)
        return {"text": "found" if found else "missing"}

    def do_status(self, *names: str, **queries: str) -> Results | None:
        """Values of `vpnpt status --json`, as name: path, with dots between the keys."""
        if self.stock:
            return None
        snapshot = json.loads(self.lab.router.vpnpt("status", "--json", check=False))
        results: Results = {}
        for name, path in queries.items():
            value: Any = snapshot
            for key in path.split("."):
                value = value.get(key, 0) if isinstance(value, dict) else 0
            results[name] = value
        return results


def _names(who: str | list[str]) -> list[str]:
    """Names from one, a list, or a range like 'c1..c32'."""
    if isinstance(who, list):
        return who
    first, dots, last = who.partition("..")
    return [f"c{number}" for number in range(int(first[1:]), int(last[1:]) + 1)] if dots else [who]
