# SPDX-License-Identifier: GPL-2.0-or-later
"""Three clients of one server that come up within the same moment: what goes to all of them at first goes to its owner alone soon.

  c1 c2 c3 --- br-lan [router: vpnpt] wan --- isp --- s1

How soon is counted in packets, all of which are real; their order is drawn up by tests/lab/people.py.
"""
from __future__ import annotations

import pytest

from tests.lab import scenario
from tests.lab.people import PATIENCE, QUIET, People
from tests.lab.router import PYTHON
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from vpnpt.daemon import control

SLOW = """
import sys, time
from vpnpt.daemon.loop import main
from vpnpt.daemon.spi_driver import Tracker
handle = Tracker.on_notice
def slowly(self, notice):
    handle(self, notice)
    time.sleep(0.03)
Tracker.on_notice = slowly
sys.exit(main())
"""
"""vpnptd as on a router that takes as long for a notice as an emulated MIPS processor does, or half as long."""
MOST = 4000
"""Packets by which copies have ended, sent both ways in all."""


@pytest.mark.parametrize("what", ["bursts", "rates", "onsets"])
@pytest.mark.parametrize("keys", ["ipsec", "manual"])
def test_copies_end(sandbox: None, keys: str, what: str) -> None:
    with Lab(3, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage, names = Stage(lab, {}, {}, scenario.uci), [client.name for client in lab.clients]
        assert set(stage.do_up(names, kind=keys, together=True).values()) == {"up"}
        people = People(stage, names, 1)
        people.begin(what)
        assert people.until_copies_end(MOST) < MOST
        if keys == "ipsec":
            assert set(stage.do_rekey(names).values()) == {"done"}
            assert people.until_copies_end(MOST) < MOST
        everything = lab.ledger.tally(kind="esp")
        assert (everything.wrong, everything.lost) == (0, 0)


def uploads_end(lab: Lab, keys: str) -> None:
    """All begin to send at once, and soon nothing goes to anybody else any more."""
    stage, names = Stage(lab, {}, {}, scenario.uci), [client.name for client in lab.clients]
    stage.do_up(names, kind=keys, together=True)
    people = People(stage, names, 1)
    people.begin("uploads")
    assert people.until_copies_end(3 * MOST) < 3 * MOST
    everything = lab.ledger.tally(kind="esp")
    assert (everything.wrong, everything.lost) == (0, 0)


@pytest.mark.parametrize("keys", ["ipsec", "manual"])
def test_copies_of_uploads_end(sandbox: None, keys: str) -> None:
    """On one machine all are in step, and by single packets another client once looked like the owner: their number tells."""
    with Lab(3, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        uploads_end(lab, keys)


@pytest.mark.parametrize("keys", ["ipsec", "manual"])
def test_copies_of_uploads_end_on_a_slow_router(sandbox: None, keys: str) -> None:
    """The daemon can't handle a notice of each packet, and asks the kernel to be silent: that has counted them."""
    with Lab(3, 1, "stock", ipv6=False) as lab:
        lab.router.start_vpnpt(scenario.uci({"ipsec": 1}), program=(PYTHON, "-c", SLOW))
        uploads_end(lab, keys)
        counted = lab.router.nft("list set ip vpnpt sending")
        assert all(client.address in counted for client in lab.clients), "none has been forgotten"


def test_what_a_slow_router_is_not_told_of_ends_later(sandbox: None) -> None:
    """Of servers in `hushed` the daemon hears what begins, and no more: their packets go to all meanwhile, and nothing is lost."""
    with Lab(3, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage, names = Stage(lab, {}, {}, scenario.uci), [client.name for client in lab.clients]
        lab.router.nft(f"add element ip vpnpt hushed {{ {lab.servers[0].address} timeout 1h }}")
        stage.do_up(names, kind="manual", together=True)
        people = People(stage, names, 1)
        people.begin("rates")
        people.go_on(MOST)
        mark = lab.ledger.mark()
        people.go_on(4 * QUIET)
        assert lab.ledger.tally(mark).copies >= QUIET
        lab.router.nft(f"delete element ip vpnpt hushed {{ {lab.servers[0].address} }}")
        assert people.until_copies_end(MOST) < MOST
        everything = lab.ledger.tally(kind="esp")
        assert (everything.wrong, everything.lost) == (0, 0)


def test_sessions_say_with_whom_they_share(sandbox: None) -> None:
    """As long as it is not known whose an SPI is, and not for longer."""
    with Lab(3, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage, addresses = Stage(lab, {}, {}, scenario.uci), {client.address for client in lab.clients}

        def shown(others: bool) -> bool:
            sessions = control.call(str(lab.router.run_dir), {"method": "sessions"})["sessions"]
            return {one["client"]: set(one["details"].get("shared_with", ())) for one in sessions} == {
                client: addresses - {client} if others else set() for client in addresses}

        stage.do_up([client.name for client in lab.clients], together=True)
        people = People(stage, [client.name for client in lab.clients], 1)
        people.begin("rates")
        people.go_on(20)
        assert lab.pump.run(lambda: shown(others=True), PATIENCE)
        assert people.until_copies_end(MOST) < MOST
        assert lab.pump.run(lambda: shown(others=False), PATIENCE)
