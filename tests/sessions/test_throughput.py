# SPDX-License-Identifier: GPL-2.0-or-later
"""Hours and days of throughput: sample by sample."""
from __future__ import annotations

import json
from typing import Any

import pytest

from vpnpt.sessions.throughput import CLIENTS, HOURS, MANY, Throughput

NOW = 1_800_000_000 // 86400 * 86400
"""Midnight, UTC."""


def row(ident: str, came: int, went: int, client: str = "192.168.1.7", protocol: str = "ipsec") -> tuple[str, str, str, int, int]:
    return ident, protocol, client, came, went


def begun() -> Throughput:
    """Sampled once: counting has begun."""
    sums = Throughput()
    sums.sample(NOW, 0, [row("a", 1000, 1000)])
    return sums


def test_what_passed_before_is_of_no_hour() -> None:
    assert begun().answer() == {"hours": [], "days": []}


def test_hour_after_hour() -> None:
    sums = begun()
    assert not sums.sample(NOW + 300, 0, [row("a", 1500, 1020), row("b", 7, 0, "192.168.1.9", "l2tp")])
    assert sums.sample(NOW + 3700, 0, [row("a", 1600, 1020)]), "an hour is over"
    found = sums.answer()
    assert found["hours"] == [
        {"time": NOW, "protocols": {"ipsec": [500, 20], "l2tp": [7, 0]}, "clients": {"192.168.1.7": [500, 20], "192.168.1.9": [7, 0]}},
        {"time": NOW + 3600, "protocols": {"ipsec": [100, 0]}, "clients": {"192.168.1.7": [100, 0]}}]
    assert found["days"] == [{"time": NOW, "protocols": {"ipsec": [600, 20], "l2tp": [7, 0]},
                              "clients": {"192.168.1.7": [600, 20], "192.168.1.9": [7, 0]}}]


def test_a_day_is_the_router_s() -> None:
    """Two hours east of UTC the day began at 22 o'clock UTC."""
    sums = begun()
    sums.sample(NOW + 60, 7200, [row("a", 1001, 1000)])
    assert sums.answer()["days"][0]["time"] == NOW - 7200


def test_counters_that_begin_anew_take_nothing_back() -> None:
    sums = begun()
    sums.sample(NOW + 60, 0, [row("a", 10, 2000)])
    assert sums.answer()["hours"][0]["protocols"] == {"ipsec": [0, 1000]}


def test_many_clients_are_few_names() -> None:
    """While an hour lasts and when it is over, and nothing of the sum is lost."""
    sums = begun()
    sums.sample(NOW + 60, 0, [row(str(number), number, 0, f"10.0.{number // 250}.{number % 250}") for number in range(1, 1001)])
    for later in (60, 4000):
        sums.sample(NOW + later, 0, [])
        (hour,) = sums.answer()["hours"]
        assert len(hour["clients"]) == CLIENTS + 1 and len(hour["clients"]) < MANY
        assert sum(both[0] for both in hour["clients"].values()) == hour["protocols"]["ipsec"][0] == 500500


@pytest.mark.parametrize("step", [3600, -3600])
def test_old_hours_are_forgotten_and_so_is_the_future(step: int) -> None:
    sums = begun()
    for number in range(1, 200):
        sums.sample(NOW + number * step, 0, [row("a", 1000 + number, 1000)])
    hours = [hour["time"] for hour in sums.answer()["hours"]]
    assert hours == sorted(hours) and hours[-1] == NOW + 199 * step and len(hours) in ((HOURS, HOURS + 1) if step > 0 else (1,))
    assert len(json.dumps(sums.answer())) < 20_000


def test_it_goes_on_after_a_restart() -> None:
    sums = begun()
    sums.sample(NOW + 300, 0, [row("a", 1500, 1000)])
    kept = json.loads(json.dumps(sums.answer()))
    after = Throughput()
    after.load(kept)
    after.sample(NOW + 400, 0, [row("b", 9, 9)])
    after.sample(NOW + 500, 0, [row("b", 10, 9)])
    assert after.answer()["hours"] == [{"time": NOW, "protocols": {"ipsec": [501, 0]}, "clients": {"192.168.1.7": [501, 0]}}]


@pytest.mark.parametrize("found", [
    {}, {"hours": 1}, {"hours": [1, {}, {"time": "x", "protocols": {}, "clients": {}}, {"time": 1, "protocols": {"a": [1]}, "clients": {}},
                                 {"time": 1, "protocols": {"a": [-1, 0]}, "clients": {}}, {"time": 1, "protocols": [], "clients": {}}]}])
def test_what_is_no_history_is_left_out(found: dict[str, Any]) -> None:
    sums = Throughput()
    sums.load(found)
    assert sums.answer() == {"hours": [], "days": []}
