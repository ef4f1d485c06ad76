# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts what passes, for graphs in LuCI. Beside the file of changes (vpnpt.global.history), if there is one, it outlives the daemon."""
from __future__ import annotations

import contextlib
import json
import time

from ..kernel.netfilter import NetlinkError
from ..sessions.table import text_of
from ..sessions.throughput import Throughput
from . import safe_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..sessions.throughput import Row
    from .apply import Service
    from .sessions_feed import SessionsFeed

PERIOD = 300.0
"""Seconds between two samples."""
ENDING, HEAD, LIMIT = ".throughput", b'{"hours":', 256 << 10


class Counting:
    """`sample` says in how many seconds to call it again."""

    def __init__(self, service: Service, feed: SessionsFeed) -> None:
        self._service, self._feed = service, feed
        self.sums = Throughput()
        self._path, self._foreign = "", False

    def sample(self) -> float:
        self._open()
        if self._feed.sessions.live:
            with contextlib.suppress(NetlinkError):
                self._feed.refresh()
                self._feed.learn()  # what is copied to several: conntrack does not see it
        now = time.time()
        if self.sums.sample(int(now), time.localtime(now).tm_gmtoff, self._rows()):
            self.write()
        return PERIOD

    def _rows(self) -> Iterator[Row]:
        sessions = self._feed.sessions
        for session in [*sessions.live.values(), *(ended for ended, _, _ in sessions.ended)]:
            _, went, _, came = session.counts()
            yield session.ident, session.key[0], text_of(session.key[1]), came, went

    def _open(self) -> None:
        config = self._service.config
        history = config.general.history if config is not None else ""
        path = history + ENDING if history else ""
        if path != self._path:
            self._path, self._foreign = path, False
            if path:
                self._load()

    def _load(self) -> None:
        try:
            data = safe_file.read(self._path, LIMIT)
            found: Any = json.loads(data) if data.startswith(HEAD) else None
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError):
            found = None
        self._foreign = not isinstance(found, dict)  # somebody else's: it is left alone
        if isinstance(found, dict):
            self.sums.load(found)

    def write(self) -> None:
        """Into the file, if there is one."""
        if self._path and not self._foreign:
            with contextlib.suppress(OSError):
                safe_file.replace(self._path, json.dumps(self.sums.answer()).encode())
