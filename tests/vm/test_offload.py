"""Software flow offload: every scenario once more with it, and bulk traffic from either side. Skipped where the kernel has none."""
from __future__ import annotations

import dataclasses

import pytest

from tests.lab import scenario
from tests.vm.offload import has_offload, measure, measure_late, measure_switched_on

pytestmark = pytest.mark.skipif(not has_offload(), reason="this kernel has no nf_flow_table; `make test-vm-lab` runs it on one that has")

CASES = [pytest.param(item, id=item.path.stem) for item in scenario.find() if "vpnpt" in item.routers]


@pytest.mark.parametrize("item", CASES)
def test_scenario(sandbox: None, item: scenario.Scenario) -> None:
    outcome = scenario.run(dataclasses.replace(item, offload=True), "vpnpt")
    assert not outcome.failures, f"\n{outcome}"


def test_bulk(sandbox: None) -> None:
    rows = {row.what: row for row in measure("vpnpt", clients=3, packets=20).rows}
    assert rows["UDP that is none of ours"].offloaded, "offload is not in force"
    assert {what: str(row.tally) for what, row in rows.items() if row.tally.lost} == {}
    assert {what: row.offloaded for what, row in rows.items() if what.startswith("IKE") and row.offloaded} == {}


def test_begun_before(sandbox: None) -> None:
    rows = measure_late(clients=3, packets=20).rows
    assert {row.what: str(row.tally) for row in rows if row.tally.lost} == {}


def test_switched_on(sandbox: None) -> None:
    rows = measure_switched_on(clients=3, packets=20).rows
    assert {row.what: str(row.tally) for row in rows if row.tally.lost} == {}
    assert {row.what: row.offloaded for row in rows if row.offloaded} == {}
