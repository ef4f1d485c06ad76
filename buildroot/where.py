# SPDX-License-Identifier: GPL-2.0-or-later
"""Which line of our sources is it that a traceback of a router names? strip.py leaves lines out.

usage: python3 -m buildroot.where FILE LINE

FILE: below src/vpnpt, of the same revision as the package. LINE: as the traceback has it. Prints file, line and what stands there.
"""
from __future__ import annotations

import sys
from pathlib import Path

from buildroot.strip import kept, stripped

SOURCES = Path(__file__).parent.parent / "src" / "vpnpt"


def main(name: str, line: str) -> None:
    """Raises SystemExit when there is no such file or line."""
    path = SOURCES / name
    if not path.is_file() or not line.isdecimal():
        raise SystemExit(f"where.py: a file below {SOURCES} and a number, not {name} {line}")
    text = path.read_text()
    rows = kept(stripped(text, shorten=False))
    if not 0 < int(line) <= len(rows):
        raise SystemExit(f"where.py: {name} has {len(rows)} lines on a router, no line {line}")
    row = rows[int(line) - 1]
    print(f"src/vpnpt/{name}:{row}: {text.splitlines()[row - 1].strip()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
