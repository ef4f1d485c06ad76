# SPDX-License-Identifier: GPL-2.0-or-later
"""Properties of the engine that hold for whatever happens, in any order. Derandomized: the same cases each time."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.spi.story import Story
from vpnpt.spi.bounds import OPEN_CAP
from vpnpt.spi.engine import SETTLED_CAP, Engine
from vpnpt.spi.evidence import EXCHANGE_CAP, FAN, HALF_OPEN, OUTBOUND_CAP, SPURT_CAP
from vpnpt.spi.messages import CookieShared, Exchange, Fan, Fanned, Paired, SpiOut, SpiShared, SpiTaken, Tick, Unpaired

if TYPE_CHECKING:
    from vpnpt.spi.messages import Action

SERVERS = [b"\xcb\x00\x71\x01", b"\xcb\x00\x71\x02"]
CLIENTS = [bytes([10, 0, 0, number]) for number in range(1, 13)]
SPIS = [number.to_bytes(4, "big") for number in range(256, 276)]
server, client, spi = st.sampled_from(SERVERS), st.sampled_from(CLIENTS), st.sampled_from(SPIS)
some = st.frozensets(client, max_size=12)
packet = st.sampled_from([b"", b"packet"])

EVENTS = st.one_of(
    st.builds(Paired, server=server, client=client),
    st.builds(Unpaired, server=server, client=client),
    st.builds(SpiOut, server=server, client=client, spi=spi),
    st.builds(SpiTaken, server=server, client=client, spi=spi, packet=packet),
    st.builds(SpiShared, server=server, spi=spi, sequence=st.integers(0, 3), waiting=some, copied=some, packet=packet, same=st.booleans(),
              owner=st.one_of(st.none(), client)),
    st.builds(Exchange, server=server, client=client, message=st.binary(max_size=12), outbound=st.booleans(), auth=st.booleans()),
    st.builds(CookieShared, server=server, copied=some, packet=packet),
    st.builds(Fanned, server=server, spi=spi, clients=st.lists(client, max_size=10).map(tuple)),
    st.builds(Tick),
)
TIMED = st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.05, 1.0, 11.0, 70.0, 3700.0]), EVENTS), max_size=60)


def play(timed: list[tuple[float, Any]]) -> list[list[Action]]:
    engine, now, actions = Engine(), 0.0, []
    for wait, event in timed:
        now += wait
        actions.append(engine.handle(event, now))
        due = engine.next_deadline()
        if due is not None and due <= now:
            engine.handle(Tick(), now)
            again = engine.next_deadline()
            assert again is None or again > now, "a busy loop"
    for state in engine.servers.values():
        assert len(state.open) <= OPEN_CAP and len(state.settled) <= SETTLED_CAP
        for found in state.open.values():
            assert found.candidates and set(found.candidates) <= set(state.pairs)
        for pair in state.pairs.values():
            assert max(len(pair.requests), len(pair.exchanges), len(pair.entitled)) <= EXCHANGE_CAP
            assert len(pair.outbound) <= OUTBOUND_CAP and len(pair.spurts) <= SPURT_CAP
    return actions


@settings(derandomize=True, max_examples=400, deadline=None)
@given(TIMED)
def test_any_sequence_is_survived_and_means_the_same_each_time(timed: list[tuple[float, Any]]) -> None:
    first = play(timed)
    assert first == play(timed)
    for action in (action for actions in first for action in actions):
        assert not isinstance(action, Fan) or 0 < len(action.clients) <= FAN


WAITS = st.sampled_from([0.02, 0.1, 0.3, 1.0])


class Tunnels(RuleBasedStateMachine):
    """Clients that get SPIs by exchanges, one after the other or at once; every notice comes. Nobody's timing is evidence.

    A server may send with a new SPI before its answer in IKE has passed; some exchanges make none (IKE SAs, refusals), or have no answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.story, self.number = Story(), 0
        self.owner: dict[bytes, bytes] = {}
        self.ready: list[bytes] = []
        self.under_way: dict[bytes, Exchange] = {}
        self.asked: dict[bytes, float] = {}

    @rule(who=st.sampled_from(CLIENTS[:3]), by_client=st.booleans(), auth=st.booleans(), after=WAITS)
    def asks_for_an_sa(self, who: bytes, by_client: bool, auth: bool, after: float) -> None:
        self.number += 1
        cookie = (self.number if auth else 0).to_bytes(4, "big") + who
        first = Exchange(server=SERVERS[0], client=who, message=cookie + self.number.to_bytes(4, "big"), outbound=by_client or auth,
                         auth=auth, sure=auth)
        self.story.tell(first, after)
        new = self.number.to_bytes(4, "big")
        self.under_way[new], self.asked[new] = first, self.story.now

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), makes=st.sampled_from([True, True, True, False]), overtaken=st.booleans(), after=WAITS)
    def is_answered(self, data: st.DataObject, makes: bool, overtaken: bool, after: float) -> None:
        self.story.now += after
        new = data.draw(st.sampled_from(sorted(self.under_way)))
        first = self.under_way.pop(new)
        if self.story.now - self.asked[new] > HALF_OPEN - 1:
            self.story.tell(first)  # once more
        answer = first.replace(outbound=not first.outbound)
        if makes:
            self.owner[new] = first.client
            self.ready.append(new)
        if makes and overtaken and first.outbound:
            self.server_sends_first(new)
        self.story.tell(answer)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def has_no_answer(self, data: st.DataObject) -> None:
        del self.under_way[data.draw(st.sampled_from(sorted(self.under_way)))]

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def server_begins(self, data: st.DataObject) -> None:
        self.server_sends_first(data.draw(st.sampled_from(self.ready)))

    def server_sends_first(self, which: bytes) -> None:
        self.ready.remove(which)
        self.server_sends(which)

    @precondition(lambda self: len(self.ready) < len(self.owner))
    @rule(data=st.data())
    def server_sends_again(self, data: st.DataObject) -> None:
        self.server_sends(data.draw(st.sampled_from([known for known in self.owner if known not in self.ready])), sequence=2)

    def server_sends(self, which: bytes, sequence: int = 1) -> None:
        if which not in self.story.assigned:
            self.story.tell(SpiShared(server=SERVERS[0], spi=which, sequence=sequence, waiting=frozenset(), copied=frozenset(CLIENTS[:8])))

    @invariant()
    def nothing_belongs_to_a_wrong_client(self) -> None:
        assert {spi: self.owner[spi] for spi in self.story.assigned} == self.story.assigned

    @invariant()
    def the_owner_is_a_candidate(self) -> None:
        for state in self.story.engine.servers.values():
            for number, found in state.open.items():
                assert self.owner[number] in found.candidates


Tunnels.TestCase.settings = settings(derandomize=True, max_examples=300, stateful_step_count=25, deadline=None)
TestTunnels = Tunnels.TestCase
