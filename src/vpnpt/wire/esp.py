# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP. Pure; cut input gives None. Source: RFC 4303 section 2."""
from __future__ import annotations

from ..record import Record


class Esp(Record):
    """spi: 4 bytes as on the wire, as nftables keys hold it; 1..255 are reserved, 0 is never sent. sequence: 32 bits."""

    __slots__ = ("spi", "sequence")

    def __init__(self, spi: bytes, sequence: int) -> None:
        self.spi = spi
        self.sequence = sequence


def parse_esp(payload: bytes) -> Esp | None:
    """The unencrypted header of an ESP packet; None with SPI 0."""
    if len(payload) < 8 or payload[:4] == b"\0\0\0\0":
        return None
    return Esp(payload[:4], int.from_bytes(payload[4:8], "big"))
