# SPDX-License-Identifier: GPL-2.0-or-later
"""Every set and map of our tables: key, value, lifetime, bound, who fills it, who reads it.

Sizes: 'clients' (max_clients), 'pairs' (16 for each client), 'keys' (max_keys), or a number. Lifetimes in seconds, counted from the last
renewal: 'client' (client_timeout), 'key' (key_timeout), 'fast' (fast_timeout), 'pending' (pending_timeout), 'unanswered'
(pending_timeout, a minute at least), or a number. A zone of 0 as a value means: as on a router without vpnpt.

`kernel` as a writer or reader means rules of this table; `daemon` means netlink.
"""

from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

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
L2TP_FLOW = 3600
"""Seconds that what is known of an L2TP flow lives after a client's last control message, or after the daemon saw that conntrack has it."""
L2TP_SHARED = 60
"""The same for `l2tp_shared`, whose packets only the daemon can deliver: it dies soon after the daemon."""
L2TP_ANSWER = 15
"""Seconds for which a request waits for its answer: clients repeat it after 1, 2, 4 and 8 (RFC 2661 5.8)."""
MOMENT = 2
"""Seconds for which what a client keeps alive is not renewed again."""
LIST, LISTED = 7200, 7100
"""Seconds for which a list of an SPI's candidates lives, and for which it is in force, since the daemon wrote it: it writes it again long
before. Packets do not renew it: what they renew while the daemon replaces it, the kernel keeps beside the new (nft_dynset_eval)."""
FOR_DOCTOR = 600
"""Seconds for which ICMP errors and refusals are remembered for those who look."""

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
ICMP_ERRORS_KEY = "@th,192,32 . @th,136,8 . @th,240,16 . @th,8,8"
"""Of what an ICMP error quotes destination, IP protocol and destination port; the code. Who says so is the value: a key of more than four
parts can't be read back by nft 1.0.6."""
ICMP_TOO_BIG_KEY = "ip saddr . @th,192,32 . @th,136,8 . @th,48,16"
"""Who says so; of what it quotes destination and IP protocol; the next hop's MTU (RFC 1191 section 4)."""
ICMP_ERRORS_FIELDS, ICMP_TOO_BIG_FIELDS = (4, 1, 2, 1), (4, 4, 1, 2)
"""Bytes of each part of these keys."""


class Map(Record):
    """A set (no value) or map. key, value: nft expressions. size, lifetime: a word above, or a number. fills, reads: who; a writer that
    only renews or deletes elements says so."""

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
            meaning = "servers with a second client" if slot == 1 else f"servers with client {slot + 1}"
            found.append(Map(name=f"slot{slot}", key="ip saddr", meaning=meaning, fills="kernel, daemon"))
        found.append(Map(name=f"client{slot}", key="ip saddr", value="ip daddr", meaning=f"server: client {slot + 1}, which gets a copy",
                         fills="kernel, daemon", reads="kernel, daemon"))
    return found


IPSEC: tuple[Map, ...] = (
    # clients and their zones
    Map(name="client_zone", key="ip saddr", value="ct zone", size="clients", lifetime="client", meaning="client: its zone",
        reads="kernel, daemon"),
    Map(name="zone_client", key="ct zone", value="ip daddr", size="clients", lifetime="client", meaning="zone: its client"),
    Map(name="zones", key="ct zone", size="clients", lifetime="client", meaning="zones that are taken"),
    Map(name="proven", key="ip saddr", size="clients", lifetime="client", meaning="clients that a server has answered"),
    Map(name="called", key=f"{SERVER} . {SERVER_OUT}", value="ct zone", lifetime=CALLED,
        meaning="inside host and caller: the zone in which it was called with ESP"),
    Map(name="called_hosts", key=f"{SERVER} . {SERVER_OUT}", value="ct zone", lifetime=CALLED, meaning="the same with IKE"),
    Map(name="called_ike", key=f"{SERVER} . {COOKIE}", value="ct zone", size="clients", lifetime=CALLED,
        meaning="caller, cookie: the same for one IKE SA"),
    Map(name="own_ike", key="ip saddr . ip daddr", meaning="client and server: it has begun IKE itself"),
    Map(name="diverted", key="ip saddr . ip daddr", lifetime=UNPROVEN,
        meaning="inside host, address: NAT loopback to a host inside"),
    Map(name="routed", key="ip saddr . ip daddr", lifetime=UNPROVEN,
        meaning="client and server without NAT", fills="kernel"),
    Map(name="routed_only", key="ip saddr", lifetime=UNPROVEN, meaning="servers whose only client has none",
        fills="kernel, daemon (deletes)"),
    # who talks with whom
    Map(name="pairs", key="ip saddr . ip daddr", meaning="client and server that talk", fills="kernel, daemon (deletes)",
        reads="kernel, daemon"),
    Map(name="heard", key="ip saddr . ct zone", meaning="server, zone: the server has answered this client"),
    Map(name="servers", key="ip saddr", meaning="servers that a client talks with", fills="kernel, daemon"),
    Map(name="solo", key=SERVER, value="ct zone", meaning="server: its first client's zone", fills="kernel, daemon"),
    *_slots(),
    Map(name="crowded", key="ip saddr", meaning=f"servers with more than {SLOTS} clients", fills="kernel, daemon"),
    Map(name="contended", key=SERVER, meaning="servers with a second client, as ICMP errors quote them", fills="kernel, daemon"),
    Map(name="hushed", key="ip saddr", lifetime=2, size=1024, meaning="servers of which the daemon has more notices than it can handle",
        fills="daemon"),
    Map(name="doubted", key="ip saddr", lifetime=3600, meaning="servers of whose SPIs the daemon decides", fills="daemon"),
    Map(name="ended", key="ip saddr . ct zone", lifetime=3600, meaning="server, zone: ended by the user, until the client goes on",
        fills="daemon, kernel (deletes)"),
    Map(name="router_hosts", key=SERVER, size=1024, meaning="servers of the router's own SAs", reads="kernel, daemon"),
    Map(name="left_out", key=SERVER, meaning="servers with which a host left out talks"),
    Map(name="came_esp", key=f"ip saddr . {SPI}", value="ip daddr", lifetime=1,
        meaning="address to which a packet was sent",
        fills="kernel, daemon (deletes)"),
    Map(name="came_ike", key=f"ip saddr . {COOKIE}", value="ip daddr", lifetime=1, meaning="the same for IKE",
        fills="kernel, daemon (deletes)"),
    Map(name="renewing", key="ip saddr . ct zone", lifetime=MOMENT, meaning="server, zone: renewed a moment ago"),
    Map(name="renewed", key="ip saddr . ct zone", value="ip daddr", lifetime=1,
        meaning="the address to which such a packet was sent",
        fills="kernel, daemon (deletes)"),
    # who waits for a new inbound SPI
    Map(name="waiting", key="ip daddr . ct zone", lifetime="pending", meaning="server, zone: waits for a new inbound SPI",
        fills="kernel, daemon", reads="kernel, daemon"),
    Map(name="asking", key="ip daddr . ct zone", lifetime="pending", meaning="the same, of those whose ESP has no answer"),
    Map(name="waiting_one", key="ip daddr", value="ct zone", lifetime="pending", meaning="server: who waits first"),
    Map(name="waiting_some", key="ip daddr", lifetime="pending", meaning="servers that somebody waits for"),
    Map(name="waiting_many", key="ip daddr", lifetime="pending", meaning="servers that more than one waits for"),
    Map(name="answered", key="ip daddr . ct zone", lifetime=60,
        meaning="a new inbound SPI came, not yet credited", fills="kernel, daemon"),
    # ESP
    Map(name="esp_fast", key=FAST, value="ct zone", size="keys", lifetime="fast", meaning="fast path, both ways: addresses, SPI",
        fills="kernel, daemon (deletes)"),
    Map(name="esp_known", key=FAST, size="keys", meaning="outbound SPIs that were answered", reads="kernel, daemon"),
    Map(name="esp_unanswered", key=FAST, size="keys", lifetime="unanswered", meaning="outbound SPIs seen and not answered yet",
        reads="kernel, daemon"),
    Map(name="spi_zone", key=f"ip saddr . {SPI}", value="ct zone", size="keys", meaning="server, inbound SPI: its owner's zone",
        fills="kernel, daemon", reads="kernel, daemon"),
    Map(name="spi_unasked", key=f"ip saddr . {SPI}", value="ct zone", lifetime=UNPROVEN,
        meaning="server, inbound SPI that nobody asked for: the only client's zone",
        fills="kernel, daemon (deletes)", reads="kernel, daemon"),
    Map(name="spi_new", key=f"ip saddr . {SPI}", lifetime=2,
        meaning="inbound SPIs that came a moment ago"),
    Map(name="out_zone", key=QUOTED_SPI, value="ct zone", size="keys", meaning="server, outbound SPI",
        fills="kernel, daemon", reads="kernel, daemon"),
    Map(name="router_spis", key=f"ip saddr . {SPI}", size=1024, meaning="inbound SPIs of the router's own SAs", fills="daemon"),
    # SPIs that several clients may own
    Map(name="fanned", key=f"ip saddr . {SPI}", meaning="SPIs that may be several clients'", fills="kernel, daemon"),
    Map(name="listed", key=f"ip saddr . {SPI}", lifetime=LISTED, meaning="of these, those whose candidates are known", fills="daemon",
        reads="kernel, daemon"),
    Map(name="spilled", key=f"ip saddr . {SPI}", lifetime=LISTED, meaning=f"SPIs with more than {SLOTS} candidates", fills="daemon",
        reads="kernel, daemon"),
    Map(name="copied", key=f"ip saddr . {SPI}", meaning="SPIs whose copies are counted", reads="daemon"),
    Map(name="sending", key="ip saddr . ip daddr", meaning="client and server: ESP that is not answered yet, counted", reads="daemon"),
    *(Map(name=f"fan{slot}", key=f"ip saddr . {SPI}", value="ip daddr", lifetime=LIST, meaning=f"server, SPI: candidate {slot + 1}",
          fills="daemon", reads="kernel, daemon") for slot in range(SLOTS)),
    # IKE
    Map(name="ike_fast", key=IKE_FAST, value="ct zone", size="keys", lifetime="fast", meaning="fast path, from clients: addresses, cookie",
        fills="kernel, daemon (deletes)"),
    Map(name="ike_fast_in", key=f"ip saddr . {COOKIE}", value="ct zone", size="keys", lifetime="fast",
        meaning="fast path, from servers: server, cookie; none of two hosts", fills="kernel, daemon (deletes)"),
    Map(name="cookie_zone", key=f"{SERVER} . {COOKIE}", value="ct zone", size="keys", meaning="server, initiator cookie: its owner's zone",
        reads="kernel, daemon"),
    Map(name="cookies", key=f"ip saddr . {COOKIE}", size="keys", meaning="server, initiator cookie: known"),
    Map(name="cookie_hosts", key=f"ip daddr . {COOKIE} . ct zone", size="keys", meaning="server, initiator cookie, zone that used it"),
    Map(name="watched", key=f"{SERVER} . {COOKIE}", value="ct zone", size="clients",
        meaning="server, cookie: its client, of watched IKE"),
    Map(name="ike_ports", key="ip saddr . udp dport", value="ct zone", size="clients", lifetime=180,
        meaning="server, port that NAT has given a client's IKE: its zone"),
    Map(name="ike_moved", key=f"{SERVER} . {COOKIE}", size="clients", lifetime=180,
        meaning="server, cookie: used from another port than 500, too"),
    Map(name="ike_begun", key=f"ip saddr . {COOKIE}", size="clients",
        meaning="server, cookie: an IKE SA that the client may not have"),
    Map(name="ike_odd", key="ip saddr . ip daddr", size="clients", lifetime=FOR_DOCTOR, reads="daemon",
        meaning="host and server: IKE from another port than 500"),
    Map(name="ike_answered", key=f"ip saddr . {COOKIE}", size="keys", meaning="server, cookie: answered"),
    Map(name="cookie_many", key=f"ip saddr . {COOKIE}", size="clients",
        meaning="cookies that two hosts use: both get the answers"),
    Map(name="parted", key="ip daddr", value="ip saddr", size="clients", lifetime=1,
        meaning="server: who last sent an INFORMATIONAL unasked"),
    Map(name="asked", key=f"ip saddr . {COOKIE}", size="clients", lifetime=1,
        meaning="server, cookie: an INFORMATIONAL of its own"),
    Map(name="begun", key=f"ip saddr . {COOKIE}", size="clients", lifetime=60,
        meaning="server, cookie: an IKE SA offered to its clients"),
    Map(name="ike_late", key="ip saddr", lifetime=180,
        meaning="servers whose IKE found no flow, but its client"),
    Map(name="other_500", key="ip saddr", lifetime=180,
        meaning="servers with UDP 500 that is no IKE"),
    # bounds
    *(Map(name=name, key=key, size="clients", lifetime=60, meaning=meaning) for name, key, meaning in (
        ("rate_in", "ip saddr", "how fast a server shows new keys"),
        ("rate_exchange", "ip saddr", "how fast an address makes SAs"),
        ("rate_exchange_mac", "ether saddr", "SAs of an Ethernet address"),
        ("rate_out", "ip saddr", "how fast a client shows new keys"),
        ("rate_pairs", "ip saddr", "how fast a client shows new servers"),
        ("rate_parted", "ip daddr", "INFORMATIONALs of a server's clients"),
        ("rate_left_out", "ip saddr", "new servers of a host that is no client"),
        ("rate_mac", "ether saddr", "new clients of an Ethernet address"),
        ("rate_copies", "ip saddr", "how fast a server's packets are copied"),
        ("rate_notice", "ip saddr", "notices of a server's packets"),
        ("rate_asks", "ip saddr", "notices of a client's packets"),
        ("rate_asks_mac", "ether saddr", "notices of an Ethernet address"))),
)


_FLOW = "ip saddr . udp sport . ip daddr"
_WAN_PORT = "ip saddr . udp dport"
_TUNNEL = "ip saddr . @th,96,16"


def _l2tp(name: str, key: str, meaning: str, **other: str | int) -> Map:
    """Of what the kernel learns by itself and the daemon looks up where it could not."""
    return Map(**{"name": name, "key": key, "meaning": meaning, "lifetime": L2TP_FLOW, "fills": "kernel, daemon", **other})


L2TP: tuple[Map, ...] = (
    _l2tp("l2tp_servers", "ip saddr", "servers with which a client talks L2TP"),
    _l2tp("l2tp_pairs", "ip daddr . ip saddr", "server and client that talk L2TP"),
    _l2tp("l2tp_flows", _FLOW, "client, port, server: flows that have passed"),
    _l2tp("l2tp_many", "ip saddr", "servers with a second client"),
    _l2tp("l2tp_odd", "ip saddr", "servers with a client of another port on the WAN"),
    _l2tp("l2tp_plain", "ip saddr", "servers that send to a client's own port", fills="kernel"),
    _l2tp("l2tp_solo", "ip saddr", "server: its only client's port", value="udp sport"),
    _l2tp("l2tp_ports", _WAN_PORT, "server, port on the WAN: a client's"),
    _l2tp("l2tp_way", _WAN_PORT, "server, port on the WAN: its client and the client's port", value="ip daddr . udp dport"),
    _l2tp("l2tp_port", _TUNNEL, "server, tunnel ID: its client's port on the WAN", value="udp dport", fills="daemon"),
    _l2tp("l2tp_session", f"{_TUNNEL} . @th,112,16", "the same by session", value="udp dport",
          size="keys", fills="daemon"),
    _l2tp("l2tp_shared", _TUNNEL, "tunnel IDs that two clients have", lifetime=L2TP_SHARED, fills="daemon"),
    _l2tp("l2tp_true", _FLOW, "flows whose source routes back", lifetime=L2TP_ANSWER, fills="kernel"),
    _l2tp("l2tp_waits", _WAN_PORT, "server, port on the WAN: its client waits for an answer", lifetime=L2TP_ANSWER, fills="kernel"),
    _l2tp("l2tp_asks", "ip saddr", "servers asked for a tunnel", lifetime=L2TP_ANSWER, fills="kernel"),
    _l2tp("l2tp_moved", "ip saddr . udp sport . udp dport", "server, its port, port on the WAN", fills="kernel"),
    _l2tp("l2tp_router", "ip saddr", "servers of the router's own L2TP", fills="kernel"),
    *(_l2tp(name, key, meaning, size="clients", lifetime=60, fills="kernel") for name, key, meaning in (
        ("rate_l2tp", "ip saddr", "how fast a client makes tunnels"),
        ("rate_l2tp_mac", "ether saddr", "how fast an Ethernet address makes flows and tunnels"),
        ("rate_l2tp_held", "ip saddr", "packets given to the daemon"))),
)

ICMP_ERRORS = Map(name="icmp_errors", key=ICMP_ERRORS_KEY, value="ip saddr", size=512, lifetime=FOR_DOCTOR, meaning="ICMP errors",
                  reads="daemon")
ICMP_TOO_BIG = Map(name="icmp_too_big", key=ICMP_TOO_BIG_KEY, size=512, lifetime=FOR_DOCTOR, meaning="ICMP: too long", reads="daemon")
ICMP: tuple[Map, ...] = (ICMP_ERRORS, ICMP_TOO_BIG)


def refused_set(protocol: str) -> str:
    """The set that counts what was refused of this protocol, by client and server."""
    return f"refused_{protocol}"


def refused(protocol: str, family: str) -> Map:
    """One for each protocol in each family: `ip` or `ip6`."""
    return Map(name=refused_set(protocol), key=f"{family} saddr . {family} daddr", size=1024, lifetime=FOR_DOCTOR, reads="daemon",
               meaning=f"clients and servers whose {protocol} was refused, counted")


def declare(table: Table, config: Config, rows: Iterable[Map]) -> None:
    """These sets and maps, with the sizes and lifetimes that the configuration says."""
    general = config.general
    sizes = {"clients": general.max_clients, "pairs": general.max_clients * ENTRIES_PER_CLIENT, "keys": general.max_keys}
    lifetimes = {"client": general.client_timeout, "key": general.key_timeout, "fast": general.fast_timeout,
                 "pending": general.pending_timeout, "unanswered": max(60, general.pending_timeout)}
    for row in rows:
        size = row.size if isinstance(row.size, int) else sizes[row.size]
        lifetime = row.lifetime if isinstance(row.lifetime, int) else lifetimes[row.lifetime]
        table.collection(row.name, row.key, value=row.value, size=size, timeout=lifetime, comment=row.meaning)
