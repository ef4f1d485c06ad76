# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of the real peers: what counts as lost, and how several results become one."""
from __future__ import annotations

from typing import Any

import pytest

from tests.vm.peers import table


def row(what: str = "all begin at once", peer: str = "P", **runs: dict[str, list[int]]) -> dict[str, Any]:
    return {"peer": peer, "what": what, "runs": {run: {"cells": cells, "note": ""} for run, cells in runs.items()}}


def result(*rows: dict[str, Any], date: int = 1) -> dict[str, Any]:
    return {"date": date, "kernel": "6.1", "short": False, "versions": {"P": "1.0"}, "rows": list(rows)}


@pytest.mark.parametrize("seen, wrong", [
    (row(vpnpt={"c1": [20, 20], "c2": [20, 20]}), []),
    (row(vpnpt={"c1": [20, 20], "c2": [19, 20]}), ["c2"]),
    (row("the client rekeys", vpnpt={"c1": [79, 80], "c2": [78, 80]}), ["c2"]),
    (row("the client rekeys", alone={"c1": [78, 80]}, vpnpt={"c1": [79, 80], "c2": [78, 80]}), []),
    (row(vpnpt={"c1": [0, 0]}), ["c1"]),
    (row(vpnpt={}), ["all"]),
    (row(stock={"c1": [0, 20]}), []),
])
def test_who_lost_something(seen: dict[str, Any], wrong: list[str]) -> None:
    assert table.bad(seen) == wrong


def test_a_later_result_replaces_a_peer_on_a_router() -> None:
    first = result(row(vpnpt={"c1": [0, 20]}, stock={"c1": [1, 20]}), row("gone", vpnpt={"c1": [0, 20]}),
                   row(peer="Q", stock={"c1": [2, 20]}))
    whole = table.merged([first, result(row(vpnpt={"c1": [20, 20]}), row("new", vpnpt={"c1": [5, 5]}), date=2)])
    assert [(item["peer"], item["what"], {run: seen["cells"]["c1"] for run, seen in item["runs"].items()}) for item in whole["rows"]] == [
        ("P", "all begin at once", {"stock": [1, 20], "vpnpt": [20, 20]}), ("P", "new", {"vpnpt": [5, 5]}),
        ("Q", "all begin at once", {"stock": [2, 20]})]
    assert whole["date"] == 2


def test_the_page_names_who_lost_something() -> None:
    text = table.page(result(row(vpnpt={"c1": [20, 20], "c2": [3, 20]}, stock={"c1": [0, 20], "c2": [20, 20]})))
    assert "\n- P, all begin at once: c2\n" in text
    assert "| P 1.0 | all begin at once | – | 0/20 20/20 | 20/20 3/20 | – | – |\n" in text


def test_many_clients_are_one_cell() -> None:
    cells = {f"c{number}": [20, 20] for number in range(1, 50)} | {"c50": [10, 20]}
    assert table.text({"cells": cells, "note": ""}) == "49 of 50 lost nothing, 990/1000"


@pytest.mark.parametrize("what, cell, wire, wrong", [
    ("the client rekeys", [70, 80], [160, 0, 3], []),
    ("the client rekeys", [80, 80], [160, 1, 0], ["c1"]),
    ("the client rekeys", [0, 80], [0, 0, 0], ["c1"]),
    ("vpnptd is killed", [20, 80], [40, 0, 0], ["c1"]),
    ("all begin at once", [19, 20], [39, 0, 0], ["c1"]),
])
def test_what_crossed_the_router_tells_whose_fault_it_is(what: str, cell: list[int], wire: list[int], wrong: list[str]) -> None:
    seen = row(what, vpnpt={"c1": cell})
    seen["runs"]["vpnpt"]["wire"] = {"c1": wire}
    assert table.bad(seen) == wrong


def test_what_is_lost_behind_a_stock_router_too_is_the_programs_doing() -> None:
    seen = row("c2 crashes, comes back", stock={"c1": [60, 60], "c2": [0, 20]}, vpnpt={"c1": [60, 60], "c2": [0, 20]})
    assert table.bad(seen) == ["c2"], "unless it has been seen that nothing was lost on the way"
    seen["runs"]["vpnpt"]["wire"] = {"c1": [120, 0, 0], "c2": [80, 0, 0]}
    assert table.bad(seen) == []
    seen["runs"]["stock"]["cells"]["c2"] = [20, 20]
    assert table.bad(seen) == ["c2"]


def test_the_router_s_losses_are_added_up() -> None:
    assert table.router({"wire": {"c1": [100, 0, 3, 1.5, 8.0], "c2": [50, 2, 0, 0.0, 8.0]}}) == "2 of 150, 3 copies until 1.5 of 8.0 s"
    assert table.router({"wire": {"c1": [100, 0, 0, 0.0, 8.0]}}) == "0 of 100"
    assert table.router({"wire": None}) == table.router(None) == "–"
