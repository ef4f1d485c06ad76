# SPDX-License-Identifier: GPL-2.0-or-later
"""Every set and map of `table ip vpnpt` for IPsec: key, value, lifetime, bound, who fills it, who reads it.

Sizes: 'clients' (max_clients), 'pairs' (16 for each client), 'keys' (max_keys), or a number. Lifetimes in seconds, counted from the last
renewal: 'client' (client_timeout), 'key' (key_timeout), 'fast' (fast_timeout), 'pending' (pending_timeout), or a number. A zone of 0 as a
value means: as on a router without vpnpt.

`kernel` as a writer or reader means rules of this table; `daemon` means netlink.
"""

from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config
    from .text import Table

ENTRIES_PER_CLIENT = 16
"""How many per-server records (pairs and the like) the sets hold for each client that is allowed."""
SLOTS = 8
"""Clients of one server that get copies by the kernel alone. Where there are more, the daemon knows them."""
UNPROVEN = 660
"""Seconds for which a client, a pair or a server is remembered until the server has answered: a little longer than conntrack keeps a flow
of an unknown protocol (nf_conntrack_generic_timeout, 600), so that what conntrack lets in is always somebody's."""
CALLED = 3600
"""Seconds for which an inside host that was called from outside answers from where it was asked, counted from its last answer. Conntrack
forgets after 600 (ESP) or 180 (UDP); what the host begins by itself within that time goes the same way, as on a stock router."""

SPI = "@th,0,32"
"""ESP's SPI as raw bits: `esp spi` would look at the protocol once more."""
COOKIE = "@th,64,64"
"""The initiator cookie (IKEv2: the initiator's SPI) of a UDP packet (RFC 2408 3.1, RFC 7296 3.1, after 8 bytes of UDP)."""
SERVER, SERVER_OUT = "@nh,96,32", "@nh,128,32"
"""Source and destination address as raw bits: nft 1.0.6 compares the raw bits of an ICMP quote only with keys declared as raw bits."""
FAST = f"ip saddr . ip daddr . {SPI}"
"""The fast path's key for ESP: it says everything, the direction too."""
IKE_FAST = f"ip saddr . ip daddr . {COOKIE}"
"""The same for IKE."""
QUOTED_SPI = "@th,192,32 . @th,224,32"
"""Destination and SPI that an ICMP error quotes."""


class Map(Record):
    """A set (no value) or map. key, value: nft expressions. size, lifetime: a word above, or a number. fills, reads: who."""

    __slots__ = ("name", "key", "value", "size", "lifetime", "meaning", "fills", "reads")
    DEFAULTS = {"value": "", "size": "pairs", "lifetime": "key", "fills": "kernel", "reads": "kernel"}
    name: str
    key: str
    value: str
    size: str | int
    lifetime: str | int
    meaning: str
    fills: str
    reads: str


def _slots() -> list[Map]:
    found = []
    for slot in range(SLOTS):
        if slot:
            meaning = "servers with a second client: contended" if slot == 1 else f"servers with client {slot + 1}"
            found.append(Map(name=f"slot{slot}", key="ip saddr", meaning=meaning, fills="kernel, daemon"))
        found.append(Map(name=f"client{slot}", key="ip saddr", value="ip daddr", meaning=f"server: client {slot + 1}, which gets a copy",
                         fills="kernel, daemon", reads="kernel, daemon"))
    return found


MAPS: tuple[Map, ...] = (
    # clients and their zones
    Map(name="client_zone", key="ip saddr", value="ct zone", size="clients", lifetime="client", meaning="client: its zone",
        reads="kernel, daemon"),
    Map(name="zone_client", key="ct zone", value="ip daddr", size="clients", lifetime="client", meaning="zone: its client"),
    Map(name="zones", key="ct zone", size="clients", lifetime="client", meaning="zones that are taken"),
    Map(name="proven", key="ip saddr", size="clients", lifetime="client", meaning="clients that a server has answered"),
    Map(name="called", key="ip saddr . ip daddr", value="ct zone", lifetime=CALLED,
        meaning="inside host and caller: the zone in which it was called with ESP, where it answers"),
    Map(name="called_hosts", key="ip saddr . ip daddr", value="ct zone", lifetime=CALLED, meaning="the same with IKE"),
    Map(name="called_ike", key=f"{SERVER} . {COOKIE}", value="ct zone", size="clients", lifetime=CALLED,
        meaning="caller, cookie: the same for one IKE SA"),
    # who talks with whom
    Map(name="pairs", key="ip saddr . ip daddr", meaning="client and server that talk", reads="kernel, daemon"),
    Map(name="heard", key="ip saddr . ct zone", meaning="server, zone: the server has answered this client"),
    Map(name="servers", key="ip saddr", meaning="servers that a client talks with", fills="kernel, daemon"),
    Map(name="solo", key=SERVER, value="ct zone", meaning="server: its first client's zone", fills="kernel, daemon"),
    *_slots(),
    Map(name="crowded", key="ip saddr", meaning=f"servers with more than {SLOTS} clients", fills="kernel, daemon"),
    Map(name="contended", key=SERVER, meaning="servers with a second client, as ICMP errors quote them", fills="kernel, daemon"),
    Map(name="doubted", key="ip saddr", lifetime=3600, meaning="servers of whose SPIs the kernel may not decide alone", fills="daemon"),
    Map(name="ended", key="ip saddr . ct zone", lifetime=3600, meaning="server, zone: ended by the user, until the client goes on",
        fills="daemon"),
    Map(name="router_hosts", key="ip saddr", size=1024, meaning="servers with which the router itself has SAs", reads="kernel, daemon"),
    Map(name="left_out", key="ip saddr", meaning="servers with which a host talks that is no client of ours"),
    Map(name="came_esp", key=f"ip saddr . {SPI}", value="ip daddr", lifetime=60, meaning="address to which a copied packet was sent"),
    Map(name="came_ike", key=f"ip saddr . {COOKIE}", value="ip daddr", lifetime=60, meaning="the same for IKE"),
    # who waits for a new inbound SPI
    Map(name="waiting", key="ip daddr . ct zone", lifetime="pending", meaning="server, zone: waits for a new inbound SPI",
        reads="kernel, daemon"),
    Map(name="waiting_one", key="ip daddr", value="ct zone", lifetime="pending", meaning="server: who waits first"),
    Map(name="waiting_some", key="ip daddr", lifetime="pending", meaning="servers that somebody waits for"),
    Map(name="waiting_many", key="ip daddr", lifetime="pending", meaning="servers that more than one waits for"),
    Map(name="answered", key="ip daddr . ct zone", lifetime=60,
        meaning="a new inbound SPI came: the next outbound SPI counts as answered", fills="kernel, daemon"),
    # ESP
    Map(name="esp_fast", key=FAST, value="ct zone", size="keys", lifetime="fast", meaning="fast path, both ways: addresses, SPI",
        fills="kernel, daemon (deletes)"),
    Map(name="esp_known", key=FAST, size="keys", meaning="outbound SPIs that were answered", reads="kernel, daemon"),
    Map(name="esp_unanswered", key=FAST, size="keys", lifetime="unanswered", meaning="outbound SPIs seen and not answered yet",
        reads="kernel, daemon"),
    Map(name="spi_zone", key=f"ip saddr . {SPI}", value="ct zone", size="keys", meaning="server, inbound SPI: its owner's zone",
        fills="kernel, daemon", reads="kernel, daemon"),
    Map(name="spi_new", key=f"ip saddr . {SPI}", lifetime=2,
        meaning="inbound SPIs taken a moment ago: a forward of the user's comes first"),
    Map(name="out_zone", key=QUOTED_SPI, value="ct zone", size="keys", meaning="server, outbound SPI, as an ICMP error quotes them"),
    Map(name="router_spis", key=f"ip saddr . {SPI}", size=1024, meaning="inbound SPIs of the router's own SAs", fills="daemon"),
    # SPIs that several clients may own
    Map(name="fanned", key=f"ip saddr . {SPI}", meaning="SPIs that may be several clients'", fills="kernel, daemon"),
    Map(name="listed", key=f"ip saddr . {SPI}", meaning="of these, whose candidates the daemon knows", fills="daemon"),
    Map(name="spilled", key=f"ip saddr . {SPI}", meaning=f"SPIs with more than {SLOTS} candidates", fills="daemon"),
    Map(name="copied", key=f"ip saddr . {SPI}", meaning="SPIs whose copies are counted", reads="daemon"),
    *(Map(name=f"fan{slot}", key=f"ip saddr . {SPI}", value="ip daddr", meaning=f"server, SPI: candidate {slot + 1}",
          fills="daemon", reads="kernel, daemon") for slot in range(SLOTS)),
    # IKE
    Map(name="ike_fast", key=IKE_FAST, value="ct zone", size="keys", lifetime="fast", meaning="fast path, both ways: addresses, cookie",
        fills="kernel, daemon (deletes)"),
    Map(name="cookie_zone", key=f"{SERVER} . {COOKIE}", value="ct zone", size="keys", meaning="server, initiator cookie: its owner's zone",
        reads="kernel, daemon"),
    Map(name="cookies", key=f"ip saddr . {COOKIE}", size="keys", meaning="server, initiator cookie: known"),
    Map(name="cookie_hosts", key=f"ip daddr . {COOKIE} . ct zone", size="keys", meaning="server, initiator cookie, zone that used it"),
    Map(name="watched", key=f"{SERVER} . {COOKIE}", value="ct zone", size="clients",
        meaning="server, cookie: its client, of IKE from another port than 500, which is watched only"),
    Map(name="ike_answered", key=f"ip saddr . {COOKIE}", size="keys", meaning="server, cookie: IKE SAs that the server has answered"),
    Map(name="cookie_many", key=f"ip saddr . {COOKIE}", size="clients",
        meaning="cookies that two hosts use (one address changed, or both chose the same): both get the answers"),
    Map(name="parted", key="ip daddr", value="ip saddr", size="clients", lifetime=1,
        meaning="server: the client that last sent an unsolicited INFORMATIONAL"),
    Map(name="asked", key=f"ip saddr . {COOKIE}", size="clients", lifetime=1,
        meaning="server, cookie: its INFORMATIONAL, which the client answers"),
    Map(name="begun", key=f"ip saddr . {COOKIE}", size="clients", lifetime=60,
        meaning="server, cookie: an IKE SA that it began, offered to its clients"),
    # bounds
    *(Map(name=name, key=key, size="clients", lifetime=60, meaning=meaning) for name, key, meaning in (
        ("rate_in", "ip saddr", "how fast a server shows new keys"),
        ("rate_exchange", "ip saddr", "how fast an address makes SAs"),
        ("rate_out", "ip saddr", "how fast a client shows new keys"),
        ("rate_pairs", "ip saddr", "how fast a client shows new servers"),
        ("rate_parted", "ip daddr", "how fast clients of a server speak of their IKE SAs"),
        ("rate_left_out", "ip saddr", "how fast a host that is no client shows new servers"),
        ("rate_mac", "ether saddr", "how fast an Ethernet address shows new clients"),
        ("rate_copies", "ip saddr", "how fast a server's packets are copied"),
        ("rate_notice", "ip saddr", "how often the daemon is told of a server's packets"),
        ("rate_asks", "ip saddr", "how often the daemon is told of a client's packets"))),
)


def declare(table: Table, config: Config) -> None:
    """All of them, with the sizes and lifetimes that the configuration says."""
    general = config.general
    sizes = {"clients": general.max_clients, "pairs": general.max_clients * ENTRIES_PER_CLIENT, "keys": general.max_keys}
    lifetimes = {"client": general.client_timeout, "key": general.key_timeout, "fast": general.fast_timeout,
                 "pending": general.pending_timeout, "unanswered": max(60, general.pending_timeout)}
    for row in MAPS:
        size = row.size if isinstance(row.size, int) else sizes[row.size]
        lifetime = row.lifetime if isinstance(row.lifetime, int) else lifetimes[row.lifetime]
        table.collection(row.name, row.key, value=row.value, size=size, timeout=lifetime, comment=row.meaning)
