# SPDX-License-Identifier: GPL-2.0-or-later
"""rtnetlink: links, policy rules and what the kernel would do with a packet; and whether there are IPsec policies. Pure.

Sources: include/uapi/linux/rtnetlink.h, if_link.h, fib_rules.h, xfrm.h; net/ipv4/route.c (inet_rtm_getroute), net/core/fib_rules.c.
"""
from __future__ import annotations

import struct

from ..record import Record
from . import netlink as nl

NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DEL_ADDRESS = 20, 21
NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DEL_RULE, GET_RULE = 32, 33, 34
NEW_NEXTHOP, DEL_NEXTHOP = 104, 105
GROUPS = (1, 5, 7, 8, 32)
"""RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, NEXTHOP."""
NEW_POLICY, GET_POLICY, POLICY_GROUP = 0x13, 0x15, 4
AF_INET = 2
_IFINFO = struct.Struct("=BxHiII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_RULE = struct.Struct("=BBBBBxxBI")
_UP, _MASTER_UPPER = 0x1, 0x10000
_IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _INFO_KIND = 3, 4, 5, 10, 18, 1
_DST, _SRC, _IIF, _OIF, _GATEWAY, _METRICS, _MULTIPATH, _VIA = 1, 2, 3, 4, 5, 8, 9, 18
_METRIC_MTU = 2
_FIB_MATCH, _CLONED, _UNICAST = 0x2000, 0x200, 1
_RULE_TABLE, _RULE_PRIORITY = 15, 6
_STANDARD_RULES = {(0, 255), (32766, 254), (32767, 253)}
_POLICY_DIR = 160  # struct xfrm_userpolicy_info: selector 56, lifetimes 64 and 32, priority and index 4 each


class Link(Record):
    """A network device. lower: the index of the device it stands on (0: none); master: of its bridge or VRF. mtu: bytes."""

    __slots__ = ("index", "name", "mtu", "up", "kind", "lower", "master")
    index: int
    name: str
    mtu: int
    up: bool
    kind: str
    lower: int
    master: int


class Route(Record):
    """What becomes of a packet. device: index. gateway: 4 bytes, b'' where the destination is the next hop. mtu: 0 for the device's.

    plain: one unicast route over IPv4; False where there are several next hops, or the next hop is no IPv4 address.
    """

    __slots__ = ("device", "gateway", "mtu", "plain")
    device: int
    gateway: bytes
    mtu: int
    plain: bool


def links() -> bytes:
    """Ask for all devices."""
    return nl.message(GET_LINK, nl.REQUEST | nl.DUMP, _IFINFO.pack(0, 0, 0, 0, 0))


def decode_link(msg: nl.Message) -> Link | None:
    """A device, of a dump or of a notification that it is new or has changed; None for another message."""
    if msg.kind not in (NEW_LINK, DEL_LINK) or len(msg.body) < _IFINFO.size or msg.body[0] not in (0, 7):
        return None
    _, _, index, flags, _ = _IFINFO.unpack_from(msg.body)
    attrs = nl.attributes(msg.body[_IFINFO.size:]) or {}
    info = nl.attributes(attrs.get(_LINKINFO)) or {}
    return Link(index=index, name=nl.string(attrs.get(_IFNAME)), mtu=_host(attrs.get(_MTU)), up=bool(flags & _UP) and msg.kind == NEW_LINK,
                kind=nl.string(info.get(_INFO_KIND)), lower=_host(attrs.get(_LINK)), master=_host(attrs.get(_MASTER)))


def rules() -> bytes:
    """Ask for the policy rules of IPv4."""
    return nl.message(GET_RULE, nl.REQUEST | nl.DUMP, _RULE.pack(AF_INET, 0, 0, 0, 0, 0, 0))


def decode_rule(msg: nl.Message) -> bool | None:
    """Whether a policy rule is one that every router has (local, main, default); None for another message."""
    if msg.kind != NEW_RULE or len(msg.body) < _RULE.size:
        return None
    attrs = nl.attributes(msg.body[_RULE.size:]) or {}
    bare = not set(attrs) - {_RULE_TABLE, _RULE_PRIORITY, 14, 21, 19}  # suppress_prefixlen (-1), protocol, padding
    return bare and (_host(attrs.get(_RULE_PRIORITY)), _host(attrs.get(_RULE_TABLE))) in _STANDARD_RULES


def route(source: bytes, destination: bytes, device: int, *, whole: bool) -> bytes:
    """Ask what would become of a packet that comes in at a device, 0: of one of the router's own. whole: with all its next hops."""
    attrs = nl.attribute(_DST, destination)
    if device:
        attrs += nl.attribute(_SRC, source) + nl.attribute(_IIF, struct.pack("=I", device))
    head = _RTMSG.pack(AF_INET, 32, 32 if device else 0, 0, 0, 0, 0, 0, _FIB_MATCH if whole else 0)
    return nl.message(GET_ROUTE, nl.REQUEST, head + attrs)


def decode_route(msg: nl.Message) -> Route | None:
    """The answer; None for another message."""
    if msg.kind != NEW_ROUTE or len(msg.body) < _RTMSG.size:
        return None
    kind = _RTMSG.unpack_from(msg.body)[7]
    attrs = nl.attributes(msg.body[_RTMSG.size:]) or {}
    metrics = nl.attributes(attrs.get(_METRICS)) or {}
    return Route(device=_host(attrs.get(_OIF)), gateway=attrs.get(_GATEWAY, b""), mtu=_host(metrics.get(_METRIC_MTU)),
                 plain=kind == _UNICAST and _MULTIPATH not in attrs and _VIA not in attrs)


def changes_routing(msg: nl.Message) -> bool:
    """Is this a notification that packets may go another way from now on? (Links are looked at one by one.)"""
    if msg.kind in (NEW_ROUTE, DEL_ROUTE) and len(msg.body) >= _RTMSG.size:
        return not _RTMSG.unpack_from(msg.body)[8] & _CLONED
    return msg.kind in (NEW_ADDRESS, DEL_ADDRESS, NEW_RULE, DEL_RULE, NEW_NEXTHOP, DEL_NEXTHOP)


def policies() -> bytes:
    """Ask for all IPsec policies."""
    return nl.message(GET_POLICY, nl.REQUEST | nl.DUMP)


def decode_policy(msg: nl.Message) -> bool | None:
    """Whether a policy is one of packets that pass (in, out, forward), not of a single socket; None for another message."""
    return msg.body[_POLICY_DIR] < 3 if msg.kind == NEW_POLICY and len(msg.body) > _POLICY_DIR else None


def _host(payload: bytes | None) -> int:
    """A number of 4 bytes in host order, 0 if there is none."""
    return int(struct.unpack("=I", payload)[0]) if payload is not None and len(payload) == 4 else 0
