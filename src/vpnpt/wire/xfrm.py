# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's IPsec associations (NETLINK_XFRM): which inbound SPIs are the router's own. Pure. Source: linux/xfrm.h."""
from __future__ import annotations

import struct

from ..record import Record
from . import netlink as nl

NEW_SA, GET_SA = 0x10, 0x12
IPV4, ESP = 2, 50
INFO = struct.Struct("=56x16s4sB3x16s116xH")
"""struct xfrm_usersa_info as far as its family: selector; destination, SPI and protocol; source; lifetimes, statistics, numbers."""


class Association(Record):
    """An SA of IPv4. src, dst: 4 bytes. spi: 4 bytes as on the wire. proto: 50 is ESP."""

    __slots__ = ("src", "dst", "spi", "proto")
    src: bytes
    dst: bytes
    spi: bytes
    proto: int


def dump() -> bytes:
    """Ask for all associations."""
    return nl.message(GET_SA, nl.REQUEST | nl.DUMP)


def decode(message: nl.Message) -> Association | None:
    """An association in a dump; None for another message, another family, or a broken one."""
    if message.kind != NEW_SA or len(message.body) < INFO.size:
        return None
    dst, spi, proto, src, family = INFO.unpack_from(message.body)
    return Association(src=src[:4], dst=dst[:4], spi=spi, proto=proto) if family == IPV4 else None
