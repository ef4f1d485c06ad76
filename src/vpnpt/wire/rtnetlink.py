# SPDX-License-Identifier: GPL-2.0-or-later
"""rtnetlink: neighbours. Pure.

Source: include/uapi/linux/rtnetlink.h and neighbour.h (struct ndmsg: family, padding, ifindex, state, flags, type).
"""
from __future__ import annotations

import struct

from . import netlink as nl

_NEWNEIGH, _GETNEIGH = 28, 30
_NDMSG = struct.Struct("=BxxxiHBB")
_DST, _LLADDR = 1, 2
_INCOMPLETE, _FAILED, _NOARP = 0x01, 0x20, 0x40


def neighbours() -> bytes:
    """Ask for all neighbours of both families."""
    return nl.message(_GETNEIGH, nl.REQUEST | nl.DUMP, _NDMSG.pack(0, 0, 0, 0, 0))


def decode_neighbour(msg: nl.Message) -> tuple[bytes, str] | None:
    """IP address (4 or 16 bytes) and Ethernet address in lower case, '' for a neighbour that did not answer; None for other messages."""
    if msg.kind != _NEWNEIGH or len(msg.body) < _NDMSG.size:
        return None
    _, _, state, _, _ = _NDMSG.unpack_from(msg.body)
    attrs = nl.attributes(msg.body[_NDMSG.size:]) or {}
    address, hardware = attrs.get(_DST, b""), attrs.get(_LLADDR, b"")
    if len(address) not in (4, 16) or state & (_INCOMPLETE | _NOARP):
        return None
    if state & _FAILED:
        return address, ""
    return (address, hardware.hex(":")) if len(hardware) == 6 else None
