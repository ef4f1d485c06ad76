# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec through NAT: ESP by SPI, IKE by initiator cookie, ICMP errors by what they quote.

Fast path: one lookup (`esp_fast`, `ike_fast`), no write. Its entries live some minutes only; when
one has died, the next packet takes the slow path, which renews the long-lived state and puts it back. So a tunnel that lives is never
forgotten, a dead one is, and no packet of an established tunnel pays for either.

Offsets of raw payload: ISAKMP initiator cookie @th,64,64 and exchange type @th,208,8 (RFC 2408 3.1, RFC 7296 3.1, after 8 bytes of
UDP); of an ICMP error (RFC 792): the quoted protocol @th,136,8, source @th,160,32, destination @th,192,32, then its SPI @th,224,32, or its
UDP destination port @th,240,16 and cookie @th,288,64 (a header of 20 bytes assumed: with IP options it is not recognised).
"""

from __future__ import annotations

from .errors import CHAIN as NOTE
from .notices import ANSWERED, EXCHANGE, LEARNED, SAME_SPI, SPI_OUT, SPI_TAKEN, notice, whole
from .sharing import SERVER, SERVER_OUT, SPI
from .text import Table, names, numbers
from .zones import STASH, ZONE, add_way_out, add_zoned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .dispatch import Dispatch

FAST = f"ip saddr . ip daddr . {SPI}"
"""The fast path's key: it says everything, the direction too."""

COOKIE = "@th,64,64"
"""The initiator cookie (IKEv2: the initiator's SPI) of a UDP packet."""

IKE_FAST = f"ip saddr . ip daddr . {COOKIE}"
"""The fast path's key for IKE."""

CREATES_SAS = (32, 35, 36)
"""IKE exchanges after which new SPIs appear: quick mode (RFC 2409 5.5), IKE_AUTH, CREATE_CHILD_SA (RFC 7296 3.1)."""

BEGINS = (2, 4, 34)
"""IKE exchanges that begin an IKE SA: main and aggressive mode (RFC 2409 5), IKE_SA_INIT (RFC 7296 1.2)."""

INFORMATIONAL = (5, 37)
"""IKE exchanges about an IKE SA itself, as its end (RFC 2408 3.1, RFC 7296 3.1)."""

PARTED = 1
"""Seconds for which a server that begins a new IKE SA may mean the client that has just told it something about the old one."""

EXCHANGE_RATE = "50/second burst 200 packets"
"""Messages of such exchanges a second, of one address, that the daemon is told of."""

SPI_OUT_RATE = "500/second burst 500 packets"
"""Packets without an answer a second that the daemon is told of: its evidence for whose an SPI is."""

ICMP_ERRORS = "{ destination-unreachable, time-exceeded, parameter-problem }"

LEARNING_RATE = "20/second burst 300 packets"
"""New keys a second that one server (inbound) or client (outbound) may put into the maps: made-up ones can't fill them."""

def add_ipsec(table: Table, config: Config, devices: Devices, dispatch: Dispatch) -> None:
    """Everything for ESP, IKE and their ICMP errors, from `dispatch` on."""
    _declare(table, config)
    lan, wan = names(devices.lan), names(devices.wan)
    if config.protocols["ipsec"].preserve_ike_port:
        dispatch.udp_to[500] = dispatch.udp_from[500] = "ike"
        _add_ike(table, devices)
    dispatch.at_once.append((f"ip protocol esp @th,32,32 != 1 ct zone set {FAST} map @esp_fast accept",
                             "ESP, established, either way: one lookup, unless an SA begins"))
    dispatch.protocols["esp"] = "esp_slow"
    esp = table.chain("esp_slow")
    esp.rule(f"iifname {lan} goto esp_out", "from a client")
    esp.rule(f"iifname {wan} goto esp_in", "from a server")
    _add_esp_out(table, devices)
    _add_esp_in(table)
    dispatch.protocols["icmp"] = "from_icmp"
    _add_icmp(table, lan, wan)
    _add_router(table, devices)


def _declare(table: Table, config: Config) -> None:
    general = config.general
    size, long, fast, soon = general.max_keys, general.key_timeout, general.fast_timeout, general.pending_timeout
    table.collection("esp_fast", f"ip saddr . ip daddr . {SPI}", value="ct zone", size=size, timeout=fast,
                     comment="fast path, both ways: addresses, SPI")
    table.collection("esp_known", f"ip saddr . ip daddr . {SPI}", size=size, timeout=long, comment="outbound SPIs that were answered")
    table.collection("esp_unanswered", f"ip saddr . ip daddr . {SPI}", size=size, timeout=max(60, soon),
                     comment="outbound SPIs seen and not answered yet")
    table.collection("spi_zone", f"ip saddr . {SPI}", value="ct zone", size=size, timeout=long,
                     comment="server, inbound SPI: whose it is")
    table.collection("out_zone", "@th,192,32 . @th,224,32", value="ct zone", size=size, timeout=long,
                     comment="server, outbound SPI, as an ICMP error quotes them")
    table.collection("ike_fast", IKE_FAST, value="ct zone", size=size, timeout=fast, comment="fast path, both ways: addresses, cookie")
    table.collection("cookie_zone", f"{SERVER} . @th,64,64", value="ct zone", size=size, timeout=long,
                     comment="server, initiator cookie: whose it is")
    table.collection("cookies", "ip saddr . @th,64,64", size=size, timeout=long, comment="server, initiator cookie: known")
    table.collection("parted", "ip daddr", value="ip saddr", size=general.max_clients, timeout=PARTED,
                     comment="server: who has just spoken of an IKE SA")
    table.collection("asked", "ip saddr . @th,64,64", size=general.max_clients, timeout=PARTED,
                     comment="server, cookie: it has just spoken of an IKE SA")
    table.collection("begun", "ip saddr . @th,64,64", size=size, timeout=60, comment="server, cookie: an IKE SA that it began")
    table.collection("router_spis", f"ip saddr . {SPI}", size=1024, timeout=long, comment="inbound SPIs of the router's own SAs")
    table.collection("router_cookies", "ip daddr . @th,64,64", size=1024, timeout=long, comment="the router's own IKE SAs")
    table.collection("rate_in", "ip saddr", size=general.max_clients, timeout=60, comment="how fast a server shows new keys")
    table.collection("rate_exchange", "ip saddr", size=general.max_clients, timeout=60, comment="how fast an address makes SAs")
    table.collection("rate_out", "ip saddr", size=general.max_clients, timeout=60, comment="how fast a client shows new keys")


def _add_esp_out(table: Table, devices: Devices) -> None:
    key = FAST
    add_way_out(table.chain("esp_out"), "esp_out_zoned", devices)
    add_zoned(table, "esp_out_zoned", "esp_out_learn")

    learn = table.chain("esp_out_learn")
    learn.rule("jump refresh_out", "renew what lives")
    learn.rule(f"{key} @esp_known update @esp_known {{ {key} }} update @out_zone {{ {SERVER_OUT} . {SPI} : {ZONE} }} "
               f"add @esp_fast {{ {key} : {ZONE} }} return", "answered before: back to the fast path")
    learn.rule(f"ip saddr . ip daddr != @pairs add @out_zone {{ {SERVER_OUT} . {SPI} : {ZONE} }} return",
               "a pair's first packet: the firewall may not let it pass")
    learn.rule(f"{key} @esp_unanswered goto esp_out_again", "seen before")
    learn.rule(f"update @rate_out {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up SPIs pass, but nothing is learned")
    learn.rule(f"add @esp_unanswered {{ {key} }} add @out_zone {{ {SERVER_OUT} . {SPI} : {ZONE} }}", "a new SPI")
    learn.rule(f"ip daddr . {ZONE} @answered goto esp_out_answered", "the server's new SPI came before it")
    learn.rule(notice(SPI_OUT, SPI_OUT_RATE), "tell the daemon")
    learn.rule("jump wait_out", "an answer will come with an SPI that we don't know")

    again = table.chain("esp_out_again")
    again.rule(f"ip daddr . {ZONE} @answered goto esp_out_answered", "answered since")
    again.rule(notice(SPI_OUT, SPI_OUT_RATE), "tell the daemon")
    again.rule("jump wait_out", "still not: a lost race is tried again")

    answered = table.chain("esp_out_answered")
    answered.rule(f"add @esp_known {{ {key} }} add @esp_fast {{ {key} : {ZONE} }} delete @esp_unanswered {{ {key} }} "
                  f"delete @answered {{ ip daddr . {ZONE} }}", "one answer for one SPI")


def _add_esp_in(table: Table) -> None:
    key = f"ip saddr . {SPI}"
    inbound = table.chain("esp_in")
    inbound.rule("@th,32,32 1 goto esp_in_first", "an SA begins")
    inbound.rule("goto esp_in_slow", "new, or to be renewed")

    first = table.chain("esp_in_first")
    first.rule("ip saddr != @slot1 goto esp_in_slow", "one client: it can only be its")
    first.rule(f"{key} @fanned goto esp_in_slow", "shared already")
    first.rule("fib daddr type != local goto routed_in", "not for the router's address: no NAT")
    first.rule("jump stash", "keep the IP ID")
    first.rule(f"{ZONE} set {key} map @spi_zone goto esp_in_same", "an SPI that is somebody's begins anew")
    first.rule("goto esp_in_slow", "new")
    same = table.chain("esp_in_same")
    same.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} goto esp_in_same_known", "made up, perhaps")
    same.rule(notice(SAME_SPI), "two clients chose the same SPI, or this is a repeated packet: the daemon knows who waits")
    same.rule(f"ip id set {STASH} map @ip_ids", "the IP ID is its own again")
    same.rule(f"delete @esp_fast {{ {FAST} : {ZONE} }} delete @spi_zone {{ {key} : {ZONE} }} add @fanned {{ {key} }} goto copies",
              "until it has decided: to all")
    add_zoned(table, "esp_in_same_known", "esp_in_renew")

    inbound = table.chain("esp_in_slow")
    inbound.rule("fib daddr type != local goto routed_in", "not for the router's address: no NAT")
    inbound.rule(f"{key} @router_spis return", "the router's own SA")
    inbound.rule(f"{key} @fanned goto fan", "it may be several clients'")
    inbound.rule("jump stash", "keep the IP ID")
    inbound.rule(f"{ZONE} set {key} map @spi_zone goto esp_in_whose", "known")
    inbound.rule("ip saddr != @servers return", "no client talks with it")
    inbound.rule("ip saddr @router_hosts goto copies", "the router's own SAs: the daemon knows which")
    inbound.rule("ip saddr @waiting_many goto copies", "several wait: never guess")
    inbound.rule("ip saddr @doubted goto copies", "the daemon knows of somebody who has waited longer than we remember")
    inbound.rule(f"{ZONE} set ip saddr map @waiting_one goto esp_in_new", "exactly one waits")
    inbound.rule("ip saddr @slot1 goto copies", "nobody waits, several could be meant")
    inbound.rule(f"{ZONE} set {SERVER} map @solo goto esp_in_new", "the only client")

    whose = table.chain("esp_in_whose")
    whose.rule(f"ip saddr . {ZONE} @ended drop", "ended by the user, and the client has not come back")
    whose.rule("goto esp_in_known", "its zone")
    add_zoned(table, "esp_in_known", "esp_in_renew")
    renew = table.chain("esp_in_renew")
    renew.rule(f"update @spi_zone {{ {key} : {ZONE} }} add @esp_fast {{ {FAST} : {ZONE} }}", "back to the fast path")

    add_zoned(table, "esp_in_new", "esp_in_take")
    take = table.chain("esp_in_take")
    take.rule(f"update @answered {{ ip saddr . {ZONE} }} delete @waiting {{ ip saddr . {ZONE} }} delete @waiting_some {{ ip saddr }} "
              f"delete @waiting_one {{ ip saddr : {ZONE} }}", "no longer waits")
    take.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up SPIs are not learned")
    take.rule(f"add @spi_zone {{ {key} : {ZONE} }} add @esp_fast {{ {FAST} : {ZONE} }}", "learned")
    take.rule(f"ip saddr @slot1 {whole(SPI_TAKEN, '200/second burst 400 packets')} return", "the daemon may know of others")
    take.rule(notice(SPI_TAKEN), "tell the daemon")


def _add_ike(table: Table, devices: Devices) -> None:
    for way in ("out", "in"):
        exchange = table.chain(f"exchange_{way}")
        if way == "out":
            exchange.rule("ip saddr . ip daddr != @pairs return", "the firewall may not let it pass")
        exchange.rule(f"jump wait_{way}", "waits from the first message on")
        exchange.rule(f"update @rate_exchange {{ ip saddr limit rate over {EXCHANGE_RATE} }} return", "nobody drowns the others' notices")
        exchange.rule(notice(EXCHANGE, "1000/second burst 2000 packets"), "tell the daemon")
    ike = table.chain("ike")
    kinds = ", ".join([*(f"{kind} : jump ike_said" for kind in INFORMATIONAL), *(f"{kind} : goto ike_slow" for kind in CREATES_SAS)])
    ike.rule(f"@th,208,8 vmap {{ {kinds} }}", "an IKE SA may end, or new SPIs are about to appear")
    ike.rule(f"ct zone set {IKE_FAST} map @ike_fast return", "established, either way: one lookup")
    ike.rule("goto ike_slow", "new, or to be renewed")
    ike = table.chain("ike_slow")
    ike.rule(f"iifname {names(devices.lan)} goto ike_out", "from a client")
    ike.rule(f"iifname {names(devices.wan)} goto ike_in", "from a server")
    add_way_out(table.chain("ike_out"), "ike_out_zoned", devices)
    add_zoned(table, "ike_out_zoned", "ike_out_learn")

    learn = table.chain("ike_out_learn")
    learn.rule("jump refresh_out", "renew what lives")
    learn.rule(f"@th,208,8 {numbers(CREATES_SAS)} jump exchange_out", "its client waits for an SPI that we don't know")
    learn.rule(f"ip daddr . {COOKIE} @cookies goto ike_out_renew", "a cookie we know")
    learn.rule(f"update @rate_out {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up cookies pass, but are not learned")
    learn.rule(f"add @cookie_zone {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} add @cookies {{ ip daddr . {COOKIE} }}", "a new cookie")
    learn.rule(notice(LEARNED), "tell the daemon")
    learn.rule("goto ike_out_renew", "into the fast path")
    renew = table.chain("ike_out_renew")
    renew.rule(f"update @cookie_zone {{ {SERVER_OUT} . {COOKIE} : {ZONE} }} update @cookies {{ ip daddr . {COOKIE} }} "
               f"add @ike_fast {{ {IKE_FAST} : {ZONE} }}", "renew")

    slow = table.chain("ike_in")
    slow.rule("fib daddr type != local goto routed_in", "not for the router's address: no NAT")
    slow.rule(f"ip saddr . {COOKIE} @router_cookies return", "the router's own IKE")
    slow.rule("jump stash", "keep the IP ID")
    slow.rule(f"{ZONE} set {SERVER} . {COOKIE} map @cookie_zone goto ike_in_whose", "a cookie we know")
    slow.rule("ip saddr != @servers return", "no client talks with it")
    slow.rule("ip saddr @router_hosts goto copies", "the router is a candidate too")
    slow.rule("ip saddr @slot1 goto ike_in_shared", "several could be meant")
    slow.rule(f"{ZONE} set {SERVER} map @solo goto ike_in_new", "the only client")

    # Whoever gets a message of an IKE SA that it has not can't read it. But the first one of a new IKE SA any client can answer, and the
    # server takes the first answer for that of the one it means.
    shared = table.chain("ike_in_shared")
    shared.rule("@th,128,64 != 0 goto copies", "only one has this IKE SA: never guess")
    shared.rule(f"ip saddr . {COOKIE} @begun goto copies", "once more: not answered")
    shared.rule(f"add @begun {{ ip saddr . {COOKIE} }}", "a new IKE SA: anybody would answer")
    shared.rule("ip daddr set ip saddr map @parted dup to ip daddr goto copies_end", "who has just ended one is likely meant")
    shared.rule("goto copies", "several could be meant")

    said = table.chain("ike_said")
    said.rule(f"iifname {names(devices.wan)} ip saddr @slot1 update @asked {{ ip saddr . {COOKIE} }} return",
              "its client answers")
    said.rule(f"iifname != {names(devices.lan)} return", "not from the LAN")
    said.rule("ip daddr != @slot1 return", "the only client")
    said.rule(f"ip daddr . {COOKIE} @asked return", "an answer")
    said.rule("ip saddr . ip daddr != @pairs return", "the firewall may not let it pass")
    said.rule("delete @parted { ip daddr : ip saddr } add @parted { ip daddr : ip saddr }",
              "unasked: who begins anew now means this client")

    whose = table.chain("ike_in_whose")
    whose.rule(f"ip saddr . {ZONE} @ended drop", "ended by the user, and the client has not come back")
    whose.rule("goto ike_in_known", "its zone")
    add_zoned(table, "ike_in_known", "ike_in_renew")
    renew = table.chain("ike_in_renew")
    renew.rule(f"@th,208,8 {numbers(CREATES_SAS)} jump exchange_in", "its client waits for an SPI that we don't know")
    renew.rule(f"@th,208,8 {numbers(BEGINS)} {notice(ANSWERED)}", "tell the daemon")
    renew.rule(f"update @cookie_zone {{ {SERVER} . {COOKIE} : {ZONE} }} update @cookies {{ ip saddr . {COOKIE} }} "
               f"add @ike_fast {{ {IKE_FAST} : {ZONE} }}", "renew")

    add_zoned(table, "ike_in_new", "ike_in_take")
    take = table.chain("ike_in_take")
    take.rule(f"@th,208,8 {numbers(CREATES_SAS)} jump exchange_in", "its client waits for an SPI that we don't know")
    take.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up cookies are not learned")
    take.rule(f"add @cookie_zone {{ {SERVER} . {COOKIE} : {ZONE} }} add @cookies {{ ip saddr . {COOKIE} }} "
              f"add @ike_fast {{ {IKE_FAST} : {ZONE} }}", "learned")
    take.rule(notice(LEARNED), "tell the daemon")


def _add_icmp(table: Table, lan: str, wan: str) -> None:
    icmp = table.chain("from_icmp")
    icmp.rule(f"icmp type != {ICMP_ERRORS} return", "only errors quote a packet")
    icmp.rule(f"icmp type destination-unreachable jump {NOTE}", "why nothing comes back")
    icmp.rule("@th,136,8 50 goto icmp_esp", "about ESP")
    icmp.rule("@th,136,8 17 @th,240,16 500 goto icmp_ike", "about IKE sent")
    icmp.rule(f"@th,136,8 17 @th,224,16 500 iifname {lan} goto icmp_lan", "about IKE received")

    esp = table.chain("icmp_esp")
    esp.rule(f"iifname {lan} goto icmp_lan", "a client's own error")
    esp.rule(f"iifname != {wan} return", "not from outside")
    esp.rule("ct zone set @th,192,32 . @th,224,32 map @out_zone return", "by server and outbound SPI")
    esp.rule("goto icmp_solo", "an SPI we don't know")

    ike = table.chain("icmp_ike")
    ike.rule(f"iifname {lan} goto icmp_lan", "a client's own error")
    ike.rule(f"iifname != {wan} return", "not from outside")
    ike.rule("ct zone set @th,192,32 . @th,288,64 map @cookie_zone return", "by server and cookie, where so much is quoted")
    ike.rule("goto icmp_solo", "quoted with 8 bytes only, or unknown")

    solo = table.chain("icmp_solo")
    solo.rule("ct zone set ip daddr map @client_zone return", "addressed to the client itself (a routed LAN)")
    solo.rule("@th,192,32 @contended return", "several could be meant")
    solo.rule("ct zone set @th,192,32 map @solo", "the server's only client")

    own = table.chain("icmp_lan")
    own.rule("ct zone set ip saddr map @client_zone", "the flow it is about lives in the client's zone")


def _add_router(table: Table, devices: Devices) -> None:
    """What the router itself sends: its own VPN comes first and is never disturbed."""
    output = table.chain("router_out", "filter hook output priority raw; policy accept;")
    output.rule(f"oifname != {names(devices.wan)} return", "copies for clients come here too")
    output.rule("ip protocol vmap { esp : goto router_esp, udp : goto router_udp }", "the router's own packets only")
    esp = table.chain("router_esp")
    esp.rule("update @router_peers { ip daddr : ip saddr } update @router_hosts { ip daddr }", "the router has SAs with this server")
    udp = table.chain("router_udp")
    udp.rule("udp sport != 500 return", "not IKE")
    udp.rule("udp dport != 500 return", "not IKE")
    udp.rule("update @router_peers { ip daddr : ip saddr } update @router_hosts { ip daddr } "
             "update @router_cookies { ip daddr . @th,64,64 }", "the router's IKE SA")
