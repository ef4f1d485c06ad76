# SPDX-License-Identifier: GPL-2.0-or-later
"""A plugin of pytest for slow machines: a failure, and what took long, is shown when it happens, because a run that is stopped later shows
nothing else."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

LONG = 15.0
"""Seconds."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called by pytest after each part of a test."""
    if report.duration > LONG:
        print(f"\n{report.nodeid}: {report.when} {report.duration:.0f} s", flush=True)
    if report.failed:
        print(f"\nFAILED {report.nodeid}\n{report.longreprtext[-2500:]}", flush=True)
