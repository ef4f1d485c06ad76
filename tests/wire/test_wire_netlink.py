# SPDX-License-Identifier: GPL-2.0-or-later
"""Codecs of netlink, nf_tables, NFLOG and conntrack against dumps of the real kernel, cut ones, hostile ones, big-endian ones."""
from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnpt.wire import conntrack, nflog, nftables
from vpnpt.wire import netlink as nl
from vpnpt.wire.conntrack import Flow, FlowEvent, Tuple
from vpnpt.wire.nftables import Change, Element, pack_key

from . import hexdump

FUZZ = settings(derandomize=True, database=None, deadline=None, max_examples=300)
DECODERS: tuple[Callable[[nl.Message], object], ...] = (
    nl.acknowledgement, nftables.decode_elements, nftables.decode_chain, nftables.decode_generation,
    nftables.decode_change, nflog.decode, conntrack.decode)

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the dumps were taken on a little-endian machine")


def messages(name: str) -> list[nl.Message]:
    return list(nl.messages(hexdump.read(name)))


def decode_all(datagram: bytes) -> list[object]:
    return [decode(message) for message in nl.messages(datagram) for decode in DECODERS]


@little_endian
def test_elements() -> None:
    found = [nftables.decode_elements(message) for message in messages("nft-elements-key_zone")]
    assert found[1:] == [[]]
    assert sorted(found[0] or [], key=lambda e: e.key) == [
        Element(pack_key(bytes([192, 0, 2, 1]), bytes.fromhex("1122334455667788")), bytes.fromhex("0050"), None, 3_600_000),
        Element(pack_key(bytes([192, 0, 2, 2]), bytes.fromhex("0000000000000001")), bytes.fromhex("0201"), 100_000, 100_000)]
    assert nftables.decode_elements(messages("nft-elements-zone_key")[0]) == [
        Element(bytes.fromhex("00500000 c0000209"), bytes([10, 0, 0, 1]))]


@little_endian
def test_chains() -> None:
    assert [nftables.decode_chain(message) for message in messages("nft-chains")] == [
        nftables.Chain(2, "t", "out", 3, -300, "filter"), nftables.Chain(2, "t", "raw", 0, -300, "filter"),
        nftables.Chain(2, "t", "idle", None, None, "")]


@little_endian
def test_notifications() -> None:
    told = [nftables.decode_change(message) for message in messages("nft-new-table")]
    assert None not in told
    assert [(c.verb, c.what, c.name) for c in told if c and c.what not in ("element", "rule")] == [
        ("new", "table", ""), ("new", "chain", "out"), ("new", "chain", "raw"), ("new", "chain", "idle"),
        ("new", "set", "key_zone"), ("new", "set", "zone_key"), ("new", "set", "clients"), ("new", "set", "spis"),
        ("new", "generation", "")]
    assert all((c.family, c.table) == (2, "t") for c in told[:-1] if c)
    gone = [nftables.decode_change(message) for message in messages("nft-delete-table")]
    assert [(c.verb, c.what, c.table) for c in gone[-2:] if c] == [("del", "table", "t"), ("new", "generation", "")]
    last = gone[-1]
    assert isinstance(last, Change) and last.process == "nft" and last.process_id == last.port != 0
    assert last.generation == nftables.decode_generation(messages("nft-delete-table")[-1])


@little_endian
def test_refusal() -> None:
    assert [nl.acknowledgement(message) for message in messages("nft-error")] == [nl.Ack(2, "", 20)]


@little_endian
def test_logged_packet() -> None:
    packet = nflog.decode(messages("nflog-packet")[0])
    assert packet is not None
    assert (packet.group, packet.prefix, packet.sequence) == (7, "seen", 0)
    assert len(packet.payload) == 64 and packet.payload[:4] == bytes.fromhex("45000080")


@little_endian
def test_flows() -> None:
    events = [conntrack.decode(message) for message in messages("ct-dump")]
    flows = [event.flow for event in events if event is not None]
    home = bytes([127, 0, 0, 1])
    assert len(flows) == len(events) == 5
    by_port = {flow.orig.dport: flow for flow in flows if flow.orig.proto == conntrack.UDP}
    assert {port: (flow.zone, flow.orig.zone) for port, flow in by_port.items()} == {
        500: (0, None), 4500: (20490, None), 4501: (0, 20491)}
    first = by_port[500]
    assert first.reply == Tuple(home, home, conntrack.UDP, 500, first.orig.sport)
    assert (first.packets, first.octets, first.status, first.family) == ((1, 0), (128, 0), conntrack.CONFIRMED, 2)
    esp = next(flow for flow in flows if flow.orig.proto == conntrack.ESP)
    assert esp.orig == esp.reply == Tuple(home, home, conntrack.ESP)
    assert esp.timeout_s in (599, 600) and (esp.helper, esp.tcp_state) == ("", None)
    icmp = next(flow for flow in flows if flow.orig.proto == conntrack.ICMP)
    assert icmp.orig.icmp == (8, 0, 0x1234) and icmp.reply is not None and icmp.reply.icmp == (0, 0, 0x1234)


@little_endian
def test_flow_events() -> None:
    events = [conntrack.decode(message) for message in messages("ct-events")]
    kinds = [event.kind for event in events if isinstance(event, FlowEvent)]
    assert (kinds.count("new"), kinds.count("destroy"), kinds.count("update"), events.count(None)) == (5, 5, 1, 0)
    idents = {event.flow.ident for event in events if event and event.kind == "new"}
    assert idents == {event.flow.ident for event in events if event and event.kind == "destroy"} and len(idents) == 5


@pytest.mark.parametrize("name", hexdump.names("nft-") + hexdump.names("ct-") + hexdump.names("nflog-"))
def test_cut_anywhere(name: str) -> None:
    """A datagram that ends early, and a message whose header admits that it does."""
    whole = hexdump.read(name)
    for end in range(len(whole)):
        decode_all(whole[:end])
    for message in nl.messages(whole):
        for end in range(len(message.body)):
            decode_all(nl.message(message.kind, message.flags, message.body[:end]))


@little_endian
@pytest.mark.parametrize("name", hexdump.names("nft-elements") + hexdump.names("ct-dump") + hexdump.names("nflog-"))
def test_a_cut_message_is_never_taken_for_another(name: str) -> None:
    """What a cut message still decodes to is what its whole attributes said: cut anywhere else it is refused."""
    message = messages(name)[0]
    assert any(decode(message) is not None for decode in DECODERS)
    sound = {end for end in range(4, len(message.body) + 1) if nl.split(message.body[4:end]) is not None}
    for end in set(range(len(message.body))) - sound:
        cut = nl.Message(message.kind, message.flags, 0, 0, message.body[:end])
        assert [decode(cut) for decode in DECODERS] == [None] * len(DECODERS)


@FUZZ
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    decode_all(data)
    nl.split(data)
    conntrack.decode_attributes(2, data)
    conntrack.decode_attributes(10, data)
    kinds = [nl.ERROR, nl.DONE, nl.ULOG << 8, *range(nl.NFTABLES << 8, (nl.NFTABLES << 8) + 34),
             *range(nl.CTNETLINK << 8, (nl.CTNETLINK << 8) + 3)]
    for kind in kinds:
        for flags in (0, nl.ACK_TLVS, nl.CAPPED | nl.ACK_TLVS):
            decode_all(nl.message(kind, flags, data))


@FUZZ
@given(st.sampled_from(hexdump.names("nft-") + hexdump.names("ct-") + hexdump.names("nflog-")), st.data())
def test_damaged_dumps(name: str, data: st.DataObject) -> None:
    damaged = bytearray(hexdump.read(name))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    decode_all(bytes(damaged))


@FUZZ
@given(st.lists(st.tuples(st.integers(0, nl.TYPE_MASK), st.binary(max_size=40))))
def test_attributes_there_and_back(pairs: list[tuple[int, bytes]]) -> None:
    assert nl.split(b"".join(nl.attribute(kind, payload) for kind, payload in pairs)) == pairs


def swapped(data: bytes, nested: Callable[[tuple[int, ...]], bool], path: tuple[int, ...] = ()) -> bytes:
    """Attributes as a machine of the other byte order would have them."""
    out, at = b"", 0
    while at < len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        here, payload = (*path, kind & nl.TYPE_MASK), data[at + 4:at + length]
        if kind & nl.NESTED or nested(here):
            payload = swapped(payload, nested, here)
        out += struct.pack(">HH", length, kind) + payload + b"\0" * (-length & 3)
        at += length + 3 & ~3
    return out


@little_endian
@pytest.mark.parametrize("name", [*hexdump.names("nft-elements"), "nft-chains", "ct-dump", "ct-events", "nflog-packet"])
def test_on_a_big_endian_router(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers swap, contents of attributes do not; map data that is in host order is the caller's, as bytes."""
    before = [[decode(message) for decode in DECODERS] for message in messages(name)]

    def is_nested(path: tuple[int, ...]) -> bool:
        return path in {"nft-chains": [(4,)], "ct-dump": [], "ct-events": [], "nflog-packet": []}.get(
            name, [(3,), (3, 1), (3, 1, 1), (3, 1, 2)])

    foreign = b""
    for message in messages(name):
        header = struct.pack(">IHHII", 16 + len(message.body), message.kind, message.flags, message.seq, message.pid)
        foreign += header + message.body[:4] + swapped(message.body[4:], is_nested)
    monkeypatch.setattr(nl, "HEADER", struct.Struct(">IHHII"))
    monkeypatch.setattr(nl, "ATTRIBUTE", struct.Struct(">HH"))
    assert [[decode(message) for decode in DECODERS] for message in nl.messages(foreign)] == before


def test_keys() -> None:
    server, cookie = bytes([192, 0, 2, 1]), bytes(range(8))
    assert pack_key(server, cookie) == server + cookie
    assert pack_key(nftables.pack_zone(1), server) == struct.pack("=H", 1) + b"\0\0" + server
    assert pack_key(nftables.pack_zone(1)) == struct.pack("=H", 1)
    mixed = pack_key(nftables.pack_zone(7), server, b"\x12")
    assert nftables.unpack_key(mixed, 2, 4, 1) == (struct.pack("=H", 7), server, b"\x12")
    assert nftables.unpack_key(server, 4) == (server,)
    assert nftables.unpack_key(server, 2) is None and nftables.unpack_key(server, 4, 4) is None
    assert [nftables.unpack_zone(nftables.pack_zone(zone)) for zone in (0, 1, 65535)] == [0, 1, 65535]
    assert nftables.unpack_zone(b"\1") is None and nftables.unpack_zone(None) is None


def test_many_elements_are_cut_into_messages_below_64_kib() -> None:
    elements = [Element(i.to_bytes(12, "big"), b"\0\0", 1000) for i in range(5000)]
    packed = list(nftables.add_elements(2, "t", "m", elements))
    assert len(packed) > 1 and all(len(one) < 0x10000 for one in packed)
    found = [e for one in packed for m in nl.messages(one) for e in nftables.decode_elements(m) or ()]
    assert found == elements
    assert list(nftables.add_elements(2, "t", "m", [])) == []


def test_a_delete_request_always_names_a_tuple() -> None:
    """Without one the kernel would delete every entry."""
    flow = Flow(2, Tuple(b"\0" * 4, b"\0" * 4, 50), zone=9, ident=1)
    message = next(nl.messages(conntrack.delete(flow)))
    assert message.kind == nl.CTNETLINK << 8 | conntrack.DELETE
    decoded = conntrack.decode(message)
    assert decoded is not None and decoded.flow == flow


def test_an_attribute_that_does_not_fit_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        nl.attribute(1, b"x" * 65532)
