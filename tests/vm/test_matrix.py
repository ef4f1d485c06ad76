# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of machines: what a run saw stands in it, what it did not try stays as it was, and nothing is left out."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vpnpt
from tests.vm.matrix import control, table

STAMP = "2026-01-02, abc1234"
LOG = """\
FACTS|6.1.0 s390x|v1.0.6|3.11.2 big\r
noise
RESULT|demo|0|12\r
RESULT|golden|1|30
FIGURE|vpnptd: 9 MB
"""


def rows() -> dict[str, table.Row]:
    return table.parse("")


def cell(row: table.Row, what: str) -> str:
    return dict(zip(table.WHATS, row.cells, strict=True))[what]


def test_passed_failed_and_without_an_end() -> None:
    row = table.seen(table.Row(), LOG, ["demo", "golden", "lab"], 124, STAMP)
    assert row.facts == "6.1.0 s390x, v1.0.6, 3.11.2 big"
    assert [cell(row, what) for what in ("demo", "golden", "lab", "pure")] == [
        f"passed in 12 s, {STAMP}", f"**FAILED** (1) in 30 s, {STAMP}", f"**no end** (124), {STAMP}", table.NOT_TRIED]
    assert row.figures == f"vpnptd: 9 MB ({STAMP})"


def test_what_can_not_be_had_is_said_and_replaces_no_result() -> None:
    row = table.seen(table.seen(table.Row(), LOG, ["demo"], 0, STAMP), "", ["demo", "lab"], 77, "later")
    assert (cell(row, "demo"), cell(row, "lab")) == (f"passed in 12 s, {STAMP}", "can't be had, later")


def test_a_page_is_read_back_as_it_was_written() -> None:
    before = rows()
    before["s390x"] = table.seen(table.Row(), LOG, ["demo", "golden", "lab"], 124, STAMP)
    assert table.parse(table.render(before)) == before


def test_a_new_column_has_nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    row = table.seen(table.Row(), LOG, ["demo", "golden"], 0, STAMP)
    first, *others = table.WHATS
    with monkeypatch.context() as older:
        older.setattr(table, "WHATS", {what: table.WHATS[what] for what in others})
        page = table.render({target: table.Row(row.facts, row.cells[1:]) for target in table.TARGETS})
    read = table.parse(page)["arm64"]
    assert (cell(read, first), cell(read, "golden")) == (table.NOT_TRIED, cell(row, "golden"))


def test_the_page_in_docs_is_as_it_would_be_written() -> None:
    page = table.PAGE.read_text()
    assert table.render(table.parse(page)) == page


@pytest.mark.parametrize("cells, fails", [
    ("ok 4/4     ok 4/4     ok 4/4       ok 4/4     FAILS 0/4  ok 4/4", True),
    ("ok 4/4     FAILS      FAILS 0/4    ok 4/4     FAILS      ok 4/4", True),
    ("ok 4/4     FAILS 0/4  FAILS 0/4    ok 4/4     ok 4/4     ok 4/4", False),
])
def test_the_control_looks_behind_vpnpt(cells: str, fails: bool) -> None:
    assert control.failed(f"noise\nIPsec, plain ESP    {cells}\n\nmore") == fails


def test_a_daemon_that_did_not_start_is_no_control() -> None:
    assert not control.failed("Behind the same router with vpnptd:\nTraceback\n")


def test_the_control_takes_the_other_byte_order(tmp_path: Path) -> None:
    """And nothing else: what the program prints is what it would print there."""
    (tmp_path / "vpnpt").touch()
    command = ["-m", "vpnpt.cli", "render", "--config-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(vpnpt.__file__).parents[1])}
    ours, other = (subprocess.run([*python, *command], capture_output=True, text=True, env=environment, check=True).stdout
                   for python in ([sys.executable], [sys.executable, control.__file__]))
    shifted = [line for line in (ours, other)[sys.byteorder == "little"].splitlines() if "<< 16" in line]
    assert shifted and (ours, other)[sys.byteorder == "big"].count("<< 16") == 0
