# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers with several clients: who talks with whom, who waits for an answer, and copies for all where only one can be right.

`solo` names the first client of a server. While there is no other, every inbound key that nobody knows is that client's, at once and
without userspace: its zone is to that server what the whole router is without vpnpt. With a second client the server is contended: then
an unknown SPI goes to the one client that waits for an answer, or, where several wait or nobody does, to all of them. Only the holder of
the keys can use a copy, so nothing is lost or misused. The router itself, and whoever is no client, is a candidate where it talks with
that server: the packet itself goes on as it would without vpnpt.

A client waits from the moment it is seen to use an outbound SPI that has not been answered, or an IKE exchange that creates SAs
passes (`waiting`), until an unknown SPI is given to it. `answered` is that gift, not yet credited to an outbound SPI.
"""

from __future__ import annotations

from .ike import BEGINNING, looks_like_ike
from .maps import COOKIE, MOMENT, SERVER, SERVER_OUT, SLOTS, SPI, UNPROVEN
from .notices import FANNED, GROUP_SPILLED, GROUP_WHOLE, PAIRED, SHARED, add_teller
from .text import Table, names
from .zones import LEFT_OUT_RATE, ZONE, zone_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .text import Chain

COPY_RATE = "2000/second burst 2000 packets"
"""Packets of one server with keys that nobody knows, which are copied to all: what is beyond is an attack, multiplied on the LAN."""

IKE_BOTH = "ip protocol udp @th,0,32 0x01f401f4"
"""UDP 500 on both sides."""
OTHER = f"{IKE_BOTH} {COOKIE} != 0 ip saddr @other_500"
"""The same, from a server whose UDP 500 may be somebody's who speaks no IKE."""


NATED = "ip daddr . ip saddr != @routed"
"""Of a copy's client and its server: what that one sends is addressed to the router, not to the client."""


def add_sharing(table: Table, config: Config, devices: Devices) -> None:
    """The chains `wait_out`, `wait_in`, `refresh_out`, `copies` and `fan`, and the registration of pairs."""
    _add_waiting(table)
    _add_registration(table, config, devices)
    _add_refresh(table, config)
    _add_copies(table)


def _add_waiting(table: Table) -> None:
    for name, server, zone in (("wait_out", "ip daddr", ZONE), ("wait_in", "ip saddr", ZONE), ("wait_first", "ip daddr", "ct zone")):
        chain = table.chain(name)
        chain.rule(f"{server} . {zone} @waiting goto {name}_again", "the client waits already")
        chain.rule(f"add @waiting {{ {server} . {zone} }}", "the client waits from now on")
        chain.rule(f"{server} @waiting_some update @waiting_many {{ {server} }} return", "several clients of this server wait")
        chain.rule(f"add @waiting_one {{ {server} : {zone} }} add @waiting_some {{ {server} }}", "no other client of this server waits")
        again = table.chain(f"{name}_again")
        again.rule(f"{server} @waiting_many update @waiting_many {{ {server} }}", "several: all live as long as the longest")
        again.rule(f"update @waiting {{ {server} . {zone} }} update @waiting_one {{ {server} : {zone} }} "
                   f"update @waiting_some {{ {server} }}", "the client still waits")


def _add_registration(table: Table, config: Config, devices: Devices) -> None:
    """What has passed the firewall: a client that the user's rules stop is no candidate, and who was called from outside answers there."""
    lan = names(devices.lan)
    base = table.chain("registration", "nat hook postrouting priority srcnat - 5; policy accept;")
    zoned = f"ct zone {zone_range(config)} ct direction original"
    base.rule(f"iifname {lan} {zoned} ct status dnat goto register_moved", "a new zoned flow to another address")
    base.rule(f"meta iif 0 {zoned} ct status dnat ip saddr != @servers goto register_moved", "the same within a bridge that calls us")
    base.rule(f"iifname {lan} {zoned} goto register", "a new zoned flow")
    inward = f"meta iif != 0 iifname != {lan} oifname {lan}"  # copies are sent by the router itself: they have no input device
    base.rule(f"{inward} ip protocol esp goto register_called", "ESP that begins outside")
    base.rule(f"{inward} {IKE_BOTH} goto register_called", "IKE that begins outside")

    # A program of the router that was called before its caller was a client's server, and has not answered yet.
    own = table.chain("registration_own", "nat hook input priority 95; policy accept;")
    own.rule(f"iifname != {lan} ct zone 0 udp dport {{ 500, 4500 }} limit rate {LEFT_OUT_RATE} "
             f"add @left_out {{ {SERVER} timeout 180s }}", "what it sends may not be a client's")

    # The user's rules forward what a host sends, perhaps to a server inside that it knows by its outside address (NAT loopback). IKE stays
    # in the zone, where conntrack translates its answers; that ESP comes back inside no key tells, so it goes as without vpnpt.
    moved = table.chain("register_moved")
    moved.rule(f"ip protocol udp {COOKIE} != 0 update @cookie_zone {{ {SERVER_OUT} . {COOKIE} : ct zone }} "
               f"update @cookies {{ ip daddr . {COOKIE} }}", "the answers come from there")
    moved.rule(f"oifname {lan} goto register_diverted", "from inside")
    moved.rule("goto register", "from outside")
    diverted = table.chain("register_diverted")
    diverted.rule("update @diverted { ip saddr . ct original ip daddr }", "its ESP is not told apart")
    diverted.rule(f"ip protocol esp delete @esp_unanswered {{ ip saddr . ct original ip daddr . {SPI} }}", "from the next packet on")

    # A base chain after the user's NAT sees only what that has left alone.
    routed = table.chain("registration_routed", "nat hook postrouting priority srcnat + 150; policy accept;")
    routed.rule(f"iifname {lan} {zoned} ip saddr . ip daddr @pairs goto register_routed", "leaves with its own address: no NAT")
    routed = table.chain("register_routed")
    routed.rule("update @routed { ip saddr . ip daddr }", "it gets nothing that is addressed to the router")
    routed.rule("ip daddr != @slot1 update @routed_only { ip daddr }", "nor do servers with no other client send it any")

    renew = table.chain("renew_routed")
    renew.rule("ip daddr . ip saddr @routed update @routed { ip daddr . ip saddr }", "by what its server sends")
    renew.rule("ip saddr @routed_only update @routed_only { ip saddr }", "the same")

    register = table.chain("register")
    register.rule("delete @routed { ip saddr . ip daddr } delete @routed_only { ip daddr }", "whether there is NAT is seen later")
    register.rule("ip protocol udp update @own_ike { ip saddr . ip daddr }", "it has begun IKE itself")
    register.rule("ip saddr . ip daddr @pairs return", "known")
    register.rule(f"add @pairs {{ ip saddr . ip daddr timeout {UNPROVEN}s }}", "a new pair")
    register.rule(f"jump {add_teller(table, 'paired', PAIRED, 'rate_asks', 'ip saddr', '500/second burst 500 packets')}", "tell the daemon")
    register.rule("ip protocol esp update @asking { ip daddr . ct zone } jump wait_first",
                  "the pair's first ESP: the answer will have a new SPI")
    register.rule(f"ip daddr != @servers add @servers {{ ip daddr timeout {UNPROVEN}s }} "
                  f"add @solo {{ {SERVER_OUT} timeout {UNPROVEN}s : ct zone }} "
                  f"add @client0 {{ ip daddr timeout {UNPROVEN}s : ip saddr }} return", "the server's first client")
    for slot in range(1, SLOTS):
        mark = f"add @contended {{ {SERVER_OUT} timeout {UNPROVEN}s }} " if slot == 1 else ""
        register.rule(f"ip daddr != @slot{slot} add @slot{slot} {{ ip daddr timeout {UNPROVEN}s }} {mark}"
                      f"add @client{slot} {{ ip daddr timeout {UNPROVEN}s : ip saddr }} return",
                      f"client {slot + 1}: the server is contended")
    register.rule("update @crowded { ip daddr }", "more clients than the kernel can copy to")

    called = table.chain("register_called")
    ours = f"ct zone {zone_range(config)} ip daddr . ip saddr @pairs"
    # Conntrack drops it later if the server was the first to speak at another address as well: ESP has no ports to tell the flows apart.
    called.rule(f"ip protocol esp ct status dnat {ours} dup to ip daddr", "the packet itself may be lost")
    called.rule(f"{ours} return", "a client of ours: its server speaks first")
    called.rule(f"update @left_out {{ {SERVER} }}", "what it sends may not be a client's")
    called.rule(f"ip protocol esp update @called {{ {SERVER_OUT} . {SERVER} : ct zone }} return",
                "the answers take the same way")
    looks_like_ike(called)
    called.rule(f"ip saddr @ike_late ip saddr . {COOKIE} @ike_begun jump register_again", "its flow was in a client's zone")
    called.rule(f"update @called_hosts {{ {SERVER_OUT} . {SERVER} : ct zone }}", "the answers take the same way")
    called.rule(f"ip saddr . {COOKIE} @begun return", "clients have copies of it")
    for several in ("slot1", "ike_late"):
        called.rule(f"ip protocol udp ct original proto-dst 500 ip saddr @{several} goto register_shared", "a client may be meant")
    called.rule(f"update @called_ike {{ {SERVER} . {COOKIE} : ct zone }}", "the answers to this IKE SA, too")
    again = table.chain("register_again")
    again.rule(f"delete @called_hosts {{ {SERVER_OUT} . {SERVER} : ct zone }} delete @called_ike {{ {SERVER} . {COOKIE} : ct zone }} "
               f"delete @cookie_zone {{ {SERVER} . {COOKIE} : ct zone }} add @cookie_zone {{ {SERVER} . {COOKIE} : ct zone }}",
               "forgotten: this one counts")
    shared = table.chain("register_shared")
    shared.rule(f"delete @came_ike {{ ip saddr . {COOKIE} : ip daddr }}", "copied before, with the router's address")
    shared.rule(f"{BEGINNING} update @begun {{ ip saddr . {COOKIE} }} goto copies", "forwarded, but a client may be meant")
    shared.rule(f"update @called_ike {{ {SERVER} . {COOKIE} : ct zone }} goto copies", "forwarded, but a client may be meant")


def _add_refresh(table: Table, config: Config) -> None:
    """Renewal, on the slow path, by what clients send and by what they are sent: who only listens is not forgotten.

    Unproven: until the server has answered. A packet from inside may be a pair's first one, so its client lives whatever the firewall
    says; one from outside renews only pairs that the firewall has let talk.
    """
    # A packet costs most where each element it touches is another: with thousands of clients, one of them is enough. But the next one may
    # come as late as its fast path lives: who remembers for some seconds only renews with each packet.
    seldom = config.general.key_timeout > config.general.fast_timeout + 2 * MOMENT
    _refresh(table, "out", "ip saddr", "ip daddr", SERVER_OUT, seldom=seldom)
    _refresh(table, "in", "ip daddr", "ip saddr", SERVER)  # for most, `renew_in` does the same
    renew = table.chain("renew_in")
    pair = f"ip saddr . {ZONE}"
    renew.rule(f"{pair} @renewing return", "renewed a moment ago")
    renew.rule(f"add @renewing {{ {pair} }} add @renewed {{ {pair} : ip daddr }}", "remember where it was sent to")
    # Before Linux 6.5 a rule can't ask whether a map has a key, but only use its value: where there was no room, there is none.
    renew.rule(f"ip daddr set {pair} map @renewed ip daddr set {ZONE} map @zone_client jump refresh_in", "as if addressed to its client")
    renew.rule(f"ip daddr set {pair} map @renewed", "its own address again")


def _refresh(table: Table, way: str, client: str, server: str, raw: str, *, seldom: bool = False) -> None:
    """The chains for one way: where such a packet has its client's and its server's address (raw: as raw bits). seldom: not each one."""
    pair = f"{client} . {server}"
    refresh = table.chain(f"refresh_{way}")
    if way == "out":
        refresh.rule(f"{server} . {ZONE} @ended delete @ended {{ {server} . {ZONE} }}", "the client goes on with what was ended")
    else:
        refresh.rule(f"{pair} != @pairs return", "the firewall has not let them talk")
    refresh.rule(f"{server} . {ZONE} @heard goto proven_{way}", "the server has answered this client")
    refresh.rule(f"{client} != @proven update @client_zone {{ {client} timeout {UNPROVEN}s : {ZONE} }} "
                 f"update @zones {{ {ZONE} timeout {UNPROVEN}s }} update @zone_client {{ {ZONE} timeout {UNPROVEN}s : {client} }}",
                 "no server has answered this client yet")
    if way == "out":
        refresh.rule(f"{pair} != @pairs return", "not registered yet")
    refresh.rule(f"update @pairs {{ {pair} timeout {UNPROVEN}s }} add @servers {{ {server} timeout {UNPROVEN}s }} "
                 f"add @solo {{ {raw} timeout {UNPROVEN}s : {ZONE} }} add @client0 {{ {server} timeout {UNPROVEN}s : {client} }}",
                 "renewed until the server answers")
    refresh.rule(f"{server} @slot1 goto slots_{way}", "all clients of this server are renewed")

    proven = table.chain(f"proven_{way}")
    if seldom:
        proven.rule(f"{server} . {ZONE} @renewing return", "renewed a moment ago")
        proven.rule(f"add @renewing {{ {server} . {ZONE} }}", "not again for a moment")
    proven.rule(f"update @proven {{ {client} }} update @client_zone {{ {client} : {ZONE} }} update @zones {{ {ZONE} }} "
                f"update @zone_client {{ {ZONE} : {client} }}", "the client is in use: renewed")
    if way == "out":
        proven.rule(f"{pair} != @pairs return", "not registered yet")
    proven.rule(f"update @pairs {{ {pair} }} goto slots_{way}", "the pair is in use: renewed")

    slots = table.chain(f"slots_{way}")
    slots.rule(f"update @servers {{ {server} }} update @solo {{ {raw} : {ZONE} }} update @client0 {{ {server} : {client} }}",
               "renewed with all its clients")
    for slot in range(1, SLOTS):
        slots.rule(f"{server} != @slot{slot} return", f"fewer than {slot + 1} clients")
        mark = f"update @contended {{ {raw} }} " if slot == 1 else ""
        slots.rule(f"update @slot{slot} {{ {server} }} {mark}update @client{slot} {{ {server} : {client} }}", f"client {slot + 1}")


def _add_came(chain: Chain) -> None:
    """Copies are made by writing each client's address into the packet. Where it goes on itself, it must get its own back."""
    chain.rule(f"{SERVER} @router_hosts jump came", "the router itself is a candidate: the packet goes on")
    chain.rule(f"{SERVER} @left_out jump came", "a host that is no client is a candidate too")


def _add_copies(table: Table) -> None:
    per_server = ("rate_notice", "ip saddr")
    table.counter("copies_refused", "packets beyond the rate of copies")
    table.counter("copies", "packets copied")
    copies = table.chain("copies")
    copies.rule(f'update @rate_copies {{ ip saddr limit rate over {COPY_RATE} }} counter name "copies_refused" goto copies_end',
                "an attack in this server's name")
    copies.rule("ip saddr @crowded goto copies_crowded", "the daemon copies to the rest")
    copies.rule(f"jump {add_teller(table, 'shared', SHARED, *per_server, '500/second burst 1000 packets')}", "tell the daemon")
    copies.rule("goto copies_slots", "a copy for each client")
    crowded = table.chain("copies_crowded")
    teller = add_teller(table, "shared_whole", SHARED, *per_server, "500/second burst 1000 packets", GROUP_WHOLE)
    crowded.rule(f"jump {teller}", "the whole packet, for the daemon")
    crowded.rule("goto copies_slots", "copies for as many as these rules can")

    slots = table.chain("copies_slots")
    slots.rule('counter name "copies"', "an unknown key of a contended server")
    _add_came(slots)
    slots.rule(f"{OTHER} jump came", "a host whose UDP 500 is no IKE has its flow, or it is forwarded")
    for slot in range(SLOTS):
        if slot:
            slots.rule(f"ip saddr != @slot{slot} goto copies_end", f"no client {slot + 1}")
        slots.rule(f"ip daddr set ip saddr map @client{slot} {NATED} dup to ip daddr", f"a copy for client {slot + 1}")
    slots.rule("goto copies_end", "every client has its copy")

    came = table.chain("came")
    # Added, not renewed: an entry dies a second after it was made, so that the next packet may come to another address.
    came.rule(f"ip protocol esp add @came_esp {{ ip saddr . {SPI} : ip daddr }} return", "its own address, put back later")
    came.rule(f"add @came_ike {{ ip saddr . {COOKIE} : ip daddr }}", "its own address, put back later")

    fan = table.chain("fan")
    fan.rule(f"ip saddr . {SPI} != @listed goto copies", "the daemon has not listed the candidates yet")
    fan.rule(f"ip saddr . {SPI} @spilled goto fan_spilled", "more candidates than these rules can copy to")
    teller = add_teller(table, "fanned", FANNED, *per_server, "500/second burst 1000 packets")
    fan.rule(f"ip saddr != @hushed jump {teller}", "evidence for the daemon")
    fan.rule("goto fan_slots", "a copy for each candidate")
    spilled = table.chain("fan_spilled")
    teller = add_teller(table, "fanned_whole", FANNED, "rate_copies", "ip saddr", COPY_RATE, GROUP_SPILLED)
    spilled.rule(f"jump {teller}", "the whole packet, for the daemon")
    spilled.rule("goto fan_slots", "copies for as many as these rules can")
    fan = table.chain("fan_slots")
    fan.rule('counter name "copies"', "an SPI that may be several clients'")
    _add_came(fan)
    fan.rule(f"update @fanned {{ ip saddr . {SPI} }}", "renewed while it is in use")
    fan.rule(f"update @copied {{ ip saddr . {SPI} counter }}", "counted here: conntrack does not see copies")
    for slot in range(SLOTS):
        fan.rule(f"ip daddr set ip saddr . {SPI} map @fan{slot} {NATED} dup to ip daddr", f"a copy for candidate {slot + 1}")
    fan.rule("goto copies_end", "every client has its copy")

    end = table.chain("copies_end")
    end.rule(f"{SERVER} @router_hosts goto copies_stock", "the router itself is a candidate: the packet goes on")
    end.rule(f"{SERVER} @left_out goto copies_stock", "a host that is no client is a candidate too")
    end.rule(f"{OTHER} goto copies_stock", "a host whose UDP 500 is no IKE has its flow, or it is forwarded")
    end.rule("drop", "every candidate has its copy")
    stock = table.chain("copies_stock")
    stock.rule(f"ip protocol esp ip daddr set ip saddr . {SPI} map @came_esp return", "the packet itself goes to where it was sent")
    stock.rule(f"ip protocol udp ip daddr set ip saddr . {COOKIE} map @came_ike", "the packet itself goes to where it was sent")
    # What begins outside and is forwarded is copied once it has its new address. The next of its IKE SA comes before that.
    stock.rule(f"ct status dnat delete @came_ike {{ ip saddr . {COOKIE} : ip daddr }}", "forwarded by the user: not this address again")
