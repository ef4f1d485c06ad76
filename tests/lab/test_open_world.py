# SPDX-License-Identifier: GPL-2.0-or-later
"""What a stock router delivers to hosts that are easily forgotten: the same packets through a stock router and through ours.

A router within the LAN that says that a packet is too long; a client that only listens for hours; the router's own VPN beside a client of
the same server; a host that is called from outside.
"""
from __future__ import annotations

import itertools
import json
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from tests.attack.forge import ESP, ICMP, INFORMATIONAL, LAN, SA_INIT, WAN, checksum, esp, ike, ip, l2tp, mark, stage, too_big, udp
from tests.lab import sandbox
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.host import Host

SECOND, ROUTED = "203.0.113.2", "203.0.113.50"
OUT, BACK, NEW = 0x51000001, 0x52000001, 0x53000001
COOKIE = 0x3122334455667788
FORWARD = """insert rule inet fw4 dstnat iifname "wan" meta l4proto esp dnat ip to {}
insert rule inet fw4 forward_wan ct status dnat accept
"""
OPEN = 'insert rule inet fw4 input_wan meta l4proto esp accept\ninsert rule inet fw4 input_wan udp dport 500 accept\n'
QUICK = "config vpnpt global\n\toption key_timeout 3\n\toption fast_timeout 1\n\toption client_timeout 3\n\nconfig 1 ipsec\n"
"""What lives for hours lives for three seconds."""


@pytest.fixture(params=["stock", "vpnpt"])
def lab(sandbox: None, request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(3, 2, request.param, getattr(request.function, "config", "config 1 ipsec\n"), ipv6=False) as made:
        yield made


def passes(lab: Lab, sender: Host, packet: Callable[[bytes], bytes], receiver: Host, wait: float = 2.0) -> bytes:
    """Sends a packet with a mark of its own, and returns it as the receiver got it."""
    token, since = mark(), len(receiver.packets)
    sender.send_raw(packet(token))
    found = receiver.wait_for(lambda item: token in item.data and item.proto != ICMP, wait, since)
    assert found, f"{sender.name} to {receiver.name}: lost"
    return found.data


def errors(lab: Lab, host: Host, since: int) -> list[bytes]:
    """What the ICMP errors that a host got since then quote."""
    lab.pump.run_for(0.3)
    return [packet.payload[8:] for packet in host.packets[since:] if packet.proto == ICMP and packet.payload[:2] == b"\3\4"]


@pytest.mark.parametrize("about", ["esp", "ike"])
def test_an_error_of_a_router_within_the_lan(lab: Lab, about: str) -> None:
    """c2 is a router on the way to c1: it says to the server that a packet for c1 is too long."""
    users, server, client, inner = stage(lab), lab.servers[0], *lab.clients[:2]
    assert users.do_up("c1") == {"c1": "up"}
    assert not users.do_traffic("c1")["c1"].lost
    got = next(packet.data for packet in reversed(client.packets)
               if packet.src == server.address and (packet.proto == ESP if about == "esp" else packet.ports == (500, 500)))
    for quote in (got, got[:28]):
        since = len(server.packets)
        inner.send_raw(too_big(quote, inner.address, server.address))
        found = errors(lab, server, since)
        assert [socket.inet_ntoa(quoted[16:20]) for quoted in found] == [WAN], found


def test_a_client_that_only_listens_stays_known(lab: Lab) -> None:
    """For longer than anything is remembered that nobody uses."""
    server, client = lab.servers[0], lab.clients[0]
    sequence = itertools.count(2)
    for _ in range(2):
        passes(lab, client, lambda token: esp(client.address, server.address, OUT, next(sequence), token), server)
        passes(lab, server, lambda token: esp(server.address, WAN, BACK, next(sequence), token), client)
        lab.pump.run_for(1.2)
    for _ in range(20):
        passes(lab, server, lambda token: esp(server.address, WAN, BACK, next(sequence), token), client)
        lab.pump.run_for(0.4)
    passes(lab, server, lambda token: esp(server.address, WAN, NEW, 1, token), client)


test_a_client_that_only_listens_stays_known.config = QUICK  # type: ignore[attr-defined]


def test_a_client_that_only_sends_stays_known(lab: Lab) -> None:
    """However short what is remembered lives: what renews it at most once in a while must not come too late."""
    server, client = lab.servers[0], lab.clients[0]
    sequence = itertools.count(2)
    passes(lab, client, lambda token: esp(client.address, server.address, OUT, next(sequence), token), server)
    passes(lab, server, lambda token: esp(server.address, WAN, BACK, next(sequence), token), client)
    for _ in range(30):
        passes(lab, client, lambda token: esp(client.address, server.address, OUT, next(sequence), token), server)
        lab.pump.run_for(0.3)
    passes(lab, server, lambda token: esp(server.address, WAN, NEW, 1, token), client)


test_a_client_that_only_sends_stays_known.config = QUICK.replace("3", "2")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("about", "mine"), [("esp", 1), ("ike", 0)])
def test_an_error_for_a_host_without_nat(lab: Lab, about: str, mine: int) -> None:
    """Another client uses the same keys with that server, before or after it: the address to which the error is sent says whose it is."""
    server, client, router = lab.servers[0], lab.clients[mine], lab.router
    router.nft(f"insert rule inet fw4 srcnat ip saddr {client.address} return\n")
    lab.isp.run("ip", "route", "add", client.address, "via", WAN)

    def packet(host: Host, token: bytes) -> bytes:
        if about == "esp":
            return esp(host.address, server.address, OUT, 1, token)
        return udp(host.address, server.address, 500, 500, ike(COOKIE, data=token))

    got = [passes(lab, host, lambda token, host=host: packet(host, token), server) for host in lab.clients[:2]]
    since = len(client.packets)
    lab.isp.send_raw(too_big(got[mine], lab.isp.address, client.address))
    assert [socket.inet_ntoa(quoted[12:16]) for quoted in errors(lab, client, since)] == [client.address]


def test_an_error_is_not_for_who_uses_another_s_spi(lab: Lab) -> None:
    """A neighbour that knows a client's outbound SPI, and uses it, too: what is told about the client's packets stays the client's."""
    server, (client, neighbour) = lab.servers[0], lab.clients[:2]
    got = passes(lab, client, lambda token: esp(client.address, server.address, OUT, 2, token), server)
    neighbour.send_raw(esp(neighbour.address, server.address, OUT, 3))
    lab.pump.run_for(0.5)
    since = len(client.packets), len(neighbour.packets)
    lab.isp.send_raw(too_big(got, lab.isp.address))
    assert [socket.inet_ntoa(quoted[12:16]) for quoted in errors(lab, client, since[0])] == [client.address]
    assert not errors(lab, neighbour, since[1])


def test_a_client_without_nat_that_only_listens(lab: Lab) -> None:
    """Its server's packets are addressed to itself; its zone, which lives eleven minutes, has nearly come to its end."""
    server, client, router = lab.servers[0], lab.clients[0], lab.router
    router.nft(f"insert rule inet fw4 srcnat ip daddr {server.address} return\n")
    lab.isp.run("ip", "route", "add", "192.168.1.0/24", "via", WAN)
    passes(lab, client, lambda token: esp(client.address, server.address, OUT, 2, token), server)
    if lab.mode == "vpnpt":
        shorten(router, ("client_zone", "zone_client", "zones", "pairs", "servers"), 2)
    for number in range(12):
        passes(lab, server, lambda token, number=number: esp(server.address, client.address, BACK, number + 2, token), client)
        lab.pump.run_for(0.3)


def shorten(router: Host, names: tuple[str, ...], seconds: int) -> None:
    """The elements of these sets and maps have so many seconds left, as if the rest of their time had passed."""
    text = ""
    for item in json.loads(router.run("nft", "-j", "list", "table", "ip", "vpnpt").stdout)["nftables"]:
        body = item.get("set") or item.get("map") or {}
        for element in body.get("elem", ()) if body.get("name") in names else ():
            key, value = element if isinstance(element, list) else (element, None)
            key = key["elem"]["val"]
            words = " . ".join(map(str, key["concat"])) if isinstance(key, dict) else str(key)
            text += f"delete element ip vpnpt {body['name']} {{ {words} }}\n"
            text += f"add element ip vpnpt {body['name']} {{ {words} timeout 660s expires {seconds}s{f' : {value}' if value else ''} }}\n"
    router.run("nft", "-f", "-", text=text)


def test_a_copied_packet_goes_on_to_its_own_address(lab: Lab) -> None:
    """The router and two clients talk with a server. What is copied goes on to the address it was sent to, also when that changes."""
    server, router = lab.servers[0], lab.router
    router.run("ip", "addr", "add", f"{SECOND}/24", "dev", "wan")
    router.nft(OPEN)
    for number, client in enumerate(lab.clients[:2] if lab.mode == "vpnpt" else []):
        passes(lab, client, lambda token, client=client, number=number: esp(client.address, server.address, OUT + number, 1, token), server)
    passes(lab, router, lambda token: esp(WAN, server.address, OUT + 7, 1, token), server)
    heard: list[str] = []
    with sandbox.inside(router.namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, ESP)
    sock.setblocking(False)
    with sock:
        for address in (WAN, WAN, SECOND, SECOND, WAN):
            server.send_raw(esp(server.address, address, NEW, 2))
            lab.pump.run_for(1.2)
            while True:
                try:
                    heard.append(socket.inet_ntoa(sock.recv(2000)[16:20]))
                except BlockingIOError:
                    break
    assert heard == [WAN, WAN, SECOND, SECOND, WAN]


def test_an_error_about_the_answer_of_a_host_that_was_called(lab: Lab) -> None:
    """The user forwards ESP to c2, a caller outside has reached it, and c1 is a client of that caller."""
    server, client, called = lab.servers[0], *lab.clients[:2]
    lab.router.nft(FORWARD.format(called.address))
    passes(lab, server, lambda token: esp(server.address, WAN, BACK, 1, token), called)
    answer = passes(lab, called, lambda token: esp(called.address, server.address, OUT, 1, token), server)
    client.send_raw(esp(client.address, server.address, NEW, 1))
    lab.pump.run_for(0.2)
    since = len(called.packets)
    lab.isp.send_raw(too_big(answer, lab.isp.address))
    found = errors(lab, called, since)
    assert [socket.inet_ntoa(quoted[12:16]) for quoted in found] == [called.address]


@pytest.mark.parametrize("quoted", [28, 100])
def test_an_error_about_the_router_s_own_message(lab: Lab, quoted: int) -> None:
    """The router's own IKE to a server that has one client: the error is the router's, however little it quotes."""
    server, client, router = lab.servers[0], lab.clients[0], lab.router
    sock = router.udp(500).sock
    sock.connect((server.address, 500))
    sock.send(ike(COOKIE))
    assert server.wait_for(lambda packet: packet.ports == (500, 500))
    client.send_raw(udp(client.address, server.address, 500, 500, ike(COOKIE + 1)))
    lab.pump.run_for(0.3)
    message = udp(WAN, server.address, 500, 500, ike(COOKIE))
    body = struct.pack(">BBHI", 3, 3, 0, 0) + message[:quoted]
    packet = ip(server.address, WAN, ICMP, body[:2] + struct.pack(">H", checksum(body)) + body[4:])
    server.send_raw(packet)
    assert lab.pump.run(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0, 1.0)


def test_a_keepalive_keeps_the_flow_of_its_ike_alive(lab: Lab) -> None:
    """One byte 0xff from UDP 500 to 500 (RFC 3948 2.3, and the drafts before it): no IKE, and no flow of its own either."""
    users, server, client = stage(lab), lab.servers[0], lab.clients[0]
    assert users.do_up("c1") == {"c1": "up"}
    since = len(server.packets)
    client.send_raw(udp(client.address, server.address, 500, 500, b"\xff"))
    assert server.wait_for(lambda item: item.ports == (500, 500) and item.payload[-1:] == b"\xff", 2.0, since)
    assert len(lab.router.conntrack_list("-p", "udp", "-s", client.address, "--dport", "500")) == 1


@pytest.mark.parametrize("port", [500, 40001])
def test_no_word_about_what_is_no_ike_on_udp_500(lab: Lab, port: int) -> None:
    """WireGuard that nobody answers: no key and no finding. IKE that nobody answers: a finding, whatever port it comes from."""
    server, client, other = lab.servers[0], *lab.clients[:2]
    server.udp(500)
    wireguard = b"\x01\0\0\0" + bytes(range(1, 145))
    for _ in range(3):
        passes(lab, client, lambda token: udp(client.address, server.address, port, 500, wireguard + token), server)
    if lab.mode == "vpnpt":
        answer = lab.router.ask(method="status")
        assert (answer["clients"], answer["cookies"]) == (0, 0)
        assert not lab.router.ask(method="doctor")["findings"]
    for number in range(3):
        passes(lab, other, lambda token, number=number: udp(other.address, server.address, port, 500, ike(COOKIE + number, data=token)),
               server)
    if lab.mode == "vpnpt":
        assert [item["said"]["text"]["values"]["clients"] for item in lab.router.ask(method="doctor")["findings"]] == [[other.address]]


def test_a_host_without_room_goes_on_beside_a_client(lab: Lab) -> None:
    """c1 is all that max_clients allows. c2 goes on as on a stock router, also when c1 begins to talk with the same server."""
    server, client, other = lab.servers[0], *lab.clients[:2]
    passes(lab, client, lambda token: esp(client.address, lab.servers[1].address, OUT, 1, token), lab.servers[1])
    passes(lab, other, lambda token: esp(other.address, server.address, OUT + 1, 1, token), server)
    if lab.mode == "vpnpt":
        passes(lab, client, lambda token: esp(client.address, server.address, OUT + 2, 1, token), server)
    passes(lab, server, lambda token: esp(server.address, WAN, BACK, 1, token), other)
    passes(lab, other, lambda token: esp(other.address, server.address, OUT + 1, 2, token), server)
    if lab.mode == "vpnpt":
        findings = lab.router.ask(method="doctor")["findings"]
        assert [item["text"].partition(":")[2] for item in findings if item["code"] == "HOSTS_LEFT_OUT"] == [
            " as many as max_clients allows are being served."]


test_a_host_without_room_goes_on_beside_a_client.config = (  # type: ignore[attr-defined]
    "config vpnpt global\n\toption max_clients 1\n\nconfig 1 ipsec\n")


def test_a_device_that_comes_late(lab: Lab) -> None:
    """The configuration names a device that is not there yet; its hosts are clients as soon as it is, without a reload."""
    server, client, late, router = lab.servers[0], *lab.clients[:2], lab.router
    passes(lab, client, lambda token: esp(client.address, server.address, OUT, 1, token), server)
    router.run("ip", "-batch", "-", text="link add br-late type bridge mcast_snooping 0\naddr add 192.168.9.1/24 dev br-late\n"
               "link set br-late up\nlink set lan2 master br-late\n")
    late.run("ip", "-batch", "-", text="addr flush dev eth0\naddr add 192.168.9.102/24 dev eth0\nroute replace default via 192.168.9.1\n")
    router.nft('insert rule inet fw4 forward iifname "br-late" oifname "wan" accept\n')
    server = server if lab.mode == "vpnpt" else lab.servers[1]
    passes(lab, late, lambda token: esp("192.168.9.102", server.address, OUT + 1, 1, token), server)
    passes(lab, server, lambda token: esp(server.address, WAN, BACK, 1, token), late)
    if lab.mode == "vpnpt":
        assert router.ask(method="status")["clients"] == 2


test_a_device_that_comes_late.config = (  # type: ignore[attr-defined]
    "config vpnpt global\n\tlist lan_device br-lan\n\tlist lan_device br-late\n\nconfig 1 ipsec\n")


def test_ended_ike_stays_ended(lab: Lab) -> None:
    """What a server says in an established IKE SA reaches the client, until the user ends it; the client's next message brings it back."""
    server, client = lab.servers[0], lab.clients[0]

    def talk(sender: Host, receiver: Host, source: str, to: str) -> None:
        passes(lab, sender, lambda token: udp(source, to, 500, 500, ike(COOKIE, 1, INFORMATIONAL, data=token)), receiver)

    passes(lab, client, lambda token: udp(client.address, server.address, 500, 500, ike(COOKIE, data=token)), server)
    for _ in range(3):
        talk(server, client, server.address, WAN)
        talk(client, server, client.address, server.address)
    if lab.mode == "vpnpt":
        assert lab.router.ask(method="kill", client=client.address)["ended"] == 1
        with pytest.raises(AssertionError, match="s1 to c1: lost"):
            passes(lab, server, lambda token: udp(server.address, WAN, 500, 500, ike(COOKIE, 1, INFORMATIONAL, data=token)), client, 0.5)
        talk(client, server, client.address, server.address)
    talk(server, client, server.address, WAN)


def test_esp_in_udp_500(lab: Lab) -> None:
    """NAT-T of the drafts 00 and 01: eight zero bytes where IKE has its cookie. The flow of its client's IKE; two clients share it."""
    server, client, other = lab.servers[0], *lab.clients[:2]
    server.udp(500)

    def data(source: str, to: str) -> Callable[[bytes], bytes]:
        return lambda token: udp(source, to, 500, 500, bytes(8) + struct.pack(">II", OUT, 1) + token)

    passes(lab, client, lambda token: udp(client.address, server.address, 500, 500, ike(COOKIE, data=token)), server)
    for _ in range(2):
        passes(lab, client, data(client.address, server.address), server)
        passes(lab, server, data(server.address, WAN), client)
    assert len(lab.router.conntrack_list("-p", "udp", "-s", client.address, "--dport", "500")) == 1
    if lab.mode == "vpnpt":
        assert lab.router.ask(method="status")["cookies"] == 1
        passes(lab, other, lambda token: udp(other.address, server.address, 500, 500, ike(COOKIE + 1, data=token)), server)
        for receiver in (client, other):
            passes(lab, receiver, data(receiver.address, server.address), server)
            passes(lab, server, data(server.address, WAN), receiver)


LOOPBACK = """insert rule inet fw4 dstnat ip daddr {to} dnat ip to {server}
insert rule inet fw4 srcnat oifname "br-lan" ip saddr 192.168.1.0/24 ip daddr {server} snat ip to 192.168.1.1
insert rule inet fw4 forward_wan ct status dnat accept
"""


@pytest.mark.parametrize("bridged", [False, True])
def test_a_server_inside_by_its_outside_address(lab: Lab, bridged: bool) -> None:
    """NAT loopback to an address that is on no device: the server inside answers the router, which must find the flow again."""
    server, *clients, router = lab.clients[2], *lab.clients[:2], lab.router
    if not router.bridge_calls_firewall(yes=bridged) and bridged:
        pytest.skip("this kernel has no br_netfilter: NAT loopback within a bridge that calls the firewall was not tested")
    router.nft(LOOPBACK.format(to=ROUTED, server=server.address))
    for number, client in enumerate(clients):
        port = 500
        for exchange, rcookie in ((SA_INIT, 0), (INFORMATIONAL, 7)):
            def message(way: tuple[str, str, int, int], flags: int, token: bytes, exchange: int = exchange, rcookie: int = rcookie,
                        number: int = number) -> bytes:
                return udp(*way, ike(COOKIE + number, rcookie, exchange, flags, data=token))
            asked = passes(lab, client, lambda token, client=client: message((client.address, ROUTED, 500, 500), 8, token), server)
            port = int.from_bytes(asked[20:22], "big")
            back = passes(lab, server, lambda token, port=port: message((server.address, LAN, 500, port), 0x20, token), client)
            assert (socket.inet_ntoa(back[12:16]), back[20:24]) == (ROUTED, struct.pack(">HH", 500, 500))
    # Of two clients' ESP a stock router serves one.
    client = clients[0]
    for sequence in (1, 2):
        passes(lab, client, lambda token, n=sequence: esp(client.address, ROUTED, OUT, n, token), server)
        back = passes(lab, server, lambda token, n=sequence: esp(server.address, LAN, BACK, n, token), client)
        assert socket.inet_ntoa(back[12:16]) == ROUTED


def test_manual_keys_with_a_server_inside_by_its_outside_address(lab: Lab) -> None:
    """As above, without IKE. Behind us the first answer is lost, as no key tells whose it is; the next packet goes as on a stock router."""
    client, server, router = lab.clients[0], lab.clients[2], lab.router
    router.bridge_calls_firewall(yes=False)
    router.nft(LOOPBACK.format(to=ROUTED, server=server.address))
    for sequence in (1, 2, 3):
        passes(lab, client, lambda token, n=sequence: esp(client.address, ROUTED, OUT, n, token), server)
        if sequence > 1:
            passes(lab, server, lambda token, n=sequence: esp(server.address, LAN, BACK, n, token), client)


def test_a_server_that_the_user_has_put_elsewhere(lab: Lab) -> None:
    """The user's rules send what is for one address to another outside; another client asks that one by its own address."""
    server, client, other = lab.servers[0], *lab.clients[:2]
    lab.router.nft(f'insert rule inet fw4 dstnat iifname "br-lan" ip daddr {ROUTED} dnat ip to {server.address}\n')
    if lab.mode == "vpnpt":
        passes(lab, other, lambda token: udp(other.address, server.address, 500, 500, ike(COOKIE, data=token)), server)
        passes(lab, server, lambda token: udp(server.address, WAN, 500, 500, ike(COOKIE, 5, flags=0x20, data=token)), other)
    passes(lab, client, lambda token: udp(client.address, ROUTED, 500, 500, ike(COOKIE + 1, data=token)), server)
    back = passes(lab, server, lambda token: udp(server.address, WAN, 500, 500, ike(COOKIE + 1, 5, flags=0x20, data=token)), client)
    assert socket.inet_ntoa(back[12:16]) == ROUTED


def test_a_server_of_two_begins_where_the_address_is_on_no_device(lab: Lab) -> None:
    """SNAT to an address that the provider routes to us. Stock gives a new IKE SA of the server to the client that has port 500."""
    server, client, other = lab.servers[0], *lab.clients[:2]
    lab.isp.run("ip", "route", "add", f"{ROUTED}/32", "via", WAN)
    lab.router.nft(f'insert rule inet fw4 srcnat oifname "wan" snat ip to {ROUTED}\n')
    for cookie, host in ((COOKIE, client), (COOKIE + 1, other)):
        passes(lab, host, lambda token, host=host, c=cookie: udp(host.address, server.address, 500, 500, ike(c, data=token)), server)
    for number in range(2):
        passes(lab, server, lambda token, n=number: udp(server.address, ROUTED, 500, 500, ike(COOKIE + 5 + n, data=token)), client)


@pytest.mark.parametrize("inward", [True, False])
def test_source_quench(lab: Lab, inward: bool) -> None:
    """ICMP type 4, which nobody should send any more (RFC 6633), and some do."""
    users, server, client = stage(lab), lab.servers[0], lab.clients[0]
    assert users.do_up("c1") == {"c1": "up"}
    assert not users.do_traffic("c1")["c1"].lost
    sender, receiver, to = (lab.isp, client, WAN) if inward else (client, server, server.address)
    for proto in (ESP, 17):
        about = next(packet.data for packet in reversed((server if inward else client).packets)
                     if packet.proto == proto and packet.src == (WAN if inward else server.address))
        body, since = b"\4\0\0\0\0\0\0\0" + about, len(receiver.packets)
        sender.send_raw(ip(sender.address, to, ICMP, body[:2] + struct.pack(">H", checksum(body)) + body[4:]))
        found = receiver.wait_for(lambda packet: packet.proto == ICMP and packet.payload[0] == 4, 2.0, since)
        assert found and (inward or found.src == WAN)


@pytest.mark.parametrize("clients", [1, 2])
def test_a_routed_host_that_may_not_go_out(lab: Lab, clients: int) -> None:
    """A DMZ with public addresses, in a zone that is on no side: the server of a client calls a host there."""
    server, host, router = lab.servers[0], lab.clients[2], lab.router
    router.run("ip", "-batch", "-", text="link add br-dmz type bridge mcast_snooping 0\naddr add 203.0.115.1/28 dev br-dmz\n"
               "link set br-dmz up\nlink set lan3 master br-dmz\n")
    host.run("ip", "-batch", "-", text="addr flush dev eth0\naddr add 203.0.115.3/28 dev eth0\nroute replace default via 203.0.115.1\n")
    lab.isp.run("ip", "route", "add", "203.0.115.0/28", "via", WAN)
    router.nft('insert rule inet fw4 forward_wan oifname "br-dmz" accept\n')
    for number, client in enumerate(lab.clients[:clients] if lab.mode == "vpnpt" else []):
        passes(lab, client, lambda token, c=client, n=number: udp(c.address, server.address, 500, 500, ike(COOKIE + n, data=token)), server)
        passes(lab, client, lambda token, c=client: udp(c.address, server.address, 1701, 1701, l2tp(1, 0, 0, 5, token)), server)
    public = "203.0.115.3"
    for _ in range(2):
        passes(lab, server, lambda token: udp(server.address, public, 500, 500, ike(COOKIE + 9, data=token)), host)
    passes(lab, host, lambda token: udp(public, server.address, 500, 500, ike(COOKIE + 9, 5, flags=0x20, data=token)), server)
    passes(lab, server, lambda token: esp(server.address, public, NEW, 2, token), host)
    passes(lab, server, lambda token: udp(server.address, public, 1701, 1701, l2tp(1, 0, 0, 9, token)), host)


test_a_routed_host_that_may_not_go_out.config = "config 1 ipsec\n\nconfig 1 l2tp\n"  # type: ignore[attr-defined]
