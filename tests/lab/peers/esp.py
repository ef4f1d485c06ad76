# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP associations with real keys (RFC 4303): what is sealed for one host is noise to every other."""
from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field

from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

OUTER = IP(src="192.0.2.1", dst="192.0.2.2")
_serial = itertools.count(1)


@dataclass
class Child:
    """A pair of ESP SAs on one side. spi_in: what the peer puts into packets to us; spi_out: what we put into ours.

    cipher: 'gcm' (AES-GCM with 128 bits) or 'cbc' (AES-CBC with HMAC-SHA2-256).
    """

    secret: bytes = field(repr=False)
    spi_in: int
    spi_out: int
    cipher: str = "gcm"
    received: int = 0

    def __post_init__(self) -> None:
        self._in = _association(self.secret, self.spi_in, self.cipher)
        self._out = _association(self.secret, self.spi_out, self.cipher)

    def seal(self, size: int = 64) -> bytes:
        """The next ESP packet (from the SPI on), around a unique inner packet of at least `size` bytes."""
        text = b"lab %d " % next(_serial)
        inner = IP(src="10.99.0.1", dst="10.99.0.2") / UDP(sport=7, dport=7) / Raw(text.ljust(size, b"."))
        return bytes(self._out.encrypt(inner))[20:]

    def open(self, packet: bytes) -> bytes | None:
        """The inner packet, or None when it is not one of this association's."""
        if int.from_bytes(packet[:4], "big") != self.spi_in:
            return None
        try:
            outer = IP(bytes(IP(src=OUTER.src, dst=OUTER.dst, proto=50) / Raw(packet)))
            inner = bytes(self._in.decrypt(outer, verify=True))
        except Exception:
            # scapy and cryptography raise many kinds for what another key has sealed.
            return None
        self.received += 1
        return inner


def _association(secret: bytes, spi: int, cipher: str) -> SecurityAssociation:
    key = hashlib.shake_256(secret + spi.to_bytes(4, "big")).digest(64)
    options = {"crypt_algo": "AES-GCM", "crypt_key": key[:20]} if cipher == "gcm" else \
        {"crypt_algo": "AES-CBC", "crypt_key": key[:16], "auth_algo": "SHA2-256-128", "auth_key": key[16:48]}
    return SecurityAssociation(ESP, spi=spi, tunnel_header=IP(src=OUTER.src, dst=OUTER.dst), **options)
