# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels over a restart of the daemon, with real packets: those that were silent meanwhile, and those in which only the server speaks.

    c1, c2, c3 --- router (vpnptd) --- s1        all three have ESP with s1, each learned before
"""
from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.lab import scenario
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = scenario.uci({"ipsec": 1})
CLIENTS = ("c1", "c2", "c3")


@pytest.fixture
def stage(sandbox: None) -> Iterator[Stage]:
    """Three tunnels that are up."""
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        made = Stage(lab, {}, {}, scenario.uci)
        for client in CLIENTS:
            made.do_up(client)
            made.do_traffic(client, out=2, back=2)
        yield made


def delivered(stage: Stage, *, outbound: bool) -> dict[str, int]:
    """Of five packets of the server to each client, how many reached it. outbound: the clients speak too."""
    tunnels, lab = list(stage.tunnels.values()), stage.lab
    mark = lab.ledger.mark()
    for _ in range(5):
        for tunnel in tunnels:
            if outbound:
                tunnel.send(True, 64)
            tunnel.send(False, 64)
        lab.pump.run_for(0.05)
    lab.pump.run_for(0.3)
    return {tunnel.client.name: lab.ledger.tally(mark, source="s1", owner=tunnel.client.name).delivered for tunnel in tunnels}


ALL = dict.fromkeys(CLIENTS, 5)


@pytest.mark.parametrize("outbound", [False, True], ids=["only the server speaks", "both speak"])
@pytest.mark.parametrize("how", ["restart", "killed", "killed without tables", "restart without the maps", "restart with torn maps"])
def test_silent_tunnels_go_on(stage: Stage, how: str, outbound: bool) -> None:
    router = stage.lab.router
    assert router.daemon is not None
    if how.startswith("restart"):
        router.kill_vpnpt(signal.SIGTERM)
        assert "table ip vpnpt" not in router.run("nft", "list", "tables").stdout
        maps = router.run_dir / "maps"
        if how == "restart without the maps":
            maps.unlink()
        elif how == "restart with torn maps":
            os.truncate(maps, maps.stat().st_size // 2)
    else:
        if how == "killed without tables":
            router.daemon.send_signal(signal.SIGSTOP)
            router.run("nft", "flush", "ruleset")
            router.fw4_restart()
        router.kill_vpnpt(signal.SIGKILL)
    router.start_vpnpt(CONFIG)
    assert delivered(stage, outbound=outbound) == ALL
    assert not (router.run_dir / "maps").exists(), "used once"


def test_switched_off_and_on(stage: Stage) -> None:
    """LuCI's tick, taken away and set again."""
    router = stage.lab.router
    for enabled in (0, 1):
        router.write_config(f"config vpnpt 'global'\n\toption enabled '{enabled}'\n" + CONFIG)
        assert router.ask(method="reload")["applied"]
    assert delivered(stage, outbound=False) == ALL


def test_first_start_on_a_live_router(sandbox: None) -> None:
    """A lone client's tunnel that a stock router has carried: only its server speaks, and goes on being heard."""
    with Lab(1, 1, "stock", "", ipv6=False) as lab:
        stage = Stage(lab, {}, {}, scenario.uci)
        stage.do_up("c1")
        stage.do_traffic("c1", out=2, back=2)
        assert delivered(stage, outbound=False) == {"c1": 5}
        lab.router.start_vpnpt(CONFIG)
        assert delivered(stage, outbound=False) == {"c1": 5}
        assert delivered(stage, outbound=True) == {"c1": 5}
