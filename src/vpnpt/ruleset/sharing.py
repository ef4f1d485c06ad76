# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers with several clients: who talks with whom, who waits for an answer, and copies for all where only one can be right.

`solo` names the first client of a server: while there is no other, every inbound key that nobody knows is that client's, at once and
without userspace. With a second client the server is contended: then an unknown key goes to the one client that waits for an answer,
or, where several wait or nobody does, to all of them. Only the holder of the keys can use a copy, so nothing is lost or misused.

A client waits from the moment it is seen to use an outbound SPI that has not been answered, or an IKE exchange that creates SAs
passes (`waiting`), until an unknown SPI is given to it. `answered` is that gift, not yet credited to an outbound SPI.
"""

from __future__ import annotations

from .notices import FANNED, GROUP_SPILLED, PAIRED, SHARED, notice, whole
from .text import Table, names
from .zones import ENTRIES_PER_CLIENT, ZONE, zone_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices

SLOTS = 8
"""Clients of one server that get copies by the kernel alone. Where there are more, the daemon knows them."""

COPY_RATE = "2000/second burst 2000 packets"
"""Packets with keys that nobody knows, which are copied to all: what is beyond is an attack, and would be multiplied on the LAN."""

SPI = "@th,0,32"
"""ESP's SPI as raw bits: `esp spi` would look at the protocol once more."""

SERVER = "@nh,96,32"
"""The source address as raw bits: nft 1.0.6 compares the raw bits of an ICMP quote only with keys declared as raw bits."""
SERVER_OUT = "@nh,128,32"
"""The destination address as raw bits."""


def add_sharing(table: Table, config: Config, devices: Devices) -> None:
    """Declares who talks with whom, the chains `wait_out`, `wait_in`, `refresh_out`, `copies`, and the registration of pairs."""
    _declare(table, config)
    _add_waiting(table)
    _add_registration(table, config, devices)
    _add_refresh(table)
    _add_copies(table)


def _declare(table: Table, config: Config) -> None:
    general = config.general
    size, timeout, soon = general.max_clients * ENTRIES_PER_CLIENT, general.key_timeout, general.pending_timeout
    table.collection("pairs", "ip saddr . ip daddr", size=size, timeout=timeout, comment="client and server that talk")
    table.collection("servers", "ip saddr", size=size, timeout=timeout, comment="servers that a client talks with")
    table.collection("solo", SERVER, value="ct zone", size=size, timeout=timeout, comment="server: its first client's zone")
    for slot in range(SLOTS):
        if slot:
            table.collection(f"slot{slot}", "ip saddr", size=size, timeout=timeout,
                             comment="servers with a second client: contended" if slot == 1 else f"servers with client {slot + 1}")
        table.collection(f"client{slot}", "ip saddr", value="ip daddr", size=size, timeout=timeout,
                         comment=f"server: client {slot + 1}, who gets a copy")
    table.collection("crowded", "ip saddr", size=size, timeout=timeout, comment=f"servers with more than {SLOTS} clients")
    table.collection("doubted", "ip saddr", size=size, timeout=3600, comment="servers of whose SPIs the kernel may not decide alone")
    table.collection("fanned", f"ip saddr . {SPI}", size=size, timeout=timeout, comment="SPIs that may be several clients'")
    table.collection("listed", f"ip saddr . {SPI}", size=size, timeout=timeout, comment="of these, whose candidates the daemon knows")
    table.collection("spilled", f"ip saddr . {SPI}", size=size, timeout=timeout, comment=f"SPIs with more than {SLOTS} candidates")
    table.collection("copied", f"ip saddr . {SPI}", size=size, timeout=timeout, comment="SPIs whose copies are counted")
    for slot in range(SLOTS):
        table.collection(f"fan{slot}", f"ip saddr . {SPI}", value="ip daddr", size=size, timeout=timeout,
                         comment=f"server, SPI: candidate {slot + 1}")
    table.collection("waiting", "ip daddr . ct zone", size=size, timeout=soon, comment="server, zone: waits for a new inbound SPI")
    table.collection("waiting_one", "ip daddr", value="ct zone", size=size, timeout=soon, comment="server: who waits first")
    table.collection("waiting_some", "ip daddr", size=size, timeout=soon, comment="servers that somebody waits for")
    table.collection("waiting_many", "ip daddr", size=size, timeout=soon, comment="servers that more than one waits for")
    table.collection("answered", "ip daddr . ct zone", size=size, timeout=60,
                     comment="a new inbound SPI came: the next outbound SPI counts as answered")
    table.collection("ended", "ip saddr . ct zone", size=size, timeout=3600,
                     comment="server, zone: ended by the user, until the client goes on")
    table.collection("router_peers", "ip saddr", value="ip daddr", size=1024, timeout=timeout,
                     comment="servers with which the router itself has SAs: its own address")
    table.collection("router_hosts", "ip saddr", size=1024, timeout=timeout, comment="servers with which the router itself has SAs")
    table.collection("contended", SERVER, size=size, timeout=timeout, comment="servers with a second client, as ICMP errors quote them")
    table.counter("copies_refused", "packets beyond the rate of copies: no client had asked for so many")
    table.counter("copies", "packets that went to every client of a contended server")


def _add_waiting(table: Table) -> None:
    for name, server, zone in (("wait_out", "ip daddr", ZONE), ("wait_in", "ip saddr", ZONE), ("wait_first", "ip daddr", "ct zone")):
        chain = table.chain(name)
        chain.rule(f"{server} . {zone} @waiting goto {name}_again", "waits already")
        chain.rule(f"add @waiting {{ {server} . {zone} }}", "waits from now on")
        chain.rule(f"{server} @waiting_some update @waiting_many {{ {server} }} return", "and is not alone")
        chain.rule(f"add @waiting_one {{ {server} : {zone} }} add @waiting_some {{ {server} }}", "and is the only one")
        again = table.chain(f"{name}_again")
        again.rule(f"{server} @waiting_many update @waiting_many {{ {server} }}", "several: all live as long as the longest")
        again.rule(f"update @waiting {{ {server} . {zone} }} update @waiting_one {{ {server} : {zone} }} "
                   f"update @waiting_some {{ {server} }}", "still waits")


def _add_registration(table: Table, config: Config, devices: Devices) -> None:
    """A pair is registered where fw4 has let the flow's first packet out: a client that the user's rules stop is no candidate."""
    wan = names(devices.wan)
    base = table.chain("registration", "nat hook postrouting priority srcnat - 5; policy accept;")
    base.rule(f"ct zone {zone_range(config)} ct direction original iifname {names(devices.lan)} goto register", "a new zoned flow")

    register = table.chain("register")
    register.rule(f"oifname != {wan} add @bypass {{ ip saddr . ip daddr }} return", "leaves by another way: leave it alone from now on")
    register.rule("ip saddr . ip daddr @pairs return", "known")
    register.rule("add @pairs { ip saddr . ip daddr }", "a new pair")
    register.rule(notice(PAIRED), "tell the daemon")
    register.rule("ip protocol esp jump wait_first", "its first ESP: an answer will come with an SPI that we don't know")
    register.rule(f"ip daddr != @servers add @servers {{ ip daddr }} add @solo {{ {SERVER_OUT} : ct zone }} "
                  "add @client0 { ip daddr : ip saddr } return", "the server's first client")
    for slot in range(1, SLOTS):
        mark = f"add @contended {{ {SERVER_OUT} }} " if slot == 1 else ""
        register.rule(f"ip daddr != @slot{slot} add @slot{slot} {{ ip daddr }} {mark}add @client{slot} {{ ip daddr : ip saddr }} return",
                      f"client {slot + 1}: the server is contended")
    register.rule("update @crowded { ip daddr }", "more clients than the kernel can copy to")


def _add_refresh(table: Table) -> None:
    refresh = table.chain("refresh_out")
    refresh.rule(f"update @client_zone {{ ip saddr : {ZONE} }} update @zones {{ {ZONE} }} update @zone_client {{ {ZONE} : ip saddr }}",
                 "the client lives (update renews, it replaces nothing)")
    refresh.rule(f"ip daddr . {ZONE} @ended delete @ended {{ ip daddr . {ZONE} }}", "the client goes on with what was ended")
    refresh.rule("ip saddr . ip daddr != @pairs return", "not registered yet")
    refresh.rule(f"update @pairs {{ ip saddr . ip daddr }} update @servers {{ ip daddr }} update @solo {{ {SERVER_OUT} : {ZONE} }} "
                 "update @client0 { ip daddr : ip saddr }", "and talks with this server")
    for slot in range(1, SLOTS):
        refresh.rule(f"ip daddr != @slot{slot} return", f"fewer than {slot + 1} clients")
        mark = f"update @contended {{ {SERVER_OUT} }} " if slot == 1 else ""
        refresh.rule(f"update @slot{slot} {{ ip daddr }} {mark}update @client{slot} {{ ip daddr : ip saddr }}", f"client {slot + 1}")


def _add_copies(table: Table) -> None:
    copies = table.chain("copies")
    copies.rule(f'limit rate over {COPY_RATE} counter name "copies_refused" drop', "an attack: its answers are known to nobody")
    copies.rule("ip saddr @crowded goto copies_crowded", "the daemon reaches those that we can't")
    copies.rule(notice(SHARED, "200/second burst 400 packets"), "tell the daemon")
    copies.rule("goto copies_slots", "to all")
    crowded = table.chain("copies_crowded")
    crowded.rule(whole(SHARED, "500/second burst 1000 packets"), "the whole packet, for the daemon")
    crowded.rule("goto copies_slots", "to as many as we can")

    slots = table.chain("copies_slots")
    slots.rule('counter name "copies"', "an unknown key of a contended server")
    for slot in range(SLOTS):
        if slot:
            slots.rule(f"ip saddr != @slot{slot} goto copies_end", f"no client {slot + 1}")
        slots.rule(f"ip daddr set ip saddr map @client{slot} dup to ip daddr", f"a copy for client {slot + 1}")
    slots.rule("goto copies_end", "all have theirs")

    fan = table.chain("fan")
    fan.rule(f"ip saddr . {SPI} != @listed goto copies", "the daemon has not said whose it may be")
    fan.rule(f"ip saddr . {SPI} @spilled goto fan_spilled", "more candidates than we can copy to")
    fan.rule(notice(FANNED, "200/second burst 400 packets"), "evidence for the daemon")
    fan.rule("goto fan_slots", "to all candidates")
    spilled = table.chain("fan_spilled")
    spilled.rule(whole(FANNED, "2000/second burst 2000 packets", GROUP_SPILLED), "the whole packet, for the daemon")
    spilled.rule(f"update @spilled {{ ip saddr . {SPI} }} goto fan_slots", "to as many as we can")
    fan = table.chain("fan_slots")
    fan.rule('counter name "copies"', "an SPI that may be several clients'")
    fan.rule(f"update @fanned {{ ip saddr . {SPI} }} update @listed {{ ip saddr . {SPI} }}", "still in use")
    fan.rule(f"update @copied {{ ip saddr . {SPI} counter }}", "conntrack does not see copies")
    for slot in range(SLOTS):
        fan.rule(f"ip daddr set ip saddr . {SPI} map @fan{slot} update @fan{slot} {{ ip saddr . {SPI} : ip daddr }} dup to ip daddr",
                 f"a copy for candidate {slot + 1}")
    fan.rule("goto copies_end", "all have theirs")

    end = table.chain("copies_end")
    end.rule("ip daddr set ip saddr map @router_peers return", "the router itself is a candidate: it gets the original")
    end.rule("drop", "every candidate has its copy")
