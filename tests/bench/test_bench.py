# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's page, from figures made up: every table is filled, and the picture is one."""
from __future__ import annotations

from xml.dom import minidom

from tests.bench.crowd import KINDS
from tests.bench.footprint import Row
from tests.bench.report import TEMPLATE, Results, markdown, svg, text
from tests.bench.slowpath import COPIED, STREAMS
from tests.bench.throughput import ratios

COSTS = (("stock", 2000.0), ("vpnpt", 2500.0), ("short", 1600.0))
FOUND = {(kind, router): [cost, cost + 10.0, cost + 30.0] for kind in KINDS for router, cost in COSTS}
SLOW = (("stock", 1000.0), ("vpnpt", 3100.0))
RESULTS = Results({1: FOUND, 4000: FOUND}, {"kernel": [0.25, 0.5, 0.75], "daemon": [1.0, 2.0]},
                  [Row("bare CPython that does nothing", 8.0, "MB"), Row("vpnptd at rest", 12.0, "MB", "1.50 of bare")], (0.1, 0.2),
                  {1: {(stream, router): [cost] * 3 for stream in (STREAMS[0], COPIED) for router, cost in SLOW}})


def test_ratios_are_of_the_same_round() -> None:
    assert ratios(FOUND, "tcp") == [2000 / 2500, 2010 / 2510, 2030 / 2530]


def test_the_page() -> None:
    page = markdown(RESULTS)
    assert "<!--" in TEMPLATE.read_text() and "<!--" not in page, "every place is filled"
    assert page.count("| other TCP | 2010 | 2510 | 497,512 | 398,406 | **0.801** | 0.800–0.802 | 0.99 missed | 1.248 |") == 2
    assert "### One client" in page and "### 4,000 clients" in page
    assert "| vpnptd at rest | 12.0 MB | 1.50 of bare |" in page and "1.50 times that of CPython alone; the goal of 1.6 is met" in page
    assert "0.50" in page and "2 of 3" in page, "the median, and how many of the daemon's arrived"


def test_the_slow_path_has_a_goal_and_copies_have_none() -> None:
    lines = text(RESULTS).splitlines()
    assert [line.split()[-6:] for line in lines if line.startswith(STREAMS[0])] == [["ns", "3.10", "3.10–3.10", "1.00", "3.0", "missed"]]
    assert [line.split()[-3:] for line in lines if line.startswith(COPIED)] == [["3.10", "3.10–3.10", "1.00"]]


def test_the_terminal_says_the_same() -> None:
    assert "2010 ns  497512  2510 ns  398406   0.801" in text(RESULTS) and "vpnptd at rest" in text(RESULTS)


def test_the_picture() -> None:
    picture = minidom.parseString(svg(RESULTS.throughput))
    assert len([bar for bar in picture.getElementsByTagName("rect") if bar.getAttribute("fill") != "white"]) == 2 * len(KINDS)
