# SPDX-License-Identifier: GPL-2.0-or-later
"""When protocols were last used: kept over a restart, never more than a write a day, and a wrong clock misleads nobody."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vpnpt.daemon.usage import DAY, Usage
from vpnpt.model import PROTOCOLS

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000


class Time:
    """Wall clock and steady clock of a router."""

    def __init__(self, wall: int = NOW) -> None:
        self.wall, self.steady = wall, 1000

    def usage(self, directory: Path) -> Usage:
        return Usage(str(directory), lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: int) -> None:
        self.wall += seconds
        self.steady += seconds


def test_it_counts_from_the_first_time_and_survives(tmp_path: Path) -> None:
    time = Time()
    usage = time.usage(tmp_path / "state")
    assert usage.times() == dict.fromkeys(PROTOCOLS, NOW)
    time.passes(10 * DAY)
    usage.used("ipsec")
    again = Time(NOW + 20 * DAY).usage(tmp_path / "state")
    assert again.times() == {**dict.fromkeys(PROTOCOLS, NOW), "ipsec": NOW + 10 * DAY}


def test_one_write_a_day(tmp_path: Path) -> None:
    time, path = Time(), tmp_path / "usage"
    usage, written = time.usage(tmp_path), []
    for _ in range(100):
        usage.used("l2tp")
        written.append(path.stat().st_mtime_ns)
        time.passes(3600)
    assert len(set(written)) == 5, "100 hours"


def test_a_clock_that_is_set_late(tmp_path: Path) -> None:
    """A router without a clock of its own starts in the past; what it did since was not years ago."""
    time = Time(wall=NOW - 500 * DAY)
    usage = time.usage(tmp_path)
    usage.used("pptp")
    time.passes(60)
    time.wall = NOW
    assert usage.times() == dict.fromkeys(PROTOCOLS, NOW - 60)


def test_a_file_from_the_future_or_of_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    path.write_text(json.dumps({"ipsec": NOW + DAY, "nonsense": 1, "l2tp": "yesterday"}))
    assert Time().usage(tmp_path).times() == dict.fromkeys(PROTOCOLS, NOW)
    for text in ("", "{", "[1]", "\0"):
        path.write_text(text)
        assert Time().usage(tmp_path).times() == dict.fromkeys(PROTOCOLS, NOW)


def test_where_it_can_not_be_written_it_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    time = Time()
    usage = time.usage(tmp_path / "file")
    time.passes(DAY)
    usage.used("ipsec")
    assert usage.times()["ipsec"] == NOW + DAY
