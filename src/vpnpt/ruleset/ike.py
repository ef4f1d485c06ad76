# SPDX-License-Identifier: GPL-2.0-or-later
"""IKE through NAT: UDP 500 on both sides, by initiator cookie. The order in which a packet's owner is asked for is in docs/DATAPATH.md.

From another port than 500 NAT tells clients apart by itself: such IKE is only watched, for what it says of SAs to come. What does not
look like IKE (version, exchange type, length) is left alone, whatever its ports.

Offsets of raw payload after 8 bytes of UDP (RFC 2408 3.1, RFC 7296 3.1): initiator cookie @th,64,64, responder cookie @th,128,64, version
@th,200,8, exchange type @th,208,8, flags @th,216,8 (IKEv2: initiator 8), length @th,256,32.
"""

from __future__ import annotations

from .maps import COOKIE, IKE_FAST, SERVER, SERVER_OUT, UNPROVEN
from .notices import ANSWERED, ASKS_MAC_RATE, EXCHANGE, LEARNED, add_teller
from .text import Table, names, numbers
from .zones import LEFT_OUT_RATE, ZONE, add_not_ours, add_way_out, add_zoned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Devices
    from .dispatch import Dispatch
    from .text import Chain

CREATES_SAS = (32, 35, 36)
"""IKE exchanges after which new SPIs appear: quick mode (RFC 2409 5.5), IKE_AUTH, CREATE_CHILD_SA (RFC 7296 3.1)."""

BEGINS = (2, 4, 34)
"""IKE exchanges that begin an IKE SA: main and aggressive mode (RFC 2409 5), IKE_SA_INIT (RFC 7296 1.2)."""

INFORMATIONAL = (5, 37)
"""IKE exchanges about an IKE SA itself, as its end (RFC 2408 3.1, RFC 7296 3.1)."""

KNOWN_EXCHANGES = "{ 1-6, 32-47, 240-255 }"
"""Exchange types of IKEv1 (RFC 2408 3.1, with its private ones; RFC 2409) and of IKEv2 (IANA's registry)."""

EXCHANGE_RATE = "50/second burst 200 packets"
"""Messages of such exchanges a second, of one address, that the daemon is told of."""

EXCHANGE_MAC_RATE = "300/second burst 1000 packets"
"""The same of one Ethernet address, of all its clients."""

LEARNING_RATE = "20/second burst 300 packets"
"""New cookies a second that one server may put into the maps."""

FROM = f"ip saddr . {COOKIE}"
"""Server and cookie of what a server sends."""

BEGINNING = "@th,128,64 0"
"""No responder cookie yet: the first message of an IKE SA, which whoever has it can answer."""


def add_ike(table: Table, devices: Devices, dispatch: Dispatch) -> None:
    """The chains for UDP 500, from `dispatch` on."""
    dispatch.udp_to[500], dispatch.udp_from[500] = "to_ike", "from_ike"
    chain = table.chain("to_ike")
    chain.rule("@th,0,16 500 goto ike", "from port 500 to port 500")
    chain.rule(f"iifname {names(devices.lan)} ip daddr . {COOKIE} @cookies update @ike_moved {{ {SERVER_OUT} . {COOKIE} }}",
               "a cookie that was used from port 500 as well")
    chain.rule(f"iifname {names(devices.lan)} {BEGINNING} @th,208,8 {numbers(BEGINS)} goto ike_odd", "a host begins IKE from another port")
    chain.rule(f"iifname {names(devices.lan)} @th,208,8 {numbers(CREATES_SAS)} goto ike_watch_out",
               "from another port: only watched")
    chain = table.chain("from_ike")
    chain.rule(f"iifname {names(devices.lan)} @th,16,16 != 4500 ct zone set {SERVER_OUT} . {COOKIE} map @cookie_zone return",
               "the answer to a caller with another port")
    chain.rule(f"iifname != {names(devices.lan)} {SERVER} . {COOKIE} @ike_moved goto ike_in_moved", "also used from another port than 500")
    chain.rule(f"iifname != {names(devices.lan)} ip saddr . {COOKIE} @cookies goto ike_in_nated",
               "a known cookie, to the port that NAT gave the client")
    chain.rule(f"iifname != {names(devices.lan)} {BEGINNING} @th,208,8 {numbers(BEGINS)} goto ike_in_port", "the server begins another one")
    chain.rule(f"iifname != {names(devices.lan)} @th,208,8 {numbers(CREATES_SAS)} goto ike_watch_in",
               "to another port: only watched")

    _add_exchanges(table)
    table.chain("ike_none").rule(f"iifname {names(devices.lan)} goto ike_other", "sent by an inside host")
    other = table.chain("ike_other")
    other.rule("ip daddr @other_500 update @other_500 { ip daddr } return", "renewed")
    # Also where no client talks with that server yet: one may come before conntrack forgets the flow.
    other.rule(f"limit rate {LEFT_OUT_RATE} add @other_500 {{ ip daddr }}", "on the ports of its server's IKE")
    ike = table.chain("ike")
    kinds = ", ".join([*(f"{kind} : jump ike_said" for kind in INFORMATIONAL), *(f"{kind} : goto ike_slow" for kind in CREATES_SAS)])
    ike.rule(f"@th,208,8 vmap {{ {kinds} }}", "an IKE SA may end, or new SPIs are about to appear")
    ike.rule(f"iifname {names(devices.wan)} ct zone set ip saddr . {COOKIE} map @ike_fast_in return", "established IKE of a server")
    ike.rule(f"ct zone set {IKE_FAST} map @ike_fast return", "established IKE of a client")
    ike.rule("goto ike_slow", "not in the fast path")
    slow = table.chain("ike_slow")
    slow.rule(f"{COOKIE} 0 goto ike_marker", "ESP in UDP 500")
    slow.rule(f"iifname {names(devices.lan)} @th,32,16 9 @th,64,8 0xff ip saddr . ip daddr @pairs ct zone set ip saddr map @client_zone "
              "return", "a NAT keepalive (RFC 3948 2.3)")
    looks_like_ike(slow, "goto ike_none")
    slow.rule(f"iifname {names(devices.lan)} goto ike_out", "sent by an inside host")
    slow.rule("goto ike_in", "sent from outside")
    _add_out(table, devices)
    _add_in(table, devices)
    _add_said(table, devices)
    _add_marker(table, devices)
    _add_watch(table)


def looks_like_ike(chain: Chain, verdict: str = "return") -> None:
    """Rules that end `chain` for UDP that is no IKE."""
    chain.rule(f"@th,32,16 < 36 {verdict}", "not IKE: shorter than IKE's header")
    chain.rule(f"@th,200,4 != {{ 1, 2 }} {verdict}", "not IKE: version")
    chain.rule(f"@th,208,8 != {KNOWN_EXCHANGES} {verdict}", "not IKE: exchange type")
    chain.rule(f"@th,256,16 != 0 {verdict}", "not IKE: length")


def _add_exchanges(table: Table) -> None:
    for way in ("out", "in"):
        exchange = table.chain(f"exchange_{way}")
        if way == "out":
            exchange.rule("ip saddr . ip daddr != @pairs return", "the firewall may not let it pass")
        exchange.rule(f"jump wait_{way}", "the client waits from the first message on")
        teller = add_teller(table, f"exchange_{way}", EXCHANGE, "rate_exchange", "ip saddr", EXCHANGE_RATE,
                            mac_rate=EXCHANGE_MAC_RATE if way == "out" else "")
        exchange.rule(f"goto {teller}", "tell the daemon")


def _add_out(table: Table, devices: Devices) -> None:
    out = table.chain("ike_out")
    out.rule(f"{ZONE} set {IKE_FAST} map @ike_fast goto ike_out_fast", "an established IKE SA of this client creates SAs")
    out.rule(f"{ZONE} set {SERVER_OUT} . {COOKIE} map @called_ike goto ike_out_called", "the answer of a host that was called from outside")
    out.rule(f"{ZONE} set ip saddr map @client_zone goto ike_out_client", "a client that has a zone")
    out.rule("goto ike_out_unknown", "a host without a zone")

    client = table.chain("ike_out_client")
    client.rule(f"ip daddr . {COOKIE} . {ZONE} @cookie_hosts goto ike_out_zoned", "an IKE SA of this client")
    client.rule("jump ike_out_unknown", "an IKE SA that is not known as this client's")
    client.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")

    unknown = table.chain("ike_out_unknown")
    unknown.rule(f"{ZONE} set {SERVER} . {COOKIE} map @cookie_zone goto ike_out_back",
                 "the answer of a server inside")
    unknown.rule(f"{BEGINNING} ip saddr . ip daddr @own_ike goto ike_out_new", "the host begins an IKE SA")
    unknown.rule(f"{ZONE} set {SERVER} . {SERVER_OUT} map @called_hosts goto ike_out_called",
                 "the answer of a host that was called from outside")
    unknown.rule(f"{BEGINNING} goto ike_out_new", "the host begins an IKE SA")
    unknown.rule("@th,216,8 & 8 == 8 goto ike_out_new", "the host has begun this IKE SA")
    unknown.rule(f"ip daddr . {COOKIE} @begun goto ike_out_new", "the host answers an IKE SA that its server has begun")
    unknown.rule(f"ip daddr . {COOKIE} @cookies goto ike_out_new", "a known one: its host has another address now")
    unknown.rule("ip saddr . ip daddr @pairs goto ike_out_new", "a client of this server")
    unknown.rule("goto zone_none", "of an IKE SA that we don't know: as without vpnpt")
    add_way_out(table.chain("ike_out_new"), "ike_out_zoned", devices)
    add_zoned(table, "ike_out_zoned", "ike_out_learn")
    add_zoned(table, "ike_out_fast", "refresh_out", "exchange_out")
    add_zoned(table, "ike_out_called", "ike_out_answer")
    add_zoned(table, "ike_out_back", "ike_out_back_renew")
    table.chain("ike_out_back_renew").rule(f"update @cookie_zone {{ {SERVER} . {COOKIE} : {ZONE} }} "
                                           f"update @cookies {{ ip saddr . {COOKIE} }}", "renewed")

    answer = table.chain("ike_out_answer")
    answer.rule(f"update @called_hosts {{ {SERVER} . {SERVER_OUT} : {ZONE} }} update @called_ike {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} "
                f"update @ike_begun {{ ip daddr . {COOKIE} }}", "the host goes on answering its caller")
    answer.rule(f"{ZONE} 0 update @left_out {{ {SERVER_OUT} }}", "what the caller sends may not be a client's")
    answer.rule(f"ip daddr . {COOKIE} @begun jump cookie_shared", "a client may have answered its copy, too")
    answer.rule(f"add @cookie_zone {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} add @cookies {{ ip daddr . {COOKIE} }}",
                "the caller's next messages take the same way")

    learn = table.chain("ike_out_learn")
    learn.rule("jump refresh_out", "renew what is known of this client and server")
    learn.rule(f"@th,208,8 {numbers(CREATES_SAS)} jump exchange_out", "this client waits for a new inbound SPI")
    learn.rule(f"ip daddr . {COOKIE} . {ZONE} @cookie_hosts goto ike_out_renew", "a known cookie")
    learn.rule(f"ip daddr . {COOKIE} @cookies delete @cookie_zone {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} jump cookie_shared",
               "another host has this cookie")
    learn.rule(f"add @cookie_hosts {{ ip daddr . {COOKIE} . {ZONE} }}", "a new cookie, of this client")
    learn.rule(f"add @cookie_zone {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} add @cookies {{ ip daddr . {COOKIE} }}",
               "a new cookie: the first client to use it")
    teller = add_teller(table, "learned", LEARNED, "rate_asks", "ip saddr", "500/second burst 500 packets", mac_rate=ASKS_MAC_RATE)
    learn.rule(f"jump {teller}", "tell the daemon")
    learn.rule("goto ike_out_renew", "renewed, and put into the fast path")
    renew = table.chain("ike_out_renew")
    brief = f"timeout {UNPROVEN}s"
    renew.rule(f"ip daddr . {COOKIE} != @ike_answered update @cookie_zone {{ {SERVER_OUT} . {COOKIE} {brief} : {ZONE} }} "
               f"update @cookies {{ ip daddr . {COOKIE} {brief} }} update @cookie_hosts {{ ip daddr . {COOKIE} . {ZONE} {brief} }} "
               f"add @ike_fast {{ {IKE_FAST} : {ZONE} }} return",
               "the server has not answered yet")
    renew.rule(f"update @cookie_zone {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} update @cookies {{ ip daddr . {COOKIE} }} "
               f"update @cookie_hosts {{ ip daddr . {COOKIE} . {ZONE} }} add @ike_fast {{ {IKE_FAST} : {ZONE} }}",
               "renewed, and put into the fast path")


def _add_in(table: Table, devices: Devices) -> None:
    # The key first; without NAT the address is one, and says more than that.
    slow = table.chain("ike_in")
    slow.rule(f"@th,16,16 500 {ZONE} set ip daddr map @client_zone goto ike_in_direct", "addressed to the client itself")
    slow.rule(f"ip saddr . {COOKIE} @cookie_many goto ike_in_many", "two hosts have this cookie")
    slow.rule(f"@th,16,16 500 ip saddr @ike_late {FROM} @ike_begun goto ike_in_unknown", "an IKE SA that its client may not have")
    slow.rule(f"{ZONE} set {SERVER} . {COOKIE} map @cookie_zone goto ike_in_whose", "a known cookie")
    slow.rule("goto ike_in_unknown", "an unknown cookie")
    slow = table.chain("ike_in_unknown")
    slow.rule("ip saddr != @servers goto ike_elsewhere", "no client talks with it")
    add_not_ours(slow, devices)
    slow.rule(f"{SERVER} @router_hosts goto ike_in_router", "the router itself has SAs with this server")
    slow.rule(f"{SERVER} @left_out goto ike_in_router", "a host that is no client is a candidate too")
    slow.rule("ip saddr @slot1 goto ike_in_shared", "several clients could be meant")
    slow.rule("ip saddr @ike_late goto ike_in_shared", "without us its port 500 would be another's now")
    slow.rule("ip saddr @routed_only return", "without NAT for its only client: as without vpnpt")
    slow.rule(f"{ZONE} set {SERVER} map @solo goto ike_in_new", "the packet takes the zone of the server's only client")

    many = table.chain("ike_in_many")
    many.rule(f"update @cookie_many {{ ip saddr . {COOKIE} }}", "renewed while it is in use")
    many.rule(f"@th,16,16 != 500 {ZONE} set ip saddr . udp dport map @ike_ports goto ike_in_whose",
              "to the port that NAT has given one of them")
    many.rule(f"@th,16,16 != 500 {ZONE} set {SERVER} . {COOKIE} map @cookie_zone goto ike_in_whose",
              "to another port: who used the cookie last")
    many.rule("goto copies", "a copy for each client that may have it")

    router = table.chain("ike_in_router")
    router.rule(f"{BEGINNING} update @begun {{ ip saddr . {COOKIE} }}",
                "the server begins an IKE SA: whose it is the answer tells")
    router.rule("goto copies", "a copy for each client")

    # Whoever gets a message of an IKE SA that it has not can't read it. But the first one of a new IKE SA any client can answer, and the
    # server takes the first answer for that of the one it means. Both may be for no client at all: that is seen after NAT (`begin_shared`).
    shared = table.chain("ike_in_shared")
    shared.rule("ip saddr @other_500 goto ike_in_router", "UDP 500 that is no IKE: only copies")

    whose = table.chain("ike_in_whose")
    whose.rule(f"ip saddr . {ZONE} @ended drop", "ended by the user, and the client has not come back")
    whose.rule("goto ike_in_known", "the owner's zone")
    add_zoned(table, "ike_in_known", "ike_in_renew")
    renew = table.chain("ike_in_renew")
    renew.rule(f"{ZONE} 0 return", "as without vpnpt")
    renew.rule(f"@th,208,8 {numbers(CREATES_SAS)} jump exchange_in", "this client waits for a new inbound SPI")
    teller = add_teller(table, "answered", ANSWERED, "rate_notice", "ip saddr", "500/second burst 1000 packets")
    renew.rule(f"@th,208,8 {numbers(BEGINS)} jump {teller}", "tell the daemon")
    renew.rule(f"update @cookie_zone {{ {SERVER} . {COOKIE} : {ZONE} }} update @cookies {{ ip saddr . {COOKIE} }} "
               f"update @heard {{ ip saddr . {ZONE} }} update @ike_answered {{ ip saddr . {COOKIE} }} "
               f"add @ike_fast_in {{ {FROM} : {ZONE} }}", "renewed, and put into the fast path")
    renew.rule(f"{FROM} @cookie_many delete @ike_fast_in {{ {FROM} : {ZONE} }}", "another host has this cookie")
    renew.rule(f"@th,16,16 != 500 update @ike_ports {{ ip saddr . udp dport : {ZONE} }}", "the port that NAT has given it")
    port = table.chain("ike_in_port")
    looks_like_ike(port)
    port.rule("ct zone set ip saddr . udp dport map @ike_ports", "to the port that NAT has given the client")
    said = f"@th,208,8 {numbers(INFORMATIONAL)} jump ike_said", "an INFORMATIONAL of the server: its client answers"
    nated = table.chain("ike_in_nated")
    nated.rule(*said)
    nated.rule("goto ike_slow", "not in the fast path")
    moved = table.chain("ike_in_moved")
    moved.rule(*said)
    moved.rule(f"update @ike_moved {{ {SERVER} . {COOKIE} }}", "renewed, as conntrack renews the flow")
    moved.rule(f"{ZONE} set ip saddr . udp dport map @ike_ports goto ike_in_whose", "to the port that NAT has given the client")
    moved.rule(f"@th,208,8 {numbers(CREATES_SAS)} goto ike_watch_in", "to another host: only watched")
    add_zoned(table, "ike_in_direct", "refresh_in", "renew_routed")

    add_zoned(table, "ike_in_new", "ike_in_take")
    take = table.chain("ike_in_take")
    take.rule(f"@th,208,8 {numbers(CREATES_SAS)} jump exchange_in", "this client waits for a new inbound SPI")
    take.rule(f"update @ike_begun {{ {FROM} }}", "remembered, should conntrack forget the flow")
    take.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up cookies are not learned")
    take.rule(f"add @cookie_zone {{ {SERVER} . {COOKIE} : {ZONE} }} add @cookies {{ ip saddr . {COOKIE} }} "
              f"add @cookie_hosts {{ ip saddr . {COOKIE} . {ZONE} }} add @ike_fast_in {{ {FROM} : {ZONE} }}",
              "the key and its owner's zone are learned")

    # A host that is no client of ours (its device was left out) talks IKE: the answers are for it.
    elsewhere = table.chain("ike_elsewhere")
    elsewhere.rule(f"iifname {names(devices.wan)} return", "sent from outside")
    elsewhere.rule("update @rate_left_out { ip saddr limit rate over 5/second burst 200 packets } return",
                   "too many new servers")
    elsewhere.rule(f"update @left_out {{ {SERVER_OUT} }} update @cookie_zone {{ {SERVER_OUT} . {COOKIE} : 0 }} "
                   f"update @cookies {{ ip daddr . {COOKIE} }}", "what it sends may be no client's")


def _add_said(table: Table, devices: Devices) -> None:
    said = table.chain("ike_said")
    said.rule(f"iifname != {names(devices.lan)} ip saddr @ike_late {FROM} @ike_begun delete @ike_fast_in {{ {FROM} : {ZONE} }}",
              "an IKE SA that its client may not have")
    said.rule(f"iifname != {names(devices.lan)} ip saddr @slot1 update @asked {{ ip saddr . {COOKIE} }} return",
              "an INFORMATIONAL of the server: its client answers")
    said.rule(f"iifname != {names(devices.lan)} return", "not from inside")
    said.rule("ip daddr != @slot1 return", "the only client")
    said.rule(f"ip daddr . {COOKIE} @asked return", "the answer to an INFORMATIONAL of the server")
    said.rule(f"ip daddr . {COOKIE} != @ike_answered return", "not of an IKE SA that this server knows")
    said.rule("ip saddr . ip daddr != @pairs return", "the firewall may not let it pass")
    said.rule("update @rate_parted { ip daddr limit rate over 5/second burst 20 packets } return", "at most five a second")
    said.rule("delete @parted { ip daddr : ip saddr } add @parted { ip daddr : ip saddr }",
              "should the server begin an IKE SA now")


def _add_marker(table: Table, devices: Devices) -> None:
    """NAT-T of the drafts 00 and 01 (draft-ietf-ipsec-udp-encaps): ESP in UDP 500, where IKE has its cookie there are eight zero bytes.

    It belongs to the flow of the client's IKE. Nothing in it names the client: several of one server all get what it sends.
    """
    marker = table.chain("ike_marker")
    marker.rule(f"iifname {names(devices.lan)} goto ike_marker_out", "sent by an inside host")
    marker.rule("ct zone set ip daddr map @client_zone return", "addressed to the client itself")
    marker.rule("ip saddr != @servers return", "no client talks with it")
    marker.rule(f"{SERVER} @router_hosts goto copies", "the router itself may be meant")
    marker.rule(f"{SERVER} @left_out goto copies", "a host that is no client may be meant")
    marker.rule("ip saddr @slot1 goto copies_slots", "a copy for each client that may have it")
    marker.rule(f"ct zone set {SERVER} map @solo", "the only client")
    out = table.chain("ike_marker_out")
    out.rule(f"ct zone set {SERVER} . {SERVER_OUT} map @called_hosts return", "the answer of a host that was called from outside")
    out.rule("ip saddr . ip daddr @pairs ct zone set ip saddr map @client_zone", "the same flow as the client's IKE")


def _add_watch(table: Table) -> None:
    odd = table.chain("ike_odd")
    looks_like_ike(odd)
    odd.rule("update @ike_odd { ip saddr . ip daddr }", "for the doctor")
    # So slowly that nobody fills the set.
    odd.rule(f"limit rate 10/second burst 100 packets update @ike_moved {{ {SERVER_OUT} . {COOKIE} }}",
             "should another host have this cookie, from port 500")
    out = table.chain("ike_watch_out")
    out.rule("ip saddr . ip daddr != @pairs return", "a client without ESP: nothing to wait for")
    looks_like_ike(out)
    out.rule(f"{ZONE} set ip saddr map @client_zone jump ike_watched", "this client waits for a new inbound SPI")
    out.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")
    watched = table.chain("ike_watched")
    watched.rule(f"update @watched {{ {SERVER_OUT} . {COOKIE} : {ZONE} }}", "remember who waits for the answer")
    watched.rule("goto exchange_out", "tell the daemon")
    back = table.chain("ike_watch_in")
    back.rule("ip saddr != @servers return", "no client talks with it")
    back.rule(f"{ZONE} set {SERVER} . {COOKIE} map @watched goto ike_watch_back", "the answer to a watched message")
    back = table.chain("ike_watch_back")
    back.rule("jump exchange_in", "tell the daemon")
    back.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")
