# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of sessions: flows in, states, names, ends out. Seconds are those of the test, and packets are what each line says."""
from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.sessions.test_classify import CLIENT, CLIENT6, LOCAL, OTHER, ROUTER, SERVER, SERVER6, config, flow, packed
from vpnpt.sessions.classify import entry_of
from vpnpt.sessions.table import CAP, FAILS, HISTORY, IDLE, REKEY, SILENT, Entry, Learned, Refusal, Sessions, packed_address, text_of
from vpnpt.wire.conntrack import AH, DST_NAT, ESP, GRE, ICMP, L2TP, SEEN_REPLY, SRC_NAT, TCP, UDP, Flow

A, B, S = packed(CLIENT), packed(OTHER), packed(SERVER)
NOW = 1_700_000_000.0


def entry(ident: int = 1, kind: str = "ESP", out: int = 1, back: int = 1, *, protocol: str = "ipsec", client: bytes = A, server: bytes = S,
          last: float = 0.0, **fields: Any) -> Entry:
    """A flow that has carried so many packets of 100 bytes."""
    return Entry(ident, protocol, client, server, kind, counts=(out, out * 100, back, back * 100), answered=back > 0, last=last, **fields)


def state(table: Sessions, now: float) -> list[str]:
    return [one["state"] for one in table.snapshot(now, lambda _: "", lambda _: "")["sessions"]]


def shown(table: Sessions, now: float = NOW) -> dict[str, Any]:
    return table.snapshot(now, {A: "laptop"}.get, {A: "02:00:5e:10:00:01"}.get)  # type: ignore[arg-type]


def test_a_life() -> None:
    table = Sessions()
    (new,) = table.flow(entry(1, "IKE", 2, 2), NOW)
    assert new.event == "new" and new.session.key == ("ipsec", A, S)
    assert not table.flow(entry(2, "ESP", 3, 1, last=NOW + 5), NOW + 5), "the same session"
    assert state(table, NOW + 5) == ["up"]
    assert not table.gone(1, NOW + 60, "timeout")
    (ended,) = table.gone(2, NOW + 700, "timeout", entry(2, "ESP", 9, 7))
    assert (ended.event, ended.reason, ended.session) == ("ended", "timeout", new.session)
    answer = shown(table, NOW + 701)
    assert answer["sessions"] == [] and answer["now"] == int(NOW) + 701
    (last,) = answer["ended"]
    assert (last["packets_out"], last["bytes_out"], last["packets_in"], last["bytes_in"]) == (11, 1100, 9, 900)
    assert (last["ended"], last["reason"], last["since"], last["variant"]) == (int(NOW) + 700, "timeout", int(NOW), "ESP")
    assert table.totals() == {"ipsec": (11, 1100, 9, 900)}
    assert not table.gone(2, NOW + 702, "timeout"), "nobody is ended twice"


def test_totals_are_what_the_sessions_had() -> None:
    table = Sessions()
    table.flow(entry(1, "ESP", 5, 4, last=NOW), NOW)
    learned = Learned()
    learned.copied = (3, 300)
    table.learn({("ipsec", A, S): learned}, NOW)
    assert table.totals() == {"ipsec": (5, 500, 7, 700)}
    table.gone(1, NOW + 60, "timeout")
    assert table.totals() == {"ipsec": (5, 500, 7, 700)}, "when it has ended, too"


def test_what_is_shown() -> None:
    table = Sessions()
    table.flow(entry(1, "NAT-T", 5, 4, ports=(4500, 4500), nat_port=61000, last=NOW), NOW)
    learned = Learned()
    learned.cookies, learned.spis_in, learned.spis_out = (b"12345678",), (b"\0\0\1\1",), (b"\xff\0\0\1",)
    learned.shared_with = {b"\xc0\xa8\1\x0c"}
    table.learn({("ipsec", A, S): learned, ("ipsec", B, S): Learned()}, NOW)
    (one,) = shown(table)["sessions"]
    ident = one.pop("id")
    assert ident.startswith("ipsec-") and len(ident) == 14
    assert one == {
        "protocol": "ipsec", "variant": "NAT-T", "family": 4, "client": CLIENT, "client_name": "laptop", "mac": "02:00:5e:10:00:01",
        "server": SERVER, "server_name": None, "state": "up", "since": int(NOW), "last": int(NOW), "packets_out": 5, "bytes_out": 500,
        "packets_in": 4, "bytes_in": 400, "nat_port": 61000,
        "details": {"cookies": ["3132333435363738"], "spis_out": ["ff000001"], "spis_in": ["00000101"], "shared_with": ["192.168.1.12"],
                    "ports": [4500, 4500]}}
    table.flow(entry(2, "GRE", protocol="pptp", ports=(7, 9)), NOW)
    table.flow(entry(3, "PPTP", protocol="pptp", ports=(40000, 1723), nat_port=40001), NOW)
    (pptp,) = [one for one in shown(table)["sessions"] if one["protocol"] == "pptp"]
    assert (pptp["details"], pptp["nat_port"], pptp["variant"]) == ({"call_ids": [7, 9], "ports": [40000, 1723]}, 40001, "PPTP")


@pytest.mark.parametrize(("flows", "after", "expected"), [
    ([entry(1, "IKE", 1, 0)], 0, "negotiating"), ([entry(1, "IKE", 1, 0)], FAILS, "negotiating"),
    ([entry(1, "IKE", 2, 0)], FAILS - 1, "negotiating"), ([entry(1, "IKE", 2, 0)], FAILS, "failing"),
    ([entry(1, "IKE", 2, 2)], FAILS, "negotiating"), ([entry(1, "IKE", 2, 2), entry(2, "ESP", 5, 0)], FAILS, "negotiating"),
    ([entry(1, "ESP", 3, 0)], FAILS, "failing"), ([entry(1, "ESP")], 0, "up"),
    ([entry(1, "NAT-T", 2, 1)], 0, "negotiating"), ([entry(1, "NAT-T", 2, 2)], 0, "up"),
    ([entry(1, "PPTP", 9, 9, protocol="pptp")], 0, "negotiating"),
    ([entry(1, "PPTP", 9, 9, protocol="pptp"), entry(2, "GRE", protocol="pptp")], 0, "up"),
    ([entry(1, "L2TPv2", 3, 2, protocol="l2tp")], 0, "negotiating"), ([entry(1, "L2TPv2", 4, 2, protocol="l2tp")], 0, "up"),
    ([entry(1, "L2TPv3", protocol="l2tp")], 0, "up"), ([entry(1, "WireGuard", 2, 1, protocol="wireguard")], 0, "up"),
    ([entry(1, "OpenVPN", 3, 3, protocol="openvpn")], 0, "negotiating"), ([entry(1, "AH")], 0, "up"),
    ([entry(1, "NAT-T", 0, 0, counted=False)], 0, "negotiating"),
    ([Entry(1, "ipsec", A, S, "NAT-T", answered=True, counted=False)], 0, "up"),
    ([entry(1, "ESP", last=NOW)], IDLE - 1, "up"), ([entry(1, "ESP", last=NOW)], IDLE, "idle"),
])
def test_states(flows: list[Entry], after: float, expected: str) -> None:
    table = Sessions()
    table.only(flows, NOW)
    assert state(table, NOW + after) == [expected]


def test_failing_after_it_was_up() -> None:
    table = Sessions()
    table.only([entry(1, "ESP", 10, 10, last=NOW)], NOW)
    for seconds, out, back, expected in ((20, 14, 10, "up"), (SILENT, 14, 10, "up"), (SILENT + 1, 15, 10, "failing"), (40, 16, 11, "up")):
        table.only([entry(1, "ESP", out, back, last=NOW + seconds)], NOW + seconds)
        assert state(table, NOW + seconds) == [expected], seconds


def test_rekeying() -> None:
    table = Sessions()
    table.only([entry(1, "IKE", 2, 2), entry(2, "ESP")], NOW)
    table.ike(A, S, NOW + 1, 2, makes_sas=True)
    assert state(table, NOW + 1) == ["up"], "that was what made it come up, and is told late"
    table.ike(A, S, NOW + 60, 2, makes_sas=False)
    assert state(table, NOW + 60) == ["up"]
    table.ike(A, S, NOW + 70, 2, makes_sas=True)
    assert state(table, NOW + 70) == ["rekeying"] and state(table, NOW + 70 + REKEY) == ["up"]
    waits = Learned()
    waits.waiting = True
    table.learn({("ipsec", A, S): waits}, NOW)
    assert state(table, NOW + 90) == ["rekeying"]
    waits.shared_with = {B}
    assert state(table, NOW + 90) == ["up"], "it has copies of what comes, for as long as that takes"
    waits.shared_with = set()
    table.ike(B, S, NOW, 1, makes_sas=True)


def test_copies_count_as_answers() -> None:
    """While it is open whose an SPI is, conntrack sees nothing of what comes in."""
    table = Sessions()
    table.only([entry(1, "IKE", 2, 2), entry(2, "ESP", 20, 0)], NOW)
    assert state(table, NOW + FAILS) == ["negotiating"]
    learned = Learned()
    learned.copied = (18, 1800)
    table.learn({("ipsec", A, S): learned}, NOW + FAILS)
    assert state(table, NOW + FAILS) == ["up"]
    (one,) = shown(table, NOW + FAILS)["sessions"]
    assert (one["packets_in"], one["bytes_in"], one["packets_out"]) == (20, 2000, 22)


def test_the_strongest_variant_that_is_answered() -> None:
    table = Sessions()
    for flows, variant in (([entry(1, "IKE", 2, 2)], "IKE"), ([entry(1, "IKE"), entry(2, "ESP", 4, 0)], "ESP"),
                           ([entry(1, "IKE"), entry(2, "ESP", 4, 0), entry(3, "NAT-T", 3, 3)], "NAT-T"),
                           ([entry(2, "ESP", 4, 1), entry(3, "NAT-T", 3, 3)], "ESP")):
        table.only(flows, NOW)
        assert shown(table)["sessions"][0]["variant"] == variant
    table = Sessions()
    table.only([entry(1, "IKE")], NOW)
    table.ike(A, S, NOW, 1, makes_sas=False)
    assert shown(table)["sessions"][0]["variant"] == "IKEv1"


def test_a_tcp_connection_that_ends_ends_the_session() -> None:
    """conntrack keeps its entry for two minutes more, and the calls' as long: none of it counts."""
    table = Sessions()
    table.only([entry(1, "PPTP", protocol="pptp"), entry(2, "GRE", protocol="pptp")], NOW)
    over = entry(1, "PPTP", 3, 3, protocol="pptp", closed=True)
    (ended,) = table.flow(over, NOW + 5)
    assert ended.reason == "closed"
    assert not table.only([over, entry(2, "GRE", protocol="pptp")], NOW + 6) and not table.live
    assert not table.flow(entry(7, "PPTP", protocol="pptp", closed=True), NOW + 6), "nor does one that ended before we came"
    assert not table.gone(1, NOW + 9, "timeout") and not table.gone(2, NOW + 9, "timeout")
    (new,) = table.flow(entry(3, "PPTP", protocol="pptp"), NOW + 10)
    assert new.session.ident != ended.session.ident
    assert table.totals()["pptp"] == (5, 500, 5, 500), "closed flows are counted once"


def test_what_a_dump_does_not_have_is_over() -> None:
    table = Sessions(silent=lambda client: client == B)
    table.only([entry(1), entry(2, client=B), entry(3, server=packed("198.51.100.12"))], NOW)
    changes = table.only([entry(1)], NOW + 1, also=[3])
    assert [(change.session.key[1], change.reason) for change in changes] == [(B, "client gone")]
    assert len(table.live) == 2


def test_the_reason_that_was_marked() -> None:
    table = Sessions()
    table.only([entry(1), entry(2, client=B)], NOW)
    table.mark(("ipsec", A, S), "killed")
    table.mark(("ipsec", A, A), "killed")
    assert [change.reason for change in table.only([], NOW)] == ["killed", "timeout"]


def test_find_and_count() -> None:
    table = Sessions()
    table.only([entry(1), entry(2, client=B), entry(3, "GRE", protocol="pptp")], NOW)
    assert table.count("ipsec") == 2 and table.count("l2tp") == 0


def test_refused() -> None:
    table = Sessions()
    table.refuse([Refusal("ipsec", A, S, 7, 700, NOW - 5)], NOW)
    (one,) = shown(table)["sessions"]
    assert (one["state"], one["packets_out"], one["bytes_out"], one["details"], one["since"], one["last"]) == (
        "blocked", 7, 700, {"attempts": 7}, int(NOW) - 5, int(NOW) - 5)
    table.refuse([Refusal("ipsec", A, S, 9, 900, NOW + 3)], NOW + 4)
    (again,) = shown(table)["sessions"]
    assert (again["id"], again["since"], again["last"]) == (one["id"], one["since"], int(NOW) + 3)
    table.flow(entry(1), NOW + 5)
    assert state(table, NOW + 5) == ["up"], "one that lives is not blocked, whatever was before"


def test_bounded() -> None:
    table = Sessions()
    for number in range(CAP):
        table.flow(entry(number, back=number % 2, client=number.to_bytes(4, "big")), NOW + number)
    assert not table.flow(entry(CAP + 1, back=0, client=B), NOW + CAP) and table.left_out == 1, "nobody goes for one that may be made up"
    (gone, new) = table.flow(entry(CAP + 1, client=B), NOW + CAP)
    assert (gone.event, gone.session.key[1], new.event) == ("ended", bytes(4), "new"), "the oldest that nobody answered"
    for number in range(CAP, 2 * CAP):
        table.flow(entry(2 * CAP + number, client=number.to_bytes(4, "big")), NOW + CAP)
    assert len(table.live) == CAP and len(table.ended) == HISTORY and table.left_out > CAP // 2
    assert all(flow.answered for one in table.live.values() for flow in one.flows.values()), "nobody who was answered had to go"
    assert len({one.ident for one in table.live.values()}) == CAP
    assert not table.only([], NOW + CAP, more=True), "not all were looked at"
    assert len(table.only([], NOW + CAP)) == CAP and not table._by_flow


def natted(proto: int, status: int = SRC_NAT | SEEN_REPLY, **ports: Any) -> Flow:
    made = flow(proto, status=status, **ports)
    made.ident, made.packets, made.octets = 5, (3, 2), (300, 200)
    return made


@pytest.mark.parametrize(("what", "expected"), [
    (natted(ESP), ("ipsec", "ESP", (), 0)), (natted(AH), ("ipsec", "AH", (), 0)), (natted(L2TP), ("l2tp", "L2TPv3", (), 0)),
    (natted(UDP, dport=500, sport=500), ("ipsec", "IKE", (500, 500), 500)),
    (natted(UDP, dport=4500), ("ipsec", "NAT-T", (40000, 4500), 40000)),
    (natted(TCP, dport=4500), ("ipsec", "NAT-T/TCP", (40000, 4500), 40000)),
    (natted(UDP, dport=1701), ("l2tp", "L2TPv2", (40000, 1701), 40000)), (natted(TCP, dport=1723), ("pptp", "PPTP", (40000, 1723), 40000)),
    (natted(GRE, dport=7, sport=9), ("pptp", "GRE", (9, 7), 0)), (natted(UDP, dport=1194), ("openvpn", "OpenVPN", (40000, 1194), 40000)),
    (natted(UDP, dport=51820), ("wireguard", "WireGuard", (40000, 51820), 40000)), (natted(UDP, dport=53), None), (natted(ICMP), None),
])
def test_entry_of(what: Flow, expected: tuple[Any, ...] | None) -> None:
    found = entry_of(config(), what, LOCAL, lambda _: False, NOW)
    if expected is None:
        assert found is None
        return
    assert found is not None and (found.protocol, found.kind, found.ports, found.nat_port) == expected
    assert (found.client, found.server, found.counts, found.answered, found.last) == (A, S, (3, 300, 2, 200), True, NOW)


def test_who_is_the_client() -> None:
    def parties(made: Flow) -> tuple[str, str, tuple[int, ...]] | None:
        made.ident, made.packets, made.octets = 5, (3, 2), (300, 200)
        found = entry_of(config(), made, LOCAL, lambda address: address in (A, B, packed(CLIENT6)))
        return None if found is None else (text_of(found.client), text_of(found.server), found.counts)

    assert parties(flow(ESP, src=SERVER, dst=ROUTER, reply_src=CLIENT, status=DST_NAT)) == (CLIENT, SERVER, (2, 200, 3, 300))
    assert parties(flow(ESP, src=CLIENT6, dst=SERVER6, status=0)) == (CLIENT6, SERVER6, (3, 300, 2, 200))
    assert parties(flow(ESP, src=SERVER6, dst=CLIENT6, status=0)) == (CLIENT6, SERVER6, (2, 200, 3, 300))
    assert parties(flow(ESP, src=CLIENT, dst=OTHER, status=0)) is None, "within the LAN"
    assert parties(flow(ESP, src=SERVER6, dst="2001:db8:5::12", status=0)) is None, "none of ours"
    assert parties(flow(ESP, src=ROUTER)) is None and parties(flow(ESP, dst=ROUTER)) is None, "the router's own"


def test_addresses() -> None:
    for text in ("192.0.2.1", "2001:db8::1"):
        assert text_of(packed_address(text) or b"") == text
    for text in ("", "laptop", "192.0.2.256", "1.2.3", "2001:db8::g", "\0"):
        assert packed_address(text) is None
    assert packed_address("192.0.2.1") == socket.inet_aton("192.0.2.1")
