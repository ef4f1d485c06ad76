# SPDX-License-Identifier: GPL-2.0-or-later
"""Which established ESP may take the short way: keys of one owner, of flows that conntrack knows both ways, that were seen to leave."""
from __future__ import annotations

import time

from ..kernel.maps import Learned
from ..kernel.netfilter import dump_conntrack, dump_elements, get_element
from ..router.addresses import local_addresses
from ..ruleset.offload import LIFE
from ..ruleset.text import TABLE
from ..wire.conntrack import ESP, SEEN_REPLY
from ..wire.nftables import IPV4, pack_key, pack_zone, unpack_key, unpack_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..kernel.netfilter import Netlink
    from ..router.ways import Ways
    from ..ruleset.offload import Way

WORTH = 10
"""Packets of a key in a look that are worth an element."""
JOIN_MAX, JOIN_SECONDS = 512, 0.3
"""Keys that join after one look, at most, the busiest first, and how long choosing them may take."""
MISMATCH = "some packets do not leave as the routes say, or a rule stops them"


class Key:
    """One SPI of one direction. way: number of its map. after: addresses and SPI once rewritten. ident: conntrack's, of its flow.

    counted: packets and bytes that its element has counted. mark: packets when the look had settled. until: when it must be renewed.
    """

    __slots__ = ("way", "key", "value", "after", "ident", "outbound", "counted", "mark", "until")

    def __init__(self, way: int, key: bytes, value: bytes, after: bytes, ident: int, until: float, *, outbound: bool) -> None:
        self.way, self.key, self.value, self.after, self.ident, self.outbound = way, key, value, after, ident, outbound
        self.counted = (0, 0)
        self.mark = 0
        self.until = until


def candidates(sock: Netlink, left: Mapping[bytes, tuple[int, int]], ways: Ways, keys: Mapping[bytes, Key], barred: Collection[bytes],
               slow: dict[str, int]) -> list[tuple[Way, Key]]:
    """Keys of the fast path that the witness saw, of which everything is known.

    left: what the witness saw, addresses and SPI to packets and device. keys: those that are on the short way. barred: those that may not.
    slow: gets the reasons why others stay on the long one.
    """
    clients = {zone: client for client, zone in Learned(sock).zones().items()}
    flows = {(flow.zone, flow.orig.src, flow.orig.dst): flow for flow in dump_conntrack(sock, proto=ESP)}
    local, now, seen = local_addresses(), time.monotonic(), []
    for element in dump_elements(sock, IPV4, TABLE, "esp_fast"):
        zone, fields = unpack_zone(element.data), unpack_key(element.key, 4, 4, 4)
        client = clients.get(zone) if zone is not None else None
        if zone is None or fields is None or client is None or element.key in keys or element.key in barred:
            continue
        outbound = fields[0] == client
        server = fields[1] if outbound else fields[0]
        flow = flows.get((zone, client, server))
        if flow is None or flow.reply is None or flow.ident is None or not flow.status & SEEN_REPLY or flow.reply.src != server:
            continue
        wan = flow.reply.dst
        after = wan + server + fields[2] if outbound else server + client + fields[2]
        packets, device = left.get(after, (0, 0))
        if packets < WORTH or wan == client or wan not in local or (not outbound and fields[1] != wan):
            continue
        one = Key(0, element.key, wan if outbound else client, after, flow.ident, now + LIFE / 2, outbound=outbound)
        seen.append((packets, device, client, server, zone, one))
    known = {one.after for one in keys.values()}
    twice: set[bytes] = set()
    for row in seen:
        (twice if row[-1].after in known else known).add(row[-1].after)
    found: list[tuple[Way, Key]] = []
    for _, device, client, server, zone, one in sorted(seen, key=lambda row: -row[0])[:JOIN_MAX]:
        if time.monotonic() - now > JOIN_SECONDS:
            break
        if one.after in twice or _not_alone(sock, server, one.key[8:], zone, outbound=one.outbound):
            continue  # two clients use one SPI
        way = ways.find(client, server)
        why = way if isinstance(way, str) else ""
        link = ways.links.get(device)
        chosen = way[0 if one.outbound else 1] if isinstance(way, tuple) else None
        if chosen is not None and link is not None and link.name == chosen.target:
            found.append((chosen, one))
        else:
            slow[why or MISMATCH] = slow.get(why or MISMATCH, 0) + 1
    return found


def _not_alone(sock: Netlink, server: bytes, spi: bytes, zone: int, *, outbound: bool) -> bool:
    """Is this SPI one that several may own, or was it ended?"""
    if get_element(sock, IPV4, TABLE, "ended", pack_key(server, pack_zone(zone))) is not None:
        return True
    if outbound:
        return False
    owner = get_element(sock, IPV4, TABLE, "spi_zone", server + spi)
    if owner is None or unpack_zone(owner.data) != zone:
        return True
    return any(get_element(sock, IPV4, TABLE, where, server + spi) is not None for where in ("fanned", "listed", "router_spis"))
