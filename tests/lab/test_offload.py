# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way of established ESP, with real packets: what takes it, what never does, and what ends it.

    c1 ── br-lan ── router (vpnptd) ── wan ── isp ── s1      c1 talks with s1, c2 with s2, each by an SPI either way
    c2 ──┘                                       └── s2
"""
from __future__ import annotations

import contextlib
import re
import signal
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import scenario
from tests.lab.flows import ALL, BACK, OUT, PATIENCE, Flows
from tests.lab.packets import PROTO_ESP, PROTO_ICMP, fragments
from tests.lab.topology import Lab
from vpnpt.ruleset.offload import Way, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.host import Host

CONFIG = scenario.uci({"ipsec": {"enabled": 1, "esp_offload": 1}})
BANNING = """table ip user {
	set banned {
		type ipv4_addr
	}
	chain forward {
		type filter hook forward priority -1;
		ip saddr @banned drop
		ip daddr @banned drop
	}
}
"""
TABLES = ("table netdev vpnpt", "table ip vpnpt_seen")


def started(lab: Lab) -> Flows:
    """vpnpt runs and is told to offload; the tunnels are known."""
    lab.router.bridge_calls_firewall(yes=False)  # as on OpenWrt
    lab.router.start_vpnpt(CONFIG)
    return Flows(lab)


@pytest.fixture(scope="module")
def last() -> Iterator[list[Flows]]:
    """The network of the test before, if that left it as it was."""
    kept: list[Flows] = []
    yield kept
    for old in kept:
        old.lab.close()


@pytest.fixture
def alone(sandbox: None, last: list[Flows]) -> None:
    """For a test that makes a network of its own, or counts from its beginning on."""
    while last:
        last.pop().lab.close()


@pytest.fixture
def flows(sandbox: None, last: list[Flows]) -> Iterator[Flows]:
    """Two tunnels on the short way. A test that ends with `flows.unchanged = True` hands its network on to the next."""
    with contextlib.ExitStack() as stack:
        if last:
            made = last.pop()
            stack.callback(made.lab.close)
            if made.state()["keys"] != 2 * len(made.pairs):
                made.begin()
        else:
            made = started(stack.enter_context(Lab(2, 2, "stock", ipv6=False)))
        made.unchanged = False
        assert made.on(), (made.state(), made.router.log_text())
        yield made
        if made.unchanged:
            stack.pop_all()
            last.append(made)


def esp(client: Host, server: Host, payload: bytes, *, ttl: int = 64, options: bytes = b"", df: bool = False, ident: int = 7) -> bytes:
    """A whole packet of the first tunnel; the kernel fills in the header's checksum."""
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, 4 * words + len(payload), ident, 0x4000 if df else 0, ttl, PROTO_ESP, 0,
                       socket.inet_aton(client.address), socket.inet_aton(server.address))
    return head + options + payload


def test_the_rules_alone(alone: None) -> None:
    """What the kernel does by itself, without a daemon that times anything: also on a kernel in an emulated machine."""
    with Lab(1, 1, "stock", ipv6=False) as lab:
        router, client, server = lab.router, lab.clients[0], lab.servers[0]
        router.bridge_calls_firewall(yes=False)
        lan, wan, own = router.lan_device, router.wan_device, router.wan_address
        router.nft(render([Way(source=lan, target=wan, gateway=lab.isp.address, mtu=1500, outbound=True),
                           Way(source=wan, target=lan, gateway="", mtu=1500, outbound=False)]) +
                   f"add element netdev vpnpt way0 {{ {client.address} . {server.address} . {OUT:#x} : {own} }}\n"
                   f"add element netdev vpnpt way1 {{ {server.address} . {own} . {BACK:#x} : {client.address} }}\n")

        def listed() -> list[int]:
            text = router.run("nft", "list", "table", "netdev", "vpnpt").stdout
            return [int(number) for number in re.findall(r"counter packets (\d+)", text)]

        def exchange(first: int, count: int) -> None:
            for number in range(first, first + count):
                client.protocol(PROTO_ESP).send(struct.pack(">II", OUT, number) + bytes(80), server.address)
                server.protocol(PROTO_ESP).send(struct.pack(">II", BACK, number) + bytes(80), own)
            lab.pump.run_for(0.2)

        exchange(2, 1)  # within the limit of each element: conntrack has the flow
        assert listed() == [0, 0]
        exchange(3, 50)
        assert all(30 < count <= 50 for count in listed()), listed()
        for host, source, destination in ((server, own, server.address), (client, server.address, client.address)):
            got = [packet for packet in host.packets if packet.proto == PROTO_ESP]
            assert {(packet.src, packet.dst, packet.data[8]) for packet in got} == {(source, destination, 62)}
            assert sorted(packet.payload[4:8] for packet in got) == [struct.pack(">I", number) for number in range(2, 53)]
            assert all(sum(struct.unpack(">10H", packet.data[:20])) % 0xFFFF == 0 for packet in got)
        before = listed()
        client.send_raw(esp(client, server, struct.pack(">II", OUT, 60) + bytes(64), options=b"\x94\x04\0\0"))  # router alert
        for piece in fragments(esp(client, server, struct.pack(">II", OUT, 61) + bytes(1800))):
            client.send_raw(piece)
        lab.pump.run_for(0.2)
        assert listed() == before and any(packet.data[0] == 0x46 for packet in server.packets), "they take the long way"
        exchange(1, 1)
        assert len(listed()) == 1, "an SA that begins anew with the SPI takes it off"


def test_counts_ttl_and_checksum(alone: None, flows: Flows) -> None:
    """What takes the short way is what the long one would have made of it, and is counted to the packet."""
    before = flows.short()
    assert flows.delivered(200) == [200] * 4
    assert flows.short() - before > 4 * 150, "most took the short way"
    for client, server in flows.pairs:
        for host, source, destination in ((server, flows.router.wan_address, server.address), (client, server.address, client.address)):
            packet = host.received(lambda packet: packet.proto == PROTO_ESP)[-1]
            assert (packet.src, packet.dst, packet.data[8]) == (source, destination, 62), "two routers on the way"
            assert sum(struct.unpack(">10H", packet.data[:20])) % 0xFFFF == 0, "the header's checksum is right"
    sessions = flows.router.ask(method="sessions")["sessions"]
    assert [(one["packets_out"], one["packets_in"], one["bytes_out"], one["bytes_in"]) for one in sessions] == \
        [(flows.sequence, flows.sequence, flows.sequence * 108, flows.sequence * 108)] * 2
    totals = flows.router.ask(method="metrics")["text"]
    assert f'vpnpt_packets_total{{protocol="ipsec",direction="out"}} {2 * flows.sequence}\n' in totals
    # Also when it has ended: what was counted stays counted.
    assert flows.router.ask(method="kill", client=flows.pairs[0][0].address)["ended"] == 1
    assert f'vpnpt_packets_total{{protocol="ipsec",direction="out"}} {2 * flows.sequence}\n' in flows.router.ask(method="metrics")["text"]


def test_the_long_way_sees_the_tunnel(flows: Flows) -> None:
    """conntrack's entry is renewed by a packet a second, and so lives."""
    flows.router.conntrack_delete("-p", "esp")
    assert flows.delivered() == ALL
    assert flows.until(lambda: len(flows.router.conntrack_list("-p", "esp")) == 2)
    assert flows.delivered() == ALL
    flows.unchanged = True


def test_strange_packets_take_the_long_way(flows: Flows) -> None:
    client, server = flows.pairs[0]
    body = struct.pack(">II", OUT, 5000) + bytes(1800)
    mark, came = len(server.packets), len(client.packets)
    for piece in fragments(esp(client, server, body)):
        client.send_raw(piece)
    client.send_raw(esp(client, server, struct.pack(">II", OUT, 5001) + bytes(64), options=b"\x94\x04\0\0", ident=8))  # router alert
    client.send_raw(esp(client, server, struct.pack(">II", OUT, 5002) + bytes(64), ttl=1, ident=9))
    got = lambda predicate: bool(server.wait_for(lambda packet: packet.proto == PROTO_ESP and predicate(packet), since=mark))  # noqa: E731
    assert got(lambda packet: packet.fragment), "fragments"
    assert got(lambda packet: packet.data[0] == 0x46), "options"
    assert client.wait_for(lambda packet: packet.proto == PROTO_ICMP and packet.payload[0] == 11, since=came), "time exceeded"
    flows.unchanged = True


def test_mtu(flows: Flows) -> None:
    """The short way's limit follows the device's; what is longer is told so by ICMP."""
    client, server = flows.pairs[0]
    flows.router.run("ip", "link", "set", "wan", "mtu", "1400")
    assert flows.delivered() == ALL
    assert flows.on()
    flows.lab.pump.run_for(0.1)
    mark, came = len(server.packets), len(client.packets)
    client.send_raw(esp(client, server, struct.pack(">II", OUT, 6000) + bytes(1392), df=True))
    answer = client.wait_for(lambda packet: packet.proto == PROTO_ICMP and packet.payload[:2] == b"\3\4", since=came)
    assert answer is not None and struct.unpack(">H", answer.payload[6:8]) == (1400,)
    flows.lab.pump.run_for(0.2)
    assert not server.received(lambda packet: packet.proto == PROTO_ESP and len(packet.data) > 1400, mark)
    flows.router.run("ip", "link", "set", "wan", "mtu", "1500")
    client.run("ip", "route", "flush", "cache")  # what it has just been told
    flows.unchanged = True


def test_gateway_changes(flows: Flows) -> None:
    flows.lab.isp.run("ip", "addr", "add", "203.0.113.253/24", "dev", "eth0")
    flows.router.run("ip", "route", "replace", "default", "via", "203.0.113.253")
    flows.lab.isp.run("ip", "addr", "del", "203.0.113.254/24", "dev", "eth0")
    flows.lab.isp.run("ip", "addr", "add", "203.0.113.253/24", "dev", "eth0", check=False)
    flows.lab.pump.run_for(1.0)
    assert flows.delivered() == ALL
    assert flows.on()
    assert "fwd ip to 203.0.113.253" in flows.router.run("nft", "list", "table", "netdev", "vpnpt").stdout
    assert flows.delivered() == ALL


def test_device_gone_and_back(flows: Flows) -> None:
    """A PPPoE connection that is dialled again has a device of the same name and another index."""
    router = flows.router
    router.run("ip", "link", "del", "wan")
    flows.delivered(3)
    router.run("ip", "-batch", "-",
               text="link add wan type veth peer name eth0 netns isp\naddr add 203.0.113.1/24 dev wan\nlink set wan up\n")
    flows.lab.isp.run("ip", "-batch", "-", text="addr add 203.0.113.254/24 dev eth0\nlink set eth0 up\n")
    router.run("ip", "route", "add", "default", "via", "203.0.113.254")
    flows.lab.pump.run_for(0.5)
    assert flows.delivered() == ALL
    assert flows.on()
    assert flows.delivered() == ALL


def test_address_changes(flows: Flows) -> None:
    flows.router.change_wan_address("203.0.113.2")
    flows.router.ask(method="reload")
    flows.send()
    flows.lab.pump.run_for(0.3)
    assert flows.delivered() == ALL
    assert flows.on()
    assert flows.delivered() == ALL


def test_firewall_reload_and_a_new_rule(flows: Flows) -> None:
    """The firewall goes on deciding: a new rule that drops what passes holds at once, and is not outlived by the short way."""
    flows.router.fw4_reload()
    assert flows.delivered() == ALL
    assert flows.on()
    flows.router.nft("table ip user {\n\tchain forward {\n\t\ttype filter hook forward priority -1;\n\t\tip protocol esp drop\n\t}\n}\n")
    flows.lab.pump.run_for(0.5)
    assert flows.delivered() == [0, 0, 0, 0]
    flows.until(lambda: bool(flows.state()["slow"]) or flows.state()["state"] == "asleep")
    assert flows.delivered() == [0, 0, 0, 0]
    flows.router.run("nft", "delete", "table", "ip", "user")
    assert flows.on()
    assert flows.delivered() == ALL
    flows.unchanged = True


def test_a_rule_that_drops_by_a_set(alone: None) -> None:
    """An address that enters a set of the user's (banIP) stops the tunnel, though no rule has changed: the next look sees it."""
    with Lab(2, 2, "stock", ipv6=False) as lab:
        lab.router.nft(BANNING)
        flows = started(lab)
        assert flows.on()
        lab.router.run("nft", "add", "element", "ip", "user", "banned", f"{{ {flows.pairs[0][1].address} }}")
        assert flows.on(2), "only the other tunnel"
        assert flows.delivered() == [0, 0, 20, 20]
        assert "a rule stops them" in flows.state()["text"]


@pytest.mark.parametrize("how", ["kill", "block"])
def test_kill_and_block(flows: Flows, how: str) -> None:
    client, server = flows.pairs[0]
    if how == "kill":
        assert flows.router.ask(method="kill", client=client.address)["ended"] == 1
        flows.lab.pump.run_for(0.1)  # what is on the way
        mark = len(client.packets)
        for number in range(20):
            server.protocol(PROTO_ESP).send(struct.pack(">II", BACK, 7000 + number) + bytes(80), flows.router.wan_address)
        flows.lab.pump.run_for(0.2)
        assert not client.received(lambda packet: packet.proto == PROTO_ESP, mark), "until the client comes back"
        assert flows.delivered()[2:] == [20, 20]
        flows.unchanged = True  # its next packet opens the way again
    else:
        assert flows.router.ask(method="block", client=client.address, protocol="ipsec")["changed"]
        assert flows.delivered() == [0, 0, 20, 20]
        assert flows.on(2)
        assert flows.delivered() == [0, 0, 20, 20]


def test_same_spi(flows: Flows) -> None:
    """A second client of the server chooses the SPI that the first has on the short way: from its first packet on both get all of it."""
    (first, server), (second, _) = flows.pairs
    second.protocol(PROTO_ESP).send(struct.pack(">II", 0x3000, 1) + bytes(80), server.address)
    flows.lab.pump.run_for(0.2)
    marks = len(first.packets), len(second.packets)
    for number in range(1, 11):
        server.protocol(PROTO_ESP).send(struct.pack(">II", BACK, number) + bytes(80), flows.router.wan_address)
    flows.lab.pump.run_for(0.3)
    for host, mark in zip((first, second), marks, strict=True):
        assert len({packet.payload[4:8] for packet in host.received(lambda packet: packet.spi == BACK, mark)}) == 10, host


@pytest.mark.parametrize("how", ["stands still", "killed", "stopped"])
def test_the_daemon_ends(request: pytest.FixtureRequest, how: str) -> None:
    """Nobody would notice that a route changes: so the short way ends with the daemon, whatever ends that."""
    if how == "stands still":
        request.getfixturevalue("alone")
    flows: Flows = request.getfixturevalue("flows")
    router = flows.router
    assert all(table in flows.tables() for table in TABLES)
    if how == "stands still":
        assert router.daemon is not None
        router.daemon.send_signal(signal.SIGSTOP)
    else:
        router.kill_vpnpt(signal.SIGKILL if how == "killed" else signal.SIGTERM)
    assert router.wait_until(lambda: not any(table in flows.tables() for table in TABLES), PATIENCE)
    assert flows.delivered() == ALL
    if how == "stands still":
        assert router.daemon is not None
        router.daemon.send_signal(signal.SIGCONT)
        assert flows.on()
        sessions = router.ask(method="sessions")["sessions"]
        assert [(one["packets_out"], one["packets_in"]) for one in sessions] == [(flows.sequence, flows.sequence)] * 2, "nothing uncounted"
    elif how == "killed":
        router.start_vpnpt(CONFIG)
        assert flows.on()
    assert flows.delivered() == ALL
    flows.unchanged = how != "stopped"


def test_it_sleeps(flows: Flows) -> None:
    """Where little ESP flows there is no hook, and nothing is lost when it goes and comes."""
    assert flows.until(lambda: flows.state()["state"] == "asleep", silent=True)
    assert TABLES[0] not in flows.tables()
    assert flows.delivered() == ALL
    assert flows.on()
    flows.unchanged = True


def _rule(router: Any, *, there: bool) -> None:
    router.run("ip", "rule", "add" if there else "del", "fwmark", "1", "table", "100", "priority", "1000")


def _policy(router: Any, *, there: bool) -> None:
    router.run("ip", "xfrm", "policy", "add" if there else "del", "src", "10.0.0.0/8", "dst", "10.1.0.0/16", "dir", "fwd")


def _bridge(router: Any, *, there: bool) -> None:
    if not router.bridge_calls_firewall(yes=there):
        pytest.skip("this kernel has no br_netfilter: that a bridge which calls the firewall ends the short way was not tested")
    router.ask(method="reload")


def _several(router: Any, *, there: bool) -> None:
    """A permanent neighbour, so that the second next hop leads to the provider as well."""
    second = ("nexthop", "via", "203.0.113.250") if there else ()
    router.run("ip", "neigh", "replace", "203.0.113.250", "lladdr",
               router.run("ip", "-o", "neigh", "show", "203.0.113.254").stdout.split()[4], "dev", "wan")
    router.run("ip", "route", "replace", "default", "nexthop", "via", "203.0.113.254", *second)


@pytest.mark.parametrize(("change", "said"), [
    (_rule, "policy routing"), (_policy, "IPsec policies"), (_bridge, "bridge-nf-call-iptables"), (_several, "several next hops")])
def test_obstacles(flows: Flows, change: Callable[..., None], said: str) -> None:
    """Where we can't be sure of a packet's way it takes the long one, and status says why; without the obstacle the short one again."""
    change(flows.router, there=True)
    assert flows.until(lambda: said in flows.state()["text"] and not flows.state()["keys"]), flows.state()
    assert flows.delivered() == ALL
    assert said in flows.router.vpnpt("status")
    change(flows.router, there=False)
    flows.router.ask(method="reload")  # it rests longer after each end; this lets it begin at once
    assert flows.on()
    flows.unchanged = True


def test_behind_another_router_and_by_two_uplinks(alone: None) -> None:
    """c3 is reached by way of c1; s2 by the second uplink, which is a way of its own."""
    with Lab(2, 3, "stock", ipv6=False, uplinks=2) as lab:
        lab.router.run("ip", "route", "add", "192.168.77.0/24", "via", lab.clients[0].address)
        lab.clients[0].run("ip", "addr", "add", "192.168.77.5/32", "dev", "lo")
        flows = started(lab)
        behind = lab.clients[0].socket(socket.AF_INET, socket.SOCK_RAW, PROTO_ESP)
        behind.bind(("192.168.77.5", 0))
        rounds = 0

        def ready() -> bool:
            nonlocal rounds
            rounds += 1
            for _ in range(3):
                flows.sequence += 1
                for number, (client, server, wan) in enumerate(zip(lab.clients, lab.servers, ("203.0.113.1", "203.0.114.1"), strict=False)):
                    client.protocol(PROTO_ESP).send(struct.pack(">II", OUT + number, flows.sequence) + bytes(80), server.address)
                    server.protocol(PROTO_ESP).send(struct.pack(">II", BACK + number, flows.sequence) + bytes(80), wan)
                behind.sendto(struct.pack(">II", 0x5000, flows.sequence) + bytes(80), (lab.servers[2].address, 0))
                lab.servers[2].protocol(PROTO_ESP).send(struct.pack(">II", 0x6000, flows.sequence) + bytes(80), "203.0.113.1")
            state = flows.state() if rounds % 10 == 0 else {"text": ""}
            return "behind another router" in state["text"] and state["keys"] == 4

        assert lab.router.wait_until(ready, PATIENCE), flows.state()
        listed = lab.router.run("nft", "list", "table", "netdev", "vpnpt").stdout
        assert 'device "wan2"' in listed and 'device "wan"' in listed
        lab.pump.run_for(0.2)
        mark = len(lab.servers[2].packets)
        for number in range(20):
            behind.sendto(struct.pack(">II", 0x5000, 9000 + number) + bytes(80), (lab.servers[2].address, 0))
        lab.pump.run_for(0.2)
        assert len(lab.servers[2].received(lambda packet: packet.spi == 0x5000, mark)) == 20
