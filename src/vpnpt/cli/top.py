# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpnpt top`: the terminal. Keys, size, and whatever happens a terminal that is left as it was found.

Without curses, which python3-light does not have: ECMA-48's few sequences that every terminal has known for forty years. Where there
is no such terminal (a pipe, TERM=dumb) one table follows another.
"""
from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time

from . import show
from .top_view import HELP, ORDERS, Rates, View, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .show import Paint

    Ask = Callable[[dict[str, str], bool], "dict[str, Any] | None"]

ENTER = "\033[?1049h\033[?25l"  # the other screen, no cursor (xterm's private modes)
LEAVE = "\033[?25h\033[?1049l"
HOME, CLEAR_LINE, CLEAR_REST = "\033[H", "\033[K", "\033[J"
UP, DOWN = (b"\033[A", b"\033OA"), (b"\033[B", b"\033OB")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """A signal asks us to end; args: which."""


class Terminal:
    """A terminal that shows one screen and hears single keys; as a context, it is put back in any case."""

    def __init__(self) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._saved = termios.tcgetattr(self._in)
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[signal.Signals, Any] = {}
        self._typed = b""

    def __enter__(self) -> Terminal:
        for number in (*ENDING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
            self._old[number] = signal.signal(number, self._on_signal)
        self._before = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._begin()
        return self

    def __exit__(self, *_exc: object) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # nothing comes between here and the end
        self._end()
        signal.set_wakeup_fd(self._before)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._waker)

    def _begin(self) -> None:
        mode = termios.tcgetattr(self._in)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._in, termios.TCSAFLUSH, mode)
        self._write(ENTER)

    def _end(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # the terminal may have gone
            self._write(LEAVE)
            termios.tcsetattr(self._in, termios.TCSAFLUSH, self._saved)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number in ENDING:
            raise Ended(number)
        if number == signal.SIGTSTP:
            self._end()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
        elif number == signal.SIGCONT:
            signal.signal(signal.SIGTSTP, self._on_signal)
            self._begin()

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(self._out)
            if found.columns > 0 and found.lines > 0:
                return found.columns, found.lines
        return 80, 24

    def show(self, lines: list[str]) -> None:
        """One screen, in one write, over the last: nothing flickers."""
        _, height = self.size()
        body = f"{CLEAR_LINE}\r\n".join(lines[:height])
        self._write(f"{HOME}{body}{CLEAR_LINE}{CLEAR_REST}")

    def key(self, seconds: float) -> bytes:
        """The next key, b'' if none was typed for so long, or if the screen has another size."""
        if not self._typed:
            ready, _, _ = select.select([self._in, self._wake], [], [], max(0.0, seconds))
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 64)
            if self._in not in ready:
                return b""
            self._typed = os.read(self._in, 256)
            if not self._typed:
                raise Ended(signal.SIGHUP)
        length = 3 if self._typed[:2] in (b"\033[", b"\033O") else 1
        one, self._typed = self._typed[:length], self._typed[length:]
        return one

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._out, data):]


def suits(environment: dict[str, str] | os._Environ[str]) -> bool:
    """Whether there is a terminal on which a screen can be shown."""
    return sys.stdin.isatty() and sys.stdout.isatty() and environment.get("TERM", "dumb") not in ("", "dumb", "unknown")


def run(ask: Ask, interval: float, count: int, paint: Paint) -> int:
    """Until q or a signal, or `count` tables (0: without end). ask: a request, and whether to say
    so if there is no answer; the answer or None."""
    return live(ask, interval, count, paint) if suits(os.environ) else batch(ask, interval, count, paint)


def batch(ask: Ask, interval: float, count: int, paint: Paint) -> int:
    """One table after another, each after an interval so that there are rates."""
    rates, shown, view = Rates(), 0, View()
    while True:
        answer = ask({"method": "sessions"}, True)
        if answer is None or "error" in answer:
            return 1
        rates.take(answer["sessions"], time.monotonic())
        if shown:
            print()
        lines = frame(answer, rates, view, width=show.WIDTH, height=0, title=_title(answer), keys=False, paint=paint)
        print("\n".join(lines), flush=True)
        shown += 1
        if shown == count:
            return 0
        time.sleep(interval)


def live(ask: Ask, interval: float, count: int, paint: Paint) -> int:
    """On a terminal."""
    answer = ask({"method": "sessions"}, True)
    if answer is None or "error" in answer:
        return 1
    rates, view, shown = Rates(), View(), 1
    rates.take(answer["sessions"], time.monotonic())
    try:
        with Terminal() as terminal:
            due = time.monotonic() + interval
            while True:
                width, height = terminal.size()
                terminal.show(frame(answer, rates, view, width=width, height=height, title=_title(answer), keys=True, paint=paint))
                typed = terminal.key(due - time.monotonic() if not view.paused else 3600)
                if typed in (b"q", b"Q", b"\x04"):
                    return 0
                if typed:
                    _on_key(typed, terminal, view, view.arranged(answer["sessions"], rates), ask)
                if time.monotonic() >= due and not view.paused:
                    if shown == count:
                        return 0
                    found = ask({"method": "sessions"}, False)
                    due = time.monotonic() + interval
                    if found is None or "error" in found:
                        view.message = "the daemon does not answer"
                        continue
                    answer, shown = found, shown + 1
                    view.message = "" if view.message.startswith("the daemon") else view.message
                    rates.take(answer["sessions"], time.monotonic())
    except Ended as end:
        return 0 if end.args[0] == signal.SIGINT else 128 + int(end.args[0])


def _on_key(typed: bytes, terminal: Terminal, view: View, sessions: list[dict[str, Any]], ask: Ask) -> None:
    view.message = ""
    if typed in (b"s", b"S"):
        view.order = (view.order + 1) % len(ORDERS)
    elif typed in (b"p", b"P", b" "):
        view.paused = not view.paused
    elif typed in UP or typed in DOWN:
        view.move(-1 if typed in UP else 1, sessions)
    elif typed in (b"h", b"H", b"?"):
        terminal.show(HELP.splitlines())
        terminal.key(3600)
    elif typed in (b"k", b"K"):
        chosen = [item for item in sessions if item["id"] == view.chosen]
        if not chosen:
            view.message = "choose a session first: up and down"
            return
        name = f"{show.who(chosen[0], 'client')} to {show.who(chosen[0], 'server')}"
        terminal.show([f"end the session of {name} ({show.kind(chosen[0])})? y ends it, any other key does not"])
        if terminal.key(3600) in (b"y", b"Y"):
            done = ask({"method": "kill", "session": chosen[0]["id"]}, False) or {"error": "the daemon does not answer"}
            view.message = done.get("error") or f"{name}: ended"


def _title(answer: dict[str, Any]) -> str:
    return f"vpnpt top {show.clock(answer['now'], date=False)}"
