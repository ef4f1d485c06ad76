# SPDX-License-Identifier: GPL-2.0-or-later
"""What Prometheus reads, by its own parser; the file for the textfile collector; and a dashboard that asks for what there is."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.test_main import SESSION
from tests.cli.test_show import SHOT
from tests.lab.sandbox import private_folder
from tests.lab.topology import Lab
from vpnpt.daemon import control
from vpnpt.daemon.metrics import FAMILIES, REFUSALS, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.router import Router

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
PROMETHEUS_WORDS = {"sum", "by", "rate", "increase", "max", "min", "time", "label_values", "instance"}
NAMES = {family.name for family in FAMILIES}
LABELS = {label for family in FAMILIES for label in family.labels}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """Every sample by its name and labels; no two are the same."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def rendered(shot: dict[str, Any] = SHOT, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "sessions": [SESSION, {**SESSION, "state": "idle"}, {**SESSION, "state": "idle", "protocol": "l2tp"}],
        "totals": {"ipsec": (10, 1000, 20, 3_000_000_000)}, "written": {("info", "APPLIED"): 3, ("warning", "DRIFT"): 1},
        "cpu": 1.25, "memory": 12_345_678, "limits": (4096, 65536)}
    return render({**shot, "l2tp_tunnels": 5}, **{**arguments, **changes})


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"vpnpt_{name}", frozenset(labels.items())]


def test_values() -> None:
    found = read(rendered())
    assert value(found, "info", version="0.1.0", release="OpenWrt 24.10.4") == 1
    assert value(found, "sessions", protocol="ipsec", state="idle") == value(found, "sessions", protocol="ipsec", state="up") == 1
    assert value(found, "sessions", protocol="pptp", state="up") == 0
    assert value(found, "bytes_total", protocol="ipsec", direction="in") == 3_000_000_000
    assert value(found, "packets_total", protocol="ipsec", direction="out") == 10
    assert value(found, "bytes_total", protocol="pptp", direction="out") == 0
    assert value(found, "refused_packets_total", protocol="pptp", reason="blocked") == 3
    assert value(found, "protocol_behaviour", protocol="ipsec", behaviour="help") == 1
    assert value(found, "protocol_behaviour", protocol="ipsec", behaviour="block") == 0
    assert value(found, "process_cpu_seconds_total") == 1.25 and value(found, "process_resident_memory_bytes") == 12_345_678
    assert value(found, "learned_keys", kind="l2tp_tunnel") == 5 and value(found, "learned_keys_limit") == 65536
    assert value(found, "log_lines_total", severity="warning", code="DRIFT") == 1
    assert value(found, "rules_in_place") == 1 and value(found, "rules_drift") == value(found, "configuration_problem") == 0


def test_flags() -> None:
    found = read(rendered({**SHOT, "in_place": False, "drift": "all rules are gone", "problem": "no device"}))
    assert (value(found, "rules_in_place"), value(found, "rules_drift"), value(found, "configuration_problem")) == (0, 1, 1)


def test_nothing_is_in_force() -> None:
    found = read(rendered({**SHOT, "protocols": {}}, sessions=[], written={}))
    assert not any(name == "vpnpt_sessions" for name, _ in found) and value(found, "rules_in_place") == 1


def test_labels_are_escaped() -> None:
    found = read(rendered({**SHOT, "release": 'a "quoted"\\\nline'}))
    assert value(found, "info", version="0.1.0", release='a "quoted"\\\nline') == 1


def test_prometheus_conventions() -> None:
    """prometheus.io/docs/practices/naming: prefix, base units, _total for counters alone, help and type for all, once."""
    families = list(text_string_to_metric_families(rendered()))
    assert [family.name + "_total" * (family.type == "counter") for family in families] == [family.name for family in FAMILIES]
    assert len(NAMES) == len(FAMILIES)
    for family, known in zip(families, FAMILIES, strict=True):
        assert re.fullmatch(r"vpnpt_[a-z][a-z0-9_]*", known.name) and family.type == known.kind in ("counter", "gauge")
        assert (known.kind == "counter") == known.name.endswith("_total")
        assert family.documentation == known.help and known.help.endswith(".")
        assert not re.search(r"(milliseconds|_ms|kilobytes|_kb|bits|percent|_count|_sum|_bucket)", known.name)
    text = rendered()
    assert text.endswith("\n") and "\n\n" not in text
    assert all(line.startswith(("# HELP vpnpt_", "# TYPE vpnpt_", "vpnpt_")) for line in text.splitlines())


# --- from a router ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def router(sandbox: None) -> Iterator[Router]:
    with Lab(clients=0, servers=0, lan_device="lan0", wan_device="wan0", ipv6=False) as lab:
        yield lab.router


CONFIG = "config vpnpt 'global'\n list lan_device 'lan0'\n list wan_device 'wan0'\n"


def test_of_a_running_daemon(router: Router) -> None:
    router.start_vpnpt(CONFIG + "config 0 'l2tp'\n")
    text = router.vpnpt("metrics")
    found = read(text)
    assert value(found, "protocol_behaviour", protocol="l2tp", behaviour="block") == 1
    assert 5_000_000 < value(found, "process_resident_memory_bytes") < 100_000_000
    assert 0 < value(found, "process_cpu_seconds_total") < 60
    assert value(found, "refused_packets_total", protocol="l2tp", reason="blocked") == 0
    counters = control.call(str(router.run_dir), {"method": "status"})["protocols"]
    assert {reason for state in counters.values() for reason in state["counters"]} <= {*REFUSALS, "ah", "held"}, "each is known to be one"


def test_the_textfile(router: Router) -> None:
    """Off unless it is wanted; written at once and again; gone with what wanted it."""
    path = private_folder("/tmp/prometheus") / "vpnpt.prom"
    router.start_vpnpt(CONFIG)
    assert not path.exists()
    router.write_config(CONFIG + f" option metrics_file '{path}'\n option metrics_interval 10\n")
    assert control.call(str(router.run_dir), {"method": "reload"})["applied"]
    assert value(read(path.read_text()), "rules_in_place") == 1
    assert path.stat().st_mode & 0o777 == 0o644 and [item.name for item in path.parent.iterdir()] == ["vpnpt.prom"]
    router.write_config(CONFIG)
    control.call(str(router.run_dir), {"method": "reload"})
    assert not path.exists()
    router.write_config(CONFIG + f" option metrics_file '{path}'\n")
    control.call(str(router.run_dir), {"method": "reload"})
    assert path.exists()
    router.kill_vpnpt()
    assert not path.exists()


def test_a_textfile_that_cannot_be_written(router: Router) -> None:
    (private_folder("/tmp/prometheus") / "vpnpt.prom").mkdir()
    router.start_vpnpt(CONFIG + " option metrics_file '/tmp/prometheus/vpnpt.prom'\n")
    assert router.wait_until(lambda: "warning: METRICS: " in router.log_text())
    assert read(router.vpnpt("metrics"))


# --- the dashboard ---------------------------------------------------------------------------------------------------------


def expressions() -> list[tuple[str, str]]:
    """(panel, expression) of all queries of the dashboard, and those of its variables."""
    board = json.loads(DASHBOARD.read_text())
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    return found + [(item["name"], item["query"]["query"]) for item in board["templating"]["list"] if item["type"] == "query"]


def test_every_expression_of_the_dashboard_names_what_there_is() -> None:
    assert len(expressions()) >= 12
    for panel, expression in expressions():
        bare = re.sub(r'"[^"]*"|\[[^\]]*\]', " ", expression)
        words = set(re.findall(r"\b[a-zA-Z_][a-zA-Z0-9_]*\b", bare)) - PROMETHEUS_WORDS
        assert any(word in NAMES for word in words), (panel, expression)
        assert words <= NAMES | LABELS, (panel, expression, words - NAMES - LABELS)
        for name in words & NAMES:
            used = set(re.findall(rf"{name}{{([^}}]*)}}", expression))
            known = {label for family in FAMILIES if family.name == name for label in family.labels} | {"instance", "job"}
            assert set(re.findall(r"(\w+)\s*=", " ".join(used))) <= known, (panel, expression)


def test_counters_are_rated_and_gauges_are_not() -> None:
    for panel, expression in expressions():
        for name in set(re.findall(r"vpnpt_\w+", expression)):
            rated = re.search(rf"(rate|increase)\({name}\b", expression) is not None
            assert rated == name.endswith("_total"), (panel, expression)


def test_every_metric_that_matters_is_on_the_dashboard() -> None:
    shown = {name for _, expression in expressions() for name in re.findall(r"vpnpt_\w+", expression)}
    assert shown >= NAMES - {"vpnpt_noted_packets_total"}


def test_the_dashboard_can_be_imported() -> None:
    """As Grafana's import wants it: no ID, a data source to choose, panels that do not overlap and are told apart."""
    board = json.loads(DASHBOARD.read_text())
    assert board["id"] is None and board["uid"] == "vpnpt" and board["__inputs"][0]["pluginId"] == "prometheus"
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or (panel["description"] and panel["datasource"]["uid"] == "${DS_PROMETHEUS}"), panel["title"]
