# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP: what a server may send from another port (RFC 2661 section 8.1) is the answer to a request, to the port that asked, while it waits.

And nobody ends or moves a tunnel that a stock router would have kept.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.attack.forge import WAN, Trial, blackhole, blast, flood_from_lan, l2tp, stage, udp
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.peers.l2tp import Tunnel

CONFIG = "config 1 l2tp\nconfig 1 ipsec\n"
SCCRQ, SCCRP, SCCCN, STOPCCN, HELLO, ICRQ = 1, 2, 3, 4, 6, 10


@pytest.fixture(params=[1701, 51701], ids=["from 1701", "from another port"])
def users(sandbox: None, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Two clients of one server, up and talking; c3 is the attacker, s2 a stranger."""
    with Lab(3, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        made = stage(lab, kind="l2tp", port=request.param)
        assert made.do_up("c1..c2") == {"c1": "up", "c2": "up"}
        result = made.do_traffic()
        assert not result["c1"].lost and not result["c2"].lost
        yield made


def tunnels(users: Stage) -> list[tuple[Tunnel, Tunnel]]:
    """Both ends of c1's and of c2's."""
    return [(users.tunnels[name].tunnel, users.tunnels[name].theirs.tunnel_from(name)) for name in ("c1", "c2")]


def alive(users: Stage) -> bool:
    """Data both ways on both tunnels, all of it."""
    result = users.do_traffic(out=3, back=3)
    return not result["c1"].lost and not result["c2"].lost


def test_a_forged_stopccn_ends_no_tunnel(users: Stage) -> None:
    """From a LAN host under its own name and under its neighbour's, from a stranger, and under the server's name.

    The tunnel IDs in the headers are wrong, so that the programs at the ends don't heed it: whoever does is the router.
    """
    lab = users.lab
    attacker, (server, stranger) = lab.clients[2], lab.servers
    for client, (ours, theirs) in zip(lab.clients, tunnels(users), strict=False):
        for assigned in (ours.tunnel_id, theirs.tunnel_id):
            stop = l2tp(STOPCCN, tunnel=0xFFFF, assigned=assigned)
            flood_from_lan(lab, attacker, [udp(attacker.address, server.address, sport, 1701, stop) for sport in (1701, 51701, 4000)])
            flood_from_lan(lab, attacker, [udp(client.address, server.address, sport, 1701, stop)
                                           for sport in (4000, 4001)])
            blast(lab.isp, [udp(stranger.address, WAN, 1701, dport, stop) for dport in (1701, 51701, theirs.port)], lab.router, "wan")
            blast(lab.isp, [udp(server.address, WAN, 4444, dport, stop) for dport in (1701, theirs.port)], lab.router, "wan")
            # The very flow's addresses and ports, as whoever sees it could send: IDs that are not the tunnel's.
            blast(lab.isp, [udp(server.address, WAN, 1701, theirs.port, stop)], lab.router, "wan")
            flood_from_lan(lab, attacker, [udp(client.address, server.address, users.tunnels[client.name].ours.socket.port, 1701, stop)])
    lab.pump.run_for(0.3)
    assert alive(users)


def test_a_stranger_or_another_port_reaches_no_client(users: Stage) -> None:
    """Long after the request: the tunnel is known to run from 1701, so nothing comes from elsewhere."""
    lab = users.lab
    trial = Trial(lab)
    for number, (ours, theirs) in enumerate(tunnels(users), 1):
        for host, what in ((lab.servers[0], "server"), (lab.servers[1], "stranger")):
            for sport in (1701, 4444, 500, 53) if what == "stranger" else (4444, 500, 53):
                # The lab's client would heed an SCCRP for its tunnel: that one has another ID.
                for kind, tunnel in ((HELLO, ours.tunnel_id), (SCCRP, ours.tunnel_id ^ 0x1111)):
                    packet = l2tp(kind, tunnel, ours.session_id, 9, trial.token())
                    trial.send(f"{what} {sport} to c{number}'s port", host, udp(host.address, WAN, sport, theirs.port, packet))
                trial.send(f"{what} {sport} to c{number}'s port, plain", host, udp(host.address, WAN, sport, theirs.port, trial.token()))
    assert not trial.reached()
    assert alive(users)


def test_a_request_opens_one_port_to_one_server(sandbox: None) -> None:
    """A client asks; before its server answers, nobody else does, and no other port of the client is reached."""
    found = {}
    for mode in ("stock", "vpnpt"):
        with Lab(2, 2, mode, CONFIG, ipv6=False) as lab:
            client, (server, stranger) = lab.clients[0], lab.servers
            client.send_raw(udp(client.address, server.address, 51701, 1701, l2tp(SCCRQ, assigned=77)))
            lab.pump.run_for(0.2)
            trial = Trial(lab)
            for dport in (53, 500, 1701, 4500, 51700, 51702):
                answer = l2tp(SCCRP, 77, 0, 9, trial.token())
                trial.send(f"server 4444>{dport}", server, udp(server.address, WAN, 4444, dport, answer))
            answer = l2tp(SCCRP, 77, 0, 9, trial.token())
            trial.send("stranger's answer", stranger, udp(stranger.address, WAN, 1701, 51701, answer))
            for sport in (4445, 4446):
                trial.send("no answer at all", server, udp(server.address, WAN, sport, 51701, trial.token()))
            found[mode] = trial.reached()
    # To 1701, as servers do that always send there: it comes to the port that asked, as the answer that it is.
    assert not found["vpnpt"] - found["stock"] - {("server 4444>1701", "c1")}


def test_requests_in_a_neighbour_s_name(users: Stage) -> None:
    """SCCRQs with the victims' tunnel IDs and ports, by the hundred: their tunnels stay where they are."""
    lab = users.lab
    attacker, server = lab.clients[2], lab.servers[0]
    lies = []
    for ours, theirs in tunnels(users):
        for source in (attacker.address, lab.clients[0].address, lab.clients[1].address):
            lies += [udp(source, server.address, sport, 1701, l2tp(SCCRQ, 0, 0, assigned, b"nobody"))
                     for sport in (1701, 51701, 3000) for assigned in (ours.tunnel_id, theirs.tunnel_id)]
            lies += [udp(source, server.address, 3001, 1701, l2tp(SCCCN, theirs.tunnel_id ^ 0x1111)),
                     udp(source, server.address, 3001, 1701, l2tp(ICRQ, theirs.tunnel_id ^ 0x1111))]
    flood_from_lan(lab, attacker, lies * 5)
    lab.pump.run_for(0.5)
    assert alive(users)
    assert users.do_up("c3", port=1702) == {"c3": "up"}
    assert alive(users) and not users.do_traffic("c3")["c3"].lost


def on_and_on(lab: Lab, send: Callable[[range], object]) -> None:
    """From now on 15,000 packets a second, as near as this machine comes to it."""
    def some(since: int) -> None:
        send(range(since, since + 1500))
        lab.pump.after(0.1, lambda: some(since + 1500))

    some(0)
    lab.pump.run_for(1.0)


@pytest.mark.parametrize("shared", [False, True], ids=["tunnel IDs of their own", "one tunnel ID"])
def test_made_up_requests_keep_nobody_from_a_tunnel(sandbox: None, *, shared: bool) -> None:
    """Requests under forged names, while a client of a server that sends to port 1701 (so that the daemon is needed) comes up."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        made = Stage(lab, {"kind": "l2tp", "port": 0, **({"tunnel_id": 7} if shared else {})}, {"to_1701": True}, str)
        attacker = lab.clients[2]
        assert made.do_up("c1") == {"c1": "up"}
        blackhole(lab, "198.18.0.0/15")
        on_and_on(lab, lambda numbers: flood_from_lan(lab, attacker, [
            udp(f"10.{number >> 8 & 255}.{number & 255}.9", "198.18.0.9", 1701, 1701, l2tp(SCCRQ, assigned=number & 0xFFFF | 1))
            for number in numbers]))
        assert made.do_up("c2") == {"c2": "up"}


def test_one_host_s_flows_are_its_own(sandbox: None) -> None:
    """Flows from ever new ports are soon as without vpnpt: they fill no table, and do not cost the router a slow path each."""
    with Lab(2, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        attacker, server = lab.clients[1], lab.servers[0]
        flood_from_lan(lab, attacker, [udp(attacker.address, server.address, 2000 + number, 1701, l2tp(SCCRQ, assigned=number + 1))
                                       for number in range(6000)])
        for name in ("l2tp_flows", "l2tp_ports", "l2tp_way", "l2tp_true"):
            kind = "map" if name == "l2tp_way" else "set"
            held = lab.router.run("nft", "list", kind, "ip", "vpnpt", name).stdout.count(" expires ")
            assert 0 < held < 3000, name
        made = stage(lab, kind="l2tp")
        assert made.do_up("c1", to="s2") == {"c1": "up"} and not made.do_traffic("c1")["c1"].lost
