# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP through NAT: each inbound SPI is one client's. The order in which a packet's owner is asked for is in docs/DATAPATH.md.

Fast path: one lookup (`esp_fast`), no write. Its entries live some minutes only; when one has died, the next packet takes the slow path,
which renews the long-lived state and puts it back. So a tunnel that lives is never forgotten, a dead one is, and no packet of an
established tunnel pays for either.
"""

from __future__ import annotations

from .maps import FAST, SERVER, SERVER_OUT, SPI, UNPROVEN
from .notices import ASKS_MAC_RATE, GROUP_WHOLE, SAME_SPI, SPI_OUT, SPI_TAKEN, add_teller
from .text import Table, names
from .zones import ZONE, add_not_ours, add_way_out, add_zoned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Devices
    from .dispatch import Dispatch

SPI_OUT_RATE = "200/second burst 300 packets"
"""Packets without an answer a second that the daemon is told of, of one client: its evidence for the owner of an SPI."""

LEARNING_RATE = "20/second burst 300 packets"
"""New keys a second that one server may put into the maps: made-up ones can't fill them."""

UNANSWERED = f"@out_zone {{ {SERVER_OUT} . {SPI} timeout {UNPROVEN}s : {ZONE} }}"
"""Server and outbound SPI, until an answer has come: whoever makes up SPIs patiently fills no map for hours."""

INBOUND = f"ip saddr . {SPI}"
"""Server and inbound SPI."""


def add_esp(table: Table, devices: Devices, dispatch: Dispatch) -> None:
    """The chains for ESP, from `dispatch` on."""
    dispatch.at_once.append((f"ip protocol esp @th,32,32 != 1 ct zone set {FAST} map @esp_fast accept",
                             "ESP, established, unless an SA begins"))
    dispatch.protocols["esp"] = "esp_slow"
    esp = table.chain("esp_slow")
    esp.rule(f"iifname {names(devices.lan)} goto esp_out", "sent by an inside host")
    esp.rule("goto esp_in", "sent from outside")
    _add_out(table, devices)
    _add_in(table, devices)


def _add_out(table: Table, devices: Devices) -> None:
    out = table.chain("esp_out")
    for seen, comment in (("esp_known", "answered before"), ("esp_unanswered", "an SPI that is not answered yet")):
        out.rule(f"{FAST} @{seen} {ZONE} set ip saddr map @client_zone goto esp_out_zoned", comment)
    out.rule(f"{ZONE} set {SERVER} . {SERVER_OUT} map @called goto esp_out_called", "the answer of a host that was called from outside")
    add_way_out(out, "esp_out_zoned", devices)
    add_zoned(table, "esp_out_zoned", "esp_out_learn")
    add_zoned(table, "esp_out_called", "esp_out_answer")
    answer = table.chain("esp_out_answer")
    answer.rule(f"update @called {{ {SERVER} . {SERVER_OUT} : {ZONE} }} update @out_zone {{ {SERVER_OUT} . {SPI} : {ZONE} }}",
                "the host goes on answering its caller")
    answer.rule(f"{ZONE} 0 update @left_out {{ {SERVER_OUT} }}", "what the caller sends may not be a client's")

    learn = table.chain("esp_out_learn")
    learn.rule("jump refresh_out", "renew what is known of this client and server")
    learn.rule(f"{FAST} @esp_known update @esp_known {{ {FAST} }} update @out_zone {{ {SERVER_OUT} . {SPI} : {ZONE} }} "
               f"add @esp_fast {{ {FAST} : {ZONE} }} return", "answered before: back to the fast path")
    learn.rule(f"ip saddr . ip daddr != @pairs add {UNANSWERED} add @esp_unanswered {{ {FAST} }} return",
               "a pair's first packet")
    learn.rule(f"{FAST} @esp_unanswered goto esp_out_again", "an SPI that is not answered yet")
    learn.rule(f"add @esp_unanswered {{ {FAST} }} add {UNANSWERED}", "a new SPI")
    learn.rule(f"ip daddr . {ZONE} @answered goto esp_out_answered", "the server's new SPI came before this packet")
    teller = add_teller(table, "spi_out", SPI_OUT, "rate_asks", "ip saddr", "500/second burst 500 packets", mac_rate=ASKS_MAC_RATE)
    learn.rule(f"jump {teller}", "tell the daemon")
    learn.rule(f"update @asking {{ ip daddr . {ZONE} }} jump wait_out", "the answer will have a new SPI")

    again = table.chain("esp_out_again")
    again.rule(f"ip daddr . {ZONE} @answered goto esp_out_answered", "the server has answered since")
    again.rule(f"update {UNANSWERED} update @sending {{ ip saddr . ip daddr counter }}", "renewed, and counted")
    again.rule(f"ip daddr != @hushed jump {teller}", "tell the daemon")
    again.rule(f"update @asking {{ ip daddr . {ZONE} }} jump wait_out", "still not answered: the client goes on waiting")

    answered = table.chain("esp_out_answered")
    answered.rule(f"add @esp_known {{ {FAST} }} update @out_zone {{ {SERVER_OUT} . {SPI} : {ZONE} }} "
                  f"add @esp_fast {{ {FAST} : {ZONE} }} delete @esp_unanswered {{ {FAST} }} "
                  f"delete @answered {{ ip daddr . {ZONE} }}", "one new inbound SPI answers one outbound SPI")


def _add_in(table: Table, devices: Devices) -> None:
    inbound = table.chain("esp_in")
    inbound.rule("@th,32,32 1 goto esp_in_first", "sequence number 1: an SA begins")
    inbound.rule("goto esp_in_slow", "not in the fast path")

    first = table.chain("esp_in_first")
    first.rule("ip saddr != @slot1 goto esp_in_slow", "the server has one client")
    first.rule(f"{ZONE} set ip daddr map @client_zone goto esp_in_direct", "addressed to the client itself")
    first.rule(f"{INBOUND} @fanned goto esp_in_slow", "several clients may own this SPI")
    first.rule(f"{ZONE} set {INBOUND} map @spi_zone goto esp_in_same", "an SPI that has an owner begins anew")
    first.rule("goto esp_in_slow", "new")
    same = table.chain("esp_in_same")
    same.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} goto esp_in_whose", "too many at once: probably made up")
    teller = add_teller(table, "same_spi", SAME_SPI, "rate_notice", "ip saddr", "500/second burst 1000 packets")
    same.rule(f"jump {teller}", "the same SPI twice, or a repeated packet")
    same.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")
    same.rule(f"delete @esp_fast {{ {FAST} : {ZONE} }} delete @spi_zone {{ {INBOUND} : {ZONE} }} add @fanned {{ {INBOUND} }} goto copies",
              "until the daemon has decided: a copy for each client")

    # The key first; without NAT the address is one, and says more than that.
    inbound = table.chain("esp_in_slow")
    inbound.rule(f"{INBOUND} @router_spis return", "the router's own SA")
    inbound.rule(f"{ZONE} set ip daddr map @client_zone goto esp_in_direct", "addressed to the client itself")
    inbound.rule(f"{INBOUND} @fanned goto fan", "several clients may own this SPI")
    inbound.rule(f"{ZONE} set {INBOUND} map @spi_zone goto esp_in_whose", "known")
    inbound.rule("ip saddr != @servers goto esp_elsewhere", "no client talks with it")
    add_not_ours(inbound, devices)
    inbound.rule(f"{SERVER} @router_hosts goto copies", "the router's own SAs: the daemon knows which")
    inbound.rule(f"{SERVER} @left_out goto copies", "a host that is no client talks with it, too")
    inbound.rule("ip saddr != @slot1 goto esp_in_solo", "the only client")
    inbound.rule(f"{ZONE} set {INBOUND} map @spi_unasked goto esp_in_shared", "it went to the only client, which had not asked for it")
    inbound.rule("ip saddr @waiting_many goto copies", "several wait: never guess")
    inbound.rule("ip saddr @doubted goto copies", "the daemon knows of another that waits")
    inbound.rule(f"@th,32,32 1 {ZONE} set ip saddr map @waiting_one goto esp_in_one", "an SA begins, and exactly one waits")
    inbound.rule("goto copies", "nobody waits, or the SA is older than that: several could be meant")

    solo = table.chain("esp_in_solo")
    solo.rule("ip saddr @routed_only return", "without NAT for its only client: as without vpnpt")
    solo.rule(f"{ZONE} set {SERVER} map @solo goto esp_in_only", "the packet takes the zone of the server's only client")
    only = table.chain("esp_in_only")
    only.rule(f"ip saddr . {ZONE} @ended drop", "ended by the user, and the client has not come back")
    only.rule(f"ip saddr . {ZONE} @asking goto esp_in_new", "the client has asked with ESP")
    only.rule("goto esp_in_unasked", "the owner may be a host that has not spoken yet")
    one = table.chain("esp_in_one")
    one.rule(f"ip saddr . {ZONE} @heard goto esp_in_new", "the server has answered this client before")
    one.rule("goto esp_in_shared", "never answered before: a new SPI alone proves nothing")
    shared = table.chain("esp_in_shared")
    shared.rule(f"ip saddr . {ZONE} @ended drop", "ended by the user, and the client has not come back")
    shared.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")
    shared.rule("goto copies", "several could be meant")

    whose = table.chain("esp_in_whose")
    whose.rule(f"ip saddr . {ZONE} @ended drop", "ended by the user, and the client has not come back")
    whose.rule("goto esp_in_known", "the owner's zone")
    add_zoned(table, "esp_in_known", "esp_in_renew")
    renew = table.chain("esp_in_renew")
    renew.rule(f"update @spi_zone {{ {INBOUND} : {ZONE} }} add @esp_fast {{ {FAST} : {ZONE} }} update @heard {{ ip saddr . {ZONE} }}",
               "back to the fast path")
    renew.rule("jump renew_in", "and its client lives")

    add_zoned(table, "esp_in_direct", "refresh_in", "esp_in_direct_fast")
    direct = table.chain("esp_in_direct_fast")
    direct.rule("ip daddr . ip saddr != @pairs return", "the firewall has not let them talk")
    direct.rule("jump renew_routed", "no NAT: renewed")
    direct.rule(f"add @esp_fast {{ {FAST} : {ZONE} }}", "renewed, and put into the fast path")
    direct.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up SPIs")
    direct.rule("goto esp_in_paid", "what it waited for has come")
    paid = table.chain("esp_in_paid")
    # Made-up SPIs must not pay for an outbound one: the daemon would not hear that its client waits, and take another for the owner.
    paid.rule(f"ip saddr . {ZONE} @waiting update @answered {{ ip saddr . {ZONE} }}", "the client has waited for this SPI")
    paid.rule(f"delete @waiting {{ ip saddr . {ZONE} }} delete @asking {{ ip saddr . {ZONE} }} delete @waiting_some {{ ip saddr }} "
              f"delete @waiting_one {{ ip saddr : {ZONE} }}", "the client no longer waits")

    # Nobody asked for it, so no key is learned: it is the only client's as long as there is no other.
    add_zoned(table, "esp_in_unasked", "esp_in_pass")
    unasked = table.chain("esp_in_pass")
    unasked.rule(f"update @heard {{ ip saddr . {ZONE} }} update @spi_new {{ {INBOUND} }}", "a forward of the user's comes first")
    unasked.rule(f"update @spi_unasked {{ {INBOUND} : {ZONE} }}", "should another client come, both may own it")
    unasked.rule("jump renew_in", "and its client lives")

    add_zoned(table, "esp_in_new", "esp_in_take")
    take = table.chain("esp_in_take")
    take.rule(f"update @heard {{ ip saddr . {ZONE} }}", "the server has answered this client")
    take.rule(f"update @spi_new {{ {INBOUND} }}", "a forward of the user's comes first")
    take.rule(f"update @rate_in {{ ip saddr limit rate over {LEARNING_RATE} }} return", "made-up SPIs are not learned")
    take.rule("jump esp_in_paid", "the client no longer waits")
    take.rule(f"add @spi_zone {{ {INBOUND} : {ZONE} }} add @esp_fast {{ {FAST} : {ZONE} }} delete @spi_unasked {{ {INBOUND} : {ZONE} }}",
              "the key and its owner's zone are learned")
    take.rule("jump renew_in", "and its client lives")
    contended = add_teller(table, "spi_taken_whole", SPI_TAKEN, "rate_notice", "ip saddr", "500/second burst 1000 packets", GROUP_WHOLE)
    take.rule(f"ip saddr @slot1 goto {contended}", "the daemon may know of others")
    teller = add_teller(table, "spi_taken", SPI_TAKEN, "rate_notice", "ip saddr", "500/second burst 1000 packets")
    take.rule(f"goto {teller}", "tell the daemon")

    # A host that is no client of ours (its device was left out) talks with a server: what that sends may be for it.
    elsewhere = table.chain("esp_elsewhere")
    elsewhere.rule(f"iifname {names(devices.wan)} return", "sent from outside")
    elsewhere.rule("update @rate_left_out { ip saddr limit rate over 5/second burst 200 packets } return",
                   "too many new servers")
    elsewhere.rule(f"update @left_out {{ {SERVER_OUT} }} update @out_zone {{ {SERVER_OUT} . {SPI} : 0 }}",
                   "what it sends may be no client's")
