# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual keys, all replaced by the server first: what it sends to one client may meet another's need (rule 6 of vpnpt.spi).

    server         c1's new keys          c2's new keys
    router         nobody waits: copies   c1 waits, as what may be its own is not known to be: it is not the only one that could be meant
    c1             its new keys, too
    c2                                                     its new keys, too, later
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.peers.esp import Child
from tests.lab.people import People
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from tests.lab.tunnels import ManualTunnel


CONFIG = "config vpnpt 'global'\n\toption pending_timeout 2\nconfig 1 ipsec\n"
MOST = 3000
"""Packets."""


def rekey(tunnel: ManualTunnel, number: int) -> None:
    """New keys on both sides, beside the old ones."""
    inbound, outbound = 0x30000 + number, 0x40000 + number
    for session, pair in ((tunnel.session, (inbound, outbound)), (tunnel.server_session, (outbound, inbound))):
        session.children.append(Child(session.secret, *pair))


def test_who_waits_is_not_the_only_one_that_may_be_meant(sandbox: None) -> None:
    with Lab(3, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        stage = Stage(lab, {}, {}, str)
        assert set(stage.do_up("c1..c3", kind="manual", together=True).values()) == {"up"}
        people = People(stage, ["c1", "c2", "c3"], seed=5)
        people.begin("bursts")
        assert people.until_copies_end(MOST) < MOST, "each has its SPI"
        tunnels: list[ManualTunnel] = [stage.tunnels[f"c{number}"] for number in (1, 2, 3)]  # type: ignore[misc]
        assert lab.router.wait_until(lambda: "elements" not in lab.router.nft("list set ip vpnpt waiting")), "none waits any more"
        mark = lab.ledger.mark()
        for number, tunnel in enumerate(tunnels[:2]):
            rekey(tunnel, number)
        tunnels[0].send(False, 64)
        assert lab.router.wait_until(lambda: "elements" in lab.router.nft("list set ip vpnpt doubted")), "the daemon knows of it"
        tunnels[0].send(True, 64)
        for _ in range(3):
            tunnels[1].send(False, 64)
        lab.pump.run_for(0.1)
        tunnels[1].send(True, 64)
        tunnels[1].send(False, 64)
        lab.pump.run_for(0.2)
        found = lab.ledger.tally(mark)
        assert (found.lost, found.wrong) == (0, 0) and found.sent == 7
