# SPDX-License-Identifier: GPL-2.0-or-later
"""A host inside that sends under another name: nobody is opened by it, nothing is relayed, no copy leaves by a WAN device.

The attacker has an accomplice outside for each name it uses: the accomplice then sends what it can, and both routers are compared.
"""
from __future__ import annotations

import pytest

from tests.attack.forge import LAN, WAN, Trial, blast, esp, flood_from_lan, ike, l2tp, stage, udp
from tests.lab.topology import GUEST_ADDRESS, Lab

CONFIG = "config 1 ipsec\nconfig 1 l2tp\n"
COOKIE, SPI = 0x2122334455667788, 0x1A0B0C0D
NEIGHBOUR, ABSENT = "192.168.1.102", "192.168.1.77"
NAMES = (GUEST_ADDRESS, "198.51.100.30", "203.0.113.254", WAN, LAN, "192.168.1.255", "255.255.255.255", "224.0.0.5", "239.1.2.3",
         "127.0.0.1", "0.0.0.0", "203.0.113.255", "192.168.3.1", NEIGHBOUR, ABSENT, "169.254.1.1", "240.0.0.1")
PORTS = (53, 161, 500, 1701, 4500, 5353, 51701)


def accuse(lab: Lab, attacker: int, names: tuple[str, ...]) -> None:
    """The attacker speaks to one accomplice under each name."""
    host = lab.clients[attacker]
    packets = []
    for name, server in zip(names, lab.servers, strict=False):
        pair = name, server.address
        packets += [udp(*pair, 500, 500, ike(COOKIE)), udp(*pair, 4444, 500, b"x" * 40), udp(*pair, 51701, 1701, l2tp(1, assigned=77)),
                    *(esp(*pair, SPI + number, number) for number in range(3))]
    # As frames: the kernel of the attacker's own machine would not send under some of these names.
    blast(host, packets, lab.router, lab.router.guest if host.address == GUEST_ADDRESS else lab.router.lan_device)
    lab.pump.run_for(0.3)


def use(lab: Lab, names: tuple[str, ...]) -> set[tuple[str, str]]:
    """What the accomplices reach by it."""
    trial = Trial(lab)
    for name, server in zip(names, lab.servers, strict=False):
        here = server.address
        for number in (0, 1, 99):
            trial.send(f"{name}: ESP {number}", server, esp(here, WAN, SPI + number, 5, trial.token()))
        for cookie in (COOKIE, COOKIE + 1):
            trial.send(f"{name}: IKE {cookie - COOKIE}", server, udp(here, WAN, 500, 500, ike(cookie, 7, data=trial.token())))
        for dport in PORTS:
            for sport in (500, 1701, 4444):
                trial.send(f"{name}: {sport}>{dport}", server, udp(here, WAN, sport, dport, trial.token()))
        trial.send(f"{name}: SCCRP", server, udp(here, WAN, 4444, 51701, l2tp(2, tunnel=77, assigned=9, data=trial.token())))
    return trial.reached(0.6)


def is_due(item: tuple[str, str]) -> bool:
    """Under the name of a neighbour on the same wire a host can open that neighbour, as it can on any router: ESP, UDP 500 to 500, and the
    answer to an SCCRQ."""
    label, host = item
    return host == "c2" and label.startswith(f"{NEIGHBOUR}: ") and label.rpartition(": ")[2].startswith(("ESP", "IKE", "500>500", "SCCRP"))


@pytest.mark.parametrize("attacker", ["of the LAN", "guest"])
def test_another_s_name_opens_and_relays_nothing(sandbox: None, attacker: str) -> None:
    """Of a guest, a host of the Internet, the router, everybody, nobody, a neighbour."""
    names = NAMES if attacker == "of the LAN" else ("192.168.1.101", NEIGHBOUR, "198.51.100.30", WAN, LAN, "192.168.3.1", "192.168.3.255")
    found = {}
    for mode in ("stock", "vpnpt"):
        with Lab(3, 20, mode, CONFIG, ipv6=False, guest=True) as lab:
            accuse(lab, 0 if attacker == "of the LAN" else 2, names)
            found[mode] = use(lab, names)
    assert not {item for item in found["vpnpt"] - found["stock"] if not is_due(item)}


def test_no_client_comes_from_the_internet(sandbox: None) -> None:
    """The provider sends under the names of LAN hosts, to servers and to the router: nobody is opened."""
    found = {}
    for mode in ("stock", "vpnpt"):
        with Lab(2, 1, mode, CONFIG, ipv6=False) as lab:
            server, packets = lab.servers[0], []
            for name in (lab.clients[0].address, NEIGHBOUR, ABSENT):
                for target in (server.address, WAN):
                    packets += [esp(name, target, SPI), udp(name, target, 500, 500, ike(COOKIE)),
                                udp(name, target, 51701, 1701, l2tp(1, assigned=77))]
            blast(lab.isp, packets, lab.router, "wan")
            lab.pump.run_for(0.3)
            found[mode] = use(lab, ("under a LAN host's name",))
    assert not found["vpnpt"] - found["stock"]


def test_no_copy_leaves_by_a_wan_device(sandbox: None) -> None:
    """A LAN host names an Internet host as another client of its neighbours' server, over and over, while they rekey."""
    with Lab(3, 2, "vpnpt", CONFIG, ipv6=False) as lab:
        server, spy = lab.servers
        users = stage(lab)
        assert users.do_up(["c1", "c2"]) == {"c1": "up", "c2": "up"}
        sequence = [0]

        def lie() -> None:
            sequence[0] += 1
            flood_from_lan(lab, lab.clients[2], [esp(spy.address, server.address, 0x5555, sequence[0]),
                                                 udp(spy.address, server.address, 500, 500, ike(COOKIE + sequence[0]))])
            lab.pump.after(0.05, lie)

        lie()
        lab.pump.run_for(0.3)
        assert users.do_rekey(["c1", "c2"]) == {"c1": "done", "c2": "done"}
        result = users.do_traffic(None, out=10, back=10)
        lab.pump.run_for(0.3)
        assert not [entry for entry in lab.ledger.entries.values() if spy.name in entry.copies]
        assert not result["c1"].lost and not result["c2"].lost


def test_a_name_of_the_internet_does_not_unsettle_its_owner(sandbox: None) -> None:
    """A LAN host sends under the server's own name to its neighbour's address outside, and to the router: the tunnel goes on."""
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        users, server, attacker = stage(lab), lab.servers[0], lab.clients[1]
        assert users.do_up("c1") == {"c1": "up"}
        session = users.tunnels["c1"].session
        spis = [int.from_bytes(packet.payload[:4], "big") for packet in lab.clients[0].packets if packet.proto == 50] or [SPI]
        cookie = int.from_bytes(session.ike.icookie, "big")
        lies = [esp(server.address, target, spi, 1000) for spi in spis for target in (WAN, LAN, lab.clients[0].address)]
        lies += [udp(server.address, target, 500, 500, ike(cookie, 9, 37)) for target in (WAN, LAN)]
        flood_from_lan(lab, attacker, lies * 3)
        lab.pump.run_for(0.2)
        assert not users.do_traffic(out=5, back=5)["c1"].lost
        assert users.do_rekey("c1") == {"c1": "done"} and users.do_dpd("c1", by="server") == {"c1": "answered"}
        assert not users.do_traffic(out=5, back=5)["c1"].lost
