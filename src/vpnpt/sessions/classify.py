# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows → protocols and sessions; and which live flows a configuration refuses. Pure.

Refused flows are cut when the configuration takes effect, since our NAT chains see only new flows.
"""

from __future__ import annotations

import socket

from ..ruleset.l2tp import MARK
from ..wire.conntrack import AH, DST_NAT, ESP, GRE, L2TP, OFFLOAD, SEEN_REPLY, SRC_NAT, TCP, UDP
from .table import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..model import Config, Protocol, Source
    from ..wire.conntrack import Flow


def protocol_of(config: Config, flow: Flow) -> Protocol | None:
    """The VPN protocol that a flow belongs to, None for any other traffic. GRE counts as PPTP only with call IDs (version 1)."""
    proto, ports = flow.orig.proto, (flow.orig.dport, flow.orig.sport)
    if proto in (ESP, AH):
        return config.protocols["ipsec"]
    if proto == L2TP:
        return config.protocols["l2tp"]
    if proto == GRE:
        return config.protocols["pptp"] if any(ports) else None
    if proto not in (TCP, UDP):
        return None
    dport = ports[0]
    for protocol in config.protocols.values():
        if protocol.name == "pptp":
            known = proto == TCP and dport in protocol.ports
        elif protocol.name == "l2tp":
            known = proto == UDP and any(port in protocol.ports for port in ports)
        elif protocol.name == "ipsec":
            known = dport in (500, *protocol.ports) if proto == UDP else dport == 4500
        elif protocol.name == "openvpn":
            known = dport in protocol.ports
        else:
            known = proto == UDP and dport in protocol.ports
        if known:
            return protocol
    return None


def entry_of(config: Config, flow: Flow, local: Collection[bytes], lan: Callable[[bytes], bool], last: float = 0.0) -> Entry | None:
    """The flow as a part of a VPN session through the router; None for unrelated traffic, and for the router's own.

    local: the router's own addresses. lan: is this address on the LAN side? Asked only where nothing is translated. last: when a packet
    passed, seconds of the epoch, 0.0 if unknown.
    """
    protocol = protocol_of(config, flow)
    reply = flow.reply
    if protocol is None or reply is None or flow.ident is None or flow.orig.src in local or reply.src in local:
        return None
    if flow.status & DST_NAT and not flow.status & SRC_NAT:
        started_inside = False
    elif flow.status & SRC_NAT:
        started_inside = True
    elif lan(flow.orig.src) != lan(reply.src):
        started_inside = lan(flow.orig.src)
    else:
        return None  # from one LAN to another, or unrelated traffic
    client, server = (flow.orig.src, reply.src) if started_inside else (reply.src, flow.orig.src)
    ports: tuple[int, ...] = ()
    if flow.orig.sport is not None and flow.orig.dport is not None and reply.sport is not None:
        ports = (flow.orig.sport, reply.sport) if started_inside else (reply.sport, flow.orig.sport)
    (packets_orig, packets_reply), (octets_orig, octets_reply) = flow.packets or (0, 0), flow.octets or (0, 0)
    counts = (packets_orig, octets_orig, packets_reply, octets_reply)
    answered = bool(flow.status & SEEN_REPLY)
    if not started_inside:
        counts, answered = (packets_reply, octets_reply, packets_orig, octets_orig), True
    translated = flow.orig.proto in (TCP, UDP) and bool(flow.status & (SRC_NAT | DST_NAT))
    nat_port = ((reply.dport if started_inside else flow.orig.dport) or 0) if translated else 0
    closed = flow.orig.proto == TCP and flow.tcp_state is not None and 4 <= flow.tcp_state <= 8  # FIN_WAIT to CLOSE
    return Entry(flow.ident, protocol.name, client, server, _kind(protocol.name, flow), ports, nat_port, counts, last, answered, closed,
                 flow.packets is not None)


def _kind(name: str, flow: Flow) -> str:
    proto = flow.orig.proto
    if proto in (ESP, AH, GRE, L2TP):
        return {ESP: "ESP", AH: "AH", GRE: "GRE", L2TP: "L2TPv3"}[proto]
    if name == "ipsec":
        return "NAT-T/TCP" if proto == TCP else "IKE" if flow.orig.dport == 500 else "NAT-T"
    return {"pptp": "PPTP", "l2tp": "L2TPv2", "openvpn": "OpenVPN", "wireguard": "WireGuard"}[name]


def allowed(protocol: Protocol, address: bytes, mac: str | None) -> bool:
    """May this client use the protocol? `mac`: its Ethernet address in lower case, None if unknown: then rules about MACs let it pass."""
    if any(is_in(source, address, mac) for source in protocol.deny_src):
        return False
    return not protocol.allow_src or any(is_in(source, address, mac) or (source.kind == "mac" and mac is None)
                                         for source in protocol.allow_src)


def is_in(source: Source, address: bytes, mac: str | None) -> bool:
    """Is a client one that this entry of a list names?"""
    if source.kind == "mac":
        return mac == source.text
    return (source.kind == "ipv4") == (len(address) == 4) and _within(address, source.text)


def _within(address: bytes, subnet: str) -> bool:
    text, _, length = subnet.partition("/")
    network = socket.inet_pton(socket.AF_INET if len(address) == 4 else socket.AF_INET6, text)
    bits = len(address) * 8
    shift = bits - int(length or bits)
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


def names_macs(config: Config) -> bool:
    """Does any allow_src or deny_src name an Ethernet address?"""
    return any(source.kind == "mac" for protocol in config.protocols.values() for source in (*protocol.allow_src, *protocol.deny_src))


def refused(config: Config, flow: Flow, local: Collection[bytes], neighbours: Mapping[bytes, str]) -> bool:
    """Does this configuration refuse this live flow?

    `local`: the router's own addresses; its flows are never refused. `neighbours`: Ethernet addresses, as far as they are known.
    """
    if flow.orig.src in local or (flow.reply is not None and flow.reply.src in local):
        return False
    protocol = protocol_of(config, flow)
    if protocol is None:
        return False
    behaviour = config.behaviour(protocol.name)
    if behaviour == "help":
        if _inbound(flow):
            client = flow.reply.src if flow.reply is not None else b""
            return any(is_in(source, client, neighbours.get(client)) for source in protocol.deny_src)
        return not allowed(protocol, flow.orig.src, neighbours.get(flow.orig.src)) or \
            (len(flow.orig.dst) == 16 and any(is_in(source, flow.orig.dst, neighbours.get(flow.orig.dst)) for source in protocol.deny_src))
    return behaviour == "block"


def bypasses(config: Config, flow: Flow, local: Collection[bytes], *, offload: bool) -> bool:
    """Is this an IKE flow from before our rules kept IKE out of the flow table? In there it would take all clients' packets, past any rule.

    offload: there is a flow table now. A flow in our zones counts even if it is not in the table yet: its next packet may put it there.
    """
    ike = flow.orig.proto == UDP and 500 in (flow.orig.sport, flow.orig.dport)
    if not ike or flow.orig.src in local:
        return False
    return (offload and _ours(config, flow)) or (not flow.zone and bool(flow.status & OFFLOAD))


def _ours(config: Config, flow: Flow) -> bool:
    return 0 <= flow.zone - config.general.zone_base < config.general.zone_count


def stray(config: Config, flow: Flow, gone: Collection[bytes]) -> bool:
    """Did a server start this flow, by our DNAT, to an address that the router no longer has? The client's packets would leave with that
    address. gone: addresses that it had. Others that are on no device may be routed to it, and the user forwards them.

    The kernel itself ends only flows that were masqueraded (net/netfilter/nf_nat_masquerade.c, masq_inet_event).
    """
    return (_ours(config, flow) or bool(flow.mark & MARK)) and _inbound(flow) and flow.orig.dst in gone


def ends(flow: Flow) -> tuple[bytes, bytes]:
    """Client and server of a flow through the router."""
    return (flow.reply.src, flow.orig.src) if _inbound(flow) and flow.reply is not None else (flow.orig.src, flow.orig.dst)


def _inbound(flow: Flow) -> bool:
    """Was it started by the server (our DNAT)? Then its source is no client."""
    return bool(flow.status & DST_NAT)
