# SPDX-License-Identifier: GPL-2.0-or-later
"""Work that takes seconds and memory, done in a child process: the loop goes on meanwhile, and the memory is free again with its end.

Part of package vpnpt-tools: what takes that long is only asked of these."""
from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal

from .. import TOOLS_MISSING
from .pending import Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LIMIT = 30
"""Seconds after which the kernel ends a child."""
MOST = 1 << 22
"""Bytes of an answer; a longer one is none."""


class Aside:
    """One child at a time: who asks for the same while it runs gets the same answer, so each kind of work has one of its own."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self._running: Pending | None = None

    def run(self, task: Callable[[], dict[str, Any]]) -> Pending:
        """Begins the task, which may change nothing here: it has a copy of all that we know, and none of our descriptors.

        The answer is an object that JSON can carry; {"error": text} where the task failed.
        """
        if self._running is not None:
            return self._running
        pending = Pending()
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            pending.settle({"error": f"not now: {error.strerror}"})
            return pending
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            pending.settle({"error": f"not now: {error.strerror}"})
            return pending
        if pid == 0:
            _child(task, writer)
        os.close(writer)
        os.set_blocking(reader, False)
        self._running = pending
        heard = bytearray()
        self.selector.register(reader, selectors.EVENT_READ, lambda: self._read(reader, pid, heard, pending))
        return pending

    def _read(self, reader: int, pid: int, heard: bytearray, pending: Pending) -> None:
        try:
            data = os.read(reader, 65536)
        except BlockingIOError:
            return
        heard += data
        if data and len(heard) <= MOST:
            return
        self.selector.unregister(reader)
        os.close(reader)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if data:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._running = None
        try:
            answer = json.loads(heard)
        except ValueError:
            answer = {"error": f"the examination ended without an answer; it may take {LIMIT} seconds"}
        pending.settle(answer)


def _child(task: Callable[[], dict[str, Any]], writer: int) -> None:
    """Never returns. The descriptors are closed so that a lock of ours, or a socket that others listen to, dies with us alone."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(LIMIT)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # where memory ends, this one ends and not the daemon
        os.closerange(3, writer)
        os.closerange(writer + 1, 4096)
        try:
            answer = task()
        except ImportError:  # the package has been removed since the daemon loaded this
            answer = {"error": TOOLS_MISSING}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        status = 0
    finally:
        os._exit(status)
