# SPDX-License-Identifier: GPL-2.0-or-later
"""Software flow offload: every scenario once more with it, and bulk traffic from either side. Skipped where the kernel has none."""
from __future__ import annotations

import dataclasses

import pytest

from tests.lab import scenario
from tests.lab.topology import Lab
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


def test_switched_on_beside_a_broken_configuration(sandbox: None) -> None:
    """The rules that keep IKE out of the flow table need nothing but the flow table: they do not wait for a configuration to be read."""
    with Lab(clients=1, servers=1, router="vpnpt", config="config 1 ipsec\n", ipv6=False) as lab:
        lab.router.write_config("config 1 ipsec\n\tlist allow_src nobody\n")
        lab.router.fw4_configure(offload=True)
        lab.router.fw4_reload()
        assert lab.router.wait_until(lambda: "keep_out" in lab.router.run("nft", "list", "table", "ip", "vpnpt").stdout, 60)
        lab.router.fw4_configure(offload=False)
        lab.router.fw4_restart()
        assert lab.router.wait_until(lambda: "never offloaded" not in lab.router.run("nft", "list", "table", "ip", "vpnpt").stdout, 60)
