# SPDX-License-Identifier: GPL-2.0-or-later
"""Which live flows a configuration refuses."""
from __future__ import annotations

import socket

import pytest

from vpnpt.config.compile import compile_config
from vpnpt.sessions.classify import allowed, bypasses, protocol_of, refused, stray
from vpnpt.wire.conntrack import AH, DST_NAT, ESP, GRE, ICMP, L2TP, OFFLOAD, SRC_NAT, TCP, UDP, Flow, Tuple

CLIENT, OTHER, SERVER, ROUTER = "192.168.1.101", "192.168.1.77", "198.51.100.11", "203.0.113.1"
CLIENT6, OTHER6, SERVER6 = "2001:db8:1::101", "2001:db8:2::1", "2001:db8:5::11"
LOCAL = {socket.inet_aton("192.168.1.1"), socket.inet_aton(ROUTER)}
MAC = "02:00:5e:10:00:01"


def config(text: str = ""):
    made, diagnostics = compile_config(text)
    assert made is not None and not diagnostics
    return made


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def flow(proto: int, dport: int | None = None, sport: int | None = None, src: str = CLIENT, dst: str = SERVER, status: int = SRC_NAT,
         reply_src: str | None = None) -> Flow:
    """As conntrack shows a masqueraded flow; `reply_src`: who answers, where that is not `dst`."""
    if dport is not None and sport is None:
        sport = 40000
    reply = Tuple(packed(reply_src or dst), packed(ROUTER if ":" not in src else src), proto, dport, sport)
    return Flow(10 if ":" in src else 2, Tuple(packed(src), packed(dst), proto, sport, dport), reply, status=status)


BLOCKED = "config 0 'pptp'\nconfig 0 'l2tp'\nconfig 0 'ipsec'\nconfig 0 'openvpn'\nconfig 0 'wireguard'\n"


@pytest.mark.parametrize(("what", "name"), [
    (flow(TCP, 1723), "pptp"), (flow(UDP, 1723), None), (flow(TCP, 1722), None), (flow(TCP, 40000, 1723), None),
    (flow(GRE, 5, 7), "pptp"), (flow(GRE, 0, 7), "pptp"), (flow(GRE, 0, 0), None), (flow(GRE), None),
    (flow(UDP, 1701), "l2tp"), (flow(UDP, 40000, 1701), "l2tp"), (flow(TCP, 1701), None), (flow(L2TP), "l2tp"),
    (flow(UDP, 500), "ipsec"), (flow(UDP, 4500), "ipsec"), (flow(TCP, 4500), "ipsec"), (flow(TCP, 500), None),
    (flow(UDP, 40000, 500), None), (flow(ESP), "ipsec"), (flow(AH), "ipsec"),
    (flow(UDP, 1194), "openvpn"), (flow(TCP, 1194), "openvpn"), (flow(UDP, 51820), "wireguard"), (flow(TCP, 51820), None),
    (flow(UDP, 53), None), (flow(TCP, 443), None), (flow(ICMP), None),
])
def test_protocol_of(what: Flow, name: str | None) -> None:
    found = protocol_of(config(), what)
    assert (found.name if found else None) == name
    assert refused(config(BLOCKED), what, LOCAL, {}) == (name is not None), "what is blocked is cut, and nothing else"
    assert not refused(config(BLOCKED + "config vpnpt 'global'\n option when_disabled 'ignore'\n"), what, LOCAL, {})


@pytest.mark.parametrize(("option", "what", "name"), [
    ("config protocol 'pptp'\n list port 11723\n", flow(TCP, 11723), "pptp"),
    ("config protocol 'pptp'\n list port 11723\n", flow(TCP, 1723), None),
    ("config protocol 'ipsec'\n list natt_port 14500\n", flow(UDP, 14500), "ipsec"),
    ("config protocol 'ipsec'\n list natt_port 14500\n", flow(UDP, 4500), None),
    ("config protocol 'ipsec'\n list natt_port 14500\n", flow(UDP, 500), "ipsec"),
    ("config protocol 'openvpn'\n list port 443\n list port 1194\n", flow(TCP, 443), "openvpn"),
])
def test_ports_of_ones_own(option: str, what: Flow, name: str | None) -> None:
    found = protocol_of(config(option), what)
    assert (found.name if found else None) == name


def test_the_routers_own_flows_are_never_cut() -> None:
    assert not refused(config(BLOCKED), flow(UDP, 500, src=ROUTER), LOCAL, {})
    assert not refused(config(BLOCKED), flow(UDP, 500, src=SERVER, dst=ROUTER, status=0), LOCAL, {}), "the router answers"
    assert refused(config(BLOCKED), flow(ESP, src=SERVER, dst=ROUTER, status=DST_NAT, reply_src=CLIENT), LOCAL, {}), "a client does"


def test_a_flow_without_a_reply_tuple_is_judged_by_its_source() -> None:
    lone = Flow(2, Tuple(packed(CLIENT), packed(SERVER), ESP))
    assert refused(config(BLOCKED), lone, LOCAL, {})


@pytest.mark.parametrize(("sources", "src", "mac", "passes"), [
    ([], CLIENT, None, True),
    ([CLIENT], CLIENT, None, True),
    ([CLIENT], OTHER, None, False),
    (["192.168.1.64/26"], CLIENT, None, True),
    (["192.168.1.64/26"], "192.168.1.128", None, False),
    (["192.168.1.64/26"], "192.168.1.63", None, False),
    (["0.0.0.0/0"], CLIENT, None, True),
    ([CLIENT, OTHER], OTHER, None, True),
    ([CLIENT], CLIENT6, None, False),
    (["2001:db8:1::/64"], CLIENT6, None, True),
    (["2001:db8:1::/64"], OTHER6, None, False),
    (["2001:db8:1::/64"], CLIENT, None, False),
    ([CLIENT6], CLIENT6, None, True),
    ([MAC], CLIENT, MAC, True),
    ([MAC], CLIENT, "02:00:5e:10:00:02", False),
    ([MAC], CLIENT, None, True),
    ([MAC.upper()], CLIENT, MAC, True),
    ([MAC, OTHER], OTHER, "02:00:5e:10:00:02", True),
])
def test_allow_src(sources: list[str], src: str, mac: str | None, passes: bool) -> None:
    made = config("config protocol 'ipsec'\n" + "".join(f" list allow_src '{source}'\n" for source in sources))
    assert allowed(made.protocols["ipsec"], packed(src), mac) == passes
    known = {packed(src): mac} if mac else {}
    assert refused(made, flow(ESP, src=src, dst=SERVER6 if ":" in src else SERVER), LOCAL, known) != passes


def test_allow_src_does_not_cut_what_the_server_started() -> None:
    made = config(f"config protocol 'ipsec'\n list allow_src '{CLIENT}'\n")
    assert not refused(made, flow(ESP, src=SERVER, dst=ROUTER, status=DST_NAT, reply_src=CLIENT), LOCAL, {})


@pytest.mark.parametrize(("sources", "src", "mac", "passes"), [
    ([CLIENT], CLIENT, None, False), ([CLIENT], OTHER, None, True), (["192.168.1.64/26"], CLIENT, None, False),
    ([CLIENT6], CLIENT6, None, False), ([CLIENT6], CLIENT, None, True), ([MAC], CLIENT, MAC, False), ([MAC], CLIENT6, MAC, False),
    ([MAC], CLIENT, None, True), ([MAC], CLIENT, "02:00:5e:10:00:02", True),
])
def test_deny_src(sources: list[str], src: str, mac: str | None, passes: bool) -> None:
    """Also what a server began, and also for who is in allow_src."""
    made = config("config protocol 'ipsec'\n list allow_src 0.0.0.0/0\n list allow_src ::/0\n"
                  + "".join(f" list deny_src '{source}'\n" for source in sources))
    assert allowed(made.protocols["ipsec"], packed(src), mac) == passes
    known = {packed(src): mac} if mac else {}
    six = ":" in src
    assert refused(made, flow(ESP, src=src, dst=SERVER6 if six else SERVER), LOCAL, known) != passes
    begun = flow(ESP, src=SERVER6, dst=src, status=0) if six else flow(ESP, src=SERVER, dst=ROUTER, status=DST_NAT, reply_src=src)
    assert refused(made, begun, LOCAL, known) != passes


ZONE = 20500


@pytest.mark.parametrize(("proto", "port", "zone", "status", "offload", "out"), [
    (UDP, 500, 0, SRC_NAT | OFFLOAD, False, True), (UDP, 500, 0, SRC_NAT, True, False), (UDP, 4500, 0, SRC_NAT | OFFLOAD, True, False),
    (UDP, 500, ZONE, SRC_NAT, True, True), (UDP, 500, ZONE, SRC_NAT, False, False), (UDP, 500, 7, SRC_NAT, True, False),
    (TCP, 500, ZONE, SRC_NAT, True, False),
])
def test_ike_that_began_before_it_was_kept_out_of_the_flow_table(proto: int, port: int, zone: int, status: int, offload: bool,
                                                                  out: bool) -> None:
    what = flow(proto, port, status=status)
    what.zone = zone
    assert bypasses(config(), what, LOCAL, offload=offload) == out
    assert not bypasses(config(), what, {packed(CLIENT)}, offload=offload), "the router's own"


@pytest.mark.parametrize(("dst", "zone", "mark", "status", "gone"), [
    ("203.0.113.9", ZONE, 0, DST_NAT, True), (ROUTER, ZONE, 0, DST_NAT, False), ("203.0.113.9", ZONE, 0, SRC_NAT, False),
    ("203.0.113.9", 0, 0, DST_NAT, False), ("203.0.113.9", 0, 0x80000000, DST_NAT, True),
    ("203.0.113.50", ZONE, 0, DST_NAT, False),
])
def test_what_a_server_began_to_an_address_that_is_gone(dst: str, zone: int, mark: int, status: int, gone: bool) -> None:
    what = flow(UDP, 500, src=SERVER, dst=dst, status=status, reply_src=CLIENT)
    what.zone, what.mark = zone, mark
    assert stray(config(), what, {packed("203.0.113.9")}) == gone
