# SPDX-License-Identifier: GPL-2.0-or-later
"""`sessions`, `kill`, `block` and `unblock` through the real daemon, with every protocol's sessions up at once.

What the daemon says is compared with what the clients' own network devices saw.
"""
from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.packets import PROTO_ESP, PROTO_GRE, Captured
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from vpnpt.daemon import control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.host import Host

CONFIG = "config 1 pptp\nconfig 1 l2tp\nconfig 1 ipsec\nconfig 1 wireguard\n"
SERVERS = {"s1": "198.51.100.11", "s2": "198.51.100.12"}
CLIENTS = {"c1": "192.168.1.101", "c2": "192.168.1.102", "c3": "192.168.1.103"}
FIELDS = ["id", "protocol", "variant", "family", "client", "client_name", "mac", "server", "server_name", "state", "since", "last",
          "packets_out", "bytes_out", "packets_in", "bytes_in", "nat_port", "details"]
PORTS = {500: "ipsec", 4500: "ipsec", 1701: "l2tp", 1723: "pptp", 51820: "wireguard"}


class Meter:
    """Packets and bytes that a host's device sent and received, by protocol and server."""

    def __init__(self, host: Host, ipv6: bool = False) -> None:
        self.counts: dict[tuple[str, str], list[int]] = {}
        self._sock = host.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL: what leaves too
        self._sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self._sock.setblocking(False)
        host.pump.register(self._sock, self._read)

    def _read(self) -> None:
        while True:
            try:
                data, place = self._sock.recvfrom(65535)
            except BlockingIOError:
                return
            if data[0] >> 4 not in (4, 6):
                continue
            packet = Captured(0.0, data)
            out = place[2] == socket.PACKET_OUTGOING
            name = {PROTO_ESP: "ipsec", PROTO_GRE: "pptp"}.get(packet.proto, "")
            if packet.proto in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
                name = PORTS.get(int.from_bytes(packet.payload[2:4] if out else packet.payload[:2], "big"), "")
            if name:
                counts = self.counts.setdefault((name, packet.dst if out else packet.src), [0, 0, 0, 0])
                counts[0 if out else 2] += 1
                counts[1 if out else 3] += len(data)


@pytest.fixture
def stage(sandbox: None) -> Iterator[Stage]:
    with Lab(clients=3, servers=2, router="vpnpt", config=CONFIG, ipv6=True) as lab:
        yield Stage(lab, {}, {}, str)


def ask(stage: Stage, method: str, **arguments: Any) -> dict[str, Any]:
    return control.call(str(stage.lab.router.run_dir), {"method": method, **arguments})


def talk(stage: Stage, client: str, port: int, server: str = "s1", packets: int = 3, ipv6: bool = False) -> bool:
    """Datagrams to and fro that look like WireGuard's (51820) or NAT-T's (4500) from outside; was the last one answered?"""
    host, other = stage.lab.host(client), stage.lab.host(server)
    made = vars(stage).setdefault("talking", {})
    if (server, port, ipv6) not in made:
        made[server, port, ipv6] = echo = other.udp(port, ipv6)
        echo.on_receive = lambda data, address, source: echo.send(data[:92], address, source)
    sock = made.setdefault((client, server, port, ipv6), None) or host.udp(0, ipv6)
    made[client, server, port, ipv6] = sock
    before = 0
    for number in range(packets):
        before = len(sock.inbox)
        with contextlib.suppress(ConnectionRefusedError, PermissionError):
            sock.send(bytes([number + 1]) * 148, other.address6 if ipv6 else other.address, port)
        stage.lab.pump.run(lambda: len(sock.inbox) > before, 0.5)  # noqa: B023
    return len(sock.inbox) > before


def bring_up(stage: Stage) -> None:
    """Every client's five sessions: PPTP, L2TP, plain ESP, WireGuard to s1, NAT-T to s2."""
    for client in CLIENTS:
        assert stage.do_up(client, kind="pptp", name=f"{client}.pptp") == {f"{client}.pptp": "up"}
        assert stage.do_up(client, kind="l2tp", name=f"{client}.l2tp") == {f"{client}.l2tp": "up"}
        assert stage.do_up(client, name=f"{client}.esp") == {f"{client}.esp": "up"}
        assert talk(stage, client, 4500, "s2") and talk(stage, client, 51820)
        own = [f"{client}.{kind}" for kind in ("pptp", "l2tp", "esp")]
        found = stage.do_traffic(own, out=3, back=2)
        assert not any(found[name].lost for name in own)


EXPECTED = sorted((client, protocol, server) for client in CLIENTS.values()
                  for protocol, server in (("pptp", "s1"), ("l2tp", "s1"), ("ipsec", "s1"), ("ipsec", "s2"), ("wireguard", "s1")))


def names(sessions: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    by_address = {address: name for name, address in SERVERS.items()}
    return sorted((one["client"], one["protocol"], by_address[one["server"]]) for one in sessions)


def test_three_clients_and_five_protocols(stage: Stage) -> None:
    meters = {address: Meter(stage.lab.host(name)) for name, address in CLIENTS.items()}
    bring_up(stage)

    answer, seen = {}, {}

    def counted() -> bool:
        """A late acknowledgement of TCP's may still be on its way, and another one follow at any time: both counts of one moment."""
        answer.update(ask(stage, "sessions"))
        seen.update({address: {key: list(count) for key, count in meter.counts.items()} for address, meter in meters.items()})
        return all([one["packets_out"], one["bytes_out"], one["packets_in"], one["bytes_in"]] ==
                   seen[one["client"]][one["protocol"], one["server"]] for one in answer["sessions"])

    stage.lab.pump.run(counted, 10.0)
    sessions = answer["sessions"]
    assert names(sessions) == EXPECTED
    assert answer["ended"] == []
    assert len({one["id"] for one in sessions}) == len(sessions)
    for one in sessions:
        assert list(one) == FIELDS
        assert one["state"] == "up", one
        assert one["family"] == 4 and one["id"].startswith(one["protocol"] + "-")
        assert one["mac"] == mac(stage.lab.host(one_of(CLIENTS, one["client"])))
        assert answer["now"] - 60 <= one["since"] <= answer["now"]
        # Every packet and byte that the client's device saw, either way.
        assert [one["packets_out"], one["bytes_out"], one["packets_in"], one["bytes_in"]] == \
            seen[one["client"]][one["protocol"], one["server"]], one
    by_name = {(one["client"], one["protocol"], one_of(SERVERS, one["server"])): one for one in sessions}
    for name, client in CLIENTS.items():
        esp, natt = by_name[client, "ipsec", "s1"], by_name[client, "ipsec", "s2"]
        assert (esp["variant"], natt["variant"]) == ("ESP", "NAT-T")
        session = stage.tunnels[f"{name}.esp"].session  # type: ignore[attr-defined]
        assert esp["details"]["spis_out"] == [f"{session.child.spi_out:08x}"]
        assert esp["details"]["spis_in"] == [f"{session.child.spi_in:08x}"]
        assert session.ike.icookie.hex() in esp["details"]["cookies"]
        assert natt["nat_port"] > 1023 and natt["details"]["ports"][1] == 4500
        l2tp = by_name[client, "l2tp", "s1"]
        assert l2tp["variant"] == "L2TPv2"
        assert l2tp["details"]["tunnel_ids"][0] == stage.tunnels[f"{name}.l2tp"].tunnel.tunnel_id  # type: ignore[attr-defined]
        pptp = by_name[client, "pptp", "s1"]
        assert pptp["variant"] == "PPTP" and stage.tunnels[f"{name}.pptp"].call.call_id in pptp["details"]["call_ids"]  # type: ignore
        assert by_name[client, "wireguard", "s1"]["variant"] == "WireGuard"
    status = ask(stage, "status")["protocols"]
    for name in ("pptp", "l2tp", "ipsec", "wireguard"):
        own = [one for one in sessions if one["protocol"] == name]
        assert status[name]["sessions"] == len(own)
        assert status[name]["bytes_out"] >= sum(one["bytes_out"] for one in own) > 0
        assert status[name]["bytes_in"] >= sum(one["bytes_in"] for one in own) > 0
    assert status["openvpn"]["sessions"] == status["openvpn"]["bytes_out"] == 0


def mac(host: Host) -> str:
    return str(host.run("ip", "-o", "link", "show", "eth0").stdout.partition("link/ether ")[2].split()[0])


def one_of(names: dict[str, str], address: str) -> str:
    return next(name for name, own in names.items() if own == address)


def test_kill_ends_one_and_only_one(stage: Stage) -> None:
    bring_up(stage)
    before = {one["id"]: one for one in ask(stage, "sessions")["sessions"]}
    for protocol in ("ipsec", "pptp", "l2tp", "wireguard"):
        victim = next(one for one in before.values() if (one["client"], one["protocol"], one["server"]) ==
                      (CLIENTS["c1"], protocol, SERVERS["s1"]))
        assert ask(stage, "kill", session=victim["id"]) == {"ended": 1}
        del before[victim["id"]]
        answer = ask(stage, "sessions")
        assert {one["id"] for one in answer["sessions"]} == set(before)
        last = answer["ended"][0]
        assert (last["id"], last["reason"]) == (victim["id"], "killed") and last["ended"] >= last["since"]
        assert {key: last[key] for key in ("packets_out", "bytes_out", "packets_in", "bytes_in")} == \
            {key: victim[key] for key in ("packets_out", "bytes_out", "packets_in", "bytes_in")}
        assert ask(stage, "kill", session=victim["id"]) == {"ended": 0}
    found = stage.do_traffic([f"{client}.{kind}" for client in ("c2", "c3") for kind in ("pptp", "l2tp", "esp")])
    assert not any(found[f"{client}.{kind}"].lost for client in ("c2", "c3") for kind in ("pptp", "l2tp", "esp"))
    assert {one["id"] for one in ask(stage, "sessions")["sessions"]} == set(before), "the others never noticed"


def test_kill_all_of_a_client(stage: Stage) -> None:
    bring_up(stage)
    assert ask(stage, "kill", client=CLIENTS["c2"], protocol="ipsec") == {"ended": 2}
    assert names(ask(stage, "sessions")["sessions"]) == [one for one in EXPECTED if one[:2] != (CLIENTS["c2"], "ipsec")]
    assert ask(stage, "kill", client=CLIENTS["c2"]) == {"ended": 3}
    assert names(ask(stage, "sessions")["sessions"]) == [one for one in EXPECTED if one[0] != CLIENTS["c2"]]
    assert ask(stage, "kill", client=CLIENTS["c2"]) == {"ended": 0}
    for wrong in ({}, {"client": ""}, {"client": "laptop"}, {"client": CLIENTS["c1"], "protocol": "sstp"}):
        assert "error" in ask(stage, "kill", **wrong)


def test_what_was_killed_stays_dead_until_the_client_goes_on(stage: Stage) -> None:
    """The server's packets reach neither the client nor anybody else; the client's own bring the tunnel back as it was."""
    bring_up(stage)
    assert ask(stage, "kill", client=CLIENTS["c1"], protocol="ipsec") == {"ended": 2}
    found = stage.do_traffic(["c1.esp"], out=0, back=3)
    assert found["c1.esp.back"].delivered == 0 and not found["copies"] and not found["wrong"]
    assert (CLIENTS["c1"], "ipsec", "s1") not in names(ask(stage, "sessions")["sessions"])
    found = stage.do_traffic([f"{client}.esp" for client in CLIENTS])
    assert not any(found[f"{client}.esp"].lost for client in CLIENTS) and not found["copies"]
    again = [one for one in ask(stage, "sessions")["sessions"] if (one["client"], one["server"]) == (CLIENTS["c1"], SERVERS["s1"])]
    session = stage.tunnels["c1.esp"].session  # type: ignore[attr-defined]
    assert [one["details"]["spis_in"] for one in again if one["protocol"] == "ipsec"] == [[f"{session.child.spi_in:08x}"]]


def test_what_was_killed_stays_dead_though_its_spi_was_not_learned(stage: Stage) -> None:
    """The only client of a server that has finished IKE and sent no ESP yet: what comes is not known to be its, but reaches it."""
    assert stage.do_up("c1") == {"c1": "up"}
    assert stage.do_traffic(["c1"], out=0, back=3)["c1.back"].delivered == 3
    [session] = ask(stage, "sessions")["sessions"]
    assert session["details"]["spis_in"] == [f"{stage.tunnels['c1'].session.child.spi_in:08x}"]  # type: ignore[attr-defined]
    assert ask(stage, "kill", client=CLIENTS["c1"], protocol="ipsec")["ended"]
    found = stage.do_traffic(["c1"], out=0, back=3)
    assert found["c1.back"].delivered == 0 and not found["copies"] and not found["wrong"]
    assert stage.do_up("c2") == {"c2": "up"} and not stage.do_traffic(["c2"])["c2"].lost
    assert stage.do_traffic(["c1"], out=0, back=3)["c1.back"].delivered == 0, "nor is it shared with another client"
    assert not stage.do_traffic(["c1"], out=3, back=3)["c1"].lost


def test_blocked_sessions_are_counted(stage: Stage) -> None:
    bring_up(stage)
    config = stage.lab.router.config_dir / "vpnpt"
    assert ask(stage, "block", client=CLIENTS["c1"], protocol="ipsec") == \
        {"blocked": True, "client": CLIENTS["c1"], "protocol": "ipsec", "changed": True}
    assert f"\tlist deny_src '{CLIENTS['c1']}'\n" in config.read_text()
    answer = ask(stage, "sessions")
    rest = [one for one in EXPECTED if one[:2] != (CLIENTS["c1"], "ipsec")]
    assert names(answer["sessions"]) == rest, "cut at once"
    assert [(one["client"], one["protocol"], one["reason"]) for one in answer["ended"]] == [(CLIENTS["c1"], "ipsec", "blocked")] * 2
    own = [f"{client}.esp" for client in CLIENTS]
    found = stage.do_traffic(own, out=4, back=2)
    assert found["c1.esp"].delivered == 0 and not found["c2.esp"].lost and not found["c3.esp"].lost and not found["copies"]
    assert not talk(stage, "c1", 4500, "s2", packets=5) and talk(stage, "c2", 4500, "s2")
    sessions = ask(stage, "sessions")["sessions"]
    assert names(sessions) == EXPECTED
    blocked = {one["server"]: one for one in sessions if one["state"] == "blocked"}
    assert {server: (one["client"], one["protocol"], one["packets_out"], one["details"]) for server, one in blocked.items()} == {
        SERVERS["s1"]: (CLIENTS["c1"], "ipsec", 4, {"attempts": 4}), SERVERS["s2"]: (CLIENTS["c1"], "ipsec", 5, {"attempts": 5})}
    assert blocked[SERVERS["s2"]]["bytes_out"] == 5 * (20 + 8 + 148)
    assert ask(stage, "status")["protocols"]["ipsec"]["blocked"] == 9 + 2, "and what the server sent"
    same = {one["server"]: one["id"] for one in ask(stage, "sessions")["sessions"] if one["state"] == "blocked"}
    assert same == {server: one["id"] for server, one in blocked.items()}
    assert not ask(stage, "block", client=CLIENTS["c1"], protocol="ipsec")["changed"]

    assert ask(stage, "unblock", client=CLIENTS["c1"], protocol="ipsec")["changed"]
    assert config.read_text() == CONFIG, "as it was, to the byte"
    found = stage.do_traffic(own)
    assert not any(found[name].lost for name in own) and not found["copies"]
    assert talk(stage, "c1", 4500, "s2")
    assert {one["state"] for one in ask(stage, "sessions")["sessions"]} == {"up"}


def test_block_by_mac_and_ipv6(stage: Stage) -> None:
    """A client's Ethernet address blocks both of its families; live flows of either are cut."""
    client = stage.lab.host("c1")
    assert talk(stage, "c1", 51820) and talk(stage, "c1", 51820, ipv6=True) and talk(stage, "c2", 51820, ipv6=True)
    sessions = ask(stage, "sessions")["sessions"]
    assert [(one["client"], one["family"], one["mac"]) for one in sessions] == [
        (client.address, 4, mac(client)), (client.address6, 6, mac(client)), (stage.lab.host("c2").address6, 6, mac(stage.lab.host("c2")))]
    assert ask(stage, "block", client=mac(client).upper(), protocol="wireguard")["client"] == mac(client)
    assert [one["client"] for one in ask(stage, "sessions")["sessions"]] == [stage.lab.host("c2").address6]
    assert not talk(stage, "c1", 51820) and not talk(stage, "c1", 51820, ipv6=True) and talk(stage, "c2", 51820, ipv6=True)
    states = {one["client"]: (one["state"], one["details"].get("attempts")) for one in ask(stage, "sessions")["sessions"]}
    assert states == {client.address: ("blocked", 3), client.address6: ("blocked", 3), stage.lab.host("c2").address6: ("up", None)}
    for wrong in ({"client": "laptop", "protocol": "ipsec"}, {"client": client.address, "protocol": "sstp"}, {"client": client.address}):
        assert "error" in ask(stage, "block", **wrong)


def test_the_routers_own_vpn_is_no_session(stage: Stage) -> None:
    server, router = stage.lab.host("s1"), stage.lab.router
    own, inside = router.udp(4500), router.udp(51820)
    server.udp(4500)
    own.send(b"x" * 100, server.address, 4500)
    stage.lab.host("c1").udp().send(b"x" * 100, "192.168.1.1", inside.port)
    stage.lab.pump.run(lambda: inside.inbox, 2.0)
    assert inside.inbox and ask(stage, "sessions")["sessions"] == []


@pytest.mark.parametrize("first", ["out", "back"])
def test_blocked_by_mac_while_live(stage: Stage, first: str) -> None:
    """The server goes on sending: neither its packets nor what the client would answer may pass, whoever speaks first."""
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    assert not stage.do_traffic()["c1"].lost
    assert ask(stage, "block", client=mac(stage.lab.host("c1")), protocol="ipsec")["blocked"]
    for _ in range(3):
        found = stage.do_traffic(first=first)
        assert found["c1"].delivered == 0 and not found["c2"].lost
    assert {one["client"]: one["state"] for one in ask(stage, "sessions")["sessions"]} == {
        CLIENTS["c1"]: "blocked", CLIENTS["c2"]: "up"}


def test_l2tp_of_version_3(stage: Stage) -> None:
    """Over UDP it begins with the same message as version 2, and has IDs of 32 bits; over IP it is a protocol of its own."""
    client, server = stage.lab.host("c1"), stage.lab.host("s1")
    server.udp(1701)
    avps = b"\x80\x08\x00\x00\x00\x00\x00\x01" + b"\x80\x0a\x00\x00\x00\x3d" + (0x12345678).to_bytes(4, "big")
    client.udp().send(b"\xc8\x03" + (12 + len(avps)).to_bytes(2, "big") + bytes(8) + avps, server.address, 1701)
    server.wait_for(lambda packet: packet.proto == socket.IPPROTO_UDP and avps in packet.payload)
    (one,) = ask(stage, "sessions")["sessions"]
    assert (one["protocol"], one["variant"], one["details"]["tunnel_ids"]) == ("l2tp", "L2TPv3", [0x12345678])
    client.protocol(115).send(bytes(100), stage.lab.host("s2").address)
    stage.lab.host("s2").wait_for(lambda packet: packet.proto == 115)
    assert [one["variant"] for one in ask(stage, "sessions")["sessions"]] == ["L2TPv3", "L2TPv3"]


def test_names_from_leases(stage: Stage) -> None:
    directory = stage.lab.router.config_dir
    (directory / "dhcp").write_text(f"config dnsmasq\n\toption leasefile '{directory}/leases'\n\tlist addnhosts '{directory}/hosts'\n")
    (directory / "leases").write_text(f"1 {mac(stage.lab.host('c1'))} {CLIENTS['c1']} laptop *\n")
    (directory / "hosts").write_text(f"{SERVERS['s1']} vpn.example\n")
    assert talk(stage, "c1", 51820) and talk(stage, "c1", 51820, ipv6=True)
    assert [(one["family"], one["client_name"], one["server_name"]) for one in ask(stage, "sessions")["sessions"]] == [
        (4, "laptop", "vpn.example"), (6, "laptop", "")]


def test_as_people_see_them(stage: Stage) -> None:
    """The command line lists the same, and ends what it is told to."""
    assert talk(stage, "c1", 51820) and talk(stage, "c2", 51820) and stage.do_up("c3", kind="pptp") == {"c3": "up"}
    listed = json.loads(stage.lab.router.vpnpt("sessions", "--json"))
    assert names(listed["sessions"]) == [(CLIENTS["c1"], "wireguard", "s1"), (CLIENTS["c2"], "wireguard", "s1"),
                                         (CLIENTS["c3"], "pptp", "s1")]
    victim = listed["sessions"][0]
    stage.lab.router.vpnpt("kill", victim["id"])
    assert [one["id"] for one in ask(stage, "sessions")["sessions"]] == [one["id"] for one in listed["sessions"][1:]]


def test_at_rest_nothing_wakes_the_daemon(stage: Stage) -> None:
    """With sessions up, and while others use the router for anything else."""
    def wakes() -> int:
        daemon = stage.lab.router.daemon
        assert daemon is not None
        lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    assert talk(stage, "c2", 51820)
    host, sink = stage.lab.host("c3"), stage.lab.host("s1").udp(53)
    # What was learned is copied a moment later, and once more; then there is nothing left to do.
    stage.lab.router.wait_until(lambda: (before := wakes(), stage.lab.pump.run_for(4.0), wakes() == before)[2], 60)
    before = wakes()
    for number in range(100):
        socket_ = host.udp()
        socket_.send(b"%d" % number, stage.lab.host("s1").address, 53)
        socket_.close()
        stage.lab.pump.run_for(0.1)
    stage.lab.pump.run(lambda: len(sink.inbox) == 100, 2.0)
    assert len(sink.inbox) == 100 and wakes() - before <= 1


def test_an_l2tp_tunnel_that_is_ended(stage: Stage) -> None:
    """conntrack still has its flow, in which another one may begin; when it lets it go, the session was closed."""
    stage.do_sysctl(nf_conntrack_udp_timeout=2, nf_conntrack_udp_timeout_stream=2)
    assert stage.do_up("c1", kind="l2tp") == {"c1": "up"}
    stage.do_traffic()
    assert [one["state"] for one in ask(stage, "sessions")["sessions"]] == ["up"]
    assert stage.do_end("c1", how="stop") == {"c1": "ended"}
    stage.lab.router.wait_until(lambda: [one["state"] for one in ask(stage, "sessions")["sessions"]] != ["up"])
    stage.lab.router.wait_until(lambda: not ask(stage, "sessions")["sessions"], 30)
    assert [one["reason"] for one in ask(stage, "sessions")["ended"]] == ["closed"]


def test_a_pptp_call_that_is_cleared(stage: Stage) -> None:
    assert stage.do_up("c1", kind="pptp") == {"c1": "up"}
    stage.do_traffic()
    assert stage.do_end("c1", how="reset") == {"c1": "ended"}
    stage.lab.router.wait_until(lambda: not ask(stage, "sessions")["sessions"])
    answer = ask(stage, "sessions")
    assert answer["sessions"] == [] and [one["reason"] for one in answer["ended"]] == ["closed"]


def test_made_up_flows(stage: Stage) -> None:
    """Faster than anybody can look at them: the daemon stops listening for a while, and still tells of who was there before."""
    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    stage.lab.isp.run("nft", "-f", "-", text="table ip void {\n\tchain in {\n\t\ttype filter hook prerouting priority raw; policy accept;\n"
                                             "\t\tip daddr 198.18.0.0/15 drop\n\t}\n}\n")
    sock = stage.lab.host("c2").udp()
    for number in range(6000):
        sock.send(bytes(100), f"198.18.{number >> 8}.{number & 255}", 51820)
        if not number % 100:
            stage.lab.pump.drain()
    assert stage.do_log("more flows of VPN protocols begin and end") == {"text": "found"}
    sessions = ask(stage, "sessions")["sessions"]
    assert len(sessions) == 2048 and [one["state"] for one in sessions if one["client"] == CLIENTS["c1"]] == ["up"]
    # While it does not listen it looks at a part of all flows only: c3's may not be among them yet.
    until, found = time.monotonic() + 30, []
    while found != ["up"] and time.monotonic() < until:
        assert talk(stage, "c3", 51820)
        found = [one["state"] for one in ask(stage, "sessions")["sessions"] if one["client"] == CLIENTS["c3"]]
    assert found == ["up"], "room was made"
    assert not stage.do_traffic()["c1"].lost


def test_a_protocol_that_is_switched_off(stage: Stage) -> None:
    """Its sessions become blocked ones with a count, all clients' and no other protocol's."""
    bring_up(stage)
    router = stage.lab.router
    router.write_config(CONFIG.replace("config 1 ipsec", "config 0 ipsec"))
    assert ask(stage, "reload")["applied"]
    answer = ask(stage, "sessions")
    assert names(answer["sessions"]) == [one for one in EXPECTED if one[1] != "ipsec"]
    assert [(one["protocol"], one["reason"]) for one in answer["ended"]] == [("ipsec", "blocked")] * 6
    own = [f"{client}.esp" for client in CLIENTS]
    found = stage.do_traffic(own, out=2, back=1)
    assert not any(found[name].delivered for name in own)
    sessions = ask(stage, "sessions")["sessions"]
    assert [(one["client"], one["server"], one["details"]["attempts"]) for one in sessions if one["state"] == "blocked"] == [
        (client, SERVERS["s1"], 2) for client in CLIENTS.values()]
    assert ask(stage, "status")["protocols"]["ipsec"]["blocked"] >= 6
    router.write_config(CONFIG)
    assert ask(stage, "reload")["applied"]
    found = stage.do_traffic(own)
    assert not any(found[name].lost for name in own)
    until, states = time.monotonic() + 30, set[str]()
    while states != {"up"} and time.monotonic() < until:
        assert not any(tally.lost for name, tally in stage.do_traffic(own, out=1, back=1).items() if name in own)
        states = {one["state"] for one in ask(stage, "sessions")["sessions"] if one["protocol"] == "ipsec"}
    assert states == {"up"}
