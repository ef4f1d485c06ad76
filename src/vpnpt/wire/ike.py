# SPDX-License-Identifier: GPL-2.0-or-later
"""The header of ISAKMP and IKEv2; the rest of an exchange is encrypted. Pure; cut or hostile input gives None.

Sources: RFC 2408 section 3.1, RFC 2409 section 5, RFC 7296 section 3.1 (it calls the cookies SPIs).
"""
from __future__ import annotations

import struct

from ..record import Record

# Exchange types, IKEv1: phase 1 (main and aggressive mode), then what runs under it
MAIN, AGGRESSIVE, QUICK = 2, 4, 32
# IKEv2
SA_INIT, AUTH, CREATE_CHILD, INFORMATIONAL = 34, 35, 36, 37

RESPONSE = 0x20  # a flag of IKEv2

NO_COOKIE = b"\0" * 8
HEADER = struct.Struct(">8s8sBBBBII")


class Ike(Record):
    """An IKE header. icookie, rcookie: initiator's and responder's, 8 bytes each; rcookie is NO_COOKIE in a first message.

    version: 1 or 2 (the major one). message_id: 32 bits; 0 throughout phase 1 of IKEv1, counts from 0 in each direction in
    IKEv2, random for each exchange under phase 1. length: bytes, as the header has it. next_payload: RFC 7296 section 3.2.
    """

    __slots__ = ("icookie", "rcookie", "next_payload", "version", "exchange", "flags", "message_id", "length")

    def __init__(self, icookie: bytes, rcookie: bytes, next_payload: int, version: int, exchange: int, flags: int,
                 message_id: int, length: int) -> None:
        self.icookie = icookie
        self.rcookie = rcookie
        self.next_payload = next_payload
        self.version = version
        self.exchange = exchange
        self.flags = flags
        self.message_id = message_id
        self.length = length

    @property
    def is_response(self) -> bool:
        """Is this an IKEv2 response? False for IKEv1, whose header does not tell."""
        return self.version == 2 and bool(self.flags & RESPONSE)


def parse_ike(payload: bytes) -> Ike | None:
    """The header in a UDP 500 payload (on 4500: behind the non-ESP marker). None without an initiator cookie, or with another version."""
    if len(payload) < HEADER.size:
        return None
    icookie, rcookie, following, version, exchange, flags, message_id, length = HEADER.unpack_from(payload)
    if version >> 4 not in (1, 2) or length < HEADER.size or icookie == NO_COOKIE:
        return None
    return Ike(icookie, rcookie, following, version >> 4, exchange, flags, message_id, length)
