# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo`: the same VPN clients behind a stock router and behind vpnpt, side by side, with real packets.

Several clients use one server at the same time, by each protocol in turn. `--stay` keeps the second lab up to look around in.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass

from tests.lab import scenario
from tests.lab.sandbox import SandboxError, enter_sandbox, is_rootless
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

CONFIG = {"pptp": 1, "l2tp": 1, "ipsec": 1}
COLUMNS = 5


@dataclass
class Protocol:
    """One row of the table. kind: of the tunnels; doing: what goes over the wire, for the progress lines."""

    title: str
    kind: str
    doing: str


PROTOCOLS = {
    "pptp": Protocol("PPTP", "pptp", "calls over TCP 1723, then PPP in GRE"),
    "l2tp": Protocol("L2TP", "l2tp", "tunnels over UDP 1701"),
    "esp": Protocol("IPsec, plain ESP", "ipsec", "sealed packets without ports"),
    "ike": Protocol("IKE source port", "ipsec", "key exchange over UDP 500"),
}
Cells = dict[str, tuple[bool, str]]


def run_protocol(stage: Stage, name: str, clients: list[str]) -> Cells:
    """Brings the tunnels of one protocol up and uses them; client: (good, what was seen)."""
    protocol = PROTOCOLS[name]
    cells = dict.fromkeys(clients, (False, "no answer"))
    labels = {}
    for client in clients:
        # One after the other, each with a little traffic, as people come to work.
        label = f"{name} {client}"
        if stage.do_up(client, name=label, kind=protocol.kind)[label] == "up":
            labels[client] = label
            stage.do_traffic(label, out=1, back=1)
    seen = (stage.do_ports if name == "ike" else stage.do_traffic)(list(labels.values())) if labels else {}
    for client, label in labels.items():
        if name == "ike":
            cells[client] = (seen[label] == 500, str(seen[label]))
        else:
            cells[client] = (not seen[label].lost, f"{seen[label].delivered}/{seen[label].sent}")
    return cells


def run_router(lab: Lab, protocols: list[str]) -> tuple[dict[str, Cells], Stage]:
    """All protocols on one router, with a line for each."""
    stage = Stage(lab, {}, {}, scenario.uci)
    clients = [client.name for client in lab.clients]
    rows = {}
    for name in protocols:
        started = time.monotonic()
        print(f"  {PROTOCOLS[name].title:17} {PROTOCOLS[name].doing} ...", end=" ", flush=True)
        rows[name] = run_protocol(stage, name, clients)
        good = sum(cell[0] for cell in rows[name].values())
        print(f"{good} of {len(clients)} ({time.monotonic() - started:.1f} s)", flush=True)
    return rows, stage


def paint(text: str, good: bool, width: int) -> str:
    """A cell, green or red on a terminal."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text.ljust(width)
    return f"\033[{32 if good else 31}m{text.ljust(width)}\033[0m"


def word(name: str, cell: tuple[bool, str]) -> str:
    """What a cell says."""
    good, seen = cell
    return seen if name == "ike" and seen.isdigit() else f"ok {seen}" if good else f"FAILS {seen}" if "/" in seen else "FAILS"


def table(before: dict[str, Cells], after: dict[str, Cells]) -> list[str]:
    """Protocol by client, before and after; for many clients, how many pass."""
    clients = list(next(iter(before.values())))
    if len(clients) > COLUMNS:
        lines = [f"{'clients that pass':20}{'stock router':16}vpnpt"]
        for name in before:
            cells = [(sum(cell[0] for cell in side[name].values()), len(clients)) for side in (before, after)]
            lines.append(f"{PROTOCOLS[name].title:20}" + "".join(paint(f"{good} of {total}", good == total, 16) for good, total in cells))
        return lines
    width = 11
    lines = [f"{'':20}{'stock router'.ljust(width * len(clients))}  vpnpt", f"{'':20}" + "  ".join(
        "".join(client.ljust(width) for client in clients) for _ in range(2))]
    for name in before:
        sides = ["".join(paint(word(name, side[name][client]), side[name][client][0], width) for client in clients)
                 for side in (before, after)]
        lines.append(f"{PROTOCOLS[name].title:20}" + "  ".join(sides))
    return lines


def stay(lab: Lab, stage: Stage) -> None:
    """Keeps the lab and its tunnels alive until Ctrl-C, and says how to look at it."""
    user = " -U --preserve-credentials" if is_rootless() else ""
    inside = f"nsenter -t {os.getpid()}{user} -m ip netns exec"
    source = os.path.abspath("src")
    print(f"""
The lab with vpnptd stays up; its tunnels carry a packet each way every second. From another terminal:
  {inside} router nft list ruleset
  {inside} router conntrack -L
  {inside} router tcpdump -ni wan
  {inside} router env PYTHONPATH={source} {sys.executable} -m vpnpt.cli status --run-dir {lab.router.run_dir}
  {inside} c1 ping 198.51.100.11      (hosts: router isp {' '.join(host.name for host in [*lab.servers, *lab.clients][:8])})
Ctrl-C ends it.""", flush=True)
    while True:
        for tunnel in stage.tunnels.values():
            if tunnel.up():
                tunnel.send(True, 64)
                tunnel.send(False, 64)
        lab.ledger.entries.clear()
        for host in lab.hosts:
            host.packets.clear()
        lab.pump.run_for(1.0)


def main() -> int:
    """Exit status 0 when everything passes behind vpnpt."""
    parser = argparse.ArgumentParser(prog="make demo", description="The same VPN clients behind a stock router and behind vpnpt.")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help=f"which of {','.join(PROTOCOLS)} (default: all)")
    parser.add_argument("--clients", type=int, default=3, metavar="N", help="how many clients (default 3)")
    parser.add_argument("--stay", action="store_true", help="keep the lab up to look around, until Ctrl-C")
    arguments = parser.parse_args()
    protocols = [name for name in arguments.protocols.split(",") if name]
    if unknown := [name for name in protocols if name not in PROTOCOLS] or not protocols:
        parser.error(f"unknown protocol {unknown}: there are {', '.join(PROTOCOLS)}")
    if not 1 <= arguments.clients <= 250:
        parser.error("--clients must be between 1 and 250")
    try:
        enter_sandbox()
    except SandboxError as error:
        print(f"vpnpt: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.clients} clients on a LAN, one router that masquerades, one VPN server: in namespaces, with real packets.\n")
    print("Behind a stock router:")
    with Lab(arguments.clients, 1) as lab:
        before, _ = run_router(lab, protocols)
    print("Behind the same router with vpnptd:")
    with Lab(arguments.clients, 1, "vpnpt", scenario.uci(CONFIG)) as lab:
        after, stage = run_router(lab, protocols)
        print("\n" + "\n".join(table(before, after)))
        print("\nn/m: so many of the packets reached the right end, half of them each way.")
        if "ike" in protocols:
            print("IKE source port: as the server saw it; old servers refuse any but 500.")
        passed = all(cell[0] for cells in after.values() for cell in cells.values())
        if arguments.stay:
            stay(lab, stage)
    return 0 if passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
