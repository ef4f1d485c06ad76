# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's maps as the tracker reads and writes them: SPIs to zones, copies, and who talks with whom."""

from __future__ import annotations

import contextlib
from errno import EEXIST, ENOENT

from ..ruleset import TABLE
from ..ruleset.maps import SLOTS, UNPROVEN
from ..wire import nftables
from ..wire.nftables import IPV4, Element, pack_key, pack_zone, unpack_key, unpack_zone
from .netfilter import NetlinkError, add_elements, delete_elements, dump_elements, get_element

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from .netfilter import Netlink

    Changes = tuple[list[tuple[str, bytes]], list[tuple[str, Element]]]


FANS = tuple(f"fan{slot}" for slot in range(SLOTS))
CLIENTS = tuple(f"client{slot}" for slot in range(SLOTS))
COPIED = ("fanned", "listed", "spilled")
SPI_LISTS = (*COPIED, *FANS, "spi_zone", "spi_unasked")
"""Where an inbound SPI may be written."""
LEFT = 64
"""Lists of clients that are no longer in force, and stay for packets that are being copied by them."""
TRIES = 8
"""A packet may renew an element between its deletion and its addition."""
TOGETHER = 1000
"""Elements of one transaction, some 100 bytes each, where changes of many clients are made together."""


class Learned:
    """Reads and writes elements of `table ip vpnpt`. Raises NetlinkError when the kernel refuses (ENOENT: the table is gone).

    removing: is told which keys are about to be taken out, by map and key. routers: what `router_speaks` has found, until it is emptied.
    """

    def __init__(self, sock: Netlink) -> None:
        self._sock = sock
        self._left: dict[bytes, None] = {}
        self.routers: dict[bytes, bool] = {}
        self.removing: Callable[[list[tuple[str, bytes]]], None] | None = None

    def _dump(self, name: str) -> list[Element]:
        return dump_elements(self._sock, IPV4, TABLE, name)

    def zones(self) -> dict[bytes, int]:
        """Client to zone."""
        return {element.key[:4]: zone for element in self._dump("client_zone") if (zone := unpack_zone(element.data)) is not None}

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """(client, server) that talk."""
        return [(fields[0], fields[1]) for element in self._dump("pairs") if (fields := unpack_key(element.key, 4, 4))]

    def contended(self) -> list[bytes]:
        """Servers that more than one client talks with."""
        return [element.key[:4] for element in self._dump("slot1")]

    # one key

    def _get(self, name: str, key: bytes) -> Element | None:
        return get_element(self._sock, IPV4, TABLE, name, key)

    def zone_of(self, client: bytes) -> int | None:
        """The client's zone."""
        element = self._get("client_zone", client)
        return None if element is None else unpack_zone(element.data)

    def client_of(self, zone: int) -> bytes | None:
        """The client of this zone."""
        element = self._get("zone_client", pack_zone(zone))
        return element.data[:4] if element is not None and element.data else None

    def had_unasked(self, server: bytes, spi: bytes) -> bytes | None:
        """The client that got this SPI, while the server had no other, without having asked for it; None if it may talk no more."""
        client = self._owner("spi_unasked", server, spi)
        return client if client is not None and self.talks(client, server) else None

    def used_by(self, server: bytes, spi: bytes) -> bytes | None:
        """The client that used this outbound SPI first, or of which `uses` was told since."""
        return self._owner("out_zone", server, spi)

    def uses(self, server: bytes, spi: bytes, zone: int) -> None:
        """This zone's client uses this outbound SPI now: errors that quote it are its."""
        key = pack_key(server, spi)
        self._change([("out_zone", key)], [("out_zone", Element(key, pack_zone(zone)))])

    def _owner(self, name: str, server: bytes, spi: bytes) -> bytes | None:
        element = self._get(name, pack_key(server, spi))
        zone = None if element is None else unpack_zone(element.data)
        return None if zone is None else self.client_of(zone)

    def talks(self, client: bytes, server: bytes) -> bool:
        """Does this client talk with this server?"""
        return self._get("pairs", pack_key(client, server)) is not None

    def waits(self, server: bytes, zone: int) -> bool:
        """Does the client of this zone wait for a new SPI of this server?"""
        return self._get("waiting", pack_key(server, pack_zone(zone))) is not None

    def hears(self, client: bytes, server: bytes) -> bool:
        """Has this server answered this client?"""
        zone = self.zone_of(client)
        return zone is not None and self._get("heard", pack_key(server, pack_zone(zone))) is not None

    def is_contended(self, server: bytes) -> bool:
        """Does more than one client talk with this server?"""
        return self._get("slot1", server) is not None

    def is_crowded(self, server: bytes) -> bool:
        """Has this server more clients than the kernel can copy to?"""
        return self._get("crowded", server) is not None

    def slots(self, server: bytes) -> list[bytes]:
        """The server's clients that get the kernel's own copies, in the order of their slots."""
        found = [self._get(name, server) for name in CLIENTS]
        return [element.data[:4] for element in found if element is not None and element.data]

    def router_speaks(self, server: bytes) -> bool:
        """Does the router itself speak IPsec with this server, or a host that is no client of ours?"""
        if server not in self.routers:
            self.routers[server] = self._get("router_hosts", server) is not None or self._get("left_out", server) is not None
        return self.routers[server]

    def hush(self, servers: Iterable[bytes], seconds: float) -> None:
        """For so long the kernel says nothing of these servers' packets that would only say again who may own an SPI."""
        elements = [Element(server, timeout_ms=max(1, round(1000 * seconds))) for server in servers]
        with contextlib.suppress(NetlinkError):  # the tables may just have been deleted
            add_elements(self._sock, IPV4, TABLE, "hushed", elements)

    # lists

    def spi_owners(self) -> list[tuple[bytes, int]]:
        """(server, zone) of each inbound SPI that is known."""
        return [(element.key[:4], zone) for element in self._dump("spi_zone") if (zone := unpack_zone(element.data)) is not None]

    def all_waiting(self) -> list[tuple[bytes, int]]:
        """(server, zone) of the clients that wait for a new SPI."""
        found = [unpack_key(element.key, 4, 2) for element in self._dump("waiting")]
        return [(fields[0], zone) for fields in found if fields and (zone := unpack_zone(fields[1])) is not None]

    def clients(self) -> dict[bytes, list[bytes]]:
        """Of all servers: who talks with each, in the order of their slots, and those for whom there is none."""
        pairs = self.pairs()
        talks = set(pairs)
        found: dict[bytes, list[bytes]] = {}
        for name in CLIENTS:
            for element in self._dump(name):
                if element.data and (element.data[:4], element.key[:4]) in talks:
                    found.setdefault(element.key[:4], []).append(element.data[:4])
        crowds = {element.key[:4]: set(found.get(element.key[:4], ())) for element in self._dump("crowded")}
        for client, server in pairs:
            if server in crowds and client not in crowds[server]:
                found.setdefault(server, []).append(client)
        return found

    def zoned(self, name: str, size: int, timeout: float) -> list[tuple[bytes, int, bytes, float]]:
        """Of a map from server and a key of so many bytes to a zone: server, zone, key, seconds since it was last renewed.

        timeout: of the map, in seconds.
        """
        found = []
        for element in self._dump(name):
            fields, zone = unpack_key(element.key, 4, size), unpack_zone(element.data)
            if fields and zone is not None:
                found.append((fields[0], zone, fields[1], _age(element, timeout)))
        return found

    def inbound(self, timeout: float) -> list[tuple[bytes, int, bytes, float]]:
        """Server, zone, inbound SPI, seconds since it was last renewed: learned or not. timeout: of learned ones, in seconds."""
        return [*self.zoned("spi_zone", 4, timeout), *self.zoned("spi_unasked", 4, UNPROVEN)]

    def outbound(self, timeout: float) -> list[tuple[bytes, bytes, bytes, float]]:
        """Client, server, outbound SPI, seconds since it was last renewed: answered or not. timeout: of answered ones, in seconds."""
        found = []
        for name in ("esp_known", "esp_unanswered"):
            for element in self._dump(name):
                if fields := unpack_key(element.key, 4, 4, 4):
                    found.append((fields[0], fields[1], fields[2], _age(element, timeout)))
        return found

    def counted(self, family: int, name: str) -> list[Element]:
        """The elements of a set that counts, in either family."""
        return dump_elements(self._sock, family, TABLE, name)

    def forget_addresses(self, local: Collection[bytes]) -> None:
        """What names an address that was the router's and is not one of `local`: keys of inbound packets.

        The maps that say whose an SPI or a cookie is do not name it.
        """
        clients = self.zones()
        gone = [(name, element.key) for name in ("came_esp", "came_ike", "renewed") for element in self._dump(name)
                if element.data and element.data[:4] not in local]
        for element in self._dump("esp_fast"):
            fields = unpack_key(element.key, 4, 4, 4)
            if fields and fields[0] not in clients and fields[1] not in local:
                gone.append(("esp_fast", element.key))
        for name in {name for name, _ in gone}:
            delete_elements(self._sock, IPV4, TABLE, name, [key for named, key in gone if named == name])

    def fans(self) -> dict[tuple[bytes, bytes], list[bytes]]:
        """(server, SPI) to the clients that get copies of it, by slot; b'' in an empty one."""
        found = {element.key: [b""] * SLOTS for element in self._dump("listed")}
        for slot, name in enumerate(FANS):
            for element in self._dump(name):
                if element.key in found and element.data:
                    found[element.key][slot] = element.data[:4]
        return {(key[:4], key[4:8]): clients for key, clients in found.items() if any(clients)}

    def spilled(self) -> set[tuple[bytes, bytes]]:
        """(server, SPI) of those with more candidates than the kernel can copy to."""
        return {(element.key[:4], element.key[4:8]) for element in self._dump("spilled")}

    def assign(self, server: bytes, spi: bytes, zone: int, *, credit: bool) -> None:
        """This SPI is delivered to this zone alone. credit: the zone's next outbound SPI counts as answered."""
        key, value = pack_key(server, spi), pack_zone(zone)
        adds = [("spi_zone", Element(key, value))]
        if credit:
            adds.append(("answered", Element(pack_key(server, value))))
        # Two steps, and the list stays for a while: a packet that is half through the rules finds either the owner or all copies.
        self._change([("spi_zone", key)], adds)
        gone = [(name, key) for name in COPIED]
        self._left[key] = None
        if len(self._left) > LEFT:
            oldest = next(iter(self._left))
            del self._left[oldest]
            gone += [(name, oldest) for name in FANS]
        self._change(gone, [])

    def assign_router(self, server: bytes, spi: bytes) -> None:
        """This SPI is the router's own: its packets pass untouched."""
        key = pack_key(server, spi)
        self._change([], [("router_spis", Element(key))])
        self._change([(name, key) for name in SPI_LISTS], [])

    def fan(self, server: bytes, spi: bytes, clients: Sequence[bytes], addresses: Iterable[bytes], *, spills: bool) -> None:
        """This SPI is delivered to all of these; if it spills, whole packets are logged for the others.

        clients: by slot (see `arranged`). addresses: of ours, to which the server sends.
        """
        key = pack_key(server, spi)
        self._left.pop(key, None)
        adds = [(name, Element(key)) for name in (COPIED if spills else COPIED[:2])]
        adds += [(name, Element(key, client)) for name, client in zip(FANS, clients, strict=False) if client]
        fast = [("esp_fast", pack_key(server, address, spi)) for address in addresses]
        self._change([(name, key) for name in (*COPIED, *FANS)], adds)
        self._change([("spi_zone", key), *fast], [])  # not before: it would be nobody's in between

    def doubt(self, server: bytes, *, yes: bool) -> None:
        """May the kernel decide alone whose a new SPI of this server is, if just one client waits for it?"""
        self._change([("doubted", server)], [("doubted", Element(server))] if yes else [])

    def forget(self, server: bytes, spi: bytes) -> None:
        """Nothing is known of this SPI any more."""
        key = pack_key(server, spi)
        self._change([(name, key) for name in SPI_LISTS], [])

    def set_clients(self, servers: Mapping[bytes, list[tuple[bytes, int]]]) -> None:
        """Each server's clients (address, zone) are these, and no others: slots, solo and contention follow."""
        for _ in range(TRIES):
            before = self._slots_of(servers)
            wanted: dict[bytes, list[bytes]] = {}
            come: list[Changes] = []
            go: list[Changes] = []
            for server, clients in servers.items():
                slots = wanted[server] = list(arranged(before[server], dict(clients), len(clients)))
                moved = [(name, Element(server, slots[at])) for at, name in enumerate(CLIENTS[:len(slots)])
                         if before[server][at:at + 1] != [slots[at]]]
                adds = [*moved, *((f"slot{slot}", Element(server)) for slot in range(1, len(slots)))]
                gone = [*CLIENTS[len(slots):], *(f"slot{slot}" for slot in range(max(1, len(slots)), SLOTS))]
                if slots:
                    adds += [("servers", Element(server)), ("solo", Element(server, pack_zone(dict(clients)[slots[0]])))]
                else:
                    gone += ["servers", "solo"]
                for name, yes in (("contended", len(slots) > 1), ("crowded", len(clients) > SLOTS)):
                    if yes:
                        adds.append((name, Element(server)))
                    else:
                        gone.append(name)
                come.append(([(name, server) for name in ("solo", *(name for name, _ in moved))], adds))
                go.append(([(name, server) for name in (*gone, "routed_only")], []))
            # Who moves has two places for a moment: a packet on its way through them may get to either.
            self._change_all(come)
            self._change_all(go)
            # Packets renew these elements, and one that does so at that moment puts its own client beside the new one (nft_dynset_eval).
            after = self._slots_of(servers)
            servers = {server: clients for server, clients in servers.items() if after[server] != wanted[server]}
            if not servers:
                break

    def _slots_of(self, servers: Collection[bytes]) -> dict[bytes, list[bytes]]:
        if len(servers) <= SLOTS:
            return {server: self.slots(server) for server in servers}
        found: dict[bytes, list[bytes]] = {server: [] for server in servers}
        for name in CLIENTS:
            for element in self._dump(name):
                if element.data and element.key in found:
                    found[element.key].append(element.data[:4])
        return found

    def end(self, pairs: list[tuple[bytes, bytes, int]]) -> None:
        """The user has ended what each (client, server, zone) had: until the client speaks again, what the server sends it is dropped.

        Whose the keys are stays known, so that nobody else is given them.
        """
        ended = {(server, zone): [("pairs", pack_key(client, server)), ("waiting", pack_key(server, pack_zone(zone)))]
                 for client, server, zone in pairs}
        for name, sizes in (("esp_fast", (4, 4, 4)), ("ike_fast", (4, 4, 8)), ("ike_fast_in", (4, 8))):
            for element in self._dump(name):
                zone, fields = unpack_zone(element.data), unpack_key(element.key, *sizes)
                if fields and zone is not None:
                    for server in fields[:2]:
                        ended.get((server, zone), []).append((name, element.key))
        keys = {pair: pack_key(pair[0], pack_zone(pair[1])) for pair in ended}
        self._change_all(([*gone, ("ended", keys[pair])], [("ended", Element(keys[pair]))]) for pair, gone in ended.items())

    def _change_all(self, changes: Iterable[Changes]) -> None:
        """Each of them at once, and many of them together: what is refused may be thousands of clients'."""
        gone: list[tuple[str, bytes]] = []
        adds: list[tuple[str, Element]] = []
        for old, new in changes:
            gone += old
            adds += new
            # Before Linux 6.3 one key that goes at that moment has all of them refused: few at once then.
            if len(gone) + len(adds) >= TOGETHER or not self._sock.can_destroy:
                self._change(gone, adds)
                gone, adds = [], []
        if gone or adds:
            self._change(gone, adds)

    def _change(self, gone: list[tuple[str, bytes]], adds: list[tuple[str, Element]]) -> None:
        """Deletes keys wherever they are and adds elements, at once: no packet sees anything in between."""
        if self.removing is not None:
            self.removing(gone)
        if self._sock.can_destroy is None:
            # The first deletion tells whether the kernel knows NFT_MSG_DESTROYSETELEM (Linux 6.3).
            delete_elements(self._sock, IPV4, TABLE, "spi_zone", [bytes(8)])
        for tries in range(TRIES):
            try:
                self._exchange(gone, adds)
                return
            except NetlinkError as error:
                if error.errno != EEXIST or tries == TRIES - 1:
                    raise

    def _exchange(self, gone: list[tuple[str, bytes]], adds: list[tuple[str, Element]]) -> None:
        added = [request for name, element in adds for request in nftables.add_elements(IPV4, TABLE, name, [element])]
        if not self._sock.can_destroy:
            # An older kernel refuses the whole transaction for a key that is not there, and takes its time for that: asking is cheap.
            gone = [(name, key) for name, key in gone if self._get(name, key) is not None]
        while True:
            removed = [request for name, key in gone
                       for request in nftables.delete_elements(IPV4, TABLE, name, [key], destroy=bool(self._sock.can_destroy))]
            try:
                self._sock.transaction([*removed, *added])
                return
            except NetlinkError as error:
                # One has gone since: once more without it.
                if error.errno != ENOENT or self._sock.can_destroy or error.index is None or error.index >= len(gone):
                    raise
                del gone[error.index]


def arranged(before: Sequence[bytes], clients: Collection[bytes], size: int = SLOTS) -> tuple[bytes, ...]:
    """These clients, as many as have room, in so many slots (SLOTS at most; b'': an empty one): who has one of them keeps it.

    The rules look at the slots one by one. Whoever changed from one to another meanwhile would miss the packet that is just passing.
    """
    slots = [client if client in clients else b"" for client in before[:size]]
    slots += [b""] * (min(size, SLOTS) - len(slots))
    for client in clients:
        if b"" not in slots:
            break
        if client not in slots:
            slots[slots.index(b"")] = client
    return tuple(slots)


def _age(element: Element, timeout: float) -> float:
    """Seconds since an element was last renewed."""
    whole = timeout * 1000 if element.timeout_ms is None else element.timeout_ms
    return max(0.0, (whole - element.expires_ms) / 1000) if element.expires_ms is not None else 0.0
