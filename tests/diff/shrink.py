# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a plan smaller as long as it shows the same find: steps by halves (Zeller's ddmin), then features, flows, options and hosts."""
from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

from tests.diff import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.diff.plan import Plan
    from tests.diff.worker import Pair

PATIENCE = 1.0


def shows(pair: Pair, plan: Plan, sort: tuple[str, str, str], patience: float = PATIENCE) -> verdict.Find | None:
    """The first find of that sort in a plan, that is none of a known kind."""
    stock, ours, error = pair.play(plan, patience)
    if error:
        return verdict.Find("error", "", "", 0, error) if sort[0] == "error" and error.startswith("vpnpt") else None
    return next((find for find in verdict.finds(plan, stock, ours) if find.sort == sort and not find.limit), None)


def smallest(plan: Plan, still: Callable[[Plan], bool], number: int, seconds: float = 90.0) -> Plan:
    """A plan of which nothing can be left out (or, when the time is over, less than before). number: the step of the find."""
    over = time.monotonic() + seconds

    def works(candidate: Plan) -> bool:
        return time.monotonic() < over and still(candidate)

    for guess in _guesses(plan, number):
        if works(guess):
            plan = guess
            break
    size = -1
    while size != (size := len(str(plan))) and time.monotonic() < over:
        plan = _steps(plan, works)
        for simpler in (_fewer_features, _fewer_options):
            plan = simpler(plan, works)
    return plan


def _guesses(plan: Plan, number: int) -> Iterator[Plan]:
    """What is often enough: the conversation alone, with what happens besides and with one other; else what comes before the find."""
    place = next(place for place, step in enumerate(plan["steps"]) if step["n"] == number)
    before = plan["steps"][:place + 1]
    name = before[-1].get("flow", "")
    own = {name, plan["flows"].get(name, {}).get("of", name)}
    for others in ([], *([other] for other in plan["flows"] if other not in own)):
        flows = {"", *own, *others, *(plan["flows"][other].get("of", other) for other in others)}
        yield _tidy({**plan, "steps": [step for step in before if step.get("flow", "") in flows]})
    yield _tidy({**plan, "steps": before})


def _steps(plan: Plan, works: Callable[[Plan], bool]) -> Plan:
    pieces = 2
    while len(plan["steps"]) > 1:
        steps = plan["steps"]
        length = max(1, len(steps) // pieces)
        for start in range(0, len(steps), length):
            candidate = _tidy({**plan, "steps": steps[:start] + steps[start + length:]})
            if works(candidate):
                plan, pieces = candidate, max(2, pieces - 1)
                break
        else:
            if length == 1:
                break
            pieces = min(len(steps), pieces * 2)
    return plan


def _tidy(plan: Plan) -> Plan:
    """Without flows that no step uses."""
    used = {step["flow"] for step in plan["steps"] if "flow" in step}
    used |= {flow["of"] for name, flow in plan["flows"].items() if name in used and "of" in flow}
    return {**plan, "flows": {name: flow for name, flow in plan["flows"].items() if name in used}}


def _fewer_features(plan: Plan, works: Callable[[Plan], bool]) -> Plan:
    for feature in list(plan["features"]):
        candidate = {**plan, "features": [other for other in plan["features"] if other is not feature]}
        if works(candidate):
            plan = candidate
    return plan


def _fewer_options(plan: Plan, works: Callable[[Plan], bool]) -> Plan:
    for key, value in (("uplinks", 1), ("ipsec_rules", False)):
        if plan["lab"].get(key, value) != value:
            candidate = {**plan, "lab": {**plan["lab"], key: value}}
            if works(candidate):
                plan = candidate
    for section in list(plan["config"]):
        candidate = {**plan, "config": {name: value for name, value in plan["config"].items() if name != section}}
        if candidate["config"] and works(candidate):
            plan = candidate
    for key, letter in (("clients", "c"), ("servers", "s")):
        while plan["lab"][key] > 1 and f"'{letter}{plan['lab'][key]}'" not in str(plan):
            candidate = copy.deepcopy(plan)
            candidate["lab"][key] -= 1
            if not works(candidate):
                break
            plan = candidate
    return plan
