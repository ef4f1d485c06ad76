# SPDX-License-Identifier: GPL-2.0-or-later
"""A command line and what all commands need: the daemon's answer, the terminal, clients by their names."""

from __future__ import annotations

import json
import os
import signal
import sys

from ..daemon import control
from . import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .show import Paint

RUN_DIR = "/var/run/vpnpt"
WATCH_INTERVAL = 2.0


class UsageError(Exception):
    """The command line is wrong; the message says what."""


class Call:
    """A parsed command line: command, operands, flags, options with a value."""

    __slots__ = ("command", "operands", "flags", "values")

    def __init__(self, command: str, operands: list[str], flags: set[str], values: dict[str, str]) -> None:
        self.command, self.operands, self.flags, self.values = command, operands, flags, values

    def ask(self, request: dict[str, str], complain: bool = True) -> dict[str, Any] | None:
        """The daemon's answer. None if there is none, or if it is an error: that is said."""
        run_dir = self.values.get("--run-dir", RUN_DIR)
        try:
            answer = control.call(run_dir, request)
        except (OSError, ValueError) as error:
            if complain:
                print(f"vpnpt: no daemon answers in {run_dir} ({error}): is vpnptd running?", file=sys.stderr)
            return None
        if "error" in answer and complain:
            print(f"vpnpt: {answer['error']}", file=sys.stderr)
            return None
        return answer

    def number(self, option: str, default: float) -> float:
        """The value of an option that is a number of at least 0. Raises UsageError."""
        text = self.values.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e6:
            raise UsageError(f"{option} needs a number, not {text!r}")
        return value


def paint() -> Paint:
    """Colours on a terminal alone, and not where NO_COLOR is set (no-color.org)."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") not in ("", "dumb")
    return show.coloured if wanted else show.plain


def columns(default: int) -> int:
    """The screen's columns; `default` where there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or default
    except (OSError, ValueError):
        return default


def show_answer(call: Call, request: dict[str, str], text: Callable[[dict[str, Any]], str]) -> int:
    """Asks and prints: JSON with --json, else text; 1 without an answer."""
    answer = call.ask(request)
    if answer is None:
        return 1
    print(json.dumps(answer, indent=2) if "--json" in call.flags else text(answer))
    return 0


def until_interrupted() -> None:
    """ctrl-C ends what runs until then. A shell without job control starts what it puts in the background with SIGINT ignored;
    Python then raises no KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
