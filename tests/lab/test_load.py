# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon under load: what it costs, and what works while it can't run.

  c1 .. c64 --- br-lan [router: vpnpt] wan --- isp --- s1
"""
from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.lab import scenario
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

ROOT = Path(__file__).resolve().parents[2]
MADE_UP = 0xA77AC000


def test_clients_begin_while_the_daemon_stands_still(sandbox: None) -> None:
    """Those that begin one after the other are served by the kernel alone; afterwards the daemon catches up, and nothing is lost."""
    with Lab(64, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage = Stage(lab, {}, {}, scenario.uci)
        names = [client.name for client in lab.clients]
        os.kill(lab.router.daemon.pid, signal.SIGSTOP)
        begun = stage.do_up(names, together=True)
        assert {begun[name] for name in names} == {"up"}
        first = stage.do_traffic(who=names[:8], out=2, back=2)
        assert all(first[name].delivered == first[name].sent for name in names[:8]), "eight clients get the kernel's copies"
        os.kill(lab.router.daemon.pid, signal.SIGCONT)
        assert lab.router.ask(method="status")["in_place"]
        lab.pump.run_for(1.0)
        later = stage.do_traffic(who=names, out=2, back=2)
        assert {name: str(later[name].sent - later[name].delivered) for name in names} == dict.fromkeys(names, "0")


def test_what_was_told_while_the_daemon_stood_still_is_read_in_its_order(sandbox: None) -> None:
    """c2's first SPI is decided before c1 begins a rekey; told of the other way round, the daemon would have two to choose from."""
    with Lab(2, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage = Stage(lab, {}, {}, scenario.uci)
        stage.do_up("c1")
        stage.do_traffic("c1")
        os.kill(lab.router.daemon.pid, signal.SIGSTOP)
        stage.do_up("c2")
        stage.do_traffic("c2")
        stage.do_rekey("c1")
        os.kill(lab.router.daemon.pid, signal.SIGCONT)
        assert lab.router.ask(method="status")["in_place"]
        later = stage.do_traffic("c2", out=0, back=3)
        assert (str(later["c2"]), str(later["copies"])) == ("3/3 delivered", "0")


CHANGES = """
import sys, time
from vpnpt.daemon.lists import Lists
from vpnpt.kernel.maps import Learned
from vpnpt.kernel.netfilter import Netlink
learned, how = Learned(Netlink()), sys.argv[1]
server, wan, spi, *clients = map(bytes.fromhex, sys.argv[2:])
lists, zones = Lists(learned, time.monotonic), learned.zones()
lists.came(server, wan)
orders = (range(8), range(7, -1, -1), (7, 6, 3, 0, 1), (3, 0, 5, 7, 6))
print("begun", flush=True)
for turn in range(1_000_000):
    some = tuple(clients[number] for number in orders[turn % len(orders)])
    if how == "decision" and turn % 2:
        learned.assign(server, spi, zones[clients[7]], credit=False)
    elif how == "clients":
        learned.set_clients({server: [(client, zones[client]) for client in some]})
    else:
        lists.put((server, spi), some, spills=False)
"""


@pytest.mark.parametrize("how", ["list", "decision", "clients"])
def test_a_list_changes_while_a_packet_is_copied_by_it(sandbox: None, how: str) -> None:
    """The rules look at its places one by one, each as it is at that moment. Who stays in it, or is the owner, misses nothing."""
    with Lab(8, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage, server = Stage(lab, {}, {}, scenario.uci), lab.servers[0]
        listed = [lab.clients[number] for number in ((7,) if how == "decision" else (0, 3, 7))]
        stage.do_up("c1..c8")
        stage.do_traffic()
        lab.router.kill_vpnpt(signal.SIGKILL)
        hosts = [socket.inet_aton(host).hex() for host in (server.address, lab.router.wan_address, *(one.address for one in lab.clients))]
        hosts.insert(2, f"{MADE_UP:08x}")
        changes = lab.router.spawn(sys.executable, "-c", CHANGES, how, *hosts, anywhere=True, cwd=str(ROOT / "src"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert changes.stdout is not None and changes.stdout.readline() == b"begun\n"
        for client in listed:
            client.packets.clear()
        # What nobody has asked for is copied 2,000 times at once, and not more.
        sent = {(MADE_UP, number) for number in range(1, 1801 if how == "clients" else 5001)}
        for spi, number in sorted(sent):
            server.send_raw(made_up(server.address, lab.router.wan_address, spi, number))
            if number % 50 == 0:
                lab.pump.drain()
        lab.pump.run_for(0.2)
        assert changes.poll() is None, changes.communicate()[1].decode()
        changes.kill()
        for client in listed:
            got = {struct.unpack_from(">II", packet.payload) for packet in client.packets if packet.proto == socket.IPPROTO_ESP}
            assert not sent - got, client.name


def made_up(source: str, target: str, spi: int, sequence: int) -> bytes:
    """An ESP packet that no key belongs to."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 68, 0, 0, 64, socket.IPPROTO_ESP, 0, socket.inet_aton(source), socket.inet_aton(target))
    return head + struct.pack(">II", spi, sequence) + bytes(40)


@pytest.mark.parametrize(("every", "jitter", "spis"), [(0.02, 0.0, 1), (0.02, 1.0, 4), (0.07, 0.0, 1), (0.2, 0.0, 1), (0.5, 1.0, 1)])
@pytest.mark.parametrize("keys", ["ipsec", "manual"])
def test_who_makes_up_esp_takes_nothing_from_a_client_that_listens(sandbox: None, keys: str, every: float, jitter: float, spis: int,
                                                                   ) -> None:
    """c1 gets new keys and says nothing; c3 has no SA at all, and sends made-up ESP to c1's server."""
    with Lab(3, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage, attacker, chance = Stage(lab, {}, {}, scenario.uci), lab.clients[2], Random(1)
        for name in ("c1", "c2"):
            stage.do_up(name, kind=keys)
            stage.do_traffic(name, out=3, back=3)
        sent, going_on = 0, True

        def chatter() -> None:
            nonlocal sent
            if going_on:
                sent += 1
                attacker.send_raw(made_up(attacker.address, lab.servers[0].address, MADE_UP + sent % spis, sent))
                lab.pump.after(every * (1 + jitter * (chance.random() - 0.5)), chatter)

        chatter()
        lab.pump.run_for(1.0)
        if keys == "ipsec":
            stage.do_rekey("c1")
        mark = lab.ledger.mark()
        for _ in range(60):
            stage.tunnels["c1"].send(False, 64)
            lab.pump.run_for(0.07)
        going_on = False
        lab.pump.run(lambda: lab.ledger.tally(mark, source="s1").delivered == 60, 2.0)
        assert (lab.ledger.tally(mark, source="s1").sent, lab.ledger.tally(mark, source="s1").delivered) == (60, 60)
