# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec through NAT: ESP (esp.py), IKE (ike.py), and here ICMP errors about both, by what they quote, and the router's own.

Offsets of raw payload of an ICMP error (RFC 792): the quoted protocol @th,136,8, source @th,160,32, destination @th,192,32, then its SPI
@th,224,32, or its UDP ports @th,224,32 and cookie @th,288,64 (a header of 20 bytes assumed: with IP options it is not recognised).
"""

from __future__ import annotations

from .errors import CHAIN as NOTE
from .esp import add_esp
from .ike import CREATES_SAS, add_ike, looks_like_ike
from .maps import COOKIE, QUOTED_SPI, SERVER_OUT, SPI
from .sharing import IKE_BOTH
from .text import Table, names, numbers
from .zones import ZONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .dispatch import Dispatch

ICMP_ERRORS = "{ destination-unreachable, source-quench, time-exceeded, parameter-problem }"


def add_ipsec(table: Table, config: Config, devices: Devices, dispatch: Dispatch) -> None:
    """Everything for ESP, IKE and their ICMP errors, from `dispatch` on."""
    preserve = config.protocols["ipsec"].preserve_ike_port
    if preserve:
        add_ike(table, devices, dispatch)
    add_esp(table, devices, dispatch)
    dispatch.protocols["icmp"] = "from_icmp"
    _add_icmp(table, names(devices.lan))
    _add_router(table, devices, preserve=preserve)


def _add_icmp(table: Table, lan: str) -> None:
    icmp = table.chain("from_icmp")
    icmp.rule(f"icmp type != {ICMP_ERRORS} return", "only errors quote a packet")
    icmp.rule(f"icmp type destination-unreachable jump {NOTE}", "noted for the doctor: why nothing comes back")
    icmp.rule("@th,136,8 50 goto icmp_esp", "about ESP")
    icmp.rule("@th,136,8 17 @th,224,32 0x01f401f4 goto icmp_ike", "about UDP 500")
    icmp.rule(f"iifname != {lan} @th,136,8 17 @th,240,16 500 goto icmp_nated", "about UDP from a port that NAT may have drawn")

    esp = table.chain("icmp_esp")
    esp.rule(f"iifname {lan} goto icmp_lan", "an ICMP error of an inside host")
    esp.rule("ct zone set ip daddr map @client_zone return", "addressed to the client itself")
    esp.rule(f"ct zone set {QUOTED_SPI} map @out_zone return", "by server and outbound SPI")
    esp.rule("goto icmp_solo", "an unknown SPI")

    ike = table.chain("icmp_ike")
    ike.rule(f"iifname {lan} goto icmp_lan", "an ICMP error of an inside host")
    ike.rule("ct zone set ip daddr map @client_zone return", "addressed to the client itself")
    ike.rule("ct zone set @th,192,32 . @th,288,64 map @cookie_zone return", "by server and cookie, where so much is quoted")
    ike.rule("@th,424,4 != { 1, 2 } return", "not IKE")
    ike.rule("goto icmp_solo", "quoted with 8 bytes only, or unknown")

    nated = table.chain("icmp_nated")
    nated.rule("@th,192,32 . @th,288,64 != @ike_moved ct zone set @th,192,32 . @th,288,64 map @cookie_zone", "by server and cookie")

    solo = table.chain("icmp_solo")
    solo.rule("@th,192,32 @router_hosts return", "the router may be meant: as without vpnpt")
    solo.rule("@th,192,32 @left_out return", "so may a host that is no client")
    solo.rule("@th,192,32 @contended return", "several clients could be meant")
    solo.rule("ct zone set @th,192,32 map @solo", "the server's only client")

    # From inside: the quoted packet came from a server. Who says so need not be the client, but a router between.
    own = table.chain("icmp_lan")
    own.rule("@th,136,8 50 ct zone set @th,192,32 . @th,160,32 map @called return", "about ESP that began outside")
    own.rule("@th,136,8 17 ct zone set @th,160,32 . @th,288,64 map @cookie_zone return", "about IKE, by server and cookie")
    own.rule("@th,136,8 17 ct zone set @th,192,32 . @th,160,32 map @called_hosts return", "about IKE that began outside")
    own.rule("@th,136,8 17 @th,424,4 != { 1, 2 } return", "not IKE")
    own.rule(f"{ZONE} set @th,160,32 map @solo goto icmp_lan_client", "about a server that a client talks with")
    own = table.chain("icmp_lan_client")
    # nft looks up no raw bits in a map of addresses: for the time of the lookup the quoted client stands in the header. An error is sent to
    # whom it quotes as the sender (RFC 792), so that address is the one to put back. nft 1.1 sets no address to raw bits.
    own.rule("@nh,128,32 set @th,192,32 ct zone set ip daddr map @client_zone", "the quoted client's zone")
    own.rule("@nh,128,32 set @th,160,32", "its own address again")
    own.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")


def _add_router(table: Table, devices: Devices, *, preserve: bool) -> None:
    """What the router itself sends: its own VPN comes first and is never disturbed. Copies for clients pass here as well."""
    output = table.chain("router_out", "filter hook output priority raw; policy accept;")
    output.rule(f"oifname {names(devices.lan)} return", "copies for clients, or the router's own packets")
    output.rule("ip protocol esp goto router_esp", "the router's own IPsec")
    output.rule(f"{IKE_BOTH} goto router_ike", "the router's own IPsec")
    output.rule(f"ip protocol udp @th,0,16 500 @th,16,16 != 4500 ct zone set {SERVER_OUT} . {COOKIE} map @called_ike",
                "the answer to a caller with another port")
    output.rule(f"ip protocol udp @th,16,16 500 @th,208,8 {numbers(CREATES_SAS)} goto router_watch", "from another port")
    output.rule(f"ip protocol udp @th,0,16 500 @th,208,8 {numbers(CREATES_SAS)} goto router_watch", "to another port")
    output.rule("ip protocol udp @th,0,16 4500 @th,64,32 0 goto router_watch_natt", "to where IKE moves")
    esp = table.chain("router_esp")
    esp.rule("fib saddr type != local drop", "a copy: never to anywhere but inside")
    esp.rule(f"update @router_hosts {{ {SERVER_OUT} }} update @out_zone {{ {SERVER_OUT} . {SPI} : 0 }}",
             "the router has SAs with this server")
    udp = table.chain("router_ike")
    udp.rule("fib saddr type != local drop", "a copy: never to anywhere but inside")
    looks_like_ike(udp, "goto ike_other" if preserve else "return")
    udp.rule(f"ip daddr . {COOKIE} @begun jump cookie_shared", "a client may have answered its copy, too")
    udp.rule(f"update @router_hosts {{ {SERVER_OUT} }}", "the router talks with this server")
    udp.rule(f"ct zone set {SERVER_OUT} . {COOKIE} map @called_ike return", "the answer of a host that was called from outside")
    udp.rule(f"{ZONE} set {SERVER_OUT} . {COOKIE} map @cookie_zone goto router_cookie", "a known cookie")
    udp.rule(f"add @cookie_zone {{ {SERVER_OUT} . {COOKIE} : 0 }} "
             f"add @cookies {{ ip daddr . {COOKIE} }}", "the router's IKE SA")
    known = table.chain("router_cookie")
    known.rule(f"{ZONE} != 0 jump cookie_shared", "a client has it, too")
    known.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")
    shared = table.chain("cookie_shared")
    shared.rule(f"update @cookie_many {{ ip daddr . {COOKIE} }} delete @ike_fast_in {{ ip daddr . {COOKIE} : {ZONE} }}",
                "two hosts have this cookie")
    # Both ends may move there without NAT between them: then ESP stays as it is (RFC 4555 section 3.3).
    moved = table.chain("router_watch_natt")
    moved.rule(f"@th,232,4 {{ 1, 2 }} update @router_hosts {{ {SERVER_OUT} }}", "the router has SAs with this server")
    watch = table.chain("router_watch")
    looks_like_ike(watch)
    watch.rule(f"update @router_hosts {{ {SERVER_OUT} }}", "the router is about to have SAs with this server")
