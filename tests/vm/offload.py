# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.vm.offload`: software flow offload beside the tunnels of every protocol, counted.

The kernel keys an offloaded flow by its tuple without the conntrack zone, so the IKE of two clients to one server looks alike to
it, and what is in its flow table passes no rule of ours. Three clients behind fw4 with flow offload exchange many packets with
one server, begun from either side; a plain UDP flow beside them shows that offload is in force.
It needs a kernel with nf_flow_table: `tests/vm/run -- .venv/bin/python -m tests.vm.offload`.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.sandbox import enter_sandbox
from tests.lab.scenario import uci
from tests.lab.topology import Lab
from tests.lab.tunnels import IpsecTunnel
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.peers.ledger import Tally

CONFIG = {"ipsec": 1, "pptp": 1, "l2tp": 1}
CONTROL_PORT = 5000
PROBE = 'table inet probe {\n flowtable ft {\n hook ingress priority 0\n devices = { "lo" }\n }\n}\n'


def has_offload() -> bool:
    """Whether this kernel has flow tables."""
    namespaces = "-n" if os.geteuid() == 0 else "-rn"
    return subprocess.run(["unshare", namespaces, "nft", "-f", "-"], input=PROBE, text=True, capture_output=True,
                          check=False).returncode == 0


@dataclass
class Row:
    """One kind of traffic. offloaded: those of its `flows` (conntrack entries) that are in the flow table."""

    what: str
    tally: Tally
    flows: int
    offloaded: int

    def __str__(self) -> str:
        return f"{self.what:42} {self.tally!s:66} offloaded flows: {self.offloaded} of {self.flows}"


@dataclass
class Result:
    """What one run saw. expected, lingering: expectations in the kernel when the flows had begun, and two seconds after the last."""

    rows: list[Row] = field(default_factory=list)
    expected: int = 0
    lingering: int = 0


class Traffic:
    """The traffic of one run. packets: how many each client sends, and the server to it, of each kind."""

    def __init__(self, lab: Lab, packets: int, say: Callable[[str], None]) -> None:
        self.lab = lab
        self.stage = Stage(lab, {}, {}, uci)
        self.result = Result()
        self._packets = packets
        self._say = say

    def note(self, what: str, flows: str, action: Callable[[], None], kind: str) -> None:
        """Runs `action` and makes a row of its packets of one kind and of the conntrack entries with the text `flows`."""
        mark = self.lab.ledger.mark()
        action()
        for client in self.lab.clients:
            self.lab.barrier(client, self.lab.servers[0])
        entries = [line for line in self.lab.router.conntrack_list() if flows in line]
        row = Row(what, self.lab.ledger.tally(mark, kind=kind), len(entries), sum("[OFFLOAD" in line for line in entries))
        self.result.rows.append(row)
        self._say(str(row))

    def control(self) -> None:
        """Plain datagrams to and fro, each known to the ledger by what the answer carries."""
        client, server = self.lab.clients[0], self.lab.servers[0].udp(CONTROL_PORT)
        server.on_receive = lambda content, address, port: server.send(b"answer to " + content, address, port)
        socket = client.udp()
        for number in range(self._packets):
            content = b"control %d" % number
            self.lab.ledger.sent(b"answer to " + content, "udp", self.lab.servers[0].name, client.name)
            socket.send(content, self.lab.servers[0].address, CONTROL_PORT)
            self.lab.pump.drain()
        self.lab.pump.run(lambda: len(socket.inbox) >= self._packets)
        for content, _, _ in socket.inbox:
            self.lab.ledger.used(content, client.name)

    def begin(self, names: list[str], kind: str = "ipsec") -> None:
        """Brings up one tunnel for each client."""
        for name in names:
            self.stage.do("up", {"who": name, "kind": kind, "name": f"{name} {kind}"})

    def informational(self, names: list[str], by: str) -> None:
        """Exchanges of question and answer over IKE, asked by 'client' or 'server', with every client in turn."""
        for _ in range(self._packets):
            for name in names:
                tunnel = self.stage.tunnels[f"{name} ipsec"]
                if isinstance(tunnel, IpsecTunnel) and (by == "client" or tunnel.client.name in tunnel.theirs.sessions):
                    endpoint, session = tunnel.by(by)
                    endpoint.dpd(session, 200)
            self.lab.pump.drain()

    def data(self, names: list[str], kind: str) -> None:
        """Data both ways on those tunnels that are up."""
        ready = [label for name in names if self.stage.tunnels[label := f"{name} {kind}"].up()]
        self.stage.do("traffic", {"who": ready, "out": self._packets, "back": self._packets})

    def expectations(self) -> int:
        """How many conntrack expectations the router holds."""
        return len(self.lab.router.run("conntrack", "-L", "expect", check=False).stdout.splitlines())


def measure(router: str, clients: int = 3, packets: int = 50, guard: str = "",
            say: Callable[[str], None] = lambda line: None) -> Result:
    """Every protocol, with twice so many clients. guard: nft text to load after the router has started."""
    with Lab(2 * clients, 1, router, uci(CONFIG), offload=True, ipv6=False) as lab:
        traffic = Traffic(lab, packets, say)
        if guard:
            lab.router.nft(guard)
        names = [client.name for client in lab.clients[:clients]]
        others = [client.name for client in lab.clients[clients:]]
        traffic.note("UDP that is none of ours", f"dport={CONTROL_PORT} ", traffic.control, "udp")
        traffic.note("IKE: tunnels begin", "dport=500 ", lambda: traffic.begin(names), "ike")
        traffic.result.expected = traffic.expectations()
        traffic.note("IKE: the clients ask", "dport=500 ", lambda: traffic.informational(names, "client"), "ike")
        traffic.note("IKE: the server asks", "dport=500 ", lambda: traffic.informational(names, "server"), "ike")
        lab.router.conntrack_delete("-p", "udp", "--dport", "500")
        traffic.note("IKE: flows begun by the server", "sport=500 ", lambda: traffic.informational(names, "server"), "ike")
        traffic.note("ESP", "unknown  50", lambda: traffic.data(names, "ipsec"), "esp")
        traffic.begin(others, "pptp")
        traffic.note("PPTP data", "gre ", lambda: traffic.data(others, "pptp"), "gre")
        traffic.begin(others, "l2tp")
        traffic.note("L2TP data", "dport=1701 ", lambda: traffic.data(others, "l2tp"), "l2tp")
        lab.pump.run_for(2)
        traffic.result.lingering = traffic.expectations()
        return traffic.result


def measure_late(clients: int = 3, packets: int = 50, guard: str = "", say: Callable[[str], None] = lambda line: None) -> Result:
    """vpnpt starts when the IKE flow of the first client has been offloaded already; then the others begin."""
    with Lab(clients, 1, "stock", offload=True, ipv6=False) as lab:
        traffic = Traffic(lab, packets, say)
        names = [client.name for client in lab.clients]
        traffic.begin(names[:1])
        traffic.note("IKE: one client, stock", "dport=500 ", lambda: traffic.informational(names[:1], "client"), "ike")
        lab.router.start_vpnpt(uci(CONFIG))
        traffic.stage.stock = False
        if guard:
            lab.router.nft(guard)
        # The kernel takes a flow whose conntrack entry is gone out of its table once a second.
        lab.pump.run_for(1.5)
        traffic.note("IKE: vpnpt has started", "dport=500 ", lambda: traffic.informational(names[:1], "client"), "ike")
        traffic.note("IKE: the others begin", "dport=500 ", lambda: traffic.begin(names[1:]), "ike")
        traffic.note("IKE: the clients ask", "dport=500 ", lambda: traffic.informational(names, "client"), "ike")
        traffic.note("IKE: the server asks", "dport=500 ", lambda: traffic.informational(names, "server"), "ike")
        return traffic.result


def measure_switched_on(clients: int = 3, packets: int = 50, say: Callable[[str], None] = lambda line: None) -> Result:
    """Flow offload is switched on while tunnels are up behind vpnpt: `fw4 reload`, and the next packets come at once."""
    with Lab(clients, 1, "vpnpt", uci(CONFIG), ipv6=False) as lab:
        traffic = Traffic(lab, packets, say)
        names = [client.name for client in lab.clients]
        traffic.begin(names)
        lab.router.fw4_configure(offload=True)
        lab.router.fw4_reload()
        traffic.informational(names, "client")
        chain = ("nft", "list", "chain", "ip", "vpnpt", "flow_kept")
        lab.router.wait_until(lambda: "ct expectation set" in lab.router.run(*chain, check=False).stdout, 30)
        # The kernel takes a flow whose conntrack entry is gone out of its table once a second.
        lab.pump.run_for(1.5)
        for asks in ("client", "server"):
            traffic.note(f"IKE: the {asks}s ask", "dport=500 ", lambda asks=asks: traffic.informational(names, asks), "ike")
        return traffic.result


def main() -> int:
    """Exit status 0 when nothing was lost on vpnpt."""
    parser = argparse.ArgumentParser(description="Software flow offload beside VPN traffic.")
    parser.add_argument("--router", help="stock, vpnpt, late (vpnpt starts after the first flow), switched (offload is switched on behind "
                                         "vpnpt) or nft:FILE; default: all but the last")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--packets", type=int, default=50, help="of each client, and to each (default 50)")
    parser.add_argument("--guard", type=Path, help="nft commands to load when vpnpt has started")
    arguments = parser.parse_args()
    if not has_offload():
        print("this kernel has no flow tables (nf_flow_table): run it in the virtual machine, see tests/vm/run", file=sys.stderr)
        return 2
    enter_sandbox()
    guard = arguments.guard.read_text() if arguments.guard else ""
    lost = 0
    for router in [arguments.router] if arguments.router else ["stock", "vpnpt", "late", "switched"]:
        print(f"\n{router}")

        def say(line: str) -> None:
            print(f"  {line}", flush=True)

        if router == "late":
            result = measure_late(arguments.clients, arguments.packets, guard, say)
        elif router == "switched":
            result = measure_switched_on(arguments.clients, arguments.packets, say)
        else:
            result = measure(router, arguments.clients, arguments.packets, "" if router == "stock" else guard, say)
            print(f"  expectations: {result.expected} when tunnels had begun, {result.lingering} at the end")
        lost += sum(row.tally.lost for row in result.rows) if router != "stock" else 0
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
