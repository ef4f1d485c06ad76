# SPDX-License-Identifier: GPL-2.0-or-later
"""Conntrack zones: which client lives in which, handed out by the kernel alone.

A client's zone is a hash of its address with a seed of this boot, probed with other seeds while taken. So it needs no counter (numgen
starts again at every reload, while the maps live on), two clients never share one, nobody can aim at another's, and the daemon may be
dead.

What a packet teaches must be learned before conntrack sees it, together with its zone. But a zone once set can be neither read there
(measured on Linux 6.18: nft_ct_get_eval refuses a template) nor set again (nft_ct_set_zone_eval), and nft has no registers to name. So on
the slow path the zone travels in the packet's own IP ID, the one field of 16 bits that may hold anything for a moment; `settle` then
gives the packet a random ID: all that an ID must be is another one than that of the fragments before it (RFC 6864). A packet that is not
given a zone keeps its own. The fast path touches no packet.
"""

from __future__ import annotations

from .maps import SERVER_OUT, UNPROVEN
from .notices import FULL, notice
from .text import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .text import Chain, Table

PROBES = 8
"""Seeds tried for a free zone: with 4,096 clients in 40,960 zones all eight are taken for one client in 10^8."""

ZONE = "ip id"
"""Where the slow path carries the zone."""

CLIENT_RATE = "20/second burst 300 packets"
"""New keys (SPIs, cookies) a second that one client may show; beyond, its packets go the stock way."""
PAIR_RATE = "5/second burst 200 packets"
"""Packets to servers that the client has not talked with, a second; beyond, they go the stock way."""
MAC_RATE = "20/second burst 300 packets"
"""New clients a second behind one Ethernet address."""
LEFT_OUT_RATE = "50/second burst 200 packets"
"""Packets a second, of all hosts for which there is no zone, that are remembered by their server."""


def zone_range(config: Config) -> str:
    """The zones that are ours, as an nft range."""
    general = config.general
    return f"{general.zone_base}-{general.zone_base + general.zone_count - 1}"


def _hash(config: Config, seed: int, byteorder: str) -> str:
    """The zone that `seed` proposes for a client. A hash fills a 32-bit register in host order, a zone is read from its first
    16 bits: on a big-endian router those are the upper half."""
    general = config.general
    text = f"jhash ip saddr mod {general.zone_count} seed {seed:#x} offset {general.zone_base}"
    return text if byteorder == "little" else f"{text} << 16"


def add_zones(table: Table, config: Config, byteorder: str, seed: int) -> None:
    """The chains that hand out zones. seed: of this boot, 32 bits; it must not change while the maps live."""
    timeout = UNPROVEN
    table.counter("clients_full", "packets refused because max_clients are being served")
    new = table.chain("zone_new")
    new.rule(f"update @rate_mac {{ ether saddr limit rate over {MAC_RATE} }} goto zone_none", "too many new clients: as without vpnpt")
    for probe in range(1, PROBES + 1):
        zone = _hash(config, (seed + probe) & 0xFFFFFFFF, byteorder)
        new.rule(f"{zone} != @zones add @client_zone {{ ip saddr timeout {timeout}s : {zone} }} add @zones {{ {zone} timeout {timeout}s }} "
                 f"add @zone_client {{ {zone} timeout {timeout}s : ip saddr }} return", f"free zone, probe {probe}")
    new.rule("ip daddr != @servers goto zone_none", "no other client uses it: as without vpnpt")
    new.rule(f"{SERVER_OUT} @left_out goto zone_none", "a host without a zone talks with it already")
    new.rule('counter name "clients_full"', "no zone left")
    new.rule(notice(FULL, "1/second burst 5 packets"), "the daemon logs it")
    new.rule("reject with icmp type admin-prohibited", "no zone is free: refused at once")
    none = table.chain("zone_none")
    none.rule(f"limit rate {LEFT_OUT_RATE} update @left_out {{ {SERVER_OUT} }}", "what it sends may be no client's")


def add_way_out(chain: Chain, target: str, devices: Devices) -> None:
    """Rules for a packet from inside with a key that nobody knows: `goto target` with its sender's zone in the IP ID, or leave it alone.

    What route it will take is not known here: policy routing decides later. A zone does no harm to what is not NATed, since what comes
    back to the client's own address is put into its zone as well.
    """
    chain.rule("ip saddr . ip daddr @diverted return", "forwarded to a host inside: as without vpnpt")
    chain.rule("fib saddr . iif oif missing return", "a forged source address: as without vpnpt")
    chain.rule("fib daddr type != unicast return", "addressed to the router itself, or a broadcast")
    chain.rule(f"fib daddr oifname {names(devices.lan)} return", "addressed to another inside network: no NAT")
    chain.rule(f"ip saddr . ip daddr != @pairs update @rate_pairs {{ ip saddr limit rate over {PAIR_RATE} }} return",
               "too many new servers: as without vpnpt")
    chain.rule(f"update @rate_out {{ ip saddr limit rate over {CLIENT_RATE} }} return", "too many new keys: as without vpnpt")
    chain.rule(f"{ZONE} set ip saddr map @client_zone goto {target}", "a client that has a zone")
    chain.rule("jump zone_new", "a new client: hand out a zone")
    chain.rule(f"{ZONE} set ip saddr map @client_zone goto {target}", "the new zone counts from the first packet on")


def add_zoned(table: Table, name: str, *learn: str) -> None:
    """The chain `name` for packets whose IP ID holds the zone: the zone is set, `learn` runs, the IP ID is a random one."""
    chain = table.chain(name)
    chain.rule(f"ct zone set {ZONE}", "the packet belongs to this zone")
    for target in learn:
        chain.rule(f"jump {target}", "learn from this packet")
    chain.rule(f"{ZONE} set numgen random mod 65536", "the IP ID carried the zone: a random one instead")


def add_not_ours(chain: Chain, devices: Devices) -> None:
    """Ends `chain` for what is from outside and goes on to a host that has its address: a routed network, a DMZ, whatever its zone.

    What goes back out of a WAN device may be ours all the same: SNAT can be to an address that is on no device.
    """
    chain.rule(f"fib daddr type unicast fib daddr oifname != {names(devices.wan)} return",
               "another host behind the router: not ours")
