# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: figures beside a stock router, in one run. ARGS="--help" for options."""
from __future__ import annotations

import argparse
import os
import shutil
import sys

from tests.bench import footprint, latency, report, shortway, slowpath, throughput
from tests.lab.sandbox import enter_sandbox

PARTS = ("throughput", "shortway", "slowpath", "latency", "footprint")


def main() -> int:
    """Runs what was asked for and prints it; with --write it becomes docs/MEASUREMENTS.md."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=60, help="of the throughput, stock and vpnpt in each (default 60)")
    parser.add_argument("--seconds", type=float, default=0.02, help="of CPU time for each kind of packet in a round (default 0.02)")
    parser.add_argument("--clients", default="1,100,4000", help="numbers of clients for the throughput (default 1,100,4000)")
    parser.add_argument("--keys", type=int, default=200, help="contended keys for the latency (default 200)")
    parser.add_argument("--only", choices=PARTS, help="one part only; shortway only so")
    parser.add_argument("--write", action="store_true", help="write docs/MEASUREMENTS.md and its picture (wants all parts)")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write wants all parts")
    if shutil.which("cc") is None:
        parser.error("no C compiler (cc) for the sender: apt-get install gcc libc6-dev")
    wanted = {arguments.only} if arguments.only else set(PARTS)
    enter_sandbox()
    before = os.getloadavg()[0]
    found = {int(clients): throughput.measure(int(clients), arguments.rounds, arguments.seconds)
             for clients in arguments.clients.split(",") if "throughput" in wanted}
    short = [shortway.text(shortway.measure(int(clients), arguments.rounds, arguments.seconds), int(clients))
             for clients in arguments.clients.split(",") if arguments.only == "shortway"]
    slow = {clients: slowpath.measure(clients, 15, arguments.seconds) for clients in (1, 4000) if "slowpath" in wanted}
    delays = latency.measure(arguments.keys) if "latency" in wanted else {}
    rows = footprint.measure() if "footprint" in wanted else []
    results = report.Results(found, delays, rows, (before, os.getloadavg()[0]), slow)
    print("\n\n".join(short) if short else report.text(results))
    if arguments.write:
        for path in report.write(results):
            print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
