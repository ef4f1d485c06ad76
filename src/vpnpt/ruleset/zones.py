# SPDX-License-Identifier: GPL-2.0-or-later
"""Conntrack zones: which client lives in which, handed out by the kernel alone.

A client's zone is a hash of its address, probed with other seeds while taken. So it needs no counter (numgen starts again at every
reload, while the maps live on), two clients never share one, and the daemon may be dead.

What a packet teaches must be learned before conntrack sees it, together with its zone. But a zone once set can be neither read there
(measured on Linux 6.18: nft_ct_get_eval refuses a template) nor set again (nft_ct_set_zone_eval), and nft has no registers to name. So on
the slow path the zone travels in the packet's own IP ID, the one field of 16 bits that may hold anything for a moment: `stash`
keeps the true one, `restore` puts it back before the packet goes on. The fast path touches no packet.
"""

from __future__ import annotations

from .notices import FULL, notice
from .text import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .text import Chain, Table

PROBES = 8
"""Seeds tried for a free zone: with 4,096 clients in 40,960 zones all eight are taken for one client in 10^8."""

ENTRIES_PER_CLIENT = 16
"""How many per-server records (pairs and the like) the sets hold for each client that is allowed."""


ZONE = "ip id"
"""Where the slow path carries the zone."""

STASH = "ip saddr . ip daddr . @th,0,32"
"""What tells one packet's IP ID from another's: addresses and SPI, or ports."""


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


def add_zones(table: Table, config: Config, byteorder: str) -> None:
    """Declares the client maps, and the chains that hand out zones and keep IP IDs."""
    general = config.general
    clients, timeout = general.max_clients, general.client_timeout
    table.collection("client_zone", "ip saddr", value="ct zone", size=clients, timeout=timeout, comment="LAN client: its zone")
    table.collection("zone_client", "ct zone", value="ip daddr", size=clients, timeout=timeout, comment="zone: its LAN client")
    table.collection("zones", "ct zone", size=clients, timeout=timeout, comment="zones that are taken")
    table.collection("bypass", "ip saddr . ip daddr", size=clients, timeout=3600,
                     comment="client and server whose way is not by a WAN device after all")
    table.collection("ip_ids", STASH, value="ip id", size=clients, timeout=10, comment="true IP IDs of packets on the slow path")
    table.counter("clients_full", "packets refused because max_clients are being served")

    new = table.chain("zone_new")
    for seed in range(1, PROBES + 1):
        zone = _hash(config, seed, byteorder)
        new.rule(f"{zone} != @zones add @client_zone {{ ip saddr : {zone} }} add @zones {{ {zone} }} "
                 f"add @zone_client {{ {zone} : ip saddr }} return", f"free zone, probe {seed}")
    new.rule('counter name "clients_full"', "no zone left: its answers could be given to nobody")
    new.rule(notice(FULL, "1/second burst 5 packets"), "logged by the daemon")
    new.rule("reject with icmp type admin-prohibited", "the client learns at once")

    routed = table.chain("routed_in")
    routed.rule("ct zone set ip daddr map @client_zone", "addressed to the client itself (a routed LAN): its own zone")

    stash = table.chain("stash")
    stash.rule(f"delete @ip_ids {{ {STASH} : ip id }} add @ip_ids {{ {STASH} : ip id }}", "from here on the IP ID holds the zone")


def add_way_out(chain: Chain, target: str, devices: Devices) -> None:
    """Rules for a packet from the LAN: `goto target` with its client's zone in the IP ID, or leave it alone."""
    chain.rule(f"fib daddr oifname != {names(devices.wan)} return", "for the router itself or another network: not ours")
    chain.rule("ip saddr . ip daddr @bypass return", "seen to leave by another way")
    chain.rule("jump stash", "keep the IP ID")
    chain.rule(f"{ZONE} set ip saddr map @client_zone goto {target}", "a client we know")
    chain.rule("jump zone_new", "a client's first packet")
    chain.rule(f"{ZONE} set ip saddr map @client_zone goto {target}", "in its new zone from the first packet on")


def add_zoned(table: Table, name: str, learn: str) -> None:
    """The chain `name` for packets whose IP ID holds the zone: the zone is set, `learn` runs, the IP ID is its own again."""
    chain = table.chain(name)
    chain.rule(f"ct zone set {ZONE}", "whatever is learned: this is its zone")
    chain.rule(f"jump {learn}", "learn")
    chain.rule(f"ip id set {STASH} map @ip_ids", "the IP ID is its own again")
