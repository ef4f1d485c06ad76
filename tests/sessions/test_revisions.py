# SPDX-License-Identifier: GPL-2.0-or-later
"""Who asks for what is new ends with the same table as who asks for everything."""
from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from vpnpt.sessions.revisions import COUNTERS, ROOM, Revisions


def row(number: int) -> dict[str, Any]:
    return {"id": f"ipsec-{number:08x}", "protocol": "ipsec", "variant": "ESP", "family": 4,
            "client": f"10.0.{number // 250}.{number % 250}",
            "client_name": "", "mac": "00:00:5e:00:53:01", "server": "198.51.100.10", "server_name": "", "state": "up", "since": 1,
            "last": 1, "packets_out": 0, "bytes_out": 0, "packets_in": 0, "bytes_in": 0, "nat_port": 0,
            "details": {"spis_in": ["0a41f9d2"], "spis_out": ["c0ffee01"], "cookies": ["8f1c2ab07d3355e1"], "ports": [500]}}


class Page:
    """A page that merges, as api.js does."""

    def __init__(self) -> None:
        self.revision, self.rows, self.ended = "", dict[str, Any](), list[Any]()
        self.largest = 0

    def take(self, answer: dict[str, Any]) -> bool:
        if answer["full"]:
            self.rows, self.ended = {item["id"]: item for item in answer["sessions"]}, answer["ended"]
        else:
            self.largest = max(self.largest, len(json.dumps(answer)))
            for ident in answer["gone"]:
                self.rows.pop(ident, None)
            self.rows |= {item["id"]: item for item in answer["sessions"]}
            for ident, *counters in answer["counters"]:
                self.rows[ident] = {**self.rows[ident], **dict(zip(COUNTERS, counters, strict=True))}
            self.ended = [*reversed(answer["ended"]), *self.ended][:100]
        self.revision = answer["revision"]
        return bool(answer.get("more"))


def test_nothing_new_costs_nothing() -> None:
    table, page, shot = Revisions("1"), Page(), {"now": 1, "sessions": [row(n) for n in range(1000)], "ended": []}
    page.take(table.answer(shot, ""))
    answer = table.answer({**shot, "now": 6}, page.revision)
    assert len(json.dumps(answer)) < 200 and not answer["full"]


def test_a_thousand_busy_sessions() -> None:
    """At most 20 KB a poll, and each of them is told within four polls."""
    table, page = Revisions("1"), Page()
    rows = [row(n) for n in range(1000)]
    page.take(table.answer({"now": 1, "sessions": rows, "ended": []}, ""))
    stale = dict.fromkeys(page.rows, 0)
    for turn in range(20):
        for item in rows:
            for field in COUNTERS:
                item[field] += 700_000_000 if "bytes" in field else 3
        before = copy.deepcopy(page.rows)
        page.take(table.answer({"now": turn, "sessions": copy.deepcopy(rows), "ended": []}, page.revision))
        for ident, item in page.rows.items():
            stale[ident] = 0 if item != before[ident] else stale[ident] + 1
        assert max(stale.values()) <= 6
    assert 0 < page.largest <= 20_000 and page.largest < ROOM + 500


@pytest.mark.parametrize("seed", range(5))
def test_two_pages_end_with_the_table(seed: int) -> None:
    dice = random.Random(seed)
    table, pages, rows, ended = Revisions("1"), [Page(), Page()], {n: row(n) for n in range(150)}, list[dict[str, Any]]()
    for now in range(1, 61):
        for number in dice.sample(sorted(rows), min(len(rows), dice.choice((0, 3, 100)))):
            what = dice.random()
            if what < 0.1:
                ended.insert(0, {**rows.pop(number), "ended": now, "reason": "timeout"})
            elif what < 0.2:
                rows[number]["state"] = dice.choice(("up", "idle", "failing"))
            else:
                rows[number]["bytes_in"] += dice.randrange(1 << 30)
        if dice.random() < 0.3:
            rows |= {now * 1000: row(now * 1000)}
        shot = {"now": now, "sessions": copy.deepcopy(list(rows.values())), "ended": copy.deepcopy(ended[:100])}
        for page in pages:
            if dice.random() < 0.6:
                page.take(table.answer(copy.deepcopy(shot), page.revision))
    for page in pages:
        while page.take(table.answer(copy.deepcopy(shot), page.revision)):
            pass
        assert page.rows == {item["id"]: item for item in shot["sessions"]} and page.ended == shot["ended"]


@pytest.mark.parametrize("since", ["", "nonsense", "2.1", "1.999", "1.-1", "1.", "1.\u0661", "1.²", f"1.{'9' * 5000}"])
def test_who_names_no_number_of_ours_gets_everything(since: str) -> None:
    answer = Revisions("1").answer({"now": 1, "sessions": [row(1)], "ended": []}, since)
    assert answer["full"] and len(answer["sessions"]) == 1
