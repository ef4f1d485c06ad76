# SPDX-License-Identifier: GPL-2.0-or-later
"""What is brought over at an upgrade, once: the zones that the first versions' file named."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "files/etc/uci-defaults/50-vpnpt"
# `uci get` prints a list's values in a line; an option here is a file of that name.
UCI = """#!/bin/sh
[ "$1" = -q ] && shift
case "$1" in
get) cat "$IPKG_INSTROOT/$2" ;;
delete) rm "$IPKG_INSTROOT/$2" ;;
commit) echo "$2" >> "$IPKG_INSTROOT/committed" ;;
*) exit 9 ;;
esac
"""


def run(root: Path) -> None:
    """The script, as the package's installation runs it."""
    (root / "uci").write_text(UCI)
    (root / "uci").chmod(0o755)
    subprocess.run(["/bin/sh", str(SCRIPT)], env={"PATH": f"{root}:/usr/bin:/bin", "IPKG_INSTROOT": str(root)}, check=True,
                   stderr=subprocess.DEVNULL)


def zones(root: Path, lan: str, wan: str) -> None:
    """Writes what the configuration names."""
    (root / "vpnpt.global.lan_zone").write_text(f"{lan}\n")
    (root / "vpnpt.global.wan_zone").write_text(f"{wan}\n")


@pytest.mark.parametrize(("lan", "wan", "brought"), [
    ("lan", "wan", True), ("lan guest", "wan", False), ("lan", "wan wan2", False), ("home", "wan", False)])
def test_the_old_default_is_brought_over(tmp_path: Path, lan: str, wan: str, brought: bool) -> None:
    zones(tmp_path, lan, wan)
    run(tmp_path)
    assert (tmp_path / "vpnpt.global.lan_zone").exists() is (tmp_path / "vpnpt.global.wan_zone").exists() is not brought
    assert (tmp_path / "committed").exists() is brought


def test_once_only(tmp_path: Path) -> None:
    """Who names them after that means it, also at the next upgrade."""
    run(tmp_path)
    zones(tmp_path, "lan", "wan")
    run(tmp_path)
    assert (tmp_path / "vpnpt.global.lan_zone").exists() and not (tmp_path / "committed").exists()
