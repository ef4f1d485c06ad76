# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotated hex dumps: `# comment` lines and lines of hex digits; what follows a `#` on a line of hex is a comment too."""
from __future__ import annotations

from pathlib import Path

DUMPS = Path(__file__).parent / "dumps"


def read(name: str) -> bytes:
    """The bytes of dumps/NAME.dump."""
    text = (DUMPS / f"{name}.dump").read_text()
    return bytes.fromhex("".join(line.split("#", 1)[0] for line in text.splitlines()))


def names(prefix: str = "") -> list[str]:
    """The dumps that begin so, sorted."""
    found = sorted(path.stem for path in DUMPS.glob(f"{prefix}*.dump"))
    assert found, f"no dumps {prefix}*"
    return found
