# SPDX-License-Identifier: GPL-2.0-or-later
"""LuCI's compiled translations, as its po2lmo makes them (modules/luci-base/src in LuCI): the same to the byte."""
from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK = 0xFFFFFFFF


def sfh(data: bytes, start: int) -> int:
    """Hsieh's SuperFastHash (azillionmonkeys.com/qed/hash.html), with LuCI's start value: the length."""
    if not data:
        return 0
    value, rest = start, len(data) & 3
    signed = data[-1] - 256 if data[-1] > 127 else data[-1]
    for place in range(0, len(data) - rest, 4):
        low, high = struct.unpack_from("<HH", data, place)
        value = (value + low) & MASK
        value = ((value << 16) ^ ((high << 11) ^ value)) & MASK
        value = (value + (value >> 11)) & MASK
    if rest == 3:
        value = (value + struct.unpack_from("<H", data, len(data) - 3)[0]) & MASK
        value ^= (value << 16) & MASK
        value ^= (signed << 18) & MASK
        value = (value + (value >> 11)) & MASK
    elif rest == 2:
        value = (value + struct.unpack_from("<H", data, len(data) - 2)[0]) & MASK
        value ^= (value << 11) & MASK
        value = (value + (value >> 17)) & MASK
    elif rest == 1:
        value = (value + signed) & MASK
        value ^= (value << 10) & MASK
        value = (value + (value >> 1)) & MASK
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value ^= (value << left) & MASK
        value = (value + (value >> right)) & MASK
    return value


def compile_(translations: Mapping[str, str], plural_forms: str = "") -> bytes:
    """The file: strings, an index sorted by the hash of the text, and where the index begins."""
    body, index = bytearray(), []
    entries = [(0, 0, plural_forms)] if plural_forms else []
    for text, translation in translations.items():
        key, value = text.encode(), translation.encode()
        number = sfh(key, len(key))
        if translation and number != sfh(value, len(value)):
            entries.append((number, 1, translation))
    for number, kind, text in entries:
        data = text.encode()
        index.append((number, kind, len(body), len(data)))
        body += data + b"\0" * (-len(data) % 4)
    return bytes(body) + b"".join(struct.pack(">IIII", *entry) for entry in sorted(index)) + struct.pack(">I", len(body))
