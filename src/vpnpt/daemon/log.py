# SPDX-License-Identifier: GPL-2.0-or-later
"""One line per event, with a reason code, to the system log or to standard error. Never a key or a payload.

A tiny stand-in for the `logging` module, which costs 2.2 MB of memory on the router. Lines of one code are rate-limited: after
`BURST` of them within a minute, the rest of that minute is counted and summed up in one line. What was written is kept: the last
`LINES` lines, and of the errors and warnings among them the last `ALERTS`.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import deque

from ..model import Said, number, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ..model import Diagnostic

LEVELS = ("error", "warning", "info", "debug")
_PRIORITY = {"error": 3, "warning": 4, "info": 6, "debug": 7}
_DAEMON = 3 << 3
BURST = 20
MINUTE = 60.0
LINES = 200
ALERTS = 32
PATIENCE = 0.2
"""Seconds for which a system log that reads nothing (the kernel keeps ten lines for it) may hold the daemon up."""
TEXT_LIMIT = 1000
"""Characters of a line: a message of nft's can be as long as the ruleset."""


class Log:
    """Writes `CODE: text` lines at or above a level. With `syslog` to /dev/log, where that is missing to standard error."""

    def __init__(self, level: str = "info", *, syslog: bool = False) -> None:
        self.level = level
        self.listener: Callable[[str, str, str], None] | None = None  # hears severity, code and text of errors and warnings
        self.lines: deque[dict[str, Any]] = deque(maxlen=LINES)
        self.count = 0  # of lines that were kept
        self._name = f"{os.getpid()}-{int(time.time())}"
        self.alerts: deque[dict[str, Any]] = deque(maxlen=ALERTS)
        self.written: dict[tuple[str, str], int] = {}  # by severity and code, those that were summed up too
        self._syslog = syslog
        self.unread = 0  # lines that the system log had no room for, since it last had
        self._socket: socket.socket | None = None
        self._minute: dict[str, tuple[float, int, str]] = {}  # when it began, how many since, the last one's severity

    def error(self, code: str, text: str, /, **values: Any) -> None:
        self.write("error", code, text, **values)

    def warning(self, code: str, text: str, /, **values: Any) -> None:
        self.write("warning", code, text, **values)

    def info(self, code: str, text: str, /, **values: Any) -> None:
        self.write("info", code, text, **values)

    def debug(self, code: str, text: str, /, **values: Any) -> None:
        self.write("debug", code, text, **values)

    def write(self, level: str, code: str, text: str | Diagnostic, /, **values: Any) -> None:
        """Writes one line, unless the level or the rate limit holds it back. values: for the places of the text, a whole template, in
        which LuCI has it in other languages."""
        if LEVELS.index(level) > LEVELS.index(self.level):
            return
        self.written[level, code] = self.written.get((level, code), 0) + 1
        if not self._admitted(level, code):
            return
        self._emit(level, code, Said(text, **values) if values and isinstance(text, str) else text)
        if self.listener is not None and level in ("error", "warning"):
            self.listener(level, code, self.lines[-1]["text"])

    def since(self, key: str, lines: Iterable[Any], count: int, arguments: Mapping[str, str]) -> dict[str, Any]:
        """A list that grows at its end, as an answer; count: how many there ever were. Who gives `since` ('' at first, then the last
        answer's `revision`) gets what came after it, or all (`full`), where that is of another daemon or too old."""
        found = list(lines)
        if "since" not in arguments:
            return {key: found}
        name, _, known = arguments["since"].rpartition(".")
        last = number(known) if name == self._name else None
        late = -1 if last is None else count - last
        full = not 0 <= late <= len(found)
        return {key: found if full else found[len(found) - late:], "full": full, "revision": f"{self._name}.{count}"}

    def next_deadline(self) -> float | None:
        """When `sum_up` has something to say, by time.monotonic(); None if nothing is held back."""
        return min((since + MINUTE for since, count, _ in self._minute.values() if count > BURST), default=None)

    def sum_up(self) -> None:
        """Says how many lines were left out in the minutes that are over."""
        now = time.monotonic()
        for code in [code for code, (since, _, _) in self._minute.items() if now - since >= MINUTE]:
            _, count, level = self._minute.pop(code)
            if count > BURST:
                self._emit(level, code, Said("{count} more like this", count=count - BURST))

    def _admitted(self, level: str, code: str) -> bool:
        """Whether the rate limit lets this line through; it counts in any case."""
        self.sum_up()
        since, count, _ = self._minute.get(code, (time.monotonic(), 0, level))
        self._minute[code] = (since, count + 1, level)
        return count < BURST

    def _emit(self, level: str, code: str, what: str | Diagnostic) -> None:
        text, said = str(what).strip().replace("\n", " | "), {} if type(what) is str else {"said": plain(what)}
        if len(text) > TEXT_LIMIT:
            text, said = text[:TEXT_LIMIT - 3] + "...", {}
        entry = {"time": int(time.time()), "severity": level, "code": code, "text": text, **said}
        self.lines.append(entry)
        self.count += 1
        if level in ("error", "warning"):
            self.alerts.append(entry)
        if self._syslog and self._to_syslog(level, code, text):
            return
        sys.stderr.write(f"vpnptd: {level}: {code}: {text}\n")
        sys.stderr.flush()

    def _to_syslog(self, level: str, code: str, text: str) -> bool:
        """False: there is no system log. One that does not read its socket is waited for once, and a moment only."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.connect("/dev/log")
            self._socket.settimeout(0.0 if self.unread else PATIENCE)
            if self.unread:
                self._send("warning", "LOG-FULL", f"{self.unread} lines found no room in the system log; `vpnpt events` has them")
                self.unread = 0
            self._send(level, code, text)
        except (BlockingIOError, TimeoutError):
            self.unread += 1
        except OSError:
            # logd restarts now and then: the next line tries again.
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            return False
        return True

    def _send(self, level: str, code: str, text: str) -> None:
        assert self._socket is not None
        self._socket.send(f"<{_DAEMON | _PRIORITY[level]}>vpnptd[{os.getpid()}]: {code}: {text}".encode("utf-8", "replace"))


def addresses(packet: bytes) -> Said:
    """`192.168.1.2 to 203.0.113.1` of an IPv4 or IPv6 packet."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return _way(socket.inet_ntop(socket.AF_INET, packet[12:16]), socket.inet_ntop(socket.AF_INET, packet[16:20]))
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return _way(socket.inet_ntop(socket.AF_INET6, packet[8:24]), socket.inet_ntop(socket.AF_INET6, packet[24:40]))
    return Said("a packet")


def _way(source: str, target: str) -> Said:
    return Said("{source} to {target}", source=source, target=target)
