# SPDX-License-Identifier: GPL-2.0-or-later
"""Scans, floods and made-up keys: they cost nobody else a packet, nobody else a zone, and the daemon little."""
from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.attack.forge import ESP, WAN, blackhole, blast, esp, flood_from_lan, ike, mac_of, random_cookies, stage, udp, usage
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = "config 1 ipsec\n"
VOID = "198.18.0.0/15"
MEMORY = 8.0
"""Megabytes that a scan may cost the daemon: twice what we promise. What it costs in time is a part of `make bench`."""


def ask(lab: Lab, **request: str) -> dict[str, object]:
    """The daemon's answer; within a minute, or it fails."""
    return lab.router.ask(**request)


def resident(lab: Lab) -> float:
    """Megabytes of the daemon."""
    assert lab.router.daemon is not None
    return usage(lab.router.daemon.pid)[1]


def test_a_scan_from_the_lan(sandbox: None, long: bool) -> None:
    """One host sends IKE and ESP to as many addresses as it can; a neighbour's tunnel lives, another's comes up, the daemon answers."""
    count = 70_000 if long else 4_000
    with Lab(3, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        blackhole(lab, VOID)
        users, attacker = stage(lab), lab.clients[2]
        assert users.do_up("c1") == {"c1": "up"}
        before = resident(lab)
        cookie = random_cookies(1)
        for part in range(2):
            targets = (f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(part * count // 2, (part + 1) * count // 2))
            flood_from_lan(lab, attacker, (packet for target in targets for packet in (
                udp(attacker.address, target, 500, 500, ike(cookie())), esp(attacker.address, target, cookie() & 0xFFFFFFFF))))
            assert not users.do_traffic("c1", out=3, back=3)["c1"].lost
            for _ in range(3):
                assert "protocols" in ask(lab, method="status"), "an answer costs little, too, however many flows there are"
        assert users.do_up("c2") == {"c2": "up"} and users.do_rekey("c1") == {"c1": "done"}
        result = users.do_traffic(out=5, back=5)
        assert not result["c1"].lost and not result["c2"].lost
        assert "protocols" in ask(lab, method="status")
        assert resident(lab) - before < MEMORY


def test_a_flood_in_one_server_s_name_costs_another_s_clients_nothing(sandbox: None, long: bool) -> None:
    """Both servers have two clients. Made-up SPIs and cookies come from the WAN as s2's, while s1's clients rekey."""
    count = 50_000 if long else 6_000
    with Lab(4, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        users, (_, named) = stage(lab), lab.servers
        assert set(users.do_up(["c1", "c2"]).values()) | set(users.do_up(["c3", "c4"], to="s2").values()) == {"up"}
        result = users.do_traffic()
        assert not any(result[name].lost for name in ("c1", "c2", "c3", "c4"))
        number, sent = random_cookies(2), [0]

        def flood(part: int) -> None:
            packets = (esp(named.address, WAN, number() & 0xFFFFFFFF | 256, 9) if n % 2 else
                       udp(named.address, WAN, 500, 500, ike(number(), exchange=34 if n % 4 else 36)) for n in range(part))
            sent[0] += blast(lab.isp, packets, lab.router, "wan")

        for _ in range(3):
            flood(count // 3)
            assert users.do_rekey(["c1", "c2"]) == {"c1": "done", "c2": "done"}
            result = users.do_traffic(["c1", "c2"], out=5, back=5)
            assert not result["c1"].lost and not result["c2"].lost
        assert users.do_dpd(["c1", "c2"], by="server") == {"c1": "answered", "c2": "answered"}
        # What is established stays so for the named server's own clients, too.
        result = users.do_traffic(["c3", "c4"], out=5, back=5)
        assert not result["c3"].lost and not result["c4"].lost


def test_a_made_up_stream_goes_to_its_server_s_clients_alone(sandbox: None) -> None:
    """One SPI that nobody agreed on, in s1's name, on and on: nothing tells it from one that its owner only listens to (docs/LIMITS.md)."""
    with Lab(4, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        users, (named, _), count, spi = stage(lab), lab.servers, 2_000, 0x0A77AC00
        assert set(users.do_up(["c1", "c2"]).values()) | set(users.do_up(["c3", "c4"], to="s2").values()) == {"up"}
        users.do_traffic()
        for part in range(2):
            sent = blast(lab.isp, (esp(named.address, WAN, spi, 2 + part * count + n) for n in range(count)), lab.router, "wan", 1_000)
            assert sent == count
            assert users.do_rekey("c1") == {"c1": "done"}
            found = users.do_traffic(out=5, back=5)
            assert not any(found[name].lost for name in ("c1", "c2", "c3", "c4"))
        got = {host.name: sum(packet.proto == ESP and packet.spi == spi for packet in host.packets) for host in lab.clients}
        assert not got["c3"] and not got["c4"], "another server's clients"
        assert 0 < max(got.values()) <= 2 * count, "of each packet one copy for each client"


def test_many_sources_take_nobody_s_place(sandbox: None, long: bool) -> None:
    """Forged sources, of the LAN's own range and of none, more than there are zones for."""
    with Lab(4, 2, "vpnpt", "config vpnpt 'global'\n\toption max_clients 64\nconfig 1 ipsec\n", ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[3], lab.servers[0]
        assert users.do_up("c1") == {"c1": "up"}
        names = [f"192.168.1.{n}" for n in range(2, 100)] + [f"10.9.{n >> 8}.{n & 255}" for n in range(20_000 if long else 2_000)]
        number = random_cookies(3)
        flood_from_lan(lab, attacker, (packet for name in names for packet in (
            esp(name, server.address, number() & 0xFFFFFFFF | 256), udp(name, server.address, 500, 500, ike(number())))))
        assert not users.do_traffic("c1", out=5, back=5)["c1"].lost, "who was there loses nothing"
        # The only client of another server is served as on a stock router at the worst.
        assert users.do_up("c2", to="s2") == {"c2": "up"}
        assert not users.do_traffic("c2", out=5, back=5)["c2"].lost
        refusals = [packet for packet in lab.clients[1].packets if packet.proto == 1 and packet.payload[:1] == b"\3"]
        assert not refusals


def jhash(data: bytes, seed: int) -> int:
    """The kernel's jhash() of 4 bytes (include/linux/jhash.h), read as a little-endian machine does."""
    mask = 0xFFFFFFFF

    def rol(value: int, by: int) -> int:
        return ((value << by) | (value >> (32 - by))) & mask

    a = b = c = (0xDEADBEEF + 4 + seed) & mask
    a = (a + int.from_bytes(data, "little")) & mask
    for x, y in ((14, 0), (11, 1), (25, 2), (16, 0), (4, 1), (14, 2), (24, 0)):
        if y == 0:
            c = ((c ^ b) - rol(b, x)) & mask
        elif y == 1:
            a = ((a ^ c) - rol(c, x)) & mask
        else:
            b = ((b ^ a) - rol(a, x)) & mask
    return c


def zone(address: str, seed: int) -> int:
    """What the rules of the first version propose for a client."""
    return (jhash(socket.inet_aton(address), seed) * 40960 >> 32) + 20480


def test_no_host_is_denied_by_chosen_addresses(sandbox: None) -> None:
    """The zones that a victim would be given are taken before it comes, as anybody can who knows the seeds."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, victim, server = stage(lab), lab.clients[0], lab.clients[1], lab.servers[0]
        wanted = {zone(victim.address, seed) for seed in range(1, 9)}
        taken: dict[int, str] = {}
        for n in range(1 << 20):
            name = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
            if (proposed := zone(name, 1)) in wanted:
                taken.setdefault(proposed, name)
                if len(taken) == len(wanted):
                    break
        number = random_cookies(4)
        flood_from_lan(lab, attacker, (udp(name, server.address, 500, 500, ike(number())) for name in taken.values()))
        lab.pump.run_for(0.2)
        assert users.do_up("c2") == {"c2": "up"} and users.do_up("c3") == {"c3": "up"}
        result = users.do_traffic()
        assert not result["c2"].lost and not result["c3"].lost


def test_seeds_are_not_the_same_everywhere(sandbox: None) -> None:
    """Read from the rules in force: no seed is one that stands in the source."""
    with Lab(1, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        seeds = re.findall(r"jhash [^\n]*? seed (0x[0-9a-f]+|\d+)", lab.router.run("nft", "list", "ruleset").stdout)
        assert not {int(seed, 0) for seed in seeds} & set(range(1, 64))


def test_one_host_s_tables_are_its_own(sandbox: None, long: bool) -> None:
    """A host fills whatever it can fill (SPIs, cookies, pairs) with one server; with the keys' table small, as on a small router."""
    count = 20_000 if long else 3_000
    with Lab(3, 2, "vpnpt", "config vpnpt 'global'\n\toption max_keys 1024\n\toption max_clients 64\nconfig 1 ipsec\n", ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[2], lab.servers[0]
        assert users.do_up("c1") == {"c1": "up"}
        number = random_cookies(5)
        flood_from_lan(lab, attacker, (esp(attacker.address, server.address, number() & 0xFFFFFFFF | 256) if n % 2 else
                                       udp(attacker.address, server.address, 500, 500, ike(number())) for n in range(count)))
        assert not users.do_traffic("c1", out=5, back=5)["c1"].lost
        assert users.do_rekey("c1") == {"c1": "done"}
        assert not users.do_traffic("c1", out=5, back=5)["c1"].lost
        assert users.do_up("c2", to="s2") == {"c2": "up"}
        assert not users.do_traffic(out=5, back=5)["c2"].lost


def lives(lab: Lab, name: str, host: str = "") -> list[int]:
    """Seconds that the elements of a map have left, with this zone (host: its client's) only."""
    found = json.loads(lab.router.run("nft", "-j", "list", "map", "ip", "vpnpt", name).stdout)["nftables"][-1]["map"].get("elem", [])
    zones = json.loads(lab.router.run("nft", "-j", "list", "map", "ip", "vpnpt", "client_zone").stdout)["nftables"][-1]["map"]["elem"]
    [zone] = [value for key, value in zones if key["elem"]["val"] == host]
    return [key["elem"]["expires"] for key, value in found if value == zone]


def test_a_patient_host_fills_no_table_for_hours(sandbox: None) -> None:
    """Its keys that no server answers live as long as conntrack would remember them; those of a tunnel live for hours."""
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, attacker, server = stage(lab), lab.clients[1], lab.servers[0]
        assert users.do_up("c1") == {"c1": "up"} and not users.do_traffic("c1", out=3, back=3)["c1"].lost
        number = random_cookies(9)
        made_up = [(number() & 0xFFFFFFFF | 256, number()) for _ in range(40)]
        for _ in range(2):  # a pair's first packet, and what follows when it is known
            flood_from_lan(lab, attacker, (packet for spi, cookie in made_up for packet in (
                esp(attacker.address, server.address, spi), udp(attacker.address, server.address, 500, 500, ike(cookie)))))
        for name in ("out_zone", "cookie_zone"):
            made, true = (lives(lab, name, client.address) for client in (attacker, lab.clients[0]))
            assert len(made) >= 40 and max(made) <= 660, name
            assert true and min(true) > 660, name


def test_made_up_answers_do_not_end_each_wait(sandbox: None) -> None:
    """A client and its accomplice outside: an exchange, an SPI, and so on. An element that is deleted and added for each packet leaves a
    dead one each time, by which all packets have to pass. So beyond the rate of new SPIs the client goes on waiting."""
    with Lab(1, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, client, server = stage(lab), lab.clients[0], lab.servers[0]
        assert users.do_up("c1") == {"c1": "up"} and not users.do_traffic("c1", out=3, back=3)["c1"].lost
        message = udp(client.address, server.address, 500, 500, ike(random_cookies(11)(), exchange=36))
        lan, router = client.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0), mac_of(lab.router, lab.router.lan_device)

        def cycles(first: int, count: int) -> None:
            def answers() -> Iterator[bytes]:
                for spi in range(first, first + count):
                    lan.sendto(message, ("eth0", 0x0800, 0, 0, router))
                    yield esp(server.address, WAN, 0x20000 + spi, 9)
            blast(lab.isp, answers(), lab.router, "wan")

        cycles(0, 500)
        waits = []
        for part in range(10):
            cycles(500 + 50 * part, 50)
            waits.append(server.address in lab.router.run("nft", "list", "set", "ip", "vpnpt", "waiting").stdout)
        lan.close()
        assert any(waits), "each of them ended the wait: 20 a second may be real, so that not every one needs to be seen"


def test_made_up_spis_pay_for_no_answer(sandbox: None) -> None:
    """A flood of SPIs in the server's name, while it has one client. Then it has two, both get new keys, and the daemon must hear that
    both wait: it once took the other for the owner of both SPIs."""
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, server = stage(lab), lab.servers[0]
        assert users.do_up("c1") == {"c1": "up"} and not users.do_traffic("c1", out=3, back=3)["c1"].lost
        number = random_cookies(7)
        blast(lab.isp, (esp(server.address, WAN, number() & 0xFFFFFFFF | 256, 9) for _ in range(3000)), lab.router, "wan")
        lab.pump.run_for(0.2)
        assert server.address not in lab.router.run("nft", "list", "set", "ip", "vpnpt", "answered").stdout
        assert users.do_up("c2") == {"c2": "up"}
        assert users.do_rekey(["c1", "c2"]) == {"c1": "done", "c2": "done"}
        result = users.do_traffic(out=5, back=5)
        assert not result["c1"].lost and not result["c2"].lost


@pytest.mark.parametrize("daemon_lives", [True, False], ids=["daemon", "kernel alone"])
def test_made_up_spis_take_no_client_s_turn(sandbox: None, *, daemon_lives: bool) -> None:
    """They come between a client's rekeying and the server's first packet: what waits for an SPI is used up, and the new SPI is copied."""
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, server = stage(lab), lab.servers[0]
        assert set(users.do_up(["c1", "c2"]).values()) == {"up"} and not users.do_traffic(out=3, back=3)["c1"].lost
        if not daemon_lives:
            lab.router.kill_vpnpt(9)
        number = random_cookies(8)
        for _ in range(3):
            assert users.do_rekey("c1") == {"c1": "done"}
            blast(lab.isp, [esp(server.address, WAN, number() & 0xFFFFFFFF | 256, 9) for _ in range(100)], lab.router, "wan")
            result = users.do_traffic(out=3, back=3, first="back")
            assert not result["c1"].lost and not result["c2"].lost


def test_a_deaf_daemon_hears_again(sandbox: None) -> None:
    """More notices than its socket holds, while it is stopped; then two tunnels to one server come up and go on."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, server = stage(lab), lab.servers[0]
        assert users.do_up("c1") == {"c1": "up"}
        process = lab.router.daemon
        assert process is not None
        process.send_signal(19)
        number = random_cookies(6)
        blast(lab.isp, (esp(server.address, WAN, number() & 0xFFFFFFFF | 256, 9) for _ in range(3000)), lab.router, "wan")
        result = users.do_traffic(out=3, back=3)
        assert not result["c1"].lost
        process.send_signal(18)
        assert users.do_up("c2") == {"c2": "up"}
        assert users.do_rekey(["c1", "c2"]) == {"c1": "done", "c2": "done"}
        result = users.do_traffic(out=5, back=5)
        assert not result["c1"].lost and not result["c2"].lost
        assert json.dumps(ask(lab, method="status"))
