# SPDX-License-Identifier: GPL-2.0-or-later
"""Every scenario on every router that it names."""
from __future__ import annotations

import pytest

from tests.lab import scenario

CASES = [pytest.param(item, router, seed, id=f"{item.path.stem}-{router}" + (f"-{seed}" if seed else ""))
         for item in scenario.find() for router in item.routers for seed in range(item.times if router == "vpnpt" else 1)]


@pytest.mark.parametrize(("item", "router", "seed"), CASES)
def test_scenario(sandbox: None, item: scenario.Scenario, router: str, seed: int) -> None:
    outcome = scenario.run(item, router, seed=seed)
    if outcome.failures:
        pytest.fail(str(outcome), pytrace=False)
