# SPDX-License-Identifier: GPL-2.0-or-later
"""On a machine of the matrix: the daemon's start and memory beside bare Python's, the kernel's memory, and a slow router's life."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.attack.forge import blackhole, esp, flood_from_lan, ike, random_cookies, udp, usage
from tests.bench.crowd import Crowd
from tests.lab import scenario
from tests.lab.sandbox import enter_sandbox
from tests.lab.topology import Lab

CONFIG = {"pptp": 1, "l2tp": 1, "ipsec": 1}
CLIENTS = 50
SCANNED = 200
REST = 5.0
"""Seconds until the kernel has freed what the start of the lab and of its programs leaves behind."""


def meminfo() -> dict[str, int]:
    """kB."""
    return {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}


def resident(pid: int) -> int:
    """kB."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


def timed(tries: int, *command: str) -> float:
    """Seconds of the best of some tries."""
    best = []
    for _ in range(tries):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "src"})
        best.append(time.monotonic() - began)
    return min(best)


def busy(lab: Lab) -> None:
    """Clients that use all kinds at once, the doctor beside them, and one that sends to many addresses."""
    assert lab.router.daemon is not None
    lab.pump.run_for(REST)
    daemon, before, began = lab.router.daemon.pid, meminfo(), time.monotonic()
    crowd = Crowd(lab, CLIENTS)
    crowd.establish()
    lab.router.vpnpt("status")
    answered = time.monotonic() - began
    lab.pump.run_for(REST)
    after = meminfo()
    print(f"FIGURE|{CLIENTS} clients, {crowd.zoned()} of them with a zone: vpnptd {resident(daemon)} kB, "
          f"{after['SUnreclaim'] - before['SUnreclaim']:+} kB of slab, answered after {answered:.1f} s")
    began = time.monotonic()
    lab.router.vpnpt("doctor", check=False)
    print(f"FIGURE|vpnpt doctor: {time.monotonic() - began:.1f} s")
    blackhole(lab, "198.19.0.0/16")
    host, number = lab.clients[0], random_cookies(1)
    for turn in range(2):  # the first has to import what is needed for the first time
        spent, began = usage(daemon)[0], time.monotonic()
        targets = [f"198.19.{turn}.{n}" for n in range(SCANNED)]
        flood_from_lan(lab, host, (packet for target in targets for packet in (
            udp(host.address, target, 500, 500, ike(number())), esp(host.address, target, number() & 0xFFFFFFFF))), 100)
        lab.router.vpnpt("status")
        print(f"FIGURE|{('first', 'second')[turn]} time IKE and ESP to {SCANNED} addresses, {2 * SCANNED} packets, 100 a second: "
              f"{usage(daemon)[0] - spent:.1f} s of the daemon's CPU time, answered after {time.monotonic() - began:.1f} s")


def main() -> None:
    """Prints a line each, as docs/MACHINES.md takes them."""
    enter_sandbox()
    bare, imports = timed(3, sys.executable, "-I", "-S", "-c", "pass"), timed(3, sys.executable, "-c", "import vpnpt.daemon.loop")
    print(f"FIGURE|start: bare python {bare:.2f} s, import vpnpt.daemon.loop {imports:.2f} s")
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        print(f"FIGURE|bare python: {resident(process.pid)} kB")
        process.stdin.write(b"\n")
    before, began = meminfo(), time.monotonic()
    with Lab(3, 1, "vpnpt", scenario.uci(CONFIG)) as lab:
        print(f"FIGURE|a router with vpnptd is ready after {time.monotonic() - began:.1f} s")
        assert lab.router.daemon is not None
        after = meminfo()
        print(f"FIGURE|vpnptd: {resident(lab.router.daemon.pid)} kB; the kernel with the lab: "
              f"{after['SUnreclaim'] - before['SUnreclaim']:+} kB of slab, {after['Percpu'] - before['Percpu']:+} kB per CPU")
        busy(lab)
    print(f"FIGURE|available: {after['MemAvailable'] // 1024} of {after['MemTotal'] // 1024} MiB")


if __name__ == "__main__":
    main()
