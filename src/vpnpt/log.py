"""One line per event, with a reason code, to the system log or to standard error. Never a key or a payload.

A tiny stand-in for the `logging` module, which costs 2.2 MB of memory on the router. Lines of one code are rate-limited: after
`BURST` of them within a minute, the rest of that minute is counted and summed up in one line.
"""

from __future__ import annotations

import os
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = ("error", "warning", "info", "debug")
_PRIORITY = {"error": 3, "warning": 4, "info": 6, "debug": 7}
_DAEMON = 3 << 3
BURST = 20


class Log:
    """Writes `CODE: text` lines at or above a level. With `syslog` to /dev/log, where that is missing to standard error."""

    def __init__(self, level: str = "info", *, syslog: bool = False) -> None:
        self.level = level
        self.listener: Callable[[str, str, str], None] | None = None  # hears severity, code and text of errors and warnings
        self._syslog = syslog
        self._socket: socket.socket | None = None
        self._minute: dict[str, tuple[float, int]] = {}

    def error(self, code: str, text: str) -> None:
        self.write("error", code, text)

    def warning(self, code: str, text: str) -> None:
        self.write("warning", code, text)

    def info(self, code: str, text: str) -> None:
        self.write("info", code, text)

    def debug(self, code: str, text: str) -> None:
        self.write("debug", code, text)

    def write(self, level: str, code: str, text: str) -> None:
        """Writes one line, unless the level or the rate limit holds it back."""
        if LEVELS.index(level) > LEVELS.index(self.level):
            return
        suppressed = self._count(code)
        if suppressed is None:
            return
        if suppressed:
            self._emit(level, f"{code}: {suppressed} more lines of this kind were left out")
        self._emit(level, f"{code}: {text}")
        if self.listener is not None and level in ("error", "warning"):
            self.listener(level, code, text)

    def _count(self, code: str) -> int | None:
        """How many lines of this code were left out before this one; None: leave this one out too."""
        now = time.monotonic()
        since, count = self._minute.get(code, (now, 0))
        if now - since >= 60:
            self._minute[code] = (now, 1)
            return max(0, count - BURST)
        self._minute[code] = (since, count + 1)
        return 0 if count < BURST else None

    def _emit(self, level: str, line: str) -> None:
        line = line.replace("\n", " | ")
        if self._syslog and self._to_syslog(f"<{_DAEMON | _PRIORITY[level]}>vpnptd[{os.getpid()}]: {line}"):
            return
        sys.stderr.write(f"vpnptd: {level}: {line}\n")
        sys.stderr.flush()

    def _to_syslog(self, line: str) -> bool:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.connect("/dev/log")
            self._socket.send(line.encode("utf-8", "replace"))
        except OSError:
            # logd restarts now and then: the next line tries again.
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            return False
        return True
