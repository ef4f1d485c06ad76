# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/SECURITY.md and these tests name each other; what is pending exists."""
from __future__ import annotations

import re
from pathlib import Path

from tests.attack.conftest import PENDING

HERE = Path(__file__).resolve().parent
TESTS = {f"{path.stem}::{name}" for path in HERE.glob("test_*.py") if path != Path(__file__).resolve()
         for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}


def promised() -> set[str]:
    """The tests that the page names; a file alone stands for all in it."""
    found: set[str] = set()
    for cell in re.findall(r"\| ([^|]*) \|$", (HERE.parents[1] / "docs" / "SECURITY.md").read_text(), re.MULTILINE):
        module = ""
        for name, test in re.findall(r"`(?:(test_\w+)\.py)?(?:::(test_\w+))?`", cell):
            module = name or module
            if module:
                found |= {f"{module}::{test}"} if test else {one for one in TESTS if one.startswith(f"{module}::")}
    return found


def test_each_promise_has_its_test_and_each_test_its_promise() -> None:
    assert promised() == TESTS


def test_what_is_pending_exists() -> None:
    assert PENDING <= TESTS
