# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures for others: gathered from the running daemon, and written where prometheus-node-exporter-lua-textfile reads them."""
from __future__ import annotations

import contextlib
import os

from . import safe_file
from .metrics import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .apply import Service
    from .log import Log
    from .sessions_feed import SessionsFeed

PAGE = os.sysconf("SC_PAGE_SIZE")


def collect(service: Service, feed: SessionsFeed, log: Log, shot: dict[str, Any]) -> str:
    """The text of now. shot: the answer to `status`."""
    used = os.times()
    general = service.config.general if service.config is not None else None
    return render(shot, feed.snapshot()["sessions"], feed.sessions.totals(), log.written, memory=_memory(),
                  cpu=used.user + used.system + used.children_user + used.children_system,
                  limits=(general.max_clients, general.max_keys) if general is not None else (0, 0))


def write(path: str, text: str) -> None:
    """All of it or nothing: whoever reads `*.prom` never sees a half. Makes the folder, which a reboot takes. Raises OSError."""
    safe_file.replace(path, text.encode(), 0o644)


def _memory() -> int:
    """Bytes (proc(5): statm counts pages)."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE
    return 0
