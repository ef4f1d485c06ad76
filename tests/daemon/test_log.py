# SPDX-License-Identifier: GPL-2.0-or-later
"""The log: levels, one line per event, the rate limit, and a system log that comes and goes."""
from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from vpnpt.daemon import log
from vpnpt.daemon.log import ALERTS, BURST, LEVELS, LINES, Log
from vpnpt.model import Diagnostic, Said

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the log sees, in its first element."""
    now = [1000.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("threshold", LEVELS)
def test_levels(threshold: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = Log(threshold)
    made.error("E", "e")
    made.warning("W", "w")
    made.info("I", "i")
    made.debug("D", "d")
    lines = ["vpnptd: error: E: e", "vpnptd: warning: W: w", "vpnptd: info: I: i", "vpnptd: debug: D: d"]
    assert capsys.readouterr().err.splitlines() == lines[:LEVELS.index(threshold) + 1]


def test_an_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Log().error("RULESET", "line 1: no\nline 2: no\n")
    assert capsys.readouterr().err == "vpnptd: error: RULESET: line 1: no | line 2: no\n"


def test_a_line_is_a_template_with_values(capsys: pytest.CaptureFixture[str]) -> None:
    """For LuCI, which has the template in other languages. What the terminal and the system log show is whole; a constant needs no code."""
    made = Log()
    made.warning("KERNEL", "{path} can't be written: {problem}", path="/a {b}", problem="no\nspace")
    made.warning("KERNEL", "{no} template")
    item = Diagnostic(severity="warning", file="f", line=3, message=Said("out of range"), remedy=Said("using none"))
    made.write("warning", "CONFIG", item.replace(severity=""))
    made.error("RULESET", "no: {problem}", problem="x" * 2000)
    assert capsys.readouterr().err.splitlines()[:3] == [
        "vpnptd: warning: KERNEL: /a {b} can't be written: no | space", "vpnptd: warning: KERNEL: {no} template",
        "vpnptd: warning: CONFIG: f:3: out of range; using none"]
    assert [line.get("said") for line in made.lines] == [
        {"code": "{path} can't be written: {problem}", "values": {"path": "/a {b}", "problem": "no\nspace"}}, None,
        item.shown() | {"severity": ""}, None]
    json.dumps(list(made.lines))


def test_a_line_is_not_endless(capsys: pytest.CaptureFixture[str]) -> None:
    Log().error("RULESET", "x" * 5000)
    assert capsys.readouterr().err == f"vpnptd: error: RULESET: {'x' * 997}...\n"


def test_rate_limit(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    made = Log()
    for number in range(BURST + 5):
        made.info("FLOOD", str(number))
    made.info("OTHER", "is not held back")
    assert capsys.readouterr().err.splitlines() == [*(f"vpnptd: info: FLOOD: {number}" for number in range(BURST)),
                                                    "vpnptd: info: OTHER: is not held back"]
    clock[0] += 59
    made.info("FLOOD", "still the same minute")
    assert capsys.readouterr().err == ""
    clock[0] += 1
    made.info("FLOOD", "the next")
    made.info("FLOOD", "and one more")
    assert capsys.readouterr().err.splitlines() == ["vpnptd: info: FLOOD: 6 more like this",
                                                    "vpnptd: info: FLOOD: the next", "vpnptd: info: FLOOD: and one more"]
    assert made.written == {("info", "FLOOD"): BURST + 8, ("info", "OTHER"): 1}


def test_what_was_left_out_is_said_even_if_nothing_follows(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    made = Log()
    assert made.next_deadline() is None
    for number in range(BURST + 2):
        made.warning("FLOOD", str(number))
        clock[0] += 1
    assert made.next_deadline() == 1060.0
    capsys.readouterr()
    clock[0] = 1059.9
    made.sum_up()
    assert capsys.readouterr().err == ""
    clock[0] = 1060.0
    made.sum_up()
    assert capsys.readouterr().err == "vpnptd: warning: FLOOD: 2 more like this\n"
    assert made.next_deadline() is None
    made.sum_up()
    assert capsys.readouterr().err == ""


def test_the_last_lines_are_kept(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.time, "time", lambda: 1_700_000_000.9)
    made = Log("info")
    heard: list[tuple[str, str, str]] = []
    made.listener = lambda *what: heard.append(what)
    made.debug("D", "held back")
    made.info("I", "one\ntwo")
    assert list(made.lines) == [{"time": 1_700_000_000, "severity": "info", "code": "I", "text": "one | two"}]
    assert not made.alerts and not heard
    for number in range(2 * LINES):
        made.warning(f"C{number}", "x")
    assert [line["code"] for line in made.lines] == [f"C{number}" for number in range(LINES, 2 * LINES)]
    assert [line["code"] for line in made.alerts] == [f"C{number}" for number in range(2 * LINES - ALERTS, 2 * LINES)]
    assert len(heard) == 2 * LINES and heard[0] == ("warning", "C0", "x")


def test_what_came_since_an_answer() -> None:
    """One that names the last answer gets what it lacks; one of another daemon, or too far behind, gets all."""
    made = Log("debug")

    def ask(since: str) -> dict[str, Any]:
        return made.since("events", made.lines, made.count, {"since": since})

    made.error("A", "a")
    first = ask("")
    assert first["full"] and [line["code"] for line in first["events"]] == ["A"]
    assert (again := ask(first["revision"])) == {"events": [], "full": False, "revision": first["revision"]}, again
    made.error("B", "b")
    made.error("C", "c")
    later = ask(first["revision"])
    assert not later["full"] and [line["code"] for line in later["events"]] == ["B", "C"]
    name = later["revision"].rpartition(".")[0]
    for since in ("x.1", f"{name}.4", f"{name}.", f"{name}.²", f"{name}.{'9' * 5000}", f"{name}.-1"):
        assert ask(since)["full"] and [line["code"] for line in ask(since)["events"]] == ["A", "B", "C"], since
    for number in range(LINES):
        made.error(f"N{number}", "n")
    assert ask(later["revision"])["full"] is False and len(ask(later["revision"])["events"]) == LINES
    assert ask(first["revision"])["full"] and set(made.since("events", made.lines, made.count, {})) == {"events"}


def test_a_quiet_minute_leaves_nothing_to_sum_up(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    made = Log()
    made.info("RARE", "1")
    clock[0] += 61
    made.info("RARE", "2")
    assert capsys.readouterr().err.splitlines() == ["vpnptd: info: RARE: 1", "vpnptd: info: RARE: 2"]


def test_what_the_level_holds_back_does_not_count(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    made = Log("warning")
    for _ in range(BURST + 1):
        made.debug("CODE", "held back")
    made.warning("CODE", "said")
    assert capsys.readouterr().err == "vpnptd: warning: CODE: said\n"


def test_system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes away and comes back, as logd does when it is restarted: no line is lost."""
    place = str(tmp_path / "log")

    class Redirected(socket.socket):
        def connect(self, address: object) -> None:
            assert address == "/dev/log"
            super().connect(place)

    monkeypatch.setattr(log.socket, "socket", Redirected)
    made = Log(syslog=True)
    made.error("A", "nobody listens yet")
    assert capsys.readouterr().err == "vpnptd: error: A: nobody listens yet\n"
    for text in ("é one", "two after a restart"):
        with open_log(place) as logd:
            made.warning("B", text)
            assert logd.recv(1000).decode() == f"<28>vpnptd[{os.getpid()}]: B: {text}"
        os.unlink(place)
        made.info("C", "gone")
        assert capsys.readouterr().err == "vpnptd: info: C: gone\n"


def test_a_system_log_that_reads_nothing_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """A socket that waits would stop the daemon for good, as it did. What was left out is told as soon as there is room."""
    place = str(tmp_path / "log")

    class Redirected(socket.socket):
        def connect(self, address: object) -> None:
            super().connect(place)

    monkeypatch.setattr(log.socket, "socket", Redirected)
    monkeypatch.setattr(log, "PATIENCE", 0.01)
    made = Log("debug", syslog=True)
    with open_log(place) as logd:
        for number in range(1000):
            made.debug(f"C{number}", "x")
        assert 0 < made.unread < 1000 and len(made.lines) == LINES
        heard = [logd.recv(1000).decode() for _ in range(1000 - made.unread)]
        assert [line.partition(": ")[2] for line in heard] == [f"C{number}: x" for number in range(len(heard))]
        left_out = made.unread
        made.debug("AGAIN", "there is room")
        assert [logd.recv(1000).decode().partition(": ")[2] for _ in range(2)] == [
            f"LOG-FULL: {left_out} lines found no room in the system log; `vpnpt events` has them", "AGAIN: there is room"]
        assert not made.unread
    assert not capsys.readouterr().err


def open_log(place: str) -> socket.socket:
    """A logd."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(place)
    made.settimeout(60)
    return made
