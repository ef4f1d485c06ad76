# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP errors about ESP and IKE that nobody sent, or about a neighbour's: nobody gets them whom a stock router would not give them."""
from __future__ import annotations

from tests.attack.forge import ESP, ICMP, WAN, esp, ike, ip, stage, too_big, udp
from tests.lab.packets import Captured
from tests.lab.topology import Lab

CONFIG = "config 1 ipsec\n"
SPI, COOKIE = 0x3A0B0C0D, 0x3122334455667788


def errors(lab: Lab, since: dict[str, int]) -> dict[str, list[Captured]]:
    """The errors that each client got."""
    lab.pump.run_for(0.2)
    return {client.name: [Captured(0, packet.payload[8:]) for packet in client.packets[since[client.name]:]
                          if packet.proto == ICMP and packet.payload[:2] == b"\3\4"] for client in lab.clients}


def test_made_up_quotes(sandbox: None) -> None:
    """About SPIs and cookies that never were, to servers that are known and to others, from anybody."""
    counts = {}
    for mode in ("stock", "vpnpt"):
        with Lab(3, 2, mode, CONFIG, ipv6=False) as lab:
            users, server, other = stage(lab), *lab.servers
            assert users.do_up("c1") == {"c1": "up"}
            assert not users.do_traffic("c1")["c1"].lost
            lab.clients[1].send_raw(esp(lab.clients[1].address, server.address, SPI))
            since = {client.name: len(client.packets) for client in lab.clients}
            for sender in (lab.isp, other):
                for about in (other.address, "192.0.2.7", WAN):
                    for number in range(5):
                        sender.send_raw(too_big(esp(WAN, about, SPI + number), sender.address))
                        sender.send_raw(too_big(udp(WAN, about, 500, 500, ike(COOKIE + number)), sender.address))
                        sender.send_raw(too_big(ip(WAN, about, ESP, b""), sender.address))
                # Under the names of the inside.
                for inside in ("192.168.1.101", "192.168.1.102", "192.168.1.103"):
                    sender.send_raw(too_big(esp(inside, server.address, SPI), sender.address))
                    sender.send_raw(too_big(udp(inside, server.address, 500, 500, ike(COOKIE)), sender.address, WAN))
            counts[mode] = {name: len(found) for name, found in errors(lab, since).items()}
            assert not users.do_traffic("c1")["c1"].lost
    assert all(counts["vpnpt"][name] <= counts["stock"][name] for name in counts["stock"]), counts


def test_an_error_is_one_client_s(sandbox: None) -> None:
    """About an SPI that c1 uses: nobody but c1 hears of it, and it is told as if it had come to c1's own packet."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, server = stage(lab), lab.servers[0]
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        assert not users.do_traffic()["c1"].lost
        used = [packet.data for packet in server.packets if packet.proto == ESP]
        owner = {lab.ledger.entries[Captured(0, data).payload].source: data for data in used}
        for name in ("c1", "c2"):
            since = {client.name: len(client.packets) for client in lab.clients}
            lab.isp.send_raw(too_big(owner[name], lab.isp.address))
            found = errors(lab, since)
            assert {client for client, got in found.items() if got} <= {name}
            assert all(quote.src == lab.host(name).address for quote in found[name])
        assert not users.do_traffic()["c2"].lost
