# SPDX-License-Identifier: GPL-2.0-or-later
"""IP, ESP, IKE and L2TP headers: annotated dumps, every cut, hostile bytes, and scapy as a second opinion."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnpt.wire import esp, ike, ip, l2tp
from vpnpt.wire.l2tp import L2tp

from .hexdump import names, read

FUZZ = settings(derandomize=True, database=None, deadline=None, max_examples=500)
PARSERS: tuple[Callable[[bytes], object], ...] = (
    ip.parse_ipv4, ip.parse_udp, esp.parse_esp, ike.parse_ike, l2tp.parse_l2tp_udp)
CLIENT, SERVER = bytes([10, 0, 0, 1]), bytes([198, 51, 100, 9])


def test_ipv4_options_and_padding() -> None:
    packet = ip.parse_ipv4(read("ip-udp-options"))
    assert packet == ip.Ipv4(CLIENT, SERVER, ip.UDP, 64, 1, 0, False, 24, 34, bytes.fromhex("01f41194000a0000abcd"))
    assert ip.parse_udp(packet.payload) == ip.Udp(500, 4500, 10, b"\xab\xcd")


def test_ipv4_fragments() -> None:
    data = bytearray(read("ip-udp-options"))
    data[6:8] = bytes.fromhex("2003")
    packet = ip.parse_ipv4(bytes(data))
    assert packet is not None and packet.fragment == 24 and packet.more


@pytest.mark.parametrize("at, value", [(0, 0x66), (0, 0x44), (0, 0x4F), (3, 23)])
def test_ipv4_refused(at: int, value: int) -> None:
    """Another version, a header of 16 bytes, one longer than the data, a total length below the header's."""
    data = bytearray(read("ip-udp-options"))
    data[at] = value
    assert ip.parse_ipv4(bytes(data)) is None


def test_esp() -> None:
    assert esp.parse_esp(b"\0\0\0\0\0\0\0\1") is None
    assert esp.parse_esp(b"\1\2\3\4\0\0\0\7") == esp.Esp(bytes([1, 2, 3, 4]), 7)


def test_ike() -> None:
    cookie, answer = bytes.fromhex("0011223344556677"), bytes.fromhex("8899aabbccddeeff")
    quick = ike.parse_ike(read("ike1-quick"))
    assert quick == ike.Ike(cookie, answer, 8, 1, ike.QUICK, 1, 0x0BADCAFE, 36)
    main = ike.parse_ike(read("ike1-main"))
    assert main == ike.Ike(cookie, ike.NO_COOKIE, 1, 1, ike.MAIN, 0, 0, 36)
    init = ike.parse_ike(read("ike2-sa-init"))
    assert init is not None and (init.version, init.exchange) == (2, ike.SA_INIT)
    assert not init.is_response
    child = ike.parse_ike(read("ike2-child-response"))
    assert child is not None and (child.exchange, child.is_response, child.message_id) == (ike.CREATE_CHILD, True, 2)


@pytest.mark.parametrize("at, value", [(17, 0x30), (17, 0x00), (27, 27)])
def test_ike_refused(at: int, value: int) -> None:
    """Major versions that are none, a length below the header's."""
    data = bytearray(read("ike2-sa-init"))
    data[at] = value
    assert ike.parse_ike(bytes(data)) is None
    assert ike.parse_ike(b"\0" * 8 + bytes(data[8:])) is None


@pytest.mark.parametrize("name, expected", [
    ("l2tp2-sccrq", L2tp(2, True, 0, 0, 0, 0, l2tp.SCCRQ, 0x1A2B)),
    ("l2tp2-hidden", L2tp(2, True, 0x1A2B, 0, 0, 1, l2tp.SCCRP, None)),
    ("l2tp2-icrq", L2tp(2, True, 7, 0, 2, 3, 10, None, 0x0505)),
    ("l2tp2-data", L2tp(2, False, 7, 0x0505)),
    ("l2tp3-sccrq", L2tp(3, True, 0, None, 0, 0, l2tp.SCCRQ, 0xDEADBEEF)),
    ("l2tp3-data", L2tp(3, False, None, 0x0102))])
def test_l2tp(name: str, expected: L2tp) -> None:
    assert l2tp.parse_l2tp_udp(read(name)) == expected


def test_l2tp_oddities() -> None:
    ack = read("l2tp2-sccrq")[:2] + bytes.fromhex("000c 1a2b 0000 0001 0001")
    assert l2tp.parse_l2tp_udp(ack) == L2tp(2, True, 0x1A2B, 0, 1, 1)
    assert l2tp.parse_l2tp_udp(read("l2tp2-sccrq")[:40]) == L2tp(2, True, 0, 0, 0, 0, l2tp.SCCRQ), "a snaplen cuts the rest off"
    assert l2tp.parse_l2tp_udp(b"\x88" + read("l2tp2-sccrq")[1:]) is None, "a control message without its length"
    assert l2tp.parse_l2tp_udp(bytes.fromhex("c801") + read("l2tp2-sccrq")[2:]) is None, "L2F"
    endless = read("l2tp2-sccrq")[:12] + b"\x80\x00" + b"\0" * 60
    assert l2tp.parse_l2tp_udp(endless) == L2tp(2, True, 0, 0, 0, 0), "an AVP of length 0"


@pytest.mark.parametrize("name", names("ike") + names("l2tp") + names("ip-"))
def test_cut_anywhere(name: str) -> None:
    whole = read(name)
    for end in range(len(whole)):
        for parse in PARSERS:
            parse(whole[:end])


@pytest.mark.parametrize("parse, name, least", [
    (ip.parse_ipv4, "ip-udp-options", 24), (ike.parse_ike, "ike1-quick", 28), (l2tp.parse_l2tp_udp, "l2tp2-sccrq", 12),
    (l2tp.parse_l2tp_udp, "l2tp2-data", 12), (l2tp.parse_l2tp_udp, "l2tp3-data", 8), (l2tp.parse_l2tp_udp, "l2tp3-sccrq", 12)])
def test_the_least_that_is_enough(parse: Callable[[bytes], object], name: str, least: int) -> None:
    whole = read(name)
    assert [end for end in range(len(whole) + 1) if parse(whole[:end]) is None] == list(range(least))


@FUZZ
@given(st.one_of(st.binary(max_size=120), st.sampled_from(names("ike") + names("l2tp") + names("ip-")).flatmap(
    lambda name: st.tuples(st.integers(0, 60), st.binary(max_size=4)).map(
        lambda hit: read(name)[:hit[0]] + hit[1] + read(name)[hit[0] + len(hit[1]):]))))
def test_hostile_bytes(data: bytes) -> None:
    for parse in PARSERS:
        parse(data)


def test_scapy_agrees() -> None:
    """An independent encoder of the same formats."""
    from scapy.all import IP, UDP, Raw, raw
    from scapy.layers.ipsec import ESP
    from scapy.layers.isakmp import ISAKMP
    from scapy.layers.l2tp import L2TP
    data = raw(IP(src="10.0.0.1", dst="198.51.100.9", ttl=9, id=77) / UDP(sport=500, dport=500)
               / ISAKMP(init_cookie=b"abcdefgh", resp_cookie=b"ijklmnop", exch_type=32, flags=1, id=0x01020304) / Raw(b"xyz"))
    packet = ip.parse_ipv4(data)
    assert packet is not None and (packet.src, packet.dst, packet.ttl, packet.ident) == (CLIENT, SERVER, 9, 77)
    udp = ip.parse_udp(packet.payload)
    assert udp is not None and (udp.sport, udp.dport) == (500, 500)
    header = ike.parse_ike(udp.payload)
    assert header is not None and (header.icookie, header.rcookie) == (b"abcdefgh", b"ijklmnop")
    assert (header.exchange, header.flags, header.message_id, header.version) == (32, 1, 0x01020304, 1)
    assert esp.parse_esp(raw(ESP(spi=0xC0FFEE00, seq=5))) == esp.Esp(bytes.fromhex("c0ffee00"), 5)
    tunnelled = raw(L2TP(hdr="length", version=2, len=12, tunnel_id=3, session_id=4) / Raw(b"abcd"))
    assert l2tp.parse_l2tp_udp(tunnelled) == L2tp(2, False, 3, 4)
