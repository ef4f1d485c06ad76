# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile host of the LAN that makes up ESP and IKE to the server of its neighbours: they lose nothing, and it gets nothing for long."""
from __future__ import annotations

import signal

import pytest

from tests.attack.forge import (
    CREATE_CHILD,
    INFORMATIONAL,
    SA_INIT,
    WAN,
    Trial,
    blackhole,
    blast,
    esp,
    flood_from_lan,
    ike,
    random_cookies,
    stage,
    udp,
)
from tests.lab.host import Host
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

CONFIG = "config 1 ipsec\n"
MADE_UP = 0x0A77AC00


def chatter(lab: Lab, attacker: Host, every: float, spis: int = 1) -> None:
    """From now on: one ESP packet every so many seconds, of so many SPIs that nobody ever agreed on."""
    number = [0]

    def say() -> None:
        number[0] += 1
        attacker.send_raw(esp(attacker.address, lab.servers[0].address, MADE_UP + number[0] % spis, number[0]))
        lab.pump.after(every, say)

    say()


def listen(lab: Lab, users: Stage, name: str, seconds: float, ping: bool = False) -> tuple[int, int]:
    """The server sends to a client, which is silent or (ping) speaks first: (sent, delivered)."""
    tunnel, since = users.tunnels[name], lab.ledger.mark()
    for _ in range(round(seconds / 0.07)):
        if ping:
            tunnel.send(True, 64)
            lab.pump.run_for(0.01)
        tunnel.send(False, 64)
        lab.pump.run_for(0.06)
    lab.pump.run_for(0.2)
    found = lab.ledger.tally(since, source="s1", owner=tunnel.client.name)
    return found.sent, found.delivered


@pytest.mark.parametrize(("every", "spis", "ping"), [(0.02, 1, False), (0.02, 1, True), (0.1, 50, False)],
                         ids=["silent victim", "victim that speaks", "many SPIs"])
def test_made_up_esp_wins_nothing(sandbox: None, long: bool, every: float, spis: int, ping: bool) -> None:
    """Without having finished any exchange, while the victim rekeys."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users = stage(lab)
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        assert not users.do_traffic(out=3, back=3)["c1"].lost
        chatter(lab, lab.clients[2], every, spis)
        lab.pump.run_for(0.5)
        assert users.do_rekey("c1") == {"c1": "done"}
        sent, delivered = listen(lab, users, "c1", 20.0 if long else 2.0, ping)
        assert delivered == sent
        sent, delivered = listen(lab, users, "c2", 1.0, ping)
        assert delivered == sent


def test_a_chatterer_is_not_sent_copies_for_ever(sandbox: None, long: bool) -> None:
    """Ten seconds after a rekeying, nothing of the victim's new SA goes to who made up a stream."""
    if not long:
        pytest.skip("takes 15 seconds, wants --long: whether copies to a chatterer end was not tested")
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users = stage(lab)
        assert users.do_up("c1") == {"c1": "up"}
        chatter(lab, lab.clients[1], 0.02)
        assert users.do_rekey("c1") == {"c1": "done"}
        listen(lab, users, "c1", 10.0, True)
        since = lab.ledger.mark()
        sent, delivered = listen(lab, users, "c1", 2.0, True)
        assert delivered == sent and not lab.ledger.tally(since).copies


def test_made_up_esp_before_the_victim_begins(sandbox: None) -> None:
    """The attacker waits for an answer of that server before the victim's first tunnel with it; the victim has manual keys, or IKE."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users = stage(lab)
        chatter(lab, lab.clients[2], 0.02)
        lab.pump.run_for(0.5)
        assert users.do_up("c1") == {"c1": "up"}
        sent, delivered = listen(lab, users, "c1", 2.0)
        assert delivered == sent
        assert users.do_up("c2", kind="manual") == {"c2": "up"}
        assert users.do_traffic("c2", out=3, back=3)["c2"].lost == 0


def test_lost_notices_make_no_winner(sandbox: None) -> None:
    """What tells the daemon of a victim's new keys is lost in a flood; what tells it of made-up ESP, a moment later, is not."""
    with Lab(5, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, process = stage(lab), lab.clients[2], lab.router.daemon
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        assert not users.do_traffic(out=3, back=3)["c1"].lost
        blackhole(lab, "198.18.0.0/15")
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        for other in lab.clients[3:]:
            names = [f"192.168.1.{20 * int(other.name[1:]) + number}" for number in range(90, 110)]
            flood_from_lan(lab, other, [packet for number in range(150) for name in names for packet in (
                esp(name, "198.18.0.9", MADE_UP, 1 + number), udp(name, "198.18.0.9", 500, 500, ike(7, 8, CREATE_CHILD, 8, number)))])
        assert users.do_rekey("c1") == {"c1": "done"}
        process.send_signal(signal.SIGCONT)
        assert lab.router.wait_until(lambda: "OVERRUN" in lab.router.log_text(), 60)
        chatter(lab, attacker, 0.02)
        lab.pump.run_for(0.5)
        sent, delivered = listen(lab, users, "c1", 2.0)
        assert delivered == sent


def test_the_victim_s_own_keys_in_another_s_mouth(sandbox: None) -> None:
    """Cookie and SPIs of the victim, as if they had been overheard, from a neighbour: the victim's answers stay its own."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[2], lab.servers[0]
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        assert not users.do_traffic()["c1"].lost
        sa = users.tunnels["c1"].session.ike
        cookies = int.from_bytes(sa.icookie, "big"), int.from_bytes(sa.rcookie, "big")
        outbound = [packet.spi for packet in server.packets if packet.proto == 50]
        inbound = [packet.spi for packet in lab.clients[0].packets if packet.proto == 50]
        lies = [udp(attacker.address, server.address, 500, 500, ike(*cookies, exchange, flags, number))
                for exchange in (INFORMATIONAL, CREATE_CHILD) for flags in (8, 0x20, 0x28) for number in (2, 3, 50)]
        lies += [udp(attacker.address, server.address, 500, 500, ike(cookie)) for cookie in cookies]
        lies += [esp(attacker.address, server.address, spi, 1000 + number) for spi in outbound + inbound for number in range(3)]
        flood_from_lan(lab, attacker, lies)
        lab.pump.run_for(0.3)
        assert users.do_dpd("c1", by="server") == {"c1": "answered"} and users.do_dpd("c1") == {"c1": "answered"}
        assert not users.do_traffic(out=5, back=5)["c1"].lost
        flood_from_lan(lab, attacker, lies)
        assert users.do_rekey("c1", by="server") == {"c1": "done"}
        assert not users.do_traffic(out=5, back=5, first="back")["c1"].lost
        assert users.do_rekey("c1", what="ike") == {"c1": "done"}


@pytest.mark.parametrize("who", ["c1", "c2"])
def test_informationals_draw_no_negotiation_away(sandbox: None, who: str) -> None:
    """Who just sent an unsolicited INFORMATIONAL is likely the one whom the server calls next: a host without any SA is never that one."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[2], lab.servers[0]
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        lab.pump.run_for(0.3)
        number = random_cookies(7)
        flood_from_lan(lab, attacker, [packet for _ in range(5) for packet in (
            udp(attacker.address, server.address, 500, 500, ike(number(), number(), INFORMATIONAL, 8, 2)),
            udp(attacker.address, server.address, 500, 500, ike(number(), 0, SA_INIT, 8, 0)))])
        lab.pump.run_for(0.1)
        assert users.do_rekey(who, by="server", what="reauth") == {who: "done"}
        assert not users.do_traffic(who)[who].lost


def test_exchanges_that_no_server_answers_entitle_to_nothing(sandbox: None) -> None:
    """CREATE_CHILD_SA and quick mode under made-up cookies: announced, never finished, and a candidate for nothing that stays."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[2], lab.servers[0]
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        number = random_cookies(8)

        def announce() -> None:
            icookie, rcookie = number(), number()
            for exchange in (CREATE_CHILD, 35, 32):
                for flags in (8, 0x28):
                    attacker.send_raw(udp(attacker.address, server.address, 500, 500, ike(icookie, rcookie, exchange, flags, 2)))
            attacker.send_raw(esp(attacker.address, server.address, MADE_UP + (number() & 15), number() & 255))
            lab.pump.after(0.05, announce)

        announce()
        lab.pump.run_for(0.5)
        for by in ("client", "server"):
            assert users.do_rekey("c1", by=by) == {"c1": "done"}
            sent, delivered = listen(lab, users, "c1", 1.5)
            assert delivered == sent


def test_a_server_s_answer_to_the_attacker_is_not_the_victim_s_loss(sandbox: None) -> None:
    """The accomplice is the victim's own server's other user: it answers the attacker with the SPIs that the victim has."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[2], lab.servers[0]
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        assert not users.do_traffic()["c1"].lost
        inbound = sorted({packet.spi for packet in lab.clients[0].packets if packet.proto == 50})
        chatter(lab, attacker, 0.05)
        lab.pump.run_for(0.3)
        # Off-path: anybody who can send under the server's name.
        blast(lab.isp, [esp(server.address, WAN, spi, sequence) for spi in inbound for sequence in (1, 1, 2, 1)], lab.router, "wan")
        trial = Trial(lab)
        lab.pump.run_for(0.3)
        assert not users.do_traffic(out=5, back=10)["c1"].lost
        assert not [item for item in trial.reached() if item[1] == "c3"]
