# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP servers that plain NAT does not serve: those that answer from another port, and those that always send to port 1701.

What plain NAT does well it goes on doing alone: one port of the router for each client, in conntrack zone 0. Here is only what it lacks.

An answer from another port (RFC 2661 8.1) is a new flow for conntrack. It comes to the port that the client's own flow has on the WAN,
so that port names the client: `l2tp_way`. The kernel learns it alone, because masquerading keeps the port unless two clients of one server
clash or ports are drawn at random; then the daemon looks it up, and the answer is held until it has. Only an SCCRP is such an answer, and
only while its client waits for one (`l2tp_waits`, `l2tp_asks`); from then on the server may use that port (`l2tp_moved`), and no other.

A packet to port 1701 has the wrong port, but the right tunnel ID, which its client chose: `l2tp_port`, of the daemon, names the port. The
packet gets that port before conntrack sees it, and is then a packet of the client's own flow: no DNAT, no hole in the firewall. A
server's only client needs no daemon: `l2tp_solo`. Two clients with the same tunnel ID are told apart by session ID (`l2tp_session`); what
has none that tells goes to the daemon (`l2tp_shared`). A server that has once sent to a client's port other than 1701 is none of those
that always send to 1701 (`l2tp_plain`): what it sends to port 1701 is whose that port is.

From the port that was asked, to a port that conntrack has forgotten, comes what a plain router drops, and so do we: whose that port was is
not known. It may have been a host's that is no client of ours, or another client's on another uplink.

Offsets of raw payload after 8 bytes of UDP (RFC 2661 3.1): T bit @th,64,1, L bit @th,65,1; tunnel and session ID @th,96,16 and @th,112,16
with L bit, else @th,80,16 and @th,96,16; message type of a control message @th,208,16 (its first AVP, RFC 2661 4.4.1).
"""

from __future__ import annotations

from .maps import L2TP as L2TP_MAPS
from .maps import declare
from .notices import L2TP, L2TP_HELD, L2TP_MOVED, L2TP_PASSED, notice, whole
from .text import Table, names, numbers
from .zones import add_not_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .dispatch import Dispatch
    from .text import Chain

MARK = 0x80000000
"""The bit of the conntrack mark by which fw4's forward chain knows our flows; fw4, mwan3, pbr and SQM use lower ones."""
TELLING = "{ 1, 3, 4, 7, 8, 10, 11 }"
"""Messages of a client that tell an ID: SCCRQ, SCCCN (in its header the server's), StopCCN, OCRQ, OCRP, ICRQ, ICRP (RFC 2661 3.2)."""
SCCRQ, SCCRP, SCCCN, STOPCCN = 1, 2, 3, 4
CONTROL = "@th,64,16 0xc802"
"""A control message: T, L and S bits, version 2 (RFC 2661 3.1)."""
NO_L2TP = "@th,64,16 & 0x34fe != 0x2"
"""Neither version 2 nor 3, or with a bit that both reserve and send as 0 (RFC 2661 3.1, RFC 3931 4.1.2.1)."""
REQUEST_RATE = "20/second burst 50 packets"
"""Such messages a second of which one client may tell the daemon."""
MAC_RATE = "50/second burst 500 packets"
"""New flows and such messages a second of one Ethernet address: a host may have many addresses, and ports."""
HELD_RATE = "1000/second burst 1000 packets"
SERVER_RATE = "500/second burst 500 packets"
"""Packets a second of one server that the daemon is given to deliver; HELD_RATE: of all."""


def add_l2tp(table: Table, config: Config, devices: Devices, dispatch: Dispatch) -> None:
    """Everything for L2TP over UDP, from `dispatch` on."""
    declare(table, config, L2TP_MAPS)
    table.counter("l2tp_held", "packets given to the daemon")
    lan, wan, ports = names(devices.lan), names(devices.wan), numbers(config.protocols["l2tp"].ports)
    for port in config.protocols["l2tp"].ports:
        dispatch.udp_to[port], dispatch.udp_from[port] = "l2tp", "l2tp_from"
    either = table.chain("l2tp")
    either.rule(f"{NO_L2TP} return", "not L2TP")
    either.rule(f"@th,64,1 0 iifname {lan} return", "a client's data: nothing to learn")
    either.rule(f"iifname {lan} ip saddr . udp sport . ip daddr != @l2tp_flows goto l2tp_new", "a flow that has not passed the firewall")
    either.rule(f"iifname {lan} goto l2tp_out", "from a client")
    either.rule(f"iifname {wan} goto l2tp_in", "from a server, to this very port")
    _add_out(table)
    _add_in(table, devices)
    _add_registration(table, lan, wan, ports)
    _add_other_port(table, devices, ports, several=len(config.protocols["l2tp"].ports) > 1)


def _add_out(table: Table) -> None:
    new = table.chain("l2tp_new")
    new.rule("fib saddr . iif oif missing return", "a forged source address: as without vpnpt")
    new.rule(f"update @rate_l2tp_mac {{ ether saddr limit rate over {MAC_RATE} }} return", "too many new flows: as without vpnpt")
    new.rule("update @l2tp_true { ip saddr . udp sport . ip daddr } goto l2tp_out",
             "the source routes back")
    out = table.chain("l2tp_out")
    out.rule(f"@th,208,16 {TELLING} jump l2tp_tell", "a tunnel or session begins or ends")
    out.rule(f"{CONTROL} @th,208,16 {SCCCN} delete @l2tp_waits {{ ip daddr . udp sport }}", "the server has answered")
    out.rule(f"{CONTROL} @th,208,16 {SCCRQ} ip daddr . udp sport @l2tp_ports update @l2tp_waits {{ ip daddr . udp sport }}",
             "waits for an answer")
    out.rule(f"{CONTROL} @th,208,16 {SCCRQ} ip daddr @l2tp_servers update @l2tp_asks {{ ip daddr }}", "the client waits for an answer")
    out.rule("ip saddr . udp sport . ip daddr != @l2tp_flows return", "a flow that has not passed the firewall yet")
    out.rule("update @l2tp_flows { ip saddr . udp sport . ip daddr } update @l2tp_pairs { ip daddr . ip saddr } "
             "update @l2tp_servers { ip daddr }", "renewed once a minute")
    out.rule("ip daddr . udp sport @l2tp_ports update @l2tp_ports { ip daddr . udp sport } "
             "update @l2tp_way { ip daddr . udp sport : ip saddr . udp sport }", "and the way of its answers")
    out.rule("ip daddr @l2tp_odd update @l2tp_odd { ip daddr } update @l2tp_solo { ip daddr : udp sport }", "renewed, not replaced")
    out.rule("ip daddr @l2tp_many update @l2tp_many { ip daddr }", "the server still has several clients")
    tell = table.chain("l2tp_tell")
    tell.rule(f"update @rate_l2tp {{ ip saddr limit rate over {REQUEST_RATE} }} return", "at most so many notices of one client")
    tell.rule(f"update @rate_l2tp_mac {{ ether saddr limit rate over {MAC_RATE} }} return", "and of one Ethernet address")
    tell.rule(whole(L2TP, "500/second burst 1000 packets"), "tell the daemon")


def _add_in(table: Table, devices: Devices) -> None:
    wan = names(devices.wan)
    end = table.chain("l2tp_from")
    end.rule(f"iifname != {wan} return", "not from a server")
    end.rule(f"{NO_L2TP} return", "not L2TP")
    end.rule(f"@th,64,1 1 @th,208,16 {STOPCCN} ip saddr @l2tp_servers {whole(L2TP, '100/second burst 200 packets')}",
             "the server ends a tunnel: tell the daemon")
    end.rule("@th,64,1 1 ip saddr . udp dport @l2tp_ports update @l2tp_plain { ip saddr }", "the server sends to its clients' own ports")

    inbound = table.chain("l2tp_in")
    inbound.rule(f"@th,64,1 1 @th,208,16 {STOPCCN} ip saddr @l2tp_servers {whole(L2TP, '100/second burst 200 packets')}",
                 "the server ends a tunnel: tell the daemon")
    inbound.rule("ip saddr != @l2tp_odd return", "its only client's, or it is no server")
    inbound.rule("ip saddr @l2tp_plain return", "the server means this very port")
    add_not_ours(inbound, devices)
    inbound.rule("@th,48,16 != 0 goto l2tp_in_find", "with a checksum, which nft keeps right")
    # To nft a checksum of 0 is one like others (nft_payload_csum_inet), to UDP it is none: xl2tpd sends none.
    inbound.rule("jump l2tp_in_find", "without")
    inbound.rule("@th,48,16 set 0", "still without")
    inbound = table.chain("l2tp_in_find")
    inbound.rule(f"@th,64,1 1 @th,208,16 {SCCRP} ip saddr @l2tp_many goto l2tp_in_many",
                 "a tunnel begins")
    inbound.rule("@th,65,1 0 goto l2tp_in_short", "a header without length")
    _add_lookup(inbound, 96)
    _add_lookup(table.chain("l2tp_in_short"), 80)

    unknown = table.chain("l2tp_in_unknown")
    unknown.rule("ip saddr @l2tp_router return", "the router's own tunnels come first")
    unknown.rule("ip saddr @l2tp_many goto l2tp_in_many", "several clients: the daemon may know")
    unknown.rule("udp dport set ip saddr map @l2tp_solo", "the only client")

    many = table.chain("l2tp_in_many")
    many.rule("ip saddr . udp dport @l2tp_ports goto l2tp_pass", "as on any router to whom this very port belongs")
    many.rule("goto l2tp_hold", "a port that no client has")

    tell = table.chain("l2tp_pass")
    tell.rule(f"update @rate_l2tp_held {{ ip saddr limit rate over {SERVER_RATE} }} return", "enough of this server")
    tell.rule(whole(L2TP_PASSED, HELD_RATE), "the daemon sees to the others")

    hold = table.chain("l2tp_hold")
    hold.rule('counter name "l2tp_held"', "count")
    hold.rule(f"update @rate_l2tp_held {{ ip saddr limit rate over {SERVER_RATE} }} drop", "a flood in one server's name costs no other's")
    hold.rule(whole(L2TP_HELD, HELD_RATE), "the daemon delivers")
    hold.rule("drop", "no answer to the server, which would give up")


def _add_lookup(chain: Chain, at: int) -> None:
    """By the tunnel ID at this bit, and the session ID after it."""
    tunnel, session = f"@th,{at},16", f"@th,{at + 16},16"
    chain.rule(f"udp dport set ip saddr . {tunnel} map @l2tp_port return", "its client's port on the WAN")
    chain.rule(f"{tunnel} 0 return", "asks the router itself for a tunnel")
    chain.rule(f"udp dport set ip saddr . {tunnel} . {session} map @l2tp_session return", "the same by session")
    chain.rule(f"ip saddr . {tunnel} @l2tp_shared goto l2tp_hold", "two clients have this tunnel ID")
    chain.rule("goto l2tp_in_unknown", "an ID that the daemon has not told")


def _add_registration(table: Table, lan: str, wan: str, ports: str) -> None:
    """Where fw4 has let the flow's first packet out, and before it gives it a port."""
    base = table.chain("l2tp_registration", "nat hook postrouting priority srcnat - 5; policy accept;")
    base.rule(f"udp dport {ports} oifname {wan} goto l2tp_register", "the first packet of a flow to an L2TP server")
    register = table.chain("l2tp_register")
    register.rule("fib saddr type local update @l2tp_router { ip daddr } return", "the router's own IPsec")
    register.rule(f"iifname != {lan} return", "no client of ours")
    register.rule(f"{NO_L2TP} return", "not L2TP")
    register.rule("ip saddr . udp sport . ip daddr != @l2tp_true return", "a forged source address: as without vpnpt")
    register.rule(f"{CONTROL} @th,208,16 {SCCRQ} update @l2tp_waits {{ ip daddr . udp sport }} update @l2tp_asks {{ ip daddr }}",
                  "the client waits for an answer")
    register.rule("add @l2tp_flows { ip saddr . udp sport . ip daddr } add @l2tp_ports { ip daddr . udp sport } "
                  "add @l2tp_way { ip daddr . udp sport : ip saddr . udp sport }", "the first one keeps the port")
    register.rule(f"udp sport != {ports} update @l2tp_odd {{ ip daddr }}", "its port is not the server's")
    register.rule("ip daddr . ip saddr @l2tp_pairs delete @l2tp_solo { ip daddr : udp sport } "
                  "add @l2tp_solo { ip daddr : udp sport } return", "from another port than before")
    register.rule("add @l2tp_pairs { ip daddr . ip saddr }", "a new pair")
    register.rule("ip daddr @l2tp_servers update @l2tp_odd { ip daddr } update @l2tp_many { ip daddr } return", "not the only client")
    register.rule("add @l2tp_servers { ip daddr } add @l2tp_solo { ip daddr : udp sport }", "the only client")


def _add_other_port(table: Table, devices: Devices, ports: str, *, several: bool) -> None:
    wan = names(devices.wan)
    start = table.chain("l2tp_flow_start", "nat hook prerouting priority dstnat + 4; policy accept;")
    start.rule(f"iifname {wan} ip saddr @l2tp_servers meta l4proto udp goto l2tp_other_port",
               "a flow that an L2TP server starts")
    other = table.chain("l2tp_other_port")
    if not several:  # else who asked at one of them may be answered from another
        other.rule(f"udp sport {ports} return", "from the port that was asked: conntrack would know its flow")
    other.rule("udp dport { 500, 4500 } return", "IPsec")
    other.rule(f"{NO_L2TP} return", "not L2TP: also of a host whose program has port 1701 here and there")
    add_not_ours(other, devices)
    other.rule(f"udp dport {ports} ip saddr @l2tp_router return", "the router's own tunnels come first")
    other.rule("ip saddr . udp sport . udp dport @l2tp_moved goto l2tp_deliver", "the server has answered from there before")
    other.rule(f"{CONTROL} @th,208,16 {SCCRP} ip saddr . udp dport @l2tp_waits goto l2tp_moves", "the answer to a request")
    other.rule(f"{CONTROL} @th,208,16 {SCCRP} ip saddr @l2tp_asks update @l2tp_plain {{ ip saddr }} goto l2tp_hold",
               "to a port that the daemon will know in a moment")
    moves = table.chain("l2tp_moves")
    moves.rule("delete @l2tp_waits { ip saddr . udp dport } update @l2tp_moved { ip saddr . udp sport . udp dport }",
               "from here and nowhere else")
    moves.rule(notice(L2TP_MOVED), "tell the daemon")
    moves.rule("goto l2tp_deliver", "to its client")
    deliver = table.chain("l2tp_deliver")
    deliver.rule(f"ct mark set ct mark or {MARK:#x}", "fw4's forward chain lets it in")
    deliver.rule("dnat to ip saddr . udp dport map @l2tp_way", "to the client that has this port on the WAN")

    again = table.chain("l2tp_delivered", "nat hook output priority -100; policy accept;")
    again.rule("ip saddr @l2tp_servers meta l4proto udp fib saddr type != local goto l2tp_again", "what was held and the daemon sends on")
    again = table.chain("l2tp_again")
    again.rule(f"udp sport != {ports} update @l2tp_moved {{ ip saddr . udp sport . udp dport }}",
               "the server answers this client from there")
    again.rule("dnat to ip saddr . udp dport map @l2tp_way", "to the client that has this port on the WAN")


def l2tp_forward_rule(lan: str, wan: str) -> str:
    """For fw4's forward chain: what an L2TP server sends from another port."""
    marked = f"ct status dnat ct mark and {MARK:#x} == {MARK:#x}"
    return f'iifname {wan} oifname {lan} meta l4proto udp {marked} accept comment "vpnpt: an L2TP server answers from another port"'
