# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's maps as the tracker reads and writes them: SPIs to zones, copies, and who talks with whom."""

from __future__ import annotations

from errno import ENOENT

from ..ruleset import TABLE
from ..ruleset.maps import SLOTS
from ..wire import nftables
from ..wire.nftables import IPV4, Element, pack_key, pack_zone, unpack_key, unpack_zone
from .netfilter import NetlinkError, delete_elements, dump_elements, get_element

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .netfilter import Netlink


SPI_LISTS = ("fanned", "listed", "spilled", *(f"fan{slot}" for slot in range(SLOTS)), "spi_zone")
"""Where an inbound SPI may be written."""


LISTENERS: list[Callable[[list[tuple[str, bytes]]], None]] = []
"""They hear which keys are about to be taken out of the maps, by map and key."""


class Learned:
    """Reads and writes elements of `table ip vpnpt`. Raises NetlinkError when the kernel refuses (ENOENT: the table is gone)."""

    def __init__(self, sock: Netlink) -> None:
        self._sock = sock

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

    def talks(self, client: bytes, server: bytes) -> bool:
        """Does this client talk with this server?"""
        return self._get("pairs", pack_key(client, server)) is not None

    def waits(self, server: bytes, zone: int) -> bool:
        """Does the client of this zone wait for a new SPI of this server?"""
        return self._get("waiting", pack_key(server, pack_zone(zone))) is not None

    def is_contended(self, server: bytes) -> bool:
        """Does more than one client talk with this server?"""
        return self._get("slot1", server) is not None

    def is_crowded(self, server: bytes) -> bool:
        """Has this server more clients than the kernel can copy to?"""
        return self._get("crowded", server) is not None

    def slots(self, server: bytes) -> list[bytes]:
        """The server's clients that get the kernel's own copies, in the order of their slots."""
        found = [self._get(f"client{slot}", server) for slot in range(SLOTS)]
        return [element.data[:4] for element in found if element is not None and element.data]

    def router_speaks(self, server: bytes) -> bool:
        """Does the router itself speak IPsec with this server, or a host that is no client of ours?"""
        return self._get("router_hosts", server) is not None or self._get("left_out", server) is not None

    # lists

    def spi_owners(self) -> list[tuple[bytes, int]]:
        """(server, zone) of each inbound SPI that is known."""
        return [(element.key[:4], zone) for element in self._dump("spi_zone") if (zone := unpack_zone(element.data)) is not None]

    def all_waiting(self) -> list[tuple[bytes, int]]:
        """(server, zone) of the clients that wait for a new SPI."""
        found = [unpack_key(element.key, 4, 2) for element in self._dump("waiting")]
        return [(fields[0], zone) for fields in found if fields and (zone := unpack_zone(fields[1])) is not None]

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
        for name, width in (("esp_fast", 4), ("ike_fast", 8)):
            for element in self._dump(name):
                fields = unpack_key(element.key, 4, 4, width)
                if fields and fields[0] not in clients and fields[1] not in local:
                    gone.append((name, element.key))
        for name in {name for name, _ in gone}:
            delete_elements(self._sock, IPV4, TABLE, name, [key for named, key in gone if named == name])

    def fans(self) -> dict[tuple[bytes, bytes], list[bytes]]:
        """(server, SPI) to the clients that get copies of it."""
        found: dict[tuple[bytes, bytes], list[bytes]] = {}
        for slot in range(SLOTS):
            for element in self._dump(f"fan{slot}"):
                fields = unpack_key(element.key, 4, 4)
                if fields and element.data:
                    found.setdefault((fields[0], fields[1]), []).append(element.data[:4])
        return found

    def assign(self, server: bytes, spi: bytes, zone: int, *, credit: bool) -> None:
        """This SPI is delivered to this zone alone. credit: the zone's next outbound SPI counts as answered."""
        key, value = pack_key(server, spi), pack_zone(zone)
        adds = [("spi_zone", Element(key, value))]
        if credit:
            adds.append(("answered", Element(pack_key(server, value))))
        self._change([(name, key) for name in SPI_LISTS], adds)

    def assign_router(self, server: bytes, spi: bytes) -> None:
        """This SPI is the router's own: its packets pass untouched."""
        key = pack_key(server, spi)
        self._change([(name, key) for name in SPI_LISTS], [("router_spis", Element(key))])

    def fan(self, server: bytes, spi: bytes, clients: Iterable[bytes], addresses: Iterable[bytes], *, spills: bool) -> None:
        """This SPI is delivered to all of these, at most SLOTS; if it spills, whole packets are logged for the others.

        addresses: of ours, to which the server sends.
        """
        key = pack_key(server, spi)
        adds = [(name, Element(key)) for name in (("fanned", "listed", "spilled") if spills else ("fanned", "listed"))]
        adds += [(f"fan{slot}", Element(key, client)) for slot, client in enumerate(list(clients)[:SLOTS])]
        fast = [("esp_fast", pack_key(server, address, spi)) for address in addresses]
        self._change([*((name, key) for name in SPI_LISTS), *fast], adds)

    def doubt(self, server: bytes, *, yes: bool) -> None:
        """May the kernel decide alone whose a new SPI of this server is, if just one client waits for it?"""
        self._change([("doubted", server)], [("doubted", Element(server))] if yes else [])

    def forget(self, server: bytes, spi: bytes) -> None:
        """Nothing is known of this SPI any more."""
        key = pack_key(server, spi)
        self._change([(name, key) for name in SPI_LISTS], [])

    def set_clients(self, server: bytes, clients: list[tuple[bytes, int]]) -> None:
        """The server's clients (address, zone) are these, and no others: slots, solo and contention follow."""
        gone = ["solo", "contended", "crowded", *(f"slot{slot}" for slot in range(1, SLOTS)), *(f"client{slot}" for slot in range(SLOTS))]
        if not clients:
            self._change([(name, server) for name in (*gone, "servers")], [])
            return
        adds = [("servers", Element(server)), ("solo", Element(server, pack_zone(clients[0][1])))]
        for slot, (client, _) in enumerate(clients[:SLOTS]):
            adds.append((f"client{slot}", Element(server, client)))
            if slot:
                adds.append((f"slot{slot}", Element(server)))
        if len(clients) > 1:
            adds.append(("contended", Element(server)))
        if len(clients) > SLOTS:
            adds.append(("crowded", Element(server)))
        self._change([(name, server) for name in gone], adds)

    def end(self, pairs: list[tuple[bytes, bytes, int]]) -> None:
        """The user has ended what each (client, server, zone) had: until the client speaks again, what the server sends it is dropped.

        Whose the keys are stays known, so that nobody else is given them.
        """
        ended = {(server, zone): [("pairs", pack_key(client, server)), ("waiting", pack_key(server, pack_zone(zone)))]
                 for client, server, zone in pairs}
        for name, size in (("esp_fast", 4), ("ike_fast", 8)):
            for element in self._dump(name):
                zone, fields = unpack_zone(element.data), unpack_key(element.key, 4, 4, size)
                if fields and zone is not None:
                    for server in fields[:2]:
                        ended.get((server, zone), []).append((name, element.key))
        for (server, zone), gone in ended.items():
            key = pack_key(server, pack_zone(zone))
            self._change([*gone, ("ended", key)], [("ended", Element(key))])

    def _change(self, gone: list[tuple[str, bytes]], adds: list[tuple[str, Element]]) -> None:
        """Deletes keys wherever they are and adds elements, at once: no packet sees anything in between."""
        for tell in LISTENERS:
            tell(gone)
        if self._sock.can_destroy is None:
            # The first deletion tells whether the kernel knows NFT_MSG_DESTROYSETELEM (Linux 6.3).
            delete_elements(self._sock, IPV4, TABLE, "spi_zone", [bytes(8)])
        added = [request for name, element in adds for request in nftables.add_elements(IPV4, TABLE, name, [element])]
        gone = list(gone)
        while True:
            removed = [request for name, key in gone
                       for request in nftables.delete_elements(IPV4, TABLE, name, [key], destroy=bool(self._sock.can_destroy))]
            try:
                self._sock.transaction([*removed, *added])
                return
            except NetlinkError as error:
                # An older kernel refuses the whole transaction for a key that is not there: once more without it.
                if error.errno != ENOENT or self._sock.can_destroy or error.index is None or error.index >= len(gone):
                    raise
                del gone[error.index]


def _age(element: Element, timeout: float) -> float:
    """Seconds since an element was last renewed."""
    whole = timeout * 1000 if element.timeout_ms is None else element.timeout_ms
    return max(0.0, (whole - element.expires_ms) / 1000) if element.expires_ms is not None else 0.0
