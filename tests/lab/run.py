# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.lab.run [ID or FILE.yaml ...] [--router stock|vpnpt] [-v]`: scenarios, and what they saw."""
from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from tests.lab import scenario
from tests.lab.sandbox import enter_sandbox


def main() -> int:
    """Exit status 0 when all was as expected."""
    parser = argparse.ArgumentParser(description="Runs scenarios of the lab.")
    parser.add_argument("ids", nargs="*", metavar="ID", help="scenarios by their ID, or files; all without one")
    parser.add_argument("--router", help="stock, vpnpt or nft:FILE; default: each that the scenario names")
    parser.add_argument("--times", type=int, default=1, help="how often (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of what the steps shuffle, the next time one more (default 0)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each step as it goes, and the daemon's log")
    arguments = parser.parse_args()
    chosen = [item for name in arguments.ids or [""]
              for item in ([scenario.load(Path(name))] if name.endswith(".yaml") else scenario.find(name))]
    if not chosen:
        parser.error(f"no scenario {', '.join(arguments.ids)}; there are {' '.join(item.id for item in scenario.find())}")
    enter_sandbox()
    failed = 0

    def say(line: str) -> None:
        if arguments.verbose:
            print(line, flush=True)

    for item, seed in itertools.product(chosen, range(arguments.seed, arguments.seed + arguments.times)):
        for router in [arguments.router] if arguments.router else item.routers:
            outcome = scenario.run(item, router, say, seed)
            failed += bool(outcome.failures)
            if not arguments.verbose:
                print(f"{'FAILED' if outcome.failures else 'ok':7}{outcome.lines[0]}{f' (seed {seed})' if arguments.times > 1 else ''}")
                if outcome.failures:
                    print(outcome)
            elif outcome.log:
                print(outcome.log)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
