# SPDX-License-Identifier: GPL-2.0-or-later
"""A plugin of pytest for slow machines: a failure is shown when it happens, because a run that is stopped later shows nothing else, and nft
has more time than on a router: an emulated machine that shares its processor was seen to need more than the 30 s after which it is killed.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vpnpt.kernel import nft

if TYPE_CHECKING:
    import pytest

nft.TIMEOUT *= float(os.environ.get("VPNPT_SLOWER", "1"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called by pytest after each part of a test."""
    if report.failed:
        print(f"\nFAILED {report.nodeid}\n{report.longreprtext[-2500:]}", flush=True)
