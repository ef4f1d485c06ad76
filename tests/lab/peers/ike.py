# SPDX-License-Identifier: GPL-2.0-or-later
"""IKE messages: real ISAKMP headers (RFC 2408 section 3.1, RFC 7296 section 3.1) around a sealed, made-up body.

The body says in JSON what a real one would say in payloads, and is sealed with the pair's secret: whoever does not hold
that secret cannot read it, which is how a host tells a message that is not for it.
"""
from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any

HEADER = struct.Struct(">8s8sBBBBII")
FLAG_INITIATOR, FLAG_RESPONSE, FLAG_ENCRYPTED = 0x08, 0x20, 0x01
NONE = bytes(8)
NON_ESP_MARKER = bytes(4)

# The exchange type of each of our message families, for IKE version 1 and 2.
EXCHANGES = {"main": (2, 0), "aggressive": (4, 0), "quick": (32, 0), "init": (0, 34), "auth": (0, 35), "child": (0, 36),
             "rekey": (0, 36), "dpd": (5, 37), "delete": (5, 37)}


@dataclass
class Message:
    """One IKE message. kind: its family and number, as in 'main3'; body: what else it says."""

    icookie: bytes
    rcookie: bytes
    version: int
    kind: str
    message_id: int = 0
    flags: int = 0
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The kind without its number."""
        return self.kind.rstrip("0123456789")

    def encode(self, secret: bytes, size: int = 0) -> bytes:
        """The message on the wire, without non-ESP marker, padded to at least `size` bytes."""
        clear = json.dumps({"kind": self.kind, **self.body}).encode()
        clear += b" " * max(0, size - HEADER.size - 32 - len(clear))
        nonce = os.urandom(16)
        sealed = nonce + _keystream_xor(secret, nonce, clear)
        exchange = EXCHANGES[self.family][self.version - 1]
        tag_length = 16
        header = HEADER.pack(self.icookie, self.rcookie, 1 if self.version == 1 else 46, self.version << 4, exchange, self.flags,
                             self.message_id, HEADER.size + len(sealed) + tag_length)
        return header + sealed + hmac.digest(secret, header + sealed, "sha256")[:tag_length]

    @classmethod
    def decode(cls, data: bytes, secret: bytes) -> Message | None:
        """The message, or None where the secret does not open it."""
        if len(data) < HEADER.size + 32 or not hmac.compare_digest(hmac.digest(secret, data[:-16], "sha256")[:16], data[-16:]):
            return None
        icookie, rcookie, _, version, _, flags, message_id, _ = HEADER.unpack_from(data)
        nonce, sealed = data[HEADER.size:HEADER.size + 16], data[HEADER.size + 16:-16]
        body = json.loads(_keystream_xor(secret, nonce, sealed))
        return cls(icookie, rcookie, version >> 4, body.pop("kind"), message_id, flags, body)


def _keystream_xor(secret: bytes, nonce: bytes, data: bytes) -> bytes:
    stream = hashlib.shake_256(secret + nonce).digest(len(data))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def secret_of(name: str) -> bytes:
    """The secret that a client shares with every server."""
    return hashlib.sha256(b"secret of " + name.encode()).digest()


@dataclass
class IkeSa:
    """One IKE SA on one side. initiator: this side began it; its cookie is then the first one."""

    icookie: bytes
    rcookie: bytes
    version: int
    initiator: bool
    established: bool = False
    next_id: int = 0

    def take_id(self) -> int:
        """The ID for the next exchange of this side: counted in version 2, random in version 1 (0 in its first phase)."""
        if self.version == 1:
            return int.from_bytes(os.urandom(4), "big") | 1
        self.next_id += 1
        return self.next_id - 1

    def flags(self, response: bool) -> int:
        """The header flags for a message on this SA."""
        if self.version == 1:
            return FLAG_ENCRYPTED if self.established else 0
        return (FLAG_INITIATOR if self.initiator else 0) | (FLAG_RESPONSE if response else 0)
