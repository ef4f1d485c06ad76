# SPDX-License-Identifier: GPL-2.0-or-later
"""The ground truth: hosts behind the router, their tunnels, what they send and what the servers send. Knows nothing of the engine.

A host has one tunnel to one server; its SAs change with each rekey. Who sends what:
  request  asks now and then, in bouts; each question is answered by one packet or a few
  push     says nothing; the server sends when it likes, also first
  acked    the same, but the host confirms what it gets
  oneway   only the host sends, the server never does
  mixed    asks, and the server pushes too
  peer     asks another host of its server through both tunnels, which answers
Kinds of keys: ikev1 (quick mode), ikev2 (IKE_AUTH, CREATE_CHILD_SA), manual (none).
"""
from __future__ import annotations

import heapq
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from .run import Router

PROFILES = (("request", 0.78), ("mixed", 0.13), ("acked", 0.07), ("push", 0.01), ("oneway", 0.01))
KINDS = (("ikev2", 0.5), ("ikev1", 0.45), ("manual", 0.05))
SIZES = ((1, 3, 0.55), (4, 20, 0.35), (21, 300, 0.1))
"""Packets of an answer, from, to, and how often."""
LOGIN = 20
"""Questions of a host with short answers, at first."""
PACE = 0.001
"""Seconds between the packets of an answer."""
LATE = 0.03
"""Seconds by which a packet may be late that takes another way."""
DEAD_PEER = 150.0
"""Seconds after which a server gives up on a host that vanished."""
UNPAIRED = 600.0
"""Seconds after which the router forgets a host that vanished."""


class Site:
    """One server: its name, how far it is (seconds, one way), and its hosts."""

    def __init__(self, name: bytes, delay: float) -> None:
        self.name, self.delay = name, delay
        self.hosts: list[Host] = []
        self.inbound: list[bytes] = []


class Sa:
    """A pair of SPIs. inbound is chosen by the host, outbound by the server."""

    __slots__ = ("outbound", "inbound", "sequence")

    def __init__(self, outbound: bytes, inbound: bytes) -> None:
        self.outbound, self.inbound, self.sequence = outbound, inbound, 0


class Host:
    """An address with a tunnel. used: the SA that the host sends with; server_used: the one that the server sends with."""

    __slots__ = ("address", "site", "profile", "kind", "alive", "known", "used", "server_used", "cookie", "message", "rate", "partner",
                 "latest", "asked")

    def __init__(self, address: bytes, site: Site, profile: str, kind: str, rate: float) -> None:
        self.address, self.site, self.profile, self.kind, self.rate = address, site, profile, kind, rate
        self.alive = self.known = False
        self.used: Sa | None = None
        self.server_used: Sa | None = None
        self.cookie, self.message = b"", 0
        self.partner: Host | None = None
        self.asked, self.latest = 0, 0.0
        """When its last packet from the server arrived, or will."""


class World:
    """Discrete events, in the order of time; everything by chance comes from one seed."""

    def __init__(self, options: Namespace, router: Router) -> None:
        self.options, self.router = options, router
        self.random = Random(options.seed)
        self.now = 0.0
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.addresses = 0
        self.sas = self.equal = 0
        self.sites = self._sites()
        self.hosts: list[Host] = []
        self._populate()

    # time

    def at(self, when: float, what: Callable[..., None], *arguments: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (when, self.count, what, arguments))

    def run(self) -> None:
        end, heap = self.options.seconds, self.heap
        while heap:
            when, _, what, arguments = heapq.heappop(heap)
            if when > end:
                break
            self.router.until(when)
            self.now = when
            what(*arguments)
        self.router.until(end + 1)  # what is under way arrives

    # who there is

    def _sites(self) -> list[Site]:
        return [Site(b"\xcb\x00" + number.to_bytes(2, "big"), self.random.uniform(0.004, 0.08)) for number in range(self.options.servers)]

    def _pick(self, table: tuple[tuple[str, float], ...]) -> str:
        return self.random.choices([name for name, _ in table], [weight for _, weight in table])[0]

    def _new_host(self, site: Site, address: bytes | None = None) -> Host:
        if address is None:
            self.addresses += 1
            address = b"\x0a" + self.addresses.to_bytes(3, "big")
        profile = "peer" if self.random.random() < self.options.peers else self._pick(PROFILES)
        host = Host(address, site, profile, self._pick(KINDS), self.random.uniform(0.1, 1.0) * self.options.pace)
        site.hosts.append(host)
        self.hosts.append(host)
        return host

    def _populate(self) -> None:
        random, options = self.random, self.options
        large = max(options.concentrator, options.clients // 20) if options.clients > options.concentrator else options.clients // 2
        weights = [1 / (number + 2) ** 0.7 for number in range(options.servers)]
        sites = [self.sites[0]] * large + random.choices(self.sites, weights, k=options.clients - large)
        for site in sites:
            self._new_host(site)
        for site in self.sites:
            starting = list(site.hosts)
            random.shuffle(starting)
            # After a power cut all that is left starts within a second.
            burst = starting[:options.burst] if site is self.sites[0] else starting[:20] if random.random() < 0.3 else []
            moment = random.uniform(0.1, 0.3) * options.seconds
            for host in starting:
                self.at(moment + random.random() if host in burst else random.uniform(0, 0.5) * options.seconds, self.start, host)
            for host in site.hosts:
                if host.profile == "peer":
                    host.partner = random.choice(site.hosts)

    # tunnels

    def start(self, host: Host) -> None:
        host.alive = True
        host.cookie, host.message = self.random.randbytes(8), 0
        if host.kind != "manual":
            self.router.first_answer(host.site.name, self._way(host) + self._way(host) + self._computing() / 20, self.now)
        if host.kind == "manual":
            self._keyed(host, self._new_sa(host), self.now, self.now)
        elif host.kind == "ikev1":
            self.quick_mode(host, by_host=True)
        else:
            self.auth(host, 3 if self.random.random() < 0.1 else 1)
        if self.random.random() < self.options.churn:
            self.at(self.now + self.random.uniform(60, self.options.seconds), self.vanish, host)

    def vanish(self, host: Host) -> None:
        """The host is gone; another one may get its address and talk with the same server or another."""
        host.alive = False
        self.at(self.now + DEAD_PEER, self.give_up, host)
        if self.random.random() < 0.5:
            site = host.site if self.random.random() < 0.5 else self.random.choice(self.sites)
            self.at(self.now + self.random.uniform(5, 200), self.start, self._new_host(site, host.address))
        else:
            self.at(self.now + UNPAIRED, self._unpair, host)

    def give_up(self, host: Host) -> None:
        host.server_used = None

    def _unpair(self, host: Host) -> None:
        self.router.unpair(host.site.name, host.address, self.now)

    def _new_sa(self, host: Host) -> Sa:
        site, random = host.site, self.random
        inbound = random.randbytes(4)
        self.sas += 1
        if site.inbound and random.random() < self.options.same:
            inbound = random.choice(site.inbound)
            self.equal += 1
        site.inbound.append(inbound)
        del site.inbound[:-400]
        return Sa(random.randbytes(4), inbound)

    def _keyed(self, host: Host, sa: Sa, host_at: float, server_at: float) -> None:
        """From now on, and from the time that each end gets there, the new SA is used."""
        self.at(host_at, self._host_uses, host, sa)
        self.at(server_at, self._server_uses, host, sa)

    def _host_uses(self, host: Host, sa: Sa) -> None:
        if not host.alive:
            return
        host.used = sa
        if not host.known:
            host.known = True
            self._begin(host)
        if host.kind != "manual":
            self.at(self.now + self.random.uniform(0.5, 1.0) * self.options.rekey, self.rekey, host, sa)

    def _server_uses(self, host: Host, sa: Sa) -> None:
        if host.alive:
            host.server_used = sa

    def rekey(self, host: Host, sa: Sa) -> None:
        if not host.alive or host.used is not sa:
            return
        by_host = self.random.random() < 0.5
        if host.kind == "ikev1":
            self.quick_mode(host, by_host=by_host)
            return
        if self.random.random() < 0.25:
            # An IKE SA is rekeyed by the same exchange, and makes no ESP SA.
            self._child(host, by_host=not by_host, makes=False)
        self._child(host, by_host=by_host, makes=True)

    def _exchange(self, host: Host, when: float, *, outbound: bool, auth: bool = False, sure: bool = True) -> None:
        message = host.cookie + host.message.to_bytes(4, "big")
        self.at(when, self._ike, host, message, outbound, auth, sure)

    def _ike(self, host: Host, message: bytes, outbound: bool, auth: bool, sure: bool) -> None:
        if host.alive:
            self.router.ike(host.site.name, host.address, message, self.now, outbound=outbound, auth=auth, sure=sure)

    def _way(self, host: Host) -> float:
        """Seconds from router to server or back, this time."""
        random = self.random
        late = LATE if random.random() < self.options.reorder else 0.0
        return host.site.delay + random.expovariate(1 / self.options.jitter) + late

    def _computing(self) -> float:
        """Seconds for which a server thinks about an IKE exchange that makes SAs: Diffie-Hellman, signatures, RADIUS."""
        return self.random.uniform(0.5, 1.5) * self.options.computes

    def auth(self, host: Host, rounds: int) -> None:
        """IKE_AUTH; with EAP it takes several rounds for the one child."""
        when = self.now
        for _ in range(rounds):
            host.message += 1
            self._exchange(host, when, outbound=True, auth=True)
            server = when + self._way(host) + self._computing()
            when = server + self._way(host)
            self._exchange(host, when, outbound=False, auth=True)
            when += 0.001
        if self.random.random() > 0.01:
            self._keyed(host, self._new_sa(host), when, server)

    def _child(self, host: Host, *, by_host: bool, makes: bool) -> None:
        host.message += 1
        self._exchange(host, self.now, outbound=by_host, sure=False)
        if by_host:
            server = self.now + self._way(host) + self._computing()
            done = server + self._way(host)
            self._exchange(host, done, outbound=False, sure=False)
        else:
            done = self.now + 0.001
            self._exchange(host, done, outbound=True, sure=False)
            server = done + self._way(host)
        if makes:
            lazy = self.random.random() < 0.3
            self._keyed(host, self._new_sa(host), done + 0.001, server + (self.random.uniform(0, 2) if lazy else 0))

    def quick_mode(self, host: Host, *, by_host: bool) -> None:
        """Three messages; the responder may use its SA after the second already. Message IDs are random."""
        host.message = self.random.getrandbits(32)
        if by_host:
            self._exchange(host, self.now, outbound=True)
            server = self.now + self._way(host) + self._computing()
            done = server + self._way(host)
            self._exchange(host, done, outbound=False)
            self._exchange(host, done + 0.001, outbound=True)
            server_at = server if self.random.random() < 0.1 else done + self._way(host)
        else:
            self._exchange(host, self.now, outbound=False)
            self._exchange(host, self.now + 0.001, outbound=True)
            server_at = self.now + self._way(host)
            done = server_at + self._way(host)
            self._exchange(host, done, outbound=False)
        self._keyed(host, self._new_sa(host), done + 0.001, server_at)

    # traffic

    def _begin(self, host: Host) -> None:
        first = self.now + self.random.expovariate(1 / 0.2)
        if host.kind == "manual":
            self.at(self.now, self._send, host)
        if host.profile in ("push", "acked", "mixed"):
            quiet = self.random.random() < 0.1
            self.at(first + (self.random.uniform(5, 60) if quiet else 0), self._push, host, 20)
        if host.profile not in ("push", "acked"):
            self.at(first, self._ask, host, 20)

    def _next(self, host: Host, left: int) -> tuple[float, int]:
        """When a host (or its server) sends again: bouts with pauses between them."""
        if left > 0:
            return self.random.expovariate(host.rate), left - 1
        return self.random.expovariate(1 / self.options.idle), self.random.randint(5, 60)

    def _ask(self, host: Host, left: int) -> None:
        if not host.alive:
            return
        self._send(host)
        wait, left = self._next(host, left)
        self.at(self.now + wait, self._ask, host, left)

    def _push(self, host: Host, left: int) -> None:
        if host.server_used is None and not host.alive:
            return
        self._reply(host)
        wait, left = self._next(host, left)
        self.at(self.now + wait, self._push, host, left)

    def _send(self, host: Host) -> None:
        """A packet from the host, at the router now."""
        sa = host.used
        if sa is None:
            return
        self.router.esp_out(host.site.name, host.address, sa.outbound, self.now)
        if host.profile == "oneway" or self.random.random() < self.options.loss:
            return
        partner = host.partner
        if partner is not None and partner.alive:
            self.at(self.now + self._way(host), self._reply, partner, host)
            return
        slow = 0.3 if self.random.random() < 0.05 else 0.003
        self.at(self.now + self._way(host) + self.random.expovariate(1 / slow), self._answer, host, self._size(host))

    def _size(self, host: Host) -> int:
        """Packets of an answer: names, logging in, at first; then of a page, a file."""
        host.asked += 1
        sizes = SIZES if host.asked > LOGIN or self.options.bulk_at_once else SIZES[:1]
        low, high = self.random.choices(sizes, [weight for *_, weight in sizes])[0][:2]
        return self.random.randint(low, high)

    def _answer(self, host: Host, left: int, sent: int = 0) -> None:
        """The server sends the rest of an answer, a packet each PACE seconds; the host confirms every second one of a longer one."""
        sa = host.server_used
        if sa is None or not left:
            return
        if self.router.settled(host.site.name, host.address, sa.inbound, host.used.outbound if host.used else b""):
            # Nothing can come of it: counted at once.
            sa.sequence += left
            self.router.pass_by(left, left // 2)
            return
        self._reply(host, confirmed=sent % 2 == 1)
        self.at(self.now + PACE, self._answer, host, left - 1, sent + 1)

    def _reply(self, host: Host, asked_by: Host | None = None, *, confirmed: bool = False) -> None:
        """A packet from the server to the host. What is sent later arrives later, but for those that take another way."""
        sa = host.server_used
        if sa is None:
            return
        sa.sequence += 1
        if self.random.random() >= self.options.loss:
            when = self.now + host.site.delay + self.random.expovariate(1 / self.options.jitter)
            if self.random.random() < self.options.reorder:
                when += LATE
            else:
                when = host.latest = max(when, host.latest + 0.0001)
            self.at(when, self._arrives, host, sa.inbound, sa.sequence, asked_by, confirmed)

    def _arrives(self, host: Host, spi: bytes, sequence: int, asked_by: Host | None, confirmed: bool) -> None:
        def reaction(now: float) -> None:
            delay = self.random.uniform(0.0005, 0.01)
            if asked_by is not None and host is not asked_by:
                self.at(now + delay, self._answer_peer, host, asked_by)
            elif confirmed or host.profile == "acked":
                self.at(now + delay, self._confirm, host)

        self.router.esp_in(host.site.name, host.address if host.alive else None, spi, sequence, self.now, reaction)

    def _confirm(self, host: Host) -> None:
        if host.alive and host.used is not None:
            self.router.esp_out(host.site.name, host.address, host.used.outbound, self.now)

    def _answer_peer(self, host: Host, asked_by: Host) -> None:
        if not host.alive or host.used is None:
            return
        self.router.esp_out(host.site.name, host.address, host.used.outbound, self.now)
        self.at(self.now + self._way(host), self._reply, asked_by)
