# SPDX-License-Identifier: GPL-2.0-or-later
"""`make fuzz ARGS="--minutes 60 [--seed N] [TARGET ...]"`: fuzzes for a time, each target a share; ends with 1 if anything was found."""
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.engine import fuzz
from tests.fuzz.targets import targets
from tests.lab.sandbox import enter_sandbox


def main() -> int:
    parser = argparse.ArgumentParser(description="mutation fuzzing, led by coverage")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed gives the same inputs; printed")
    parser.add_argument("--findings", type=Path, help="a folder for the inputs that were found")
    parser.add_argument("target", nargs="*", help="only these")
    arguments = parser.parse_args()
    enter_sandbox()
    chosen = [target for target in targets() if not arguments.target or target.name in arguments.target]
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes for {', '.join(target.name for target in chosen)}", flush=True)
    found = 0
    for target in chosen:
        until = time.monotonic() + arguments.minutes * 60 / len(chosen)
        result = fuzz(target, arguments.seed, lambda _runs, until=until: time.monotonic() >= until)
        print(result, flush=True)
        for number, finding in enumerate(result.findings):
            found += 1
            print(finding, flush=True)
            if arguments.findings:
                arguments.findings.mkdir(parents=True, exist_ok=True)
                (arguments.findings / f"{target.name}-{number}").write_bytes(finding.data)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
