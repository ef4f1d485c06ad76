# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios: read from YAML, run on a lab, compared with what they expect.

    id, title        of the conformance list
    clients, servers how many of each (default 1); ipv6, ipsec_rules, offload, uplinks, guest: see Lab
    routers          which to run on (default stock and vpnpt)
    config           vpnpt's configuration: UCI text, or {section: boolean | {option: value}}
    tunnel           defaults of the step `up`: kind (ipsec, manual, pptp, l2tp) and that kind's options
    server           options of the servers' programs (strict_port, hasty, answer_port, to_1701)
    times            how often the suite runs it on vpnpt, each time with another seed (default 1)
    needs            'flow tables' or 'no flow tables': what the kernel must have or lack (scenarios/doctor only)
    steps            a list of {verb: arguments, expect: ..., stock: ...}

The verbs are the methods of `verbs.Stage`; each answers with named results. `expect` says what they must be, `stock` what they
are on a stock router where that differs ('any': not looked at). Without `expect`, everything must have gone well.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.lab.peers.ledger import Tally
from tests.lab.topology import Lab
from tests.lab.verbs import GOOD, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = Path(__file__).parent / "scenarios"
KEYS = {"id", "title", "clients", "servers", "routers", "config", "tunnel", "server", "steps", "ipv6", "ipsec_rules", "offload", "times",
        "uplinks", "guest", "needs"}


class ScenarioError(ValueError):
    """A scenario file says something that has no meaning; the text names file and place."""


@dataclass
class Scenario:
    """One file."""

    path: Path
    id: str
    title: str
    steps: list[dict[str, Any]]
    clients: int = 1
    servers: int = 1
    routers: list[str] = field(default_factory=lambda: ["stock", "vpnpt"])
    config: Any = ""
    tunnel: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    ipv6: bool | None = None
    ipsec_rules: bool = False
    offload: bool = False
    times: int = 1
    uplinks: int = 1
    guest: bool = False
    needs: str = ""


@dataclass
class Outcome:
    """What a run saw: `lines` tell it, `failures` name each result that was not as expected."""

    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    log: str = ""
    diagnoses: list[tuple[set[str], set[str]]] = field(default_factory=list)

    def __str__(self) -> str:
        text = "\n".join(self.lines)
        if self.failures:
            text += "\n\nNOT AS EXPECTED\n" + "\n".join(self.failures)
            if self.log:
                text += "\n\nTHE DAEMON SAID\n" + self.log
        return text


def load(path: Path) -> Scenario:
    """Reads one. Raises ScenarioError."""
    data = yaml.safe_load(path.read_text())
    if unknown := set(data) - KEYS:
        raise ScenarioError(f"{path.name}: unknown {', '.join(sorted(unknown))}")
    for number, step in enumerate(data["steps"], 1):
        _check_step(path, str(number), step)
    return Scenario(path, **{**data, "id": str(data["id"])})


def _check_step(path: Path, place: str, step: dict[str, Any]) -> None:
    verbs = [key for key in step if key not in ("expect", "stock")]
    if len(verbs) != 1 or not (verbs[0] == "repeat" or hasattr(Stage, f"do_{verbs[0]}")):
        raise ScenarioError(f"{path.name}: step {place} needs one verb that there is, not {', '.join(verbs) or 'none'}")
    if verbs[0] == "repeat":
        for number, inner in enumerate(step["repeat"]["steps"], 1):
            _check_step(path, f"{place}.{number}", inner)


def find(name: str = "") -> list[Scenario]:
    """Those whose ID is `name` (all without it), in natural order. Raises ScenarioError."""
    scenarios = [load(path) for path in DIRECTORY.glob("*.yaml")]
    scenarios.sort(key=lambda scenario: (scenario.id[0], int(scenario.id[1:]), scenario.path.name))
    return [scenario for scenario in scenarios if not name or scenario.id.lower() == name.lower()]


def uci(config: Any) -> str:
    """UCI text of a scenario's `config`."""
    if isinstance(config, str):
        return config
    lines = []
    for section, value in (config or {}).items():
        if not isinstance(value, dict):
            lines.append(f"config {int(value)} '{section}'")
            continue
        lines.append(f"config {'vpnpt' if section == 'global' else 'protocol'} '{section}'")
        for option, content in value.items():
            if isinstance(content, list):
                lines += [f"\tlist {option} '{item}'" for item in content]
            else:
                lines.append(f"\toption {option} '{content}'")
    return "\n".join(lines) + "\n"


def run(scenario: Scenario, router: str, say: Callable[[str], None] = lambda line: None, seed: int = 0) -> Outcome:
    """Runs one on a router; `say` gets each line of the outcome as it comes; `seed` is for what the steps shuffle."""
    outcome = Outcome()

    def tell(line: str) -> None:
        outcome.lines.append(line)
        say(line)

    tell(f"{scenario.id} on {router}: {scenario.title}")
    with Lab(scenario.clients, scenario.servers, router, uci(scenario.config), ipv6=scenario.ipv6,
             ipsec_rules=scenario.ipsec_rules, offload=scenario.offload, uplinks=scenario.uplinks, guest=scenario.guest) as lab:
        stage = Stage(lab, scenario.tunnel, scenario.server, uci, seed)
        try:
            _run_steps(stage, scenario.steps, outcome, tell)
        finally:
            outcome.log, outcome.diagnoses = lab.router.log_text(), stage.diagnoses
        for kind in dict.fromkeys(entry.kind for entry in lab.ledger.entries.values()):
            tell(f"  in all, {kind}: {lab.ledger.tally(kind=kind)}")
    return outcome


def _run_steps(stage: Stage, steps: list[dict[str, Any]], outcome: Outcome, tell: Callable[[str], None]) -> None:
    for step in steps:
        verb = next(key for key in step if key not in ("expect", "stock"))
        if verb == "repeat":
            for _ in range(step["repeat"]["times"]):
                _run_steps(stage, step["repeat"]["steps"], outcome, tell)
            continue
        results = stage.do(verb, step[verb])
        if results is None:
            continue
        shown = ", ".join(f"{name}: {value}" for name, value in results.items() if "." not in name and value not in (0, ""))
        tell(f"  {verb} {_brief(step[verb])}: {shown or 'done'}")
        expected = step.get("expect", {})
        if stage.stock:
            expected = step.get("stock", expected)
        if expected == "any":
            continue
        for problem in compare(results, expected):
            outcome.failures.append(f"{verb} {_brief(step[verb])}: {problem}")
            tell(f"    ! {problem}")


def _brief(arguments: Any) -> str:
    if isinstance(arguments, dict):
        return " ".join(f"{key}={_brief(value)}" for key, value in arguments.items())
    if isinstance(arguments, list):
        return ",".join(_brief(item) for item in arguments)
    return "" if arguments is None else str(arguments).strip().replace("\n", "; ")[:60]


def compare(results: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What is not as expected. A result that `expected` does not name must be good, if it is of a kind that can be."""
    problems = []
    for name, value in results.items():
        if name in expected:
            if not matches(value, expected[name]):
                problems.append(f"{name} is '{value}', not '{expected[name]}'")
        elif not _good(value) and "." not in name and not any(key.startswith(f"{name}.") for key in expected):
            problems.append(f"{name} is '{value}'")
    problems += [f"there is no result {name}, only {', '.join(results)}" for name in expected if name not in results]
    return problems


def _good(value: Any) -> bool:
    """Whether a result that nothing is said about is what one would hope for; numbers always are."""
    if isinstance(value, Tally):
        return value.delivered == value.sent > 0
    return not isinstance(value, str) or value in GOOD


def matches(value: Any, expected: Any) -> bool:
    """'all', 'none', 'some' and 'N/M' for packets; '>0', '!500' and the like for numbers; else the value itself."""
    text = str(expected)
    if isinstance(value, Tally):
        words = {"any": True, "all": value.delivered == value.sent > 0, "none": value.delivered == 0 < value.sent,
                 "some": 0 < value.delivered < value.sent}
        return words.get(text, f"{value.delivered}/{value.sent}" == text)
    if text.startswith("!"):
        return str(value) != text[1:]
    if text[:1] in "<>" and text[1:].isdigit():
        return int(value) < int(text[1:]) if text[0] == "<" else int(value) > int(text[1:])
    return str(value) == text
