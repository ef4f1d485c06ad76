"""`make bench`: figures beside a stock router, in one run. ARGS="--help" for options."""
from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.bench import latency, throughput
from tests.lab.sandbox import enter_sandbox

SOURCE = Path(__file__).parents[2] / "src"


def memory() -> list[str]:
    """Lines: what the daemon's modules cost, beside bare CPython."""
    def peak(code: str) -> float:
        program = f"import resource, sys; sys.path.insert(0, {str(SOURCE)!r}); {code}; " \
                  "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout) / 1024

    bare, ours = peak("pass"), peak("import vpnpt.daemon")
    return [f"memory of vpnptd's modules: {ours:.1f} MB, bare CPython {bare:.1f} MB, ratio {ours / bare:.2f}"]


def main() -> int:
    """Runs what was asked for and prints it."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=9, help="of the throughput, stock and vpnpt in each (default 9)")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each kind of packet in a round (default 0.5)")
    parser.add_argument("--keys", type=int, default=200, help="contended keys for the latency (default 200)")
    parser.add_argument("--only", choices=("throughput", "latency", "memory"), help="one part only")
    arguments = parser.parse_args()
    enter_sandbox()
    lines: list[str] = []
    if arguments.only in (None, "memory"):
        lines += memory()
    if arguments.only in (None, "latency"):
        lines += ["", *latency.table(latency.measure(arguments.keys))]
    if arguments.only in (None, "throughput"):
        lines += ["", *throughput.table(throughput.measure(arguments.rounds, arguments.seconds))]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
