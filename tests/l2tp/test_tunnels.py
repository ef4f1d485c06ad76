# SPDX-License-Identifier: GPL-2.0-or-later
"""The L2TP engine, as a transcript: what it is told, and what it wants done."""
from __future__ import annotations

import random

import pytest

from vpnpt.l2tp.messages import Deliver, Found, Locate, Located, Lost, Moved, Opened, Put, Remove, Requested, Say, Stopped, Tick, Unclear
from vpnpt.l2tp.tunnels import CHECK, CLIENT_CAP, LINGER, PATIENCE, RENEW, RETRIES, TUNNEL_CAP, WAITING_CAP, Tunnels
from vpnpt.wire.l2tp import HELLO, SCCRP, STOPCCN

S, C1, C2 = b"\xc6\x33\x64\x0b", b"\xc0\xa8\x01\x65", b"\xc0\xa8\x01\x66"


class Script:
    """An engine, the time, and the kernel's maps as the engine has filled them."""

    def __init__(self) -> None:
        self.engine = Tunnels()
        self.now = 1000.0
        self.maps: dict = {}

    def tell(self, event: object, after: float = 0.0) -> list:
        """What is to be done besides maps."""
        self.now += after
        rest = []
        for action in self.engine.handle(event, self.now):
            if isinstance(action, Put):
                self.maps[action.key] = action.value
            elif isinstance(action, Remove):
                for key in action.keys:
                    self.maps.pop(key, None)
            else:
                rest.append(action)
        return rest

    def request(self, client: bytes, tunnel: int, nat: int | None, port: int = 1701) -> None:
        assert self.tell(Requested(server=S, client=client, port=port, remote=1701, tunnel=tunnel)) == [
            Locate(server=S, client=client, port=port, remote=1701)]
        if nat is not None:
            self.tell(Located(server=S, client=client, port=port, nat=nat))

    def inbound(self, tunnel: int, session: int = 0, message: int | None = None, peer: int | None = None, nat: int = 1701,
                passed: bool = False, after: float = 0.0) -> list:
        return self.tell(Unclear(server=S, tunnel=tunnel, session=session, message=message, peer=peer, nat=nat, passed=passed,
                                 packet=b"packet"), after)

    def named(self, name: str) -> dict:
        return {key[1:]: value for key, value in self.maps.items() if key[0] == name}


@pytest.fixture
def script() -> Script:
    return Script()


def test_a_tunnel_is_known_by_its_id_and_its_port(script: Script) -> None:
    script.request(C1, 7, 50000, port=50000)
    assert script.named("l2tp_port") == {(S, 7): (50000,)}
    assert script.named("l2tp_way") == {(S, 50000): (C1, 50000)}
    assert script.named("l2tp_odd") == {(S,): ()}
    assert not script.named("l2tp_many")


def test_a_port_that_was_kept_needs_no_look_at_what_comes_in(script: Script) -> None:
    script.request(C1, 7, 1701)
    assert not script.named("l2tp_odd")


def test_a_second_client(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 8, 40123)
    assert script.named("l2tp_port") == {(S, 7): (1701,), (S, 8): (40123,)}
    assert script.named("l2tp_way") == {(S, 1701): (C1, 1701), (S, 40123): (C2, 1701)}
    assert script.named("l2tp_many") == {(S,): ()}


def test_what_the_kernel_took_for_the_port_and_is_nobodys_is_taken_back(script: Script) -> None:
    script.tell(Requested(server=S, client=C1, port=1701, remote=1701, tunnel=7))
    actions = script.engine.handle(Located(server=S, client=C1, port=1701, nat=40123), script.now)
    assert Remove(keys=(("l2tp_ports", S, 1701), ("l2tp_way", S, 1701))) in actions


def test_a_flow_that_conntrack_has_not_yet_is_looked_for_again(script: Script) -> None:
    script.request(C1, 7, None)
    for delay in RETRIES:
        script.tell(Located(server=S, client=C1, port=1701, nat=None))
        assert script.engine.next_deadline() == pytest.approx(script.now + delay)
        assert script.tell(Tick(), delay) == [Locate(server=S, client=C1, port=1701, remote=1701)]
    script.tell(Located(server=S, client=C1, port=1701, nat=None))
    assert script.engine.tunnels() == 0 and script.maps == {}


def test_a_tunnel_lives_as_long_as_its_flow(script: Script) -> None:
    script.request(C1, 7, 50000)
    assert script.tell(Tick(), CHECK) == [Locate(server=S, client=C1, port=1701, remote=1701)]
    script.tell(Located(server=S, client=C1, port=1701, nat=50000))
    script.tell(Moved(server=S, nat=50000, remote=40000))
    assert script.tell(Tick(), CHECK) == [Locate(server=S, client=C1, port=1701, remote=40000)], "the flow from the other port counts"
    script.tell(Located(server=S, client=C1, port=1701, nat=None))
    assert script.maps == {}
    script.tell(Tick())
    assert script.engine.next_deadline() is None and not script.engine.servers


def test_elements_are_renewed(script: Script) -> None:
    script.request(C1, 7, 50000)
    script.maps.clear()
    script.tell(Tick(), RENEW - 1)
    assert not script.maps
    script.tell(Tick(), 1)
    assert script.named("l2tp_port") == {(S, 7): (50000,)}


def test_stopccn_of_the_client(script: Script) -> None:
    script.request(C1, 7, 50000)
    script.tell(Stopped(server=S, client=C1, port=1701, tunnel=7, peer=9))
    assert script.named("l2tp_port"), "its acknowledgement must still pass"
    script.tell(Tick(), LINGER)
    assert not script.named("l2tp_port") and script.named("l2tp_way"), "the flow stays as long as conntrack has it"
    script.request(C1, 8, 50000)
    assert script.named("l2tp_port") == {(S, 8): (50000,)}


def test_stopccn_of_the_server(script: Script) -> None:
    script.request(C1, 7, 50000)
    script.request(C2, 8, 50001)
    script.tell(Stopped(server=S, client=b"", port=50000, tunnel=7, peer=9))
    script.tell(Tick(), LINGER)
    assert script.named("l2tp_port") == {(S, 8): (50001,)}


def test_a_held_packet_is_delivered(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 8, 40123)
    assert script.inbound(8, message=SCCRP, peer=1) == [Deliver(packet=b"packet", ports=(40123,))]
    assert script.inbound(8, message=SCCRP, peer=1, passed=True) == [Deliver(packet=b"packet", ports=(40123,))]
    assert script.inbound(7, message=SCCRP, peer=2, passed=True) == [], "whoever has the port got it already"


def test_a_packet_waits_for_its_tunnel(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 8, None)
    assert script.inbound(8, message=SCCRP, peer=1) == []
    assert script.tell(Located(server=S, client=C2, port=1701, nat=40123), PATIENCE / 2) == [Deliver(packet=b"packet", ports=(40123,))]
    assert script.inbound(9) == []
    script.tell(Tick(), PATIENCE)
    assert not script.engine.servers[S].waiting


def test_the_same_id_and_nothing_that_tells(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 7, 40123)
    assert not script.named("l2tp_port") and script.named("l2tp_shared") == {(S, 7): ()}
    say, deliver = script.inbound(7, message=HELLO)
    assert isinstance(say, Say) and (say.code, say.level, set(say.clients)) == ("SAME-TUNNEL", "warning", {C1, C2})
    assert deliver == Deliver(packet=b"packet", ports=(1701, 40123))
    assert script.inbound(7, message=HELLO) == [deliver], "said once"


def test_the_same_id_and_sessions(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 7, 40123)
    for client, session in ((C1, 1), (C2, 1), (C2, 2)):
        script.tell(Opened(server=S, client=client, port=1701, peer=100 + client[3], session=session))
    assert script.named("l2tp_session") == {(S, 7, 2): (40123,)}, "session 1 is both clients'"
    assert script.inbound(7, session=2)[-1] == Deliver(packet=b"packet", ports=(40123,))
    assert script.inbound(7, session=1)[-1] == Deliver(packet=b"packet", ports=(1701, 40123))


def test_the_same_id_and_the_servers_own(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 7, 40123)
    assert script.inbound(7, message=SCCRP, peer=501)[-1] == Deliver(packet=b"packet", ports=(1701,)), "who asked first"
    assert script.inbound(7, message=SCCRP, peer=502)[-1] == Deliver(packet=b"packet", ports=(40123,))
    assert script.inbound(7, message=SCCRP, peer=501)[-1] == Deliver(packet=b"packet", ports=(1701,)), "repeated"
    assert script.inbound(7, message=STOPCCN, peer=502)[-1] == Deliver(packet=b"packet", ports=(40123,))
    script.tell(Stopped(server=S, client=b"", port=1701, tunnel=7, peer=502))
    script.tell(Tick(), LINGER)
    assert script.named("l2tp_port") == {(S, 7): (1701,)} and not script.named("l2tp_shared")


def test_the_same_id_and_a_port_that_tells(script: Script) -> None:
    script.request(C1, 7, 1701)
    script.request(C2, 7, 40123)
    assert script.inbound(7, message=SCCRP, peer=501, nat=40123) == [Deliver(packet=b"packet", ports=(40123,))], "no copy, no warning"


def test_a_client_does_not_use_an_id_twice(script: Script) -> None:
    script.request(C1, 7, 50000, port=50000)
    script.request(C1, 7, 50001, port=50001)
    assert script.named("l2tp_port") == {(S, 7): (50001,)} and not script.named("l2tp_shared")


def test_a_new_daemon_takes_over(script: Script) -> None:
    script.tell(Found(server=S, client=C1, port=1701, remote=40000, nat=50000, tunnel=7, sessions=(3,)))
    script.tell(Lost())
    assert script.named("l2tp_port") == {(S, 7): (50000,)}
    assert script.tell(Tick()) == [Locate(server=S, client=C1, port=1701, remote=40000)]


def test_maps_are_put_back(script: Script) -> None:
    script.request(C1, 7, 50000)
    before = dict(script.maps)
    script.maps.clear()
    script.tell(Lost())
    assert script.maps == before


def test_bounds(script: Script) -> None:
    for number in range(CLIENT_CAP + 10):
        script.request(C1, number + 1, 1701)
    assert script.engine.tunnels() == CLIENT_CAP
    assert not script.named("l2tp_port").keys() & {(S, 1), (S, 10)}, "the oldest went"
    for number in range(WAITING_CAP + 10):
        script.inbound(50000 + number)
    assert len(script.engine.servers[S].waiting) == WAITING_CAP


def test_there_is_an_end_to_tunnels() -> None:
    engine = Tunnels()
    for client in range(TUNNEL_CAP // CLIENT_CAP + 2):
        for number in range(CLIENT_CAP):
            engine.handle(Requested(server=bytes([10, 0, 0, number]), client=bytes([10, 1, client, 1]), port=1701, remote=1701,
                                    tunnel=number + 1), 0.0)
    assert engine.tunnels() == TUNNEL_CAP


@pytest.mark.parametrize("seed", range(30))
def test_whatever_it_is_told_it_agrees_with_itself(seed: int) -> None:
    """Random events: nothing is raised, the maps are those that are wanted, and in the end nothing is left."""
    chance, script = random.Random(seed), Script()
    clients = [bytes([192, 168, 1, number]) for number in (101, 102, 103)]
    for _ in range(400):
        client, port, tunnel, session = chance.choice(clients), chance.choice((1701, 50000)), chance.randrange(1, 4), chance.randrange(3)
        nat, peer = chance.choice((1701, 40001, 40002, 50000)), chance.randrange(4)
        script.tell(chance.choice((
            Requested(server=S, client=client, port=port, remote=1701, tunnel=tunnel),
            Located(server=S, client=client, port=port, nat=chance.choice((nat, None))),
            Opened(server=S, client=client, port=port, peer=peer, session=session),
            Stopped(server=S, client=chance.choice((client, b"")), port=port, tunnel=tunnel, peer=peer),
            Moved(server=S, nat=nat, remote=40000), Tick(),
            Unclear(server=S, tunnel=tunnel, session=session, message=chance.choice((None, SCCRP, STOPCCN, HELLO)), peer=peer or None,
                    nat=nat, passed=chance.random() < 0.5, packet=b"packet"))), chance.choice((0.0, 0.01, 3.0, 30.0)))
        server = script.engine.servers.get(S)
        shown = server.shown if server else {}
        assert {key: value for key, value in script.maps.items() if key in shown} == shown and set(shown) == set(script.maps) & set(shown)
        assert not set(script.named("l2tp_port")) & set(script.named("l2tp_shared")), "an ID is one client's or several'"
    while script.engine.next_deadline() is not None:
        script.now = max(script.now, script.engine.next_deadline() or 0.0)
        for action in script.tell(Tick()):
            script.tell(Located(server=action.server, client=action.client, port=action.port, nat=None))
    assert script.maps == {} and not script.engine.servers
