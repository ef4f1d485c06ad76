# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP, bare or in UDP. Pure; cut input gives None. Sources: RFC 4303 section 2, RFC 3948 section 2."""
from __future__ import annotations

from ..model import Record


class Esp(Record):
    """spi: 4 bytes as on the wire, as nftables keys hold it; 1..255 are reserved, 0 is never sent. sequence: 32 bits."""

    __slots__ = ("spi", "sequence")

    def __init__(self, spi: bytes, sequence: int) -> None:
        self.spi = spi
        self.sequence = sequence


def parse_esp(payload: bytes) -> Esp | None:
    """The visible part of an ESP packet; None with SPI 0. The 8 bytes that an ICMP error quotes are enough."""
    if len(payload) < 8 or payload[:4] == b"\0\0\0\0":
        return None
    return Esp(payload[:4], int.from_bytes(payload[4:8], "big"))


def split_natt(payload: bytes) -> tuple[str, bytes] | None:
    """What a UDP 4500 payload is: ('ike', without the marker), ('esp', packet) or ('keepalive', b'')."""
    if payload == b"\xff":
        return "keepalive", b""
    if len(payload) < 8:
        return None
    return ("ike", payload[4:]) if payload[:4] == b"\0\0\0\0" else ("esp", payload)
