# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.vm.peers`: real VPN programs, three clients at once with one server, on a stock router and on vpnpt.

It needs root, a kernel with ESP, PPP and L2TP, and the programs: `tests/vm/peers/run` sees to that, in the virtual machine.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from tests.lab.sandbox import enter_sandbox
from tests.vm.peers import phases, table
from tests.vm.peers.beside import BesideRouter
from tests.vm.peers.bystanders import OpenVpn, WireGuard
from tests.vm.peers.l2tp_ipsec import L2tpIpsec
from tests.vm.peers.libreswan import Ikev1, Ikev2
from tests.vm.peers.manual import Manual, Manual50
from tests.vm.peers.ppp import L2tp, Pptp
from tests.vm.peers.site import CONFIG, Site
from tests.vm.peers.strongswan import StrongSwan

if TYPE_CHECKING:
    from tests.vm.peers.peer import Peer

PEERS: dict[str, type[Peer]] = {
    "manual": Manual, "ikev1": Ikev1, "ikev2": Ikev2, "pptp": Pptp, "l2tp": L2tp, "l2tp-ipsec": L2tpIpsec, "natt": StrongSwan,
    "router": BesideRouter, "openvpn": OpenVpn, "wireguard": WireGuard, "manual50": Manual50}
SHORT = ["manual", "ikev1", "ikev2", "pptp", "l2tp"]
RESULT = "/run/vm/peers.json"


def version(peer: type[Peer]) -> str:
    """Of the program, as it says itself."""
    argv, pattern = peer.program
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"


def run_one(peer: type[Peer], where: str, asked: argparse.Namespace, say: Any, config: dict[str, Any] | None = None) -> list[phases.Row]:
    """The phases of a peer: 'stock', 'vpnpt', or 'alone' (on a stock router). Prints everybody's logs if something was lost on vpnpt."""
    with Site("vpnpt" if where == "vpnpt" else "stock", 1 if where == "alone" else peer.clients, config) as site:
        rows: list[phases.Row] = []

        def told(line: str) -> None:
            say(line)
            if config and where == "vpnpt" and site.lab.router.daemon:
                say(f"  {site.lab.router.ask(method='status')['esp_offload']['text']}")

        try:
            phases.run(phases.Run(site, peer(site), told, rows, where == "alone", asked.only, asked.transfer), asked.short)
        except (RuntimeError, OSError):
            rows.append(phases.Row("the rest", {}, "could not be measured"))
            traceback.print_exc(file=sys.stdout)
        if where == "vpnpt" and any(table.bad({"what": row.what, "runs": {"vpnpt": phases.shown(row)}}) for row in rows):
            print(site.logs(), flush=True)
    return rows


def main() -> int:
    """Exit status 0 when no client lost anything on vpnpt but what its own program loses."""
    parser = argparse.ArgumentParser(prog="make test-vm", description="Real VPN programs behind a stock router and behind vpnpt.")
    parser.add_argument("--short", action="store_true", help=f"only {' and '.join(SHORT)}, and only how they begin and rekey")
    parser.add_argument("--peers", default="", help=f"which, of {','.join(PEERS)} (default: all)")
    parser.add_argument("--runs", default="", help="which, of alone,stock,vpnpt (default: all; with --short stock,vpnpt)")
    parser.add_argument("--only", default="", help="phases whose name contains this, and the first one")
    parser.add_argument("--transfer", type=int, default=phases.TRANSFER, help="seconds of each transfer (default: %(default)s)")
    parser.add_argument("--esp-offload", action="store_true", help="with ESP's short way on")
    arguments = parser.parse_args()
    config = {**CONFIG, "ipsec": {"esp_offload": 1}} if arguments.esp_offload else None
    names = [name for name in arguments.peers.split(",") if name] or (SHORT if arguments.short else list(PEERS))
    runs = [name for name in arguments.runs.split(",") if name] or (["stock", "vpnpt"] if arguments.short else list(table.RUNS))
    if set(names) - set(PEERS) or set(runs) - set(table.RUNS):
        parser.error(f"peers are {', '.join(PEERS)}; runs are {', '.join(table.RUNS)}")
    # The sandbox hides /run, so the result's file is opened before.
    result = open(RESULT if os.path.isdir(os.path.dirname(RESULT)) else os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    modules = {module for name in names for module in PEERS[name].modules}
    subprocess.run(["modprobe", "-a", *modules], check=False)
    data: dict[str, Any] = {"date": int(time.time()), "kernel": platform.release(), "short": arguments.short,
                            "versions": {PEERS[name].title: version(PEERS[name]) for name in names}, "rows": []}
    enter_sandbox()
    began = time.monotonic()
    for name in names:
        peer = PEERS[name]
        rows: dict[str, dict[str, Any]] = {}
        for where in runs:
            if where == "alone" and (not peer.can_rekey or peer.clients > phases.SEVERAL):
                continue  # it loses nothing, or another peer has shown it
            print(f"\n{time.monotonic() - began:5.0f} s  {peer.title}: {where}", flush=True)
            for row in run_one(peer, where, arguments, lambda line: print(f"  {line}", flush=True), config):
                rows.setdefault(row.what, {"peer": peer.title, "what": row.what, "runs": {}})["runs"][where] = phases.shown(row)
        data["rows"] += rows.values()
        result.seek(0)
        result.truncate()
        json.dump(data, result, indent=1)
        result.flush()
    print(table.plain(data))
    wrong = [f"{row['peer']}, {row['what'].strip()}: {', '.join(table.bad(row))}" for row in data["rows"] if table.bad(row)]
    print(f"\nanswered/sent of c1 c2 c3; Linux {data['kernel']}; {time.monotonic() - began:.0f} s")
    print("\n".join(["Lost behind vpnpt:", *wrong]) if wrong else "Behind vpnpt nothing was lost but what the programs lose by themselves.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
