# SPDX-License-Identifier: GPL-2.0-or-later
"""A server with several clients begins a new IKE SA: its first message says nothing of whom it means, and any client would answer.

What a copy of it does to real programs: the fastest client answers, and the server refuses it, as it meant another one (libreswan).
"""
from __future__ import annotations

import signal
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from tests.lab import sandbox
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from vpnpt.kernel.netfilter import NflogSocket
from vpnpt.ruleset import notices
from vpnpt.wire.nflog import LogPacket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.peers.ipsec import Endpoint, Session


@pytest.fixture(params=[1, 2], ids=["IKEv1", "IKEv2"])
def stage(sandbox: None, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Three clients of one server, all up."""
    with Lab(clients=3, servers=1, router="vpnpt", config="config 1 ipsec\n", ipv6=False) as lab:
        stage = Stage(lab, {"version": request.param}, {}, str)
        stage.patience = 1.5
        assert stage.do_up("c1..c3") == {"c1": "up", "c2": "up", "c3": "up"}
        yield stage


def test_the_kernel_tells_of_the_first_answer(stage: Stage) -> None:
    """By which the daemon knows how far away the server is; one notice each, whatever else is exchanged."""
    lab = stage.lab
    lab.router.kill_vpnpt(signal.SIGKILL)
    with sandbox.inside(lab.router.namespace), NflogSocket(notices.GROUP) as log:
        tunnel = stage.tunnels["c1"]
        tunnel.ours.begin_ike(tunnel.session)
        lab.pump.run(tunnel.ike_matches, 2.0)
        cookie = tunnel.session.ike.icookie
        told = [(item.prefix, item.payload[28:36]) for item in log.receive() if isinstance(item, LogPacket)]
    assert [prefix for prefix, about in told if about == cookie and prefix in (notices.LEARNED, notices.ANSWERED)] == [
        notices.LEARNED, notices.ANSWERED]


def begin(stage: Stage, name: str, again: bool = False) -> dict[str, int]:
    """The server begins an IKE SA for a client, and says it twice (again). Results: how many of its messages each client got."""
    server: Endpoint = stage.tunnels[name].theirs
    session: Session = stage.tunnels[name].server_session
    seen = {client.name: len(client.packets) for client in stage.lab.clients}
    server.begin_ike(session)
    if again:
        first = list(stage.lab.ledger.entries)[-1]
        stage.lab.pump.run_for(0.05)
        server.host.send_raw(_udp_from(stage, first))
    stage.lab.pump.run_for(0.3)
    cookie = session.ike.icookie
    return {client.name: sum(packet.payload[8:16] == cookie and packet.src == server.host.address
                             for packet in client.packets[seen[client.name]:]) for client in stage.lab.clients}


def _udp_from(stage: Stage, data: bytes) -> bytes:
    server, wan = stage.lab.servers[0].address, stage.lab.router.wan_address
    udp = struct.pack(">HHHH", 500, 500, 8 + len(data), 0) + data
    ends = socket.inet_aton(server) + socket.inet_aton(wan)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 77, 0, 64, 17, 0) + ends + udp


def test_who_has_just_ended_its_own_is_meant(stage: Stage) -> None:
    for name in ("c2", "c3"):
        tunnel = stage.tunnels[name]
        tunnel.ours.drop_old(tunnel.session)
        stage.lab.pump.run_for(0.1)
        got = begin(stage, name)
        assert {client for client, count in got.items() if count} == {name}
        assert stage.tunnels[name].ike_matches()


def test_where_nothing_tells_all_get_it(stage: Stage) -> None:
    stage.lab.pump.run_for(2.5)
    assert all(begin(stage, "c2").values())
    assert stage.tunnels["c2"].ike_matches()


def test_who_does_not_answer_was_not_meant(stage: Stage) -> None:
    tunnel = stage.tunnels["c3"]
    tunnel.ours.drop_old(tunnel.session)
    stage.lab.pump.run_for(0.1)
    assert all(begin(stage, "c1", again=True).values())
    assert stage.tunnels["c1"].ike_matches()


def test_an_answer_to_the_server_s_question_tells_nothing(stage: Stage) -> None:
    stage.lab.pump.run_for(2.5)
    assert stage.do_dpd("c3", by="server") == {"c3": "answered"}
    assert all(begin(stage, "c2").values())
