# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way of established ESP (ruleset/offload.py): what may take it, when, and what ends that. docs/OFFLOAD.md explains it.

    asleep ──ESP flows──▶ a look (LOOK seconds: the witness is awake) ──keys that passed──▶ on ──little ESP──▶ asleep
                                     ▲                                     │ every EVERY seconds
                                     └─────────────────────────────────────┘

A key is put on the short way only after its packets were seen to leave by the long one, and is taken off when the one packet a second that
still takes the long way no longer leaves. What may change the long way (routes, addresses, links, rules, policies) ends everything at once;
the next look begins it anew.
"""
from __future__ import annotations

import contextlib
import selectors
import time
from sys import byteorder as BYTEORDER

from ..kernel import nft
from ..kernel.netfilter import NetlinkError, Overrun, add_elements, delete_elements, dump_conntrack, dump_elements
from ..kernel.nft import NftError
from ..kernel.socket import ROUTE, XFRM, Socket
from ..router.ways import STACKED, Ways
from ..ruleset.offload import LIFE, SEEN, WAYS_MAX, name, render, witness
from ..ruleset.text import TABLE
from ..sessions.classify import entry_of
from ..wire import netlink as nl
from ..wire import nftables, routing
from ..wire.conntrack import ESP
from ..wire.nftables import IPV4, NETDEV, Element
from .guard import Guard, remove
from .offload_keys import MISMATCH, Key, candidates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..model import Config
    from ..ruleset.offload import Way
    from ..sessions.table import Entry
    from ..wire.conntrack import Flow
    from ..wire.nftables import Change
    from .apply import Service
    from .sessions_feed import SessionsFeed

LOOK, SETTLED = 2.4, 1.2
"""Seconds of a look; the part of it after which every key that passes has shown a packet to the long way, which one a second takes."""
EVERY, SAMPLE, HOLD_MAX = 10.0, 5.0, 60.0
"""Seconds between two looks while on; between two samples while asleep; for which nothing is tried at most after an end."""
BEAT = 1.0
BUSY = 50
"""Packets of ESP a second that are worth waking for."""
FRESH = 0.2
"""Seconds for which counters are taken to be those of now."""
QUIET = 2
"""Looks in a row since the one before of which there were not that many, after which it sleeps."""
SETTLE = 0.5
"""Seconds after an end before the next look: what changes a way seldom comes alone."""
SHARE = 20
"""Reading takes at most this part of the time."""
BARRED = 60.0
"""Seconds for which a key stays away after its packets no longer left."""
_NEW_TABLE, _DELETE_TABLE, _FLAGS, _DORMANT = 0, 2, 2, 1


class Offload:
    """`tick` is due whenever `later` says; the rest is called when something happens."""

    def __init__(self, service: Service, feed: SessionsFeed, selector: selectors.BaseSelector, later: Callable[[float], None]) -> None:
        self._service, self._feed, self._selector, self._later = service, feed, selector, later
        self._sock = service.netlink
        self._guard = Guard()
        self._listening: list[Socket] = []
        self.why = ""  # it is off
        self.slow: dict[str, int] = {}  # why keys that are worth it stay on the long way
        self.keys: dict[bytes, Key] = {}
        self.passed: dict[int, list[int]] = {}
        self._ways: list[Way] = []
        self._links: dict[int, tuple[object, ...]] = {}
        self._barred: dict[bytes, float] = {}
        self._stale = self._loading = self._witness = False
        self._quiet = self._moved = 0
        self._judged = 0.0
        self._tried = self._awake = False  # since the last end: a look has begun; enough ESP is known to flow
        self._phase = ""  # of a look: '' (none), 'open', 'settled'
        self._phase_ends = self._next_look = self._next_sample = self._not_before = 0.0
        self._ended, self._pause = float("-inf"), 0.0
        self._sampled: tuple[float, int] | None = None
        self._read_cost, self._read_at = 0.0, 0.0
        feed.entry_of = self.entry_of
        service.tracker.on_removal(self.forget)
        remove(self._sock)  # of a daemon that was killed together with its guard

    # what it is

    def snapshot(self) -> dict[str, Any]:
        """For `status`: state `off`, `asleep` or `on`; how many keys; why others are not among them; all of it as text."""
        state = "off" if self.why else "on" if self.keys else "asleep"
        slow = [self.why] if self.why else sorted(self.slow)
        told = f"short way for ESP: {state}, {len(self.keys)} SPIs" if self.keys else f"short way for ESP: {state}"
        return {"state": state, "keys": len(self.keys), "slow": slow, "text": "; ".join([told, *slow])}

    def entry_of(self, config: Config, flow: Flow, *arguments: Any) -> Entry | None:
        """As classify.entry_of, with what took the short way counted as well. Without `last` the flow has ended."""
        entry = entry_of(config, flow, *arguments)
        if entry is not None and entry.kind == "ESP":
            if len(arguments) == 2:
                self._take_off([key for key, one in self.keys.items() if one.ident == entry.ident])
                more = self.passed.pop(entry.ident, None)
            else:
                self.read()
                more = self.passed.get(entry.ident)
            if more is not None:
                out, octets_out, back, octets_back = entry.counts
                entry.counts = out + more[0], octets_out + more[1], back + more[2], octets_back + more[3]
        return entry

    # the configuration

    def apply(self) -> None:
        """A configuration was put in force, or a flow table has come or gone: everything begins anew."""
        self.end()
        self.why, self.slow = self._service.no_short_way(), {}
        if self.why:
            self._close()
        else:
            self._listen()
            self._not_before = self._next_sample = self._pause = 0.0
            self._later(0)

    def stop(self) -> None:
        """The daemon ends."""
        self.end()
        self._close()

    def _close(self) -> None:
        for sock in self._listening:
            self._selector.unregister(sock)
            sock.close()
        self._listening = []
        if self._witness:
            self._witness = False
            remove(self._sock)

    def _listen(self) -> None:
        if self._listening:
            return
        for protocol, groups in ((ROUTE, routing.GROUPS), (XFRM, (routing.POLICY_GROUP,))):
            with contextlib.suppress(NetlinkError):  # no IPsec in the kernel
                sock = Socket(protocol, receive_buffer=1 << 18)
                self._listening.append(sock)
                for group in groups:
                    with contextlib.suppress(NetlinkError):  # an older kernel has no next hop objects
                        sock.subscribe(group)
                self._selector.register(sock, selectors.EVENT_READ, lambda sock=sock: self._on_routing(sock))

    # what happens

    def _on_routing(self, sock: Socket) -> None:
        messages = sock.receive()
        if (sock is not self._listening[0] and messages) or any(map(self._matters, messages)):
            self.end()

    def _matters(self, message: nl.Message | Overrun) -> bool:
        """May packets go another way from now on?"""
        if isinstance(message, Overrun) or routing.changes_routing(message):
            return True
        link = routing.decode_link(message)
        if link is None:
            return False
        known = self._links.get(link.index)
        return known != _of(link) if known is not None else link.kind in STACKED and link.lower in self._links

    def on_change(self, change: Change) -> bool:
        """A notification of nftables. True: it was about our own tables, and nobody else need look at it."""
        if change.family == NETDEV and change.table == TABLE:
            if change.verb == "del" and change.what == "element":
                for element in change.elements:
                    self._count(self.keys.get(element.key), element)
            elif change.verb == "del" and change.what == "table" and self.keys and not self._loading:
                self._spoilt()
            return True
        if change.table == SEEN:
            return True
        if change.what in ("table", "chain", "rule") and (self.keys or self._phase):
            self._spoilt()  # a rule may stop what passes now
        return False

    def _spoilt(self) -> None:
        """What is known does not hold any more."""
        self._stale = True
        self._later(0)

    def forget(self, gone: Iterable[tuple[str, bytes]]) -> None:
        """The daemon takes these keys out of the maps of the long way, before it does: the fast path's, or a server's inbound SPI."""
        if not self.keys:
            return
        spis = {key for _, key in gone if len(key) == 8}
        found = [key for key in self.keys if key[:4] + key[8:] in spis]
        found += [key for name_, key in gone if name_ == "esp_fast" and key in self.keys and key not in found]
        self._take_off(found)

    # time

    def tick(self) -> None:
        """Due."""
        if self.why:
            return
        now = time.monotonic()
        if self._ways and not self._guard.beat():
            self._witness, self._stale = False, True  # it took both tables away
        if self._stale:
            self.end()
        if self._phase and now >= self._phase_ends:
            self._go_on(now)
        elif not self._phase and now >= self._not_before:
            if self._ways:
                if now >= self._next_look:
                    self._look(now)
            elif now >= self._next_sample and (self._awake or self._busy(now)):
                self._look(now)
        due = self._phase_ends if self._phase else max(self._next_look if self._ways else self._next_sample, self._not_before)
        self._later(min(max(due - time.monotonic(), 0.02), BEAT if self._ways else SAMPLE))

    def _busy(self, now: float) -> bool:
        """Does enough ESP pass to be worth a look?"""
        self._next_sample = now + SAMPLE
        if not self._feed.sessions.count("ipsec"):
            self._sampled = None
            return False
        flows = self._flows()
        if any(flow.packets is None for flow in flows):
            return True  # conntrack does not count
        total, before = sum(sum(flow.packets or ()) for flow in flows), self._sampled
        self._sampled = (now, total)
        if before is None:
            self._next_sample = now + 1.0
            return False
        return total - before[1] >= BUSY * (now - before[0])

    def _flows(self) -> list[Flow]:
        try:
            return dump_conntrack(self._sock, proto=ESP)
        except NetlinkError:
            return []

    # a look

    def _look(self, now: float) -> None:
        try:
            if not self._witness:
                nft.load(witness(), alone=True)
                self._witness = True
            self._empty_witness()
            self._wake(yes=True)
        except (NftError, NetlinkError) as error:
            self._witness = False
            self._fail(f"the kernel refuses the witness' table: {error}")
            return
        self._phase, self._phase_ends, self._tried = "open", now + SETTLED, True

    def _go_on(self, now: float) -> None:
        self.read(at_once=True)
        if self._phase == "open":
            for one in self.keys.values():
                one.mark = one.counted[0]
            self._phase, self._phase_ends = "settled", now + LOOK - SETTLED
            return
        self._phase, self._awake = "", False
        try:
            left = self._seen()
            self._wake(yes=False)
            self._judge(left, now)
        except (NftError, NetlinkError, OSError) as error:
            self.end()
            self._fail(f"the kernel refuses: {error}")
        now, took = time.monotonic(), time.monotonic() - now
        self._next_look = now + max(EVERY, SHARE * took)
        if not self.keys:
            self._not_before = max(self._not_before, self._next_look)

    def _wake(self, *, yes: bool) -> None:
        self._sock.transaction([nftables.request(_NEW_TABLE, 0, IPV4, nl.text(nftables.TABLE_NAME, SEEN),
                                                 nl.be32(_FLAGS, 0 if yes else _DORMANT))])

    def _empty_witness(self) -> None:
        self._sock.transaction([nftables.request(nftables.DELSETELEM, 0, IPV4, nl.text(nftables.LIST_TABLE, SEEN),
                                                 nl.text(nftables.LIST_SET, "left"))])

    def _seen(self) -> dict[bytes, tuple[int, int]]:
        """What left by the long way in this look: addresses and SPI to packets and device."""
        found: dict[bytes, tuple[int, int]] = {}
        for element in dump_elements(self._sock, IPV4, SEEN, "left"):
            device = int.from_bytes(element.key[12:16], BYTEORDER)
            packets = element.counted[0] if element.counted else 0
            # By two devices: by none that could be relied on.
            found[element.key[:12]] = (0, -1) if element.key[:12] in found else (packets, device)
        return found

    def _judge(self, left: dict[bytes, tuple[int, int]], now: float) -> None:
        """After a look: who leaves the short way, who is renewed, who joins."""
        self._barred = {key: until for key, until in self._barred.items() if until > now}
        stopped = [key for key, one in self.keys.items() if one.counted[0] > one.mark and one.after not in left]
        self._barred.update((key, now + BARRED) for key in stopped)
        self._take_off(stopped)
        self._quiet = self._quiet + 1 if self._ways and self._moved < BUSY * (now - self._judged) else 0
        self._moved, self._judged = 0, now
        if self._quiet >= QUIET:
            self.end(rest=False)
            return
        devices = self._service.devices
        if devices is None:
            return
        self.slow = {MISMATCH: len(self._barred)} if self._barred else {}
        ways = Ways(devices)
        try:
            why = ways.obstacle()
            if why:
                self.end(rest=False)
                self._fail(why)
                return
            self._join(candidates(self._sock, left, ways, self.keys, self._barred, self.slow), ways, now)
        finally:
            ways.close()

    def _join(self, found: list[tuple[Way, Key]], ways: Ways, now: float) -> None:
        wanted = list(dict.fromkeys([*self._ways, *(way for way, _ in found)]))
        if len(wanted) > WAYS_MAX:
            self.slow["there are more ways than are looked at"] = 1
            found = [(way, one) for way, one in found if way in self._ways]
            wanted = self._ways
        renewed = [one for one in self.keys.values() if one.until < now or wanted != self._ways]
        self._drop(renewed)
        if wanted != self._ways:
            self._guard.start()
            self._loading, self._ways = True, wanted
            names = {device for way in wanted for device in (way.source, way.target)}
            self._links = {link.index: _of(link) for link in ways.links.values() if link.name in names}
            nft.load(render(wanted), alone=True)
            self._service.watch.catch_up()
            self._loading = False
        for one in renewed:
            one.until, one.counted, one.mark = now + LIFE / 2, (0, 0), 0
        for way, one in found:
            one.way = self._ways.index(way)
            self.keys[one.key] = one
        self._put([*renewed, *(one for _, one in found)])

    def _put(self, keys: list[Key]) -> None:
        for number in {one.way for one in keys}:
            add_elements(self._sock, NETDEV, TABLE, name(number), [Element(one.key, one.value) for one in keys if one.way == number])
        if keys:
            delete_elements(self._sock, NETDEV, TABLE, "changed", {one.after[:8] for one in keys})
            add_elements(self._sock, NETDEV, TABLE, "changed", [Element(pair) for pair in {one.after[:8] for one in keys}])

    # ending

    def _drop(self, keys: Iterable[Key]) -> None:
        """Out of the kernel; their last counts come by notification, which is read at once."""
        keys = list(keys)
        for number in {one.way for one in keys}:
            with contextlib.suppress(NetlinkError):  # the table may be gone
                delete_elements(self._sock, NETDEV, TABLE, name(number), [one.key for one in keys if one.way == number])
        if keys:
            self._service.watch.catch_up()

    def _take_off(self, keys: list[bytes]) -> None:
        self._drop([self.keys[key] for key in keys])
        for key in keys:
            self.keys.pop(key, None)

    def end(self, *, rest: bool = True) -> None:
        """Nothing takes the short way any more. rest: if it happens often, the next look comes later and later."""
        self._quiet, self._awake = 0, rest and (self._awake or bool(self.keys))
        if self._phase:
            self._phase = ""
            with contextlib.suppress(NetlinkError):
                self._wake(yes=False)
        if self._ways:
            self._take_off(list(self.keys))
            with contextlib.suppress(NetlinkError):
                self._sock.transaction([nftables.request(_DELETE_TABLE, 0, NETDEV, nl.text(nftables.TABLE_NAME, TABLE))])
            self._guard.stop()
            self._ways, self._links = [], {}
        self._loading, self._sampled, now = False, None, time.monotonic()
        if rest and self._tried:
            self._pause = min(HOLD_MAX, 2 * self._pause + 1) if now - self._ended < 3 * EVERY else 0.0
            self._ended, self._tried = now, False
        if rest:
            self._next_sample, self._not_before = now, max(now, self._ended + self._pause, now + SETTLE)
        self._stale = False
        self._later(0.02)

    def _fail(self, text: str) -> None:
        self.slow = {text: 1}
        self._not_before = time.monotonic() + HOLD_MAX

    # counting

    def read(self, *, at_once: bool = False) -> None:
        """Takes what the elements have counted; not more often than the processor can bear, but at_once."""
        now = time.monotonic()
        if not self.keys or (now < self._read_at + max(FRESH, SHARE * self._read_cost) and not at_once):
            return
        try:
            for number in {one.way for one in self.keys.values()}:
                there = {element.key: element for element in dump_elements(self._sock, NETDEV, TABLE, name(number))}
                for key, one in self.keys.copy().items():
                    if one.way == number and key in there:
                        self._count(one, there[key])
                    elif one.way == number:
                        del self.keys[key]  # an SA began anew with this SPI
        except NetlinkError:
            self._spoilt()
        self._read_at = time.monotonic()
        self._read_cost = self._read_at - now

    def _count(self, one: Key | None, element: Element) -> None:
        if one is None or element.counted is None or element.counted[0] < one.counted[0]:
            return
        self._moved += element.counted[0] - one.counted[0]
        total = self.passed.setdefault(one.ident, [0, 0, 0, 0])
        at = 0 if one.outbound else 2
        total[at] += element.counted[0] - one.counted[0]
        total[at + 1] += element.counted[1] - one.counted[1]
        one.counted = element.counted


def _of(link: routing.Link) -> tuple[object, ...]:
    """What of a device matters."""
    return link.name, link.mtu, link.up, link.master
