# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor: every code is provoked for real, in a scenario of its own, and is silent in all others; the run ends with the table.

What stands for something that can't be had in a namespace says so in its title: the release is a file that only the daemon sees, the old
kernel is Linux's own personality for programs that can't stand a new one, and the missing helper is a program in nft's place.
"""
from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab import scenario
from tests.lab.diagnoses import DIAGNOSES
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from vpnpt.doctor.codes import CODES

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = sorted((scenario.DIRECTORY / "doctor").glob("*.yaml"))
FLOWTABLE = "table ip probe {\n\tflowtable probe {\n\t\thook ingress priority 0\n\t\tdevices = { lo }\n\t}\n}\n"
WITHOUT = {"FLOW_OFFLOAD": "it has no flow tables", "KERNEL_FEATURE": "it has all that is asked for"}


def missing_need(item: scenario.Scenario) -> bool:
    """Does the kernel have what the scenario must do without, or the other way round?"""
    done = subprocess.run(["unshare", "-n", "nft", "-c", "-f", "-"], input=FLOWTABLE, text=True, capture_output=True, check=False)
    return bool(item.needs) and (done.returncode == 0) != (item.needs == "flow tables")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_code(sandbox: None, path: Path) -> None:
    item = scenario.load(path)
    if missing_need(item):
        DIAGNOSES.left_out[path.stem] = WITHOUT[path.stem]
        pytest.skip(f"this kernel lacks {item.needs}: the finding was not provoked")
    outcome = scenario.run(item, "vpnpt")
    DIAGNOSES.add(list(CODES), outcome.diagnoses)
    assert outcome.diagnoses, "the doctor was not asked"
    if outcome.failures:
        pytest.fail(str(outcome), pytrace=False)


def test_every_code_has_a_scenario_that_provokes_it() -> None:
    """By the files, so that it holds also where only some of them ran. Those of one code bear its name."""
    wanted = set()
    for path in SCENARIOS:
        steps = scenario.load(path).steps
        for arguments in (step["doctor"] for step in steps if "doctor" in step):
            wanted |= set(arguments if isinstance(arguments, list) else arguments["find"])
        assert path.stem in CODES or path.stem in ("CLEAN", "UNANSWERED", "FORGOTTEN")
    assert wanted == set(CODES)


def test_it_sends_nothing_to_anybody(sandbox: None) -> None:
    """Neither to the outside nor into the LAN: whoever is ill would else be examined over a way that may be watched."""
    with Lab(clients=2, servers=1, router="vpnpt", config="config 1 ipsec\nconfig 1 pptp\n", ipv6=False) as lab:
        # Without IPv6, whose hosts talk about themselves now and then.
        lab.isp.capture(ipv6=False)
        assert Stage(lab, {}, {}, str).do_up("c1..c2") == {"c1": "up", "c2": "up"}
        hosts = [lab.isp, *lab.servers, *lab.clients]
        lab.barrier(lab.clients[0], lab.servers[0])
        before = [len(host.packets) for host in hosts]
        assert lab.router.ask(method="doctor")["checked"]
        lab.pump.drain()
        assert not [packet for host, count in zip(hosts, before, strict=True) for packet in host.packets[count:]]
        lab.barrier(lab.clients[0], lab.servers[0])
        assert [len(host.packets) for host in hosts] != before, "it would have been seen"
