#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The control of a byte order: behind a daemon that writes the rules of the other one, the demo must fail.

On a big-endian machine these are the rules without the shift in the zone's hash; on a little-endian one, those with it. Status 0: it
failed, and by what clients saw. As `control.py -m MODULE ARGUMENTS` it is the Python that the lab starts our programs with.
"""
from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

OTHER = {"little": "big", "big": "little"}


def failed(said: str) -> bool:
    """Whether the table that ends the demo is there, and IPsec, which needs the zones, fails in it for somebody behind vpnpt.

    A daemon that did not start leaves no table.
    """
    rows = [line for line in said.splitlines() if line.startswith("IPsec, plain ESP")]
    return bool(rows) and "FAILS" in [cell.split()[0] for cell in re.findall(r"(?:ok|FAILS)\b(?: \S+)?", rows[-1])][3:]


def program(module: str, arguments: list[str]) -> None:
    """Runs a module of ours with the rules of the other byte order."""
    from vpnpt.ruleset import compile_ruleset
    assert compile_ruleset.__kwdefaults__["byteorder"] == sys.byteorder
    compile_ruleset.__kwdefaults__["byteorder"] = OTHER[sys.byteorder]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


def main() -> int:
    """Exit status 0 when the demo failed as it must."""
    done = subprocess.run([sys.executable, "-m", "tests.lab.demo", "--protocols", "esp", "--clients", "3"], text=True,
                          stdout=subprocess.PIPE, env={**os.environ, "VPNPT_PYTHON": str(Path(__file__).resolve())})
    print(done.stdout)
    if done.returncode == 1 and failed(done.stdout):
        print(f"control: with the rules of a {OTHER[sys.byteorder]}-endian router the demo fails, as it must")
        return 0
    print("control: the demo did not fail as it must: nothing here depends on the byte order, or something else failed")
    return 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["-m"]:
        program(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
