# SPDX-License-Identifier: GPL-2.0-or-later
"""What the handlers of requests have at hand (api.py, tools.py)."""
from __future__ import annotations

import contextlib

from ..kernel.netfilter import NetlinkError
from ..model import plain
from ..router.devices import release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from selectors import BaseSelector
    from typing import Any

    from ..sessions.revisions import Revisions
    from .apply import Service
    from .child import Aside
    from .log import Log
    from .offload import Offload
    from .pending import Pending
    from .sessions_feed import SessionsFeed
    from .throughput import Counting
    from .why import Watches

    Handler = Callable[["Context", Mapping[str, str]], dict[str, Any] | Pending]


class Context:
    """What handlers may ask. reload: puts the configuration in force, True if that worked. selector: the loop's."""

    __slots__ = ("service", "reload", "log", "selector", "feed", "aside", "watches", "revisions", "counting", "offload")

    def __init__(self, service: Service, reload: Callable[[], bool], log: Log, selector: BaseSelector, feed: SessionsFeed) -> None:
        self.service, self.reload, self.log, self.selector, self.feed = service, reload, log, selector, feed
        self.aside: Aside | None = None  # made when somebody first asks the doctor
        self.revisions: Revisions | None = None  # made when a page first asks for what is new
        self.counting: Counting | None = None  # with vpnpt-tools
        self.offload: Offload | None = None  # if its package is there
        self.watches: Watches | None = None  # made when somebody first asks why

    def status(self) -> dict[str, Any]:
        """The whole state, with what sessions and log add to it."""
        shot = self.service.snapshot()
        with contextlib.suppress(NetlinkError):  # then there is no kmod-nf-conntrack-netlink, and nothing to count
            self.feed.refresh()
        totals = self.feed.sessions.totals()
        for name, state in shot["protocols"].items():
            _, bytes_out, _, bytes_in = totals.get(name, (0, 0, 0, 0))
            blocked = sum(state["counters"].get(reason, 0) for reason in ("blocked", "source", "denied"))
            state |= {"sessions": self.feed.sessions.count(name), "bytes_out": bytes_out, "bytes_in": bytes_in, "blocked": blocked}
        if self.offload is not None:
            shot["esp_offload"] = self.offload.snapshot()
        else:
            why = self.service.no_short_way() or "package vpnpt-offload is not installed"
            shot["esp_offload"] = {"state": "off", "keys": 0, "slow": [why], "text": f"short way for ESP: off; {why}"}
        return shot | {"release": release(), "alerts": list(self.log.alerts), "drift": self.service.watch.drift,
                       "drift_said": plain(self.service.watch.drift)}
