"""Which live flows a configuration refuses: they are cut when it takes effect, since our NAT chains see only new ones. Pure."""

from __future__ import annotations

import socket

from .wire.conntrack import AH, DST_NAT, ESP, GRE, L2TP, OFFLOAD, TCP, UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .model import Config, Protocol
    from .wire.conntrack import Flow


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


def allowed(protocol: Protocol, address: bytes, mac: str | None) -> bool:
    """May this client use the protocol? `mac`: its Ethernet address in lower case, None if unknown, which is in its favour."""
    if not protocol.allow_src:
        return True
    for source in protocol.allow_src:
        if source.kind == "mac":
            if mac is None or mac == source.text:
                return True
        elif (source.kind == "ipv4") == (len(address) == 4) and _within(address, source.text):
            return True
    return False


def _within(address: bytes, subnet: str) -> bool:
    text, _, length = subnet.partition("/")
    network = socket.inet_pton(socket.AF_INET if len(address) == 4 else socket.AF_INET6, text)
    bits = len(address) * 8
    shift = bits - int(length or bits)
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


def refused(config: Config, flow: Flow, local: Collection[bytes], neighbours: Mapping[bytes, str]) -> bool:
    """Is this live flow one that may no longer pass?

    `local`: the router's own addresses, whose flows are none of ours. `neighbours`: Ethernet addresses, as far as they are known.
    """
    if flow.orig.src in local or (flow.reply is not None and flow.reply.src in local):
        return False
    protocol = protocol_of(config, flow)
    if protocol is None:
        return False
    behaviour = config.behaviour(protocol.name)
    if behaviour == "help":
        return not allowed(protocol, flow.orig.src, neighbours.get(flow.orig.src)) and not _inbound(flow)
    return behaviour == "block"


def bypasses(flow: Flow, local: Collection[bytes]) -> bool:
    """Is this a client's IKE that was offloaded before our rules came? It would take all clients' packets, past any rule."""
    ike = flow.orig.proto == UDP and 500 in (flow.orig.sport, flow.orig.dport)
    return ike and bool(flow.status & OFFLOAD) and not flow.zone and flow.orig.src not in local


def _inbound(flow: Flow) -> bool:
    """Started by the server (our DNAT): its source is no client."""
    return bool(flow.status & DST_NAT)
