# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpnpt top` on a real pseudo-terminal, and `events --follow`: keys, sizes, signals, and a terminal that is left as it was found."""
from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import selectors
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_show import many
from vpnpt.daemon import control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = Path(__file__).parents[2] / "src"
PATIENCE = 60.0


class Daemon:
    """A control socket that answers with `answers`, in a thread of its own; `asked`: what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.answers: dict[str, dict[str, Any]] = {"sessions": many(40), "kill": {"ended": 1}, "events": {"events": []}}
        self.asked: list[dict[str, Any]] = []
        self._selector = selectors.DefaultSelector()
        self._server = control.ControlServer(str(directory / control.SOCKET), self._selector, self._answer)
        self._ends = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return self.answers[request["method"]]

    def _serve(self) -> None:
        while not self._ends:
            for key, _ in self._selector.select(0.02):
                key.data()

    def close(self) -> None:
        self._ends = True
        self._thread.join()
        if self._server is not None:
            self._server.close()


class Screen:
    """A program on a pseudo-terminal of 80 columns and 24 lines; `text`: all that it has written."""

    def __init__(self, *command: str, term: str = "xterm", shell: str = "") -> None:
        self.master, self.slave = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        line = [sys.executable, "-m", "vpnpt.cli", *command]
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *line] if shell else line, stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "TERM": term}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, condition: Callable[[], Any]) -> bool:
        """Reads until the condition holds; False if it never does."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                return False
            if select.select([self.master], [], [], 0.02)[0]:
                self.text += os.read(self.master, 65536).decode()
        return True

    def shows(self, pattern: str) -> bool:
        """Whether what is written from now on matches, sooner or later."""
        start = len(self.text)
        return self.until(lambda: re.search(pattern, self.text[start:]))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self) -> int:
        """Its exit status."""
        assert self.until(lambda: self.process.poll() is not None), self.text
        self.until(lambda: not select.select([self.master], [], [], 0)[0])
        return self.process.returncode

    def restored(self) -> bool:
        """Whether the terminal is as it was: mode, screen and cursor."""
        return termios.tcgetattr(self.slave) == self.before and self.text.endswith("\033[?25h\033[?1049l")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that has 40 sessions."""
    made = Daemon(tmp_path)
    yield made
    made.close()


@pytest.fixture
def top(daemon: Daemon) -> Iterator[Screen]:
    """It has shown its first screen."""
    screen = Screen("top", "--interval", "0.2", "--run-dir", str(daemon.directory))
    assert screen.shows("CLIENT"), screen.text
    yield screen
    screen.close()


def test_q_ends_and_leaves_the_terminal_as_it_was(top: Screen) -> None:
    assert termios.tcgetattr(top.slave) != top.before
    top.type("q")
    assert top.ended() == 0 and top.restored()
    assert top.text.startswith("\033[?1049h\033[?25l\033[Hvpnpt top ")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_as_cleanly(top: Screen, number: signal.Signals, status: int) -> None:
    top.process.send_signal(number)
    assert top.ended() == status and top.restored()


def test_control_c(top: Screen) -> None:
    top.type("\x03")
    assert top.ended() == 0 and top.restored()


def test_stopped_and_continued(daemon: Daemon) -> None:
    """ctrl-Z gives the shell its terminal, fg takes it again."""
    top = Screen("top", "--interval", "0.2", "--run-dir", str(daemon.directory),
                 shell='set -m; "$@"; stty; echo stopped; read x; fg; echo over')
    try:
        assert top.shows("CLIENT")
        top.type("\x1a")
        assert top.shows("stopped")
        assert termios.tcgetattr(top.slave)[3] & termios.ICANON and "\033[?25h\033[?1049l" in top.text
        assert "-icanon" not in top.text
        top.type("\n")
        assert top.shows("CLIENT")
        top.type("q")
        assert top.shows("over") and "\033[?25h\033[?1049l" in top.text[-40:]
        assert top.ended() == 0 and termios.tcgetattr(top.slave) == top.before
    finally:
        top.close()


def test_keys(top: Screen, daemon: Daemon) -> None:
    top.type("s")
    assert top.shows("sorted by total")
    top.type("\033[B\033[B")
    assert top.shows("\033\\[7m")
    top.type("h")
    assert top.shows("keys of vpnpt top")
    top.type("x")
    assert top.shows("sorted by total")
    top.type("p")
    assert top.shows("PAUSED")
    asked = len(daemon.asked)
    top.type("s")
    assert top.shows("sorted by age") and len(daemon.asked) == asked, "paused means that nothing is asked"
    top.type("p")
    assert top.until(lambda: len(daemon.asked) > asked)


def test_end_a_session(top: Screen, daemon: Daemon) -> None:
    top.type("k")
    assert top.shows("choose a session first")
    top.type("\033[B")
    assert top.shows("\033\\[7m")
    top.type("k")
    assert top.shows("end the session of host0 to 203.0.113.1 .IKEv2.\\?")
    top.type("n")
    assert top.shows("CLIENT") and not any(request["method"] == "kill" for request in daemon.asked)
    top.type("k")
    assert top.shows("end the session")
    top.type("y")
    assert top.shows("host0 to 203.0.113.1: ended")
    assert {"method": "kill", "session": "ipsec-00000000"} in daemon.asked


def last_screen(text: str) -> list[str]:
    """The lines of the last whole screen, without their colours."""
    frames = text.split("\033[H")
    return re.sub(r"\033\[[0-9;]*[mKJ]", "", frames[-1]).split("\r\n")


def test_another_size(top: Screen) -> None:
    assert top.until(lambda: len(last_screen(top.text)) == 24)
    top.resize(40, 10)
    top.process.send_signal(signal.SIGWINCH)
    assert top.until(lambda: len(last_screen(top.text)) == 10)
    assert top.until(lambda: "and " in last_screen(top.text)[-1])
    assert not any(len(line) > 80 for line in last_screen(top.text))


def test_a_daemon_that_ends_and_comes_back(top: Screen, daemon: Daemon, tmp_path: Path) -> None:
    daemon.close()
    daemon._server = None  # type: ignore[assignment]
    assert top.shows("the daemon does not answer")
    again = Daemon(tmp_path)
    try:
        assert top.shows("vpnpt top [0-9:]+  40 sessions")
        assert top.until(lambda: "does not answer" not in "".join(last_screen(top.text)) and len(last_screen(top.text)) == 24)
    finally:
        top.type("q")
        assert top.ended() == 0 and top.restored()
        again.close()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_can_nothing(daemon: Daemon, term: str) -> None:
    screen = Screen("top", "--interval", "0.2", "--count", "2", "--run-dir", str(daemon.directory), term=term)
    try:
        assert screen.ended() == 0
        assert "\033" not in screen.text and screen.text.count("vpnpt top ") == 2 and screen.text.count("host39") == 2
        assert termios.tcgetattr(screen.slave) == screen.before
    finally:
        screen.close()


def test_no_terminal(daemon: Daemon) -> None:
    done = subprocess.run([sys.executable, "-m", "vpnpt.cli", "top", "--count", "1", "--run-dir", str(daemon.directory)],
                          env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].endswith("  40 sessions: 39 idle, 1 up") and len(done.stdout.splitlines()) == 44
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)])
def test_colours_on_a_terminal_alone(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = Screen("sessions", "--run-dir", str(daemon.directory))
    try:
        assert screen.ended() == 0 and "host0" in screen.text
        assert ("\033[" in screen.text) == coloured
    finally:
        screen.close()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_watch(daemon: Daemon, term: str) -> None:
    screen = Screen("sessions", "--watch", "--run-dir", str(daemon.directory), term=term)
    try:
        assert screen.until(lambda: screen.text.count("host39") == 2)
        assert screen.text.count("\033[H\033[2J") == (2 if term == "xterm" else 0)
        screen.type("\x03")
        assert screen.ended() == 130 and "Traceback" not in screen.text
    finally:
        screen.close()


def test_follow(daemon: Daemon) -> None:
    lines = [{"time": 1_700_000_000 + n, "severity": "info", "code": "APPLIED", "text": f"line {n}"} for n in range(5)]
    daemon.answers["events"] = {"events": lines[:3]}
    screen = Screen("events", "--follow", "--run-dir", str(daemon.directory))
    try:
        assert screen.shows("line 2")
        daemon.answers["events"] = {"events": lines[1:]}
        assert screen.shows("line 4")
        assert [screen.text.count(f"line {n}") for n in range(5)] == [1] * 5, "each once"
        screen.type("\x03")
        assert screen.ended() == 130 and "Traceback" not in screen.text
    finally:
        screen.close()


@pytest.mark.parametrize("command", ["sessions --watch", "events --follow", "top", "top --interval 0.2 | cat"])
def test_control_c_where_sigint_was_ignored_from_birth(daemon: Daemon, command: str) -> None:
    """As under `make test &` in a script: a shell without job control ignores SIGINT for what it starts in the background."""
    daemon.answers["events"]["events"] = [{"time": 1_700_000_000, "severity": "info", "code": "APPLIED", "text": "host0"}]
    name, _, pipe = command.partition(" | ")
    shell = f'trap "" INT; "$@" {pipe and "| " + pipe}'
    screen = Screen(*name.split(), "--run-dir", str(daemon.directory), shell=shell + '; echo "status ${PIPESTATUS[0]}"')
    try:
        assert screen.until(lambda: "host0" in screen.text), screen.text
        screen.type("\x03")
        assert screen.ended() == 0
        assert f"status {0 if command == 'top' else 130}" in screen.text and "Traceback" not in screen.text
    finally:
        screen.close()
