# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures that several suites share; hypothesis without chance: the same examples at every run."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.golden.kernel import kernel as kernel
from tests.lab.diagnoses import DIAGNOSES
from tests.lab.sandbox import SandboxError, enter_sandbox
from vpnpt.kernel import nft

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

SLOWER = float(os.environ.get("VPNPT_SLOWER", "1"))
"""How much slower than a computer this machine may be. An emulated one sets it: nft was seen to need more than the 30 s that it has."""
nft.TIMEOUT *= SLOWER
nft.ALONE_TIMEOUT *= SLOWER

settings.register_profile("same", derandomize=True, deadline=None, max_examples=300)
settings.load_profile("same")


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Namespaces of our own for the rest of the run; skips where the kernel gives none."""
    try:
        enter_sandbox()
    except SandboxError as error:
        pytest.skip(f"nothing of this was tested, the kernel gives no namespaces: {error}")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Says how many scenarios of the lab ran, and how many went as expected."""
    counts = {outcome: sum("::test_scenario[" in report.nodeid for report in terminalreporter.stats.get(outcome, []))
              for outcome in ("passed", "failed", "skipped")}
    for line in DIAGNOSES.table():
        terminalreporter.write_line(line)
    if any(counts.values()):
        terminalreporter.write_line("lab scenarios: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count))
