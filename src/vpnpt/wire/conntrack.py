# SPDX-License-Identifier: GPL-2.0-or-later
"""ctnetlink: dump, watch and delete conntrack entries. Pure.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h; numbers in attributes are big-endian,
except the flags of CTA_FILTER, which the kernel reads in host order (net/netfilter/nf_conntrack_netlink.c).
"""
from __future__ import annotations

import struct

from ..record import Record
from . import netlink as nl

NEW, GET, DELETE = 0, 1, 2

# Multicast groups (enum nfnetlink_groups)
GROUP_NEW, GROUP_UPDATE, GROUP_DESTROY = 1, 2, 3

AF_INET, AF_INET6 = 2, 10
ICMP, TCP, UDP, GRE, ESP, AH, ICMPV6, L2TP = 1, 6, 17, 47, 50, 51, 58, 115

# Bits of Flow.status (enum ip_conntrack_status)
SEEN_REPLY, ASSURED, CONFIRMED, SRC_NAT, DST_NAT, OFFLOAD = 2, 4, 8, 16, 32, 0x4000

# enum ctattr_type
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO, CTA_HELP, CTA_TIMEOUT, CTA_MARK = 1, 2, 3, 4, 5, 7, 8
CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY, CTA_ID, CTA_ZONE, CTA_FILTER = 9, 10, 12, 18, 25
# enum ctattr_tuple, ctattr_ip, ctattr_l4proto: a destination follows its source; type and code follow an ICMP identifier
CTA_TUPLE_IP, CTA_TUPLE_PROTO, CTA_TUPLE_ZONE = 1, 2, 3
CTA_IP_V4_SRC, CTA_IP_V6_SRC = 1, 3
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT, CTA_PROTO_ICMP_ID, CTA_PROTO_ICMPV6_ID = 1, 2, 3, 4, 7

# net/netfilter/nf_internals.h, CTA_FILTER_F_CTA_PROTO_*
_FILTER_PROTO_NUM, _FILTER_SRC_PORT, _FILTER_DST_PORT = 1 << 3, 1 << 4, 1 << 5


class Tuple(Record):
    """One direction of a flow. src, dst: 4 or 16 bytes. proto: IP protocol number.

    sport, dport: ports of TCP and UDP, the call IDs of GRE version 1 (0 for other GRE), None where the protocol has none (ESP).
    icmp: (type, code, identifier) or None. zone: only where the two directions are in different zones, else None.
    """

    __slots__ = ("src", "dst", "proto", "sport", "dport", "icmp", "zone")

    def __init__(self, src: bytes, dst: bytes, proto: int, sport: int | None = None, dport: int | None = None,
                 icmp: tuple[int, int, int] | None = None, zone: int | None = None) -> None:
        self.src = src
        self.dst = dst
        self.proto = proto
        self.sport = sport
        self.dport = dport
        self.icmp = icmp
        self.zone = zone


class Flow(Record):
    """A conntrack entry. orig, reply: its tuples; NAT shows where reply is not orig reversed.

    zone: 0..65535 of both directions; a zone of one direction is in its tuple. status: bits above. timeout_s: seconds left, None
    in events of a destroyed flow. ident: the kernel's identity of this entry. helper: its name or ''. packets, octets: pairs
    (orig, reply), None unless net.netfilter.nf_conntrack_acct is on. tcp_state: enum tcp_conntrack (3 is ESTABLISHED), None if
    not TCP.
    """

    __slots__ = ("family", "orig", "reply", "zone", "status", "timeout_s", "mark", "ident", "helper", "packets", "octets",
                 "tcp_state")

    def __init__(self, family: int, orig: Tuple, reply: Tuple | None = None, zone: int = 0, status: int = 0,
                 timeout_s: int | None = None, mark: int = 0, ident: int | None = None, helper: str = "",
                 packets: tuple[int, int] | None = None, octets: tuple[int, int] | None = None,
                 tcp_state: int | None = None) -> None:
        self.family = family
        self.orig = orig
        self.reply = reply
        self.zone = zone
        self.status = status
        self.timeout_s = timeout_s
        self.mark = mark
        self.ident = ident
        self.helper = helper
        self.packets = packets
        self.octets = octets
        self.tcp_state = tcp_state


class FlowEvent(Record):
    """kind: 'new', 'update' or 'destroy' (entries of a dump come as 'update')."""

    __slots__ = ("kind", "flow")

    def __init__(self, kind: str, flow: Flow) -> None:
        self.kind = kind
        self.flow = flow


def dump(family: int = AF_INET, proto: int | None = None, sport: int | None = None, dport: int | None = None) -> bytes:
    """Ask for all entries of a family. proto, and with it a port of TCP or UDP as the first packet had it: the kernel filters since
    Linux 5.8; an older one sends all: check again."""
    if proto is None:
        return nl.generic(nl.CTNETLINK, GET, nl.DUMP, family)
    chosen, which = [nl.attribute(CTA_PROTO_NUM, bytes([proto]))], _FILTER_PROTO_NUM
    for kind, flag, port in ((CTA_PROTO_SRC_PORT, _FILTER_SRC_PORT, sport), (CTA_PROTO_DST_PORT, _FILTER_DST_PORT, dport)):
        if port is not None:
            chosen.append(nl.be16(kind, port))
            which |= flag
    wanted = nl.nested(CTA_TUPLE_ORIG, nl.nested(CTA_TUPLE_PROTO, *chosen))
    # CTA_FILTER_ORIG_FLAGS and CTA_FILTER_REPLY_FLAGS: which fields of the tuples count
    flags = nl.attribute(1, struct.pack("=I", which)) + nl.attribute(2, struct.pack("=I", 0))
    return nl.generic(nl.CTNETLINK, GET, nl.DUMP, family, wanted, nl.nested(CTA_FILTER, flags))


def get(family: int, way: Tuple) -> bytes:
    """Ask for the entry, in zone 0, that has this tuple in one of its directions; ENOENT if there is none."""
    return nl.generic(nl.CTNETLINK, GET, 0, family, nl.nested(CTA_TUPLE_ORIG, _pack_tuple(family, way)))


def delete(flow: Flow) -> bytes:
    """Delete exactly this entry: ENOENT if it is gone, or if another one (by ident) has its tuple now."""
    attrs = [nl.nested(CTA_TUPLE_ORIG, _pack_tuple(flow.family, flow.orig))]  # without a tuple this would delete every entry
    if flow.zone:
        attrs.append(nl.be16(CTA_ZONE, flow.zone))
    if flow.ident is not None:
        attrs.append(nl.be32(CTA_ID, flow.ident))
    return nl.generic(nl.CTNETLINK, DELETE, nl.ACK, flow.family, *attrs)


def _pack_tuple(family: int, way: Tuple) -> bytes:
    source = CTA_IP_V6_SRC if family == AF_INET6 else CTA_IP_V4_SRC
    proto = [nl.attribute(CTA_PROTO_NUM, bytes([way.proto]))]
    if way.sport is not None and way.dport is not None:
        proto += [nl.be16(CTA_PROTO_SRC_PORT, way.sport), nl.be16(CTA_PROTO_DST_PORT, way.dport)]
    elif way.icmp is not None:
        first = CTA_PROTO_ICMPV6_ID if way.proto == ICMPV6 else CTA_PROTO_ICMP_ID
        kind, code, ident = way.icmp
        proto += [nl.be16(first, ident), nl.attribute(first + 1, bytes([kind])), nl.attribute(first + 2, bytes([code]))]
    addresses = nl.nested(CTA_TUPLE_IP, nl.attribute(source, way.src), nl.attribute(source + 1, way.dst))
    packed = addresses + nl.nested(CTA_TUPLE_PROTO, *proto)
    return packed if way.zone is None else packed + nl.be16(CTA_TUPLE_ZONE, way.zone)


def decode(msg: nl.Message) -> FlowEvent | None:
    """A dump's entry or a notification; None for another kind of message or a broken one."""
    if msg.kind == nl.CTNETLINK << 8 | DELETE:
        kind = "destroy"
    elif msg.kind == nl.CTNETLINK << 8 | NEW:
        kind = "new" if msg.flags & (nl.CREATE | nl.EXCL) and not msg.flags & nl.MULTI else "update"
    else:
        return None
    parsed = nl.nfgenmsg(msg.body)
    flow = decode_attributes(parsed[0], parsed[2]) if parsed is not None else None
    return None if flow is None else FlowEvent(kind, flow)


def decode_attributes(family: int, data: bytes) -> Flow | None:
    """The entry in these attributes (of a ctnetlink message, or LogPacket.conntrack)."""
    attrs = nl.attributes(data)
    orig = _tuple(family, attrs.get(CTA_TUPLE_ORIG)) if attrs is not None else None
    if attrs is None or orig is None:
        return None
    flow = Flow(family, orig, _tuple(family, attrs.get(CTA_TUPLE_REPLY)))
    flow.zone = nl.number(attrs.get(CTA_ZONE), 2) or 0
    flow.status = nl.number(attrs.get(CTA_STATUS), 4) or 0
    flow.timeout_s = nl.number(attrs.get(CTA_TIMEOUT), 4)
    flow.mark = nl.number(attrs.get(CTA_MARK), 4) or 0
    flow.ident = nl.number(attrs.get(CTA_ID), 4)
    flow.helper = nl.string(_inside(attrs, CTA_HELP).get(1))
    forth, back = _inside(attrs, CTA_COUNTERS_ORIG), _inside(attrs, CTA_COUNTERS_REPLY)
    flow.packets = _pair(forth.get(1), back.get(1))
    flow.octets = _pair(forth.get(2), back.get(2))
    flow.tcp_state = nl.number(_inside(_inside(attrs, CTA_PROTOINFO), 1).get(1), 1)
    return flow


def _inside(attrs: dict[int, bytes], kind: int) -> dict[int, bytes]:
    return nl.attributes(attrs.get(kind)) or {}


def _pair(forth: bytes | None, back: bytes | None) -> tuple[int, int] | None:
    first, second = nl.number(forth, 8), nl.number(back, 8)
    return None if first is None or second is None else (first, second)


def _tuple(family: int, data: bytes | None) -> Tuple | None:
    attrs = nl.attributes(data) or {}
    addresses, proto = _inside(attrs, CTA_TUPLE_IP), _inside(attrs, CTA_TUPLE_PROTO)
    first, size = (CTA_IP_V6_SRC, 16) if family == AF_INET6 else (CTA_IP_V4_SRC, 4)
    src, dst, number = addresses.get(first), addresses.get(first + 1), nl.number(proto.get(CTA_PROTO_NUM), 1)
    if src is None or dst is None or number is None or len(src) != size or len(dst) != size:
        return None
    base = CTA_PROTO_ICMPV6_ID if CTA_PROTO_ICMPV6_ID in proto else CTA_PROTO_ICMP_ID
    ident, kind, code = nl.number(proto.get(base), 2), nl.number(proto.get(base + 1), 1), nl.number(proto.get(base + 2), 1)
    icmp = (kind, code, ident) if kind is not None and code is not None and ident is not None else None
    return Tuple(src, dst, number, nl.number(proto.get(CTA_PROTO_SRC_PORT), 2), nl.number(proto.get(CTA_PROTO_DST_PORT), 2), icmp,
                 nl.number(attrs.get(CTA_TUPLE_ZONE), 2))
