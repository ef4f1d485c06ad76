"""Every scenario on every router that it names."""
from __future__ import annotations

import pytest

from tests.lab import scenario

CASES = [pytest.param(item, router, id=f"{item.path.stem}-{router}") for item in scenario.find() for router in item.routers]


@pytest.mark.parametrize(("item", "router"), CASES)
def test_scenario(sandbox: None, item: scenario.Scenario, router: str) -> None:
    outcome = scenario.run(item, router)
    if outcome.failures:
        pytest.fail(str(outcome), pytrace=False)
