# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts from the kernel's netfilter: rules of others, our sets and counters, connections, and missing features."""
from __future__ import annotations

import contextlib
import json
import socket

from .. import process
from ..config.values import boolean
from ..doctor.facts import IcmpError, LeftOut, Missing
from ..kernel import netfilter, nft
from ..kernel.maps import Learned
from ..kernel.netfilter import Netlink, NetlinkError, dump_conntrack, dump_elements, table_exists
from ..router.addresses import local_addresses
from ..ruleset import TABLE
from ..ruleset.maps import ICMP_ERRORS, ICMP_ERRORS_FIELDS, ICMP_TOO_BIG, ICMP_TOO_BIG_FIELDS
from ..sessions.classify import protocol_of
from ..wire.conntrack import AF_INET, AF_INET6, AH, ESP, GRE, L2TP, SRC_NAT, TCP, UDP
from ..wire.nftables import FAMILIES, IPV4, unpack_key
from . import passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..config.ucitext import SectionText
    from ..daemon.apply import Service
    from ..model import Config, Devices
    from ..wire.conntrack import Flow

_NUMBERS = {name: number for number, name in FAMILIES.items()}
FRAGMENTATION_NEEDED = 4
COUNTED_AFRESH = 20000
"""The most elements, in all maps together, that are counted: more would take a slow router seconds."""
FLOWS_MOST = 20000
"""The most VPN flows that are judged."""


def in_place(service: Service) -> bool:
    """Are our tables in the kernel? By a socket of our own."""
    if service.ruleset is None:
        return False
    with contextlib.suppress(NetlinkError), Netlink() as sock:
        return all(table_exists(sock, _NUMBERS[family], TABLE) for family in service.ruleset.tables)
    return False


def counters() -> dict[str, tuple[int, int]]:
    """Our named counters, both families added up."""
    with contextlib.suppress(NetlinkError), Netlink() as sock:
        return netfilter.counters(sock, TABLE)
    return {}


def fill(service: Service) -> dict[str, tuple[int, int]]:
    """Of each collection of ours: how many elements it has, or had when the daemon last looked, and for how many it has room."""
    if service.ruleset is None:
        return {}
    sizes = {(family, name): collection.size for family, table in service.ruleset.tables.items()
             for name, collection in table.collections.items()}
    if sum(service.mirror.count(name) for _, name in sizes) < COUNTED_AFRESH:
        with contextlib.suppress(NetlinkError), Netlink() as sock:
            service.mirror.refresh(sock, service.ruleset)  # the child's own copy: the daemon's is not touched
    return {name: (service.mirror.count(name), size) for (_, name), size in sizes.items()}


def rules() -> tuple[dict[str, Any], ...]:
    """Everybody's rules but ours, as `nft -j` lists them; named sets without their elements, which may be many."""
    found: list[dict[str, Any]] = []
    for item in _list("tables"):
        table = item.get("table")
        if isinstance(table, dict) and table["name"] not in (TABLE, passing.TABLE):
            found += _list("table", table["family"], table["name"])
    return tuple(found)


def _list(*what: str) -> list[dict[str, Any]]:
    result = process.run(["nft", "-j", "-t", "list", *what], timeout=nft.TIMEOUT)
    with contextlib.suppress(ValueError):
        answer = json.loads(result.stdout)
        return [item for item in answer.get("nftables", ()) if isinstance(item, dict) and "metainfo" not in item]
    return []


def flows(config: Config) -> tuple[tuple[tuple[str, Flow], ...], bool]:
    """VPN connections that LAN clients have made, with their protocol; and whether the kernel lets us see any."""
    local = local_addresses()
    found: list[tuple[str, Flow]] = []
    try:
        with Netlink() as sock:
            for flow in _vpn_flows(sock, config):
                # Neither the router's own flows nor those that a server began.
                protocol = protocol_of(config, flow) if flow.orig.src not in local and flow.orig.dst not in local else None
                if protocol is not None and len(found) < FLOWS_MOST:
                    found.append((protocol.name, flow))
    except NetlinkError:
        return (), False
    return tuple(found), True


def _vpn_flows(sock: Netlink, config: Config) -> Iterator[Flow]:
    """Flows that may be VPNs, each once. The kernel filters them (Linux 5.8), so that the rest of its table is not read."""
    ports = {name: protocol.ports for name, protocol in config.protocols.items()}
    udp = dict.fromkeys((500, *ports["ipsec"], *ports["l2tp"], *ports["openvpn"], *ports["wireguard"]))
    tcp = dict.fromkeys((*ports["pptp"], *ports["openvpn"], 4500))
    for family in (AF_INET, AF_INET6):
        for proto in (ESP, AH, GRE, L2TP):
            yield from dump_conntrack(sock, family, proto)
        for proto, chosen in ((UDP, udp), (TCP, tcp)):
            for port in chosen:
                yield from dump_conntrack(sock, family, proto, dport=port)


def esp_heard(service: Service) -> frozenset[tuple[bytes, bytes]]:
    """(client, server) that received, or may have received, ESP: the client owns an SPI, or is a candidate for an open one."""
    if service.config is None or not service.config.shares_servers:
        return frozenset()
    with contextlib.suppress(NetlinkError), Netlink() as sock:
        maps = Learned(sock)
        clients = {zone: client for client, zone in maps.zones().items()}
        found = {(client, server) for server, zone in maps.spi_owners() if (client := clients.get(zone)) is not None}
        shared = {server for server, _ in maps.fans()} | service.tracker.undecided()
        return frozenset(found | {(client, server) for client, server in maps.pairs() if server in shared})
    return frozenset()


def only_ipsec(service: Service, flows: tuple[tuple[str, Flow], ...]) -> tuple[tuple[str, Flow], ...]:
    """These flows without what goes to UDP 500 and is no IKE: our rules have looked at each first message."""
    config = service.config
    if config is None or not config.shares_servers or not config.protocols["ipsec"].preserve_ike_port:
        return flows
    with contextlib.suppress(NetlinkError), Netlink() as sock:
        known = {*Learned(sock).pairs(), *(unpack_key(element.key, 4, 4) for element in dump_elements(sock, IPV4, TABLE, "ike_odd"))}
        servers = {element.key[:4] for element in dump_elements(sock, IPV4, TABLE, "left_out")}
        return tuple((name, flow) for name, flow in flows if (flow.orig.proto, flow.orig.dport) != (UDP, 500) or len(flow.orig.dst) != 4
                     or flow.orig.dst in servers or (flow.orig.src, flow.orig.dst) in known)
    return flows


def left_out(service: Service, flows: tuple[tuple[str, Flow], ...], neighbours: dict[str, str]) -> tuple[LeftOut, ...]:
    """Hosts that begin IPsec, leave by NAT and have no zone. neighbours: address to device."""
    if service.config is None or not service.config.shares_servers:
        return ()
    found: dict[tuple[bytes, bytes], LeftOut] = {}
    with contextlib.suppress(NetlinkError), Netlink() as sock:
        clients = Learned(sock).zones()
        servers = {element.key[:4] for element in dump_elements(sock, IPV4, TABLE, "left_out")}
        called = {unpack_key(element.key, 4, 4) for name in ("called", "called_hosts")
                  for element in dump_elements(sock, IPV4, TABLE, name)}
        for _, flow in flows:
            pair = client, server = flow.orig.src, flow.orig.dst
            # UDP 500 of which our rules did not say that it is IKE is somebody else's.
            ipsec = flow.orig.proto == ESP or (flow.orig.proto == UDP and flow.orig.sport == flow.orig.dport == 500)
            if ipsec and not flow.zone and flow.status & SRC_NAT and server in servers and client not in clients and pair not in called:
                found[pair] = LeftOut(client=client, server=server, device=neighbours.get(socket.inet_ntoa(client), ""))
    return tuple(found.values())


def icmp_errors() -> tuple[IcmpError, ...]:
    """ICMP errors of the last ten minutes."""
    found = []
    with contextlib.suppress(NetlinkError), Netlink() as sock:
        for element in dump_elements(sock, IPV4, TABLE, ICMP_ERRORS.name):
            if fields := unpack_key(element.key, *ICMP_ERRORS_FIELDS):
                server, proto, port, code = fields
                found.append(IcmpError(sender=(element.data or bytes(4))[:4], server=server, proto=proto[0],
                                       port=int.from_bytes(port, "big"), code=code[0]))
        for element in dump_elements(sock, IPV4, TABLE, ICMP_TOO_BIG.name):
            if fields := unpack_key(element.key, *ICMP_TOO_BIG_FIELDS):
                sender, server, proto, mtu = fields
                found.append(IcmpError(sender=sender, server=server, proto=proto[0], code=FRAGMENTATION_NEEDED,
                                       mtu=int.from_bytes(mtu, "big")))
    return tuple(found)


def missing(config: Config, devices: Devices, firewall: tuple[SectionText, ...], *, tracking: bool) -> tuple[Missing, ...]:
    """Features that our configuration or the firewall's needs and the kernel lacks. Rules are checked, never loaded."""
    found = []
    chain = "chain probe {{\n\t\ttype {} hook {} priority 0;\n\t\t{}\n\t}}\n"
    wanted = [("nft's socket expression", "vpnpt", "kmod-nft-socket",
               chain.format("filter", "prerouting", "socket transparent 0-1 accept")),
              ("nft's fib expression", "vpnpt", "kmod-nft-fib", chain.format("filter", "prerouting", "fib daddr type local accept")),
              ("address translation by nft", "vpnpt", "kmod-nft-nat", chain.format("nat", "postrouting", "masquerade"))]
    if config.shares_servers:
        wanted.append(("nft's dup statement", "IPsec of several clients to one server", "kmod-nft-dup-inet",
                       chain.format("filter", "prerouting", "dup to 192.0.2.1")))
    if any(_on(section, option) for section in firewall if section.type == "defaults" for option in ("flow_offloading",)):
        wanted.append(("flow tables", "the firewall's flow offloading", "kmod-nft-offload",
                       f'flowtable probe {{\n\t\thook ingress priority 0\n\t\tdevices = {{ "{devices.wan[0]}" }}\n\t}}\n'))
    if not _accepts(""):
        return ()  # without nft, or without nftables in the kernel, no single feature can be judged
    for feature, needed_for, package, text in wanted:
        if not _accepts(text):
            found.append(Missing(feature=feature, needed_for=needed_for, package=package))
    if not tracking:
        found.append(Missing(feature="connection tracking over netlink", needed_for="the list of sessions",
                             package="kmod-nf-conntrack-netlink"))
    return tuple(found)


def _accepts(text: str) -> bool:
    """Would the kernel load a table with this?"""
    try:
        nft.check(f"table ip {TABLE}_probe {{\n\t{text}}}\n")
    except nft.NftError:
        return False
    return True


def _on(section: SectionText, option: str) -> bool:
    text = section.options.get(option)
    return text is not None and bool(boolean(text.values[-1]))
