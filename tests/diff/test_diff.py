# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixed seeds, strictly: what stock delivers, ours delivers; and proofs that a difference is seen, made smaller and told.

`make diff ARGS="--minutes 60"` tries seeds that are not here.
"""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.diff import generate, limits, plan, shrink, verdict
from tests.diff.worker import Pair, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = tuple(range(1, 35))
"""Each is a network with its traffic."""
SCENARIOS = Path(__file__).parent / "scenarios"
"""Plans by hand, and finds made small: title, what each router delivers, and the plan."""

TWO_ASK = """
seed: 1
lab: {clients: 2, servers: 1}
config: {ipsec: 1}
features: []
flows:
  d1: {kind: dns, a: c1, b: s1, a_port: 40001, to_port: 53}
  d2: {kind: dns, a: c2, b: s1, a_port: 40001, to_port: 5353}
steps:
- {do: send, flow: d2, by: a, n: 1}
- {do: send, flow: d1, by: a, n: 2}
- {do: send, flow: d2, by: b, n: 3}
- {do: knock, from: s1, from_port: 500, at: 203.0.113.1, port: 7777, n: 4}
- {do: send, flow: d1, by: b, n: 5}
"""
WORSE = """
table ip worse {
	chain prerouting {
		type nat hook prerouting priority dstnat - 10;
		iifname "wan" udp dport 7777 dnat to 192.168.1.102
	}
	chain forward {
		type filter hook forward priority filter - 10;
		udp sport 53 drop
	}
}
"""
# fw4 lets in what it has not asked for only where its own table says so.
OPEN = """
table inet fw4 {
	chain forward_wan {
	}
}
insert rule inet fw4 forward_wan udp dport 7777 accept
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(pair: Pair, seed: int) -> None:
    made = generate.plan(seed)
    stock, ours, error = pair.play(made)
    assert not error
    assert verdict.compared(stock, ours) and any(note["got"] for note in stock.values())
    assert not verdict.finds(made, stock, ours), plan.dump(made)


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_scenario(pair: Pair, path: Path) -> None:
    """A plan that somebody wrote, with how many of its packets each router delivers."""
    made = plan.load(path.read_text())
    stock, ours, error = pair.play(made)
    assert not error
    assert not verdict.finds(made, stock, ours)
    delivered = {name: sum(note["got"] for note in notes.values()) for name, notes in (("stock", stock), ("vpnpt", ours))}
    assert {**delivered, "of": len(ours)} == made["delivered"], [number for number, note in ours.items() if not note["got"]]


def test_a_worse_router_is_found(pair: Pair, tmp_path: Path) -> None:
    """A router that drops DNS answers and opens a port: both are told, and the plan becomes as small as it can be."""
    rules = tmp_path / "worse.nft"
    rules.write_text(WORSE + OPEN)
    stock, other = pair.stock, Worker(f"nft:{rules}")
    worse = Pair.__new__(Pair)
    worse.stock, worse.ours = stock, other
    try:
        made = plan.load(TWO_ASK)
        found = verdict.finds(made, *worse.play(made, 0.2)[:2])
        assert [(find.kind, find.number) for find in found] == [("stray", 4), ("lost", 5)]
        small = shrink.smallest(made, lambda candidate: shrink.shows(worse, candidate, found[1].sort, 0.2) is not None, 5)
        assert [step["n"] for step in small["steps"]] == [2, 5]
        assert list(small["flows"]) == ["d1"] and small["lab"]["clients"] == 1
    finally:
        other.close()


def test_plans_are_the_same_each_time_and_survive_their_text() -> None:
    for seed in range(1, 200):
        made = generate.plan(seed)
        assert made == generate.plan(seed) == plan.load(plan.dump(made))


def test_each_kind_of_limit_can_be_asked_about_any_packet() -> None:
    """They read what a step has, and steps have not all the same: one that fails ends a run of an hour."""
    for seed in range(1, 200):
        made = generate.plan(seed)
        note = {"sent": True, "got": False, "hosts": [], "odd": [], "to": ("", 500), "source": ("", 0)}
        nothing = dict.fromkeys(range(len(made["steps"])), note)
        for step in (step for step in made["steps"] if step["do"] in ("send", "knock")):
            for kind in ("lost", "address", "port", "opened", "stray"):
                limits.limit(made, step, verdict.Find(kind, "", "", 0, ""), nothing, nothing)
