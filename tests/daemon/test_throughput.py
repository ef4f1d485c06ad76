# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon counts what passes by the hour, and keeps it over a restart if it is to: with real packets."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.lab.sandbox import private_folder
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from vpnpt.daemon import control, throughput

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """config vpnpt 'global'
 list lan_device '{lan}'
 list wan_device '{wan}'
 option history '{history}'
"""


@pytest.fixture
def lab(sandbox: None) -> Iterator[Lab]:
    with Lab(clients=1, servers=1, ipv6=False) as lab:
        yield lab


def test_what_passes_is_counted_and_kept(lab: Lab) -> None:
    router = lab.router
    folder = private_folder("/tmp/vpnpt")
    config = CONFIG.format(lan=router.lan_device, wan=router.wan_device, history=folder / "history")
    router.start_vpnpt(config)
    ask = {"method": "throughput"}
    assert control.call(str(router.run_dir), ask) == {"hours": [], "days": []}
    stage = Stage(lab, {}, {}, str)
    stage.stock = False
    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    assert control.call(str(router.run_dir), {"method": "reload"})["applied"], "it counts then, too"
    found = control.call(str(router.run_dir), ask)
    (hour,) = found["hours"][-1:]
    assert min(hour["protocols"]["ipsec"]) > 0 and hour["clients"] == {lab.host("c1").address: hour["protocols"]["ipsec"]}
    assert found["days"][-1]["protocols"] == hour["protocols"]
    router.kill_vpnpt()
    assert json.loads((folder / f"history{throughput.ENDING}").read_bytes())["hours"] == found["hours"]
    router.start_vpnpt(config)
    again = control.call(str(router.run_dir), ask)["hours"][0]
    assert again["protocols"]["ipsec"] >= hour["protocols"]["ipsec"]


def test_what_goes_to_several_clients_is_counted(sandbox: None) -> None:
    """Nobody looks at the sessions meanwhile. Conntrack does not see it: what is for one of two that can't be told apart."""
    with Lab(clients=2, servers=1, ipv6=False) as lab:
        router = lab.router
        folder = private_folder("/tmp/vpnpt")
        router.start_vpnpt(CONFIG.format(lan=router.lan_device, wan=router.wan_device, history=folder / "history"))
        stage = Stage(lab, {}, {}, str)
        stage.stock = False
        assert stage.do_up("c1..c2", together=True) == {"c1": "up", "c2": "up"}
        assert stage.do_traffic(size=900, out=10, back=10)["copies"] > 0
        assert control.call(str(router.run_dir), {"method": "reload"})["applied"]
        found = control.call(str(router.run_dir), {"method": "throughput"})["hours"][-1]["clients"]
        assert min(came for came, _ in found.values()) > 10 * 900 and len(found) == 2, found


def test_a_file_of_somebody_else_is_left_alone(lab: Lab) -> None:
    router = lab.router
    folder = private_folder("/tmp/vpnpt")
    (folder / f"history{throughput.ENDING}").write_text("mine")
    router.start_vpnpt(CONFIG.format(lan=router.lan_device, wan=router.wan_device, history=folder / "history"))
    router.kill_vpnpt()
    assert (folder / f"history{throughput.ENDING}").read_text() == "mine"
