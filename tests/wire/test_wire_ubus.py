# SPDX-License-Identifier: GPL-2.0-or-later
"""ubus messages, as the real ubusd (2025-12) sent them, cut, and hostile."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnpt.wire import ubus

# What `ubus call vpnpt kill '{...}'` became: header | whole | objid | method | user | group | data with one field of each type.
INVOKE = bytes.fromhex(
    "00050002df9b839b 000000d4 030000081bffbf53 040000096b696c6c00000000 0c000009726f6f7400000000 0d000009726f6f7400000000"
    "070000a4"
    "8300001a0006636c69656e74000000003139322e302e322e31000000"
    "8500000c00016e00fffffffb"
    "840000140003626967000000000000012a05f200"
    "8700000d00037965730000000100000088000010000178003ff8000000000000"
    "8100003000016c008500000c00000000000000018300000a000000006100000082000010000000008000000800016200"
    "82000014000174008300000a00016b0076000000")
ARGUMENTS = {"client": "192.0.2.1", "n": -5, "big": 5000000000, "yes": True, "x": 1.5, "l": [1, "a", {"b": None}], "t": {"k": "v"}}
HELLO = bytes.fromhex("000000006a0a493900000004")
ADDED = bytes.fromhex("0002000100000000 00000014 030000081bffbf53 0500000827cff589" "0001000100000000 0000000c 0100000800000000")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1 << 63, (1 << 63) - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcde_", max_size=5), inner, max_size=4), max_leaves=20)


def messages(data: bytes) -> list[ubus.Message]:
    return list(ubus.split(bytearray(data)))


def test_what_ubusd_says() -> None:
    (hello,) = messages(HELLO)
    assert (hello.type, hello.peer, hello.attrs) == (ubus.HELLO, 0x6A0A4939, {})
    added, status = messages(ADDED)
    assert (added.type, added.seq, added.number(ubus.ATTR_OBJID)) == (ubus.DATA, 1, 0x1BFFBF53)
    assert (status.type, status.number(ubus.ATTR_STATUS)) == (ubus.STATUS, ubus.OK)
    (invoke,) = messages(INVOKE)
    assert (invoke.type, invoke.seq, invoke.peer, invoke.text(ubus.ATTR_METHOD)) == (ubus.INVOKE, 2, 0xDF9B839B, "kill")
    assert ubus.decode_table(invoke.attrs[ubus.ATTR_DATA]) == ARGUMENTS


def test_our_bytes_are_those_of_ubusd() -> None:
    assert ubus.table(ubus.ATTR_DATA, ARGUMENTS) == INVOKE[-0xA4:]


@given(st.dictionaries(st.text("abcde_", max_size=8), json_values, max_size=6))
def test_there_and_back(value: dict[str, Any]) -> None:
    (message,) = messages(ubus.message(ubus.DATA, 65535, 0xFFFFFFFF, ubus.number(ubus.ATTR_OBJID, 7), ubus.table(ubus.ATTR_DATA, value)))
    assert ubus.decode_table(message.attrs[ubus.ATTR_DATA]) == value
    assert (message.seq, message.peer, message.number(ubus.ATTR_OBJID)) == (65535, 0xFFFFFFFF, 7)


def test_in_any_pieces() -> None:
    whole, buffer, found = INVOKE + ADDED, bytearray(), 0
    for byte in whole:
        buffer.append(byte)
        found += len(list(ubus.split(buffer)))
    assert found == 3 and not buffer


@pytest.mark.parametrize("header", ["010000006a0a4939 00000004", "000000006a0a4939 00000003", "000000006a0a4939 00100001"])
def test_no_message_at_all(header: str) -> None:
    with pytest.raises(ubus.Malformed):
        messages(bytes.fromhex(header))


@given(st.binary(max_size=200), st.integers(0, len(INVOKE) - 12))
def test_hostile_bytes_are_survived(noise: bytes, at: int) -> None:
    ubus.decode_table(noise)
    broken = bytearray(INVOKE)
    broken[12 + at:12 + at + len(noise)] = noise[:len(INVOKE) - 12 - at]
    for message in messages(bytes(broken)):
        ubus.decode_table(message.attrs.get(ubus.ATTR_DATA, b""))
        message.text(ubus.ATTR_METHOD)
        message.number(ubus.ATTR_OBJID)


def test_nesting_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    assert ubus.decode_table(ubus.table(ubus.ATTR_DATA, deep)[4:])


def test_what_json_does_not_know() -> None:
    with pytest.raises(TypeError):
        ubus.table(ubus.ATTR_DATA, {"a": b"bytes"})
    assert ubus.decode_table(ubus.table(ubus.ATTR_DATA, {"a": "x\0y\udc80"})[4:]) == {"a": "xy?"}
