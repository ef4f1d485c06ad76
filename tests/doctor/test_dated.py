# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of facts that change by themselves: not older than a year, and complete."""
from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from vpnpt.doctor import dated

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("src", "files", "package", "luci-app", "docs", "README.md")
TEXTS = {".py", ".js", ".md", ".sh", ".json", ".yaml", ""}
PACKAGE = re.compile(r"kmod-[a-z0-9-]*[a-z0-9]")
MOST_DAYS = 365


def test_somebody_has_looked_within_a_year() -> None:
    age = (date.today() - date.fromisoformat(dated.CHECKED)).days
    assert age <= MOST_DAYS, (f"src/vpnpt/doctor/dated.py was compared with its sources {age} days ago: look at {dated.ENDED_SOURCE}, "
                              f"{dated.ENDED_DATES} and {dated.NETFILTER_MK}, put right what has changed, and set CHECKED")


def named() -> dict[str, set[str]]:
    """The kernel packages that are named anywhere, with the files."""
    found: dict[str, set[str]] = {}
    for place in PLACES:
        for path in [ROOT / place, *(ROOT / place).rglob("*")]:
            if path.is_file() and path.suffix in TEXTS and path.name != "dated.py":
                for package in PACKAGE.findall(path.read_text(errors="replace")):
                    found.setdefault(package, set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_package_that_is_named_is_in_the_table() -> None:
    found = named()
    assert {package: files for package, files in found.items() if package not in dated.PACKAGES} == {}
    assert set(dated.PACKAGES) - set(found) == set(), "no longer named by anybody"


def test_each_has_a_source() -> None:
    assert dated.ENDED_SOURCE.startswith("https://") and all(source.startswith("https://") for _, _, source in dated.PACKAGES.values())
