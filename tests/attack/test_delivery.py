# SPDX-License-Identifier: GPL-2.0-or-later
"""What a server that a client uses may send: no more than on a stock router, but ESP, and UDP 500 to 500. Nobody else: nothing.

Five clients speak to a server each, each in another way; then the servers send whatever they can think of.
"""
from __future__ import annotations

import pytest

from tests.attack.forge import (
    AH,
    ESP,
    GRE,
    ICMP,
    L2TP_IP,
    SCTP,
    UDP,
    WAN,
    Trial,
    esp,
    ike,
    ip,
    l2tp,
    stage,
    tcp,
    udp,
)
from tests.lab.packets import fragments
from tests.lab.topology import Lab

CONFIG = "config 1 ipsec\nconfig 1 l2tp\nconfig 1 pptp\n"
SPOKE = ("ike", "quic", "esp", "nat-t", "l2tp")
"""What client n has sent to server n."""
PORTS = (53, 161, 500, 1701, 1900, 4500, 5060, 5353, 51000, 51234)
FROM = (500, 4500, 1701, 4444)
COOKIE, SPI = 0x1122334455667788, 0x0A0B0C0D


def speak(lab: Lab) -> None:
    """Each client's one packet to its server, which has not answered yet."""
    for client, server, what in zip(lab.clients, lab.servers, SPOKE, strict=False):
        pair = client.address, server.address
        client.send_raw({
            "ike": lambda pair=pair: udp(*pair, 500, 500, ike(COOKIE)),
            # Not IKE, though to its port: any program's, or a web page's by QUIC (Alt-Svc: h3=":500").
            "quic": lambda pair=pair: udp(*pair, 51234, 500, b"Q" * 40),
            "esp": lambda pair=pair: esp(*pair, SPI),
            "nat-t": lambda pair=pair: udp(*pair, 4500, 4500, bytes(4) + ike(COOKIE)),
            "l2tp": lambda pair=pair: udp(*pair, 51701, 1701, l2tp(1, assigned=77)),
        }[what]())
    lab.pump.run_for(0.2)


def unsolicited(trial: Trial) -> set[tuple[str, str]]:
    """Every server, from several ports, to many: plain bytes, IKE and L2TP by turns."""
    servers = trial.lab.servers
    for what, server in zip(SPOKE, servers, strict=False):
        for sport in FROM:
            for dport in PORTS:
                trial.send(f"after {what}: {sport}>{dport}", server, udp(server.address, WAN, sport, dport, trial.token()))
        trial.send(f"after {what}: IKE 500>500", server, udp(server.address, WAN, 500, 500, ike(COOKIE ^ 1, data=trial.token())))
        trial.send(f"after {what}: IKE 500>53", server, udp(server.address, WAN, 500, 53, ike(COOKIE, data=trial.token())))
        trial.send(f"after {what}: SCCRP 4444>53", server,
                   udp(server.address, WAN, 4444, 53, l2tp(2, tunnel=77, assigned=9, data=trial.token())))
        trial.send(f"after {what}: ESP", server, esp(server.address, WAN, SPI + 1, data=trial.token()))
    return trial.reached()


def is_due(label: str) -> bool:
    """What a server may send first to its client, though stock keeps it out."""
    after, _, what = label.partition(": ")
    return {"after ike": what in ("500>500", "IKE 500>500", "ESP"), "after esp": what in ("IKE 500>500", "ESP"),
            # RFC 2661 8.1: the answer to a request may come from another port, to the port that asked.
            "after l2tp": False}.get(after, False)


def test_only_keys_open_the_way(sandbox: None) -> None:
    found = {}
    for mode in ("stock", "vpnpt"):
        with Lab(5, 5, mode, CONFIG, ipv6=False) as lab:
            speak(lab)
            found[mode] = unsolicited(Trial(lab))
    new = {item for item in found["vpnpt"] - found["stock"] if not is_due(item[0])}
    assert not new
    owners = {f"after {what}": f"c{number}" for number, what in enumerate(SPOKE, 1)}
    assert not {item for item in found["vpnpt"] if item[1] != owners[item[0].partition(": ")[0]]}, "nobody but the one who spoke"


def test_fragments_open_nothing_more(sandbox: None) -> None:
    """The same in pieces, and in pieces that never end."""
    found = {}
    for mode in ("stock", "vpnpt"):
        with Lab(2, 1, mode, CONFIG, ipv6=False) as lab:
            client, server = lab.clients[0], lab.servers[0]
            client.send_raw(udp(client.address, server.address, 500, 500, ike(COOKIE)))
            client.send_raw(esp(client.address, server.address, SPI))
            lab.pump.run_for(0.2)
            trial = Trial(lab)
            for dport in (53, 1900, 5353):
                first, *rest = fragments(udp(server.address, WAN, 500, dport, bytes(1200) + trial.token() * 5), 700)
                trial.send(f"500>{dport} in pieces", server, first)
                for piece in rest:
                    server.send_raw(piece)
            datagram = udp(server.address, WAN, 500, 53, trial.token() * 2)[20:]
            trial.send("a first piece alone", server, ip(server.address, WAN, UDP, datagram, 77, fragment=0x2000))
            trial.send("a last piece alone", server, ip(server.address, WAN, UDP, trial.token() * 2, 78, fragment=20))
            trial.send("a piece of ESP alone", server, ip(server.address, WAN, ESP, trial.token() * 2, 79, fragment=20))
            found[mode] = trial.reached()
    assert not found["vpnpt"] - found["stock"]


def others(trial: Trial) -> set[tuple[str, str]]:
    """Protocols that are none of the client's, from its server, and the right ones from another host."""
    server, other = trial.lab.servers[:2]
    for name, proto in (("gre", GRE), ("ah", AH), ("ipip", 4), ("6in4", 41), ("l2tp over ip", L2TP_IP), ("sctp", SCTP), ("0", 0),
                        ("255", 255), ("icmp echo", ICMP)):
        head = b"\x08\0\0\0\0\1\0\1" if proto == ICMP else bytes(8)
        trial.send(f"server: {name}", server, ip(server.address, WAN, proto, head + trial.token()))
    for sport in (500, 1701, 1723, 4500, 443):
        for dport in (22, 80, 443, 1723, 4500, 500):
            trial.send(f"server: tcp {sport}>{dport}", server, tcp(server.address, WAN, sport, dport, 2, trial.token()))
    trial.send("stranger: IKE of the known cookie", other, udp(other.address, WAN, 500, 500, ike(COOKIE, 5, data=trial.token())))
    trial.send("stranger: new IKE", other, udp(other.address, WAN, 500, 500, ike(COOKIE + 9, data=trial.token())))
    for spi in (SPI, SPI + 1):
        trial.send(f"stranger: ESP {spi:#x}", other, esp(other.address, WAN, spi, data=trial.token()))
    trial.send("stranger: SCCRP", other, udp(other.address, WAN, 1701, 51701, l2tp(2, tunnel=77, assigned=9, data=trial.token())))
    for dport in PORTS:
        trial.send(f"stranger: 500>{dport}", other, udp(other.address, WAN, 500, dport, trial.token()))
    return trial.reached()


def test_other_protocols_and_other_hosts(sandbox: None) -> None:
    found = {}
    for mode in ("stock", "vpnpt"):
        with Lab(2, 2, mode, CONFIG, ipv6=False) as lab:
            client, server = lab.clients[0], lab.servers[0]
            assert stage(lab).do_up("c1") == {"c1": "up"}
            client.send_raw(udp(client.address, server.address, 500, 500, ike(COOKIE)))
            client.send_raw(esp(client.address, server.address, SPI))
            client.send_raw(udp(client.address, server.address, 51701, 1701, l2tp(1, assigned=77)))
            lab.pump.run_for(0.2)
            found[mode] = others(Trial(lab))
    assert not found["vpnpt"] - found["stock"]


@pytest.mark.parametrize("chain", ["forward", "forward_wan"])
def test_a_drop_rule_of_the_user_holds(sandbox: None, chain: str) -> None:
    """What conntrack does not know passes the user's own rules before ours, and the neighbour loses nothing. Copies: docs/LIMITS.md."""
    with Lab(2, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        users = stage(lab)
        assert users.do_up("c1") == {"c1": "up"} and users.do_up("c2", to="s2") == {"c2": "up"}
        assert not users.do_traffic()["c1"].lost
        server, victim = lab.servers[1], lab.clients[1]
        lab.router.nft(f"insert rule inet fw4 {chain} ip saddr {server.address} ip daddr {victim.address} drop\n")
        lab.router.conntrack_flush()
        trial = Trial(lab)
        for number in range(5):
            trial.send("ESP of no known SPI", server, esp(server.address, WAN, SPI + number, data=trial.token()))
            trial.send("IKE of no known cookie", server, udp(server.address, WAN, 500, 500, ike(COOKIE + number, data=trial.token())))
        seen = len(victim.packets)
        users.tunnels["c2"].send(False, 64)
        assert not trial.reached()
        assert not users.do_traffic("c1")["c1"].lost
        assert not any(packet.proto == ESP for packet in victim.packets[seen:])


def test_a_drop_rule_that_is_added_later_stops_copies(sandbox: None) -> None:
    """For a pair of a contended server that fw4 has let talk until then: what nobody knows is copied to others only."""
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users = stage(lab)
        assert users.do_up("c1..c2") == {"c1": "up", "c2": "up"}
        assert not users.do_traffic()["c1"].lost
        server, victim = lab.servers[0], lab.clients[1]
        lab.router.nft(f"insert rule inet fw4 forward ip saddr {server.address} ip daddr {victim.address} drop\n")
        trial = Trial(lab)
        for number in range(5):
            trial.send("ESP of no known SPI", server, esp(server.address, WAN, SPI + number, data=trial.token()))
            trial.send("IKE of no known cookie", server, udp(server.address, WAN, 500, 500, ike(COOKIE + number, data=trial.token())))
        assert not {item for item in trial.reached() if item[1] == "c2"}
        found = users.do_traffic()
        assert not found["c1"].lost and found["c2.back"].delivered == 0


@pytest.mark.parametrize("rule", ["ip saddr {client} ip daddr {server} drop", "ip saddr {client} meta l4proto esp drop"])
def test_who_may_not_talk_is_sent_no_copies(sandbox: None, rule: str) -> None:
    """fw4 lets nothing of c2 out to that server (or no ESP), so it is no candidate for what the server sends."""
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, server, barred = stage(lab), lab.servers[0], lab.clients[1]
        lab.router.nft(f"insert rule inet fw4 forward {rule.format(client=barred.address, server=server.address)}\n")
        assert users.do_up("c1") == {"c1": "up"}
        for number in range(3):
            barred.send_raw(esp(barred.address, server.address, SPI + number))
        if "esp" not in rule:
            barred.send_raw(udp(barred.address, server.address, 500, 500, ike(COOKIE)))
        lab.pump.run_for(0.3)
        assert users.do_rekey("c1") == {"c1": "done"}
        trial = Trial(lab)
        for number in range(5):
            trial.send("ESP", server, esp(server.address, WAN, SPI + 99 + number, data=trial.token()))
        trial.reached()
        found = users.do_traffic("c1")
        assert not found["c1"].lost
        assert not {item for item in trial.reached() if item[1] == "c2"}
        assert not any(packet.proto == ESP for packet in barred.packets), "nothing of c1's either"
