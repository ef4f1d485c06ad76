# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench.polls`: what an open overview asks of the router in a minute, and how long it takes to draw.

Our pages among LuCI's own scripts in Chromium (LUCI_SOURCE), before a record of the daemon whose sessions all have traffic: the worst case.
What is sent of them is decided by the daemon's own code (vpnpt.sessions.revisions). *Before* is the whole table at each poll, as it was
answered until there were revisions.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from tests.luci.browser import DESKTOP, browser
from tests.luci.front import HOST, Front

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COUNTS = (3, 500, 1000, 2000)
MINUTE = 60
POLLS = 12
"""Of the overview in a minute."""


def crowd(front: Front, count: int) -> None:
    """That many sessions, every one of which has traffic at each poll."""
    template = next(item for item in front.recorded.sessions if item["state"] == "up")
    front.recorded.sessions = [
        {**template, "id": f"ipsec-{number:08x}", "client": f"10.0.{number // 250}.{number % 250 + 1}", "rate": (40_000, 20_000)}
        for number in range(count)]


def whole(front: Front) -> int:
    """Bytes of the answer that has every session."""
    shot = [{key: value for key, value in item.items() if key != "rate"} for item in front.recorded.sessions]
    return len(json.dumps({"now": front.recorded.now, "sessions": shot, "ended": []}))


def metrics(session: Any) -> dict[str, float]:
    """Of Chromium: seconds of script, layout and style since the page was loaded."""
    return {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}


def measure(chromium: Browser, count: int) -> list[float]:
    """Requests, kB of sessions' answers before and after in a minute; the largest poll in kB; ms to draw one poll."""
    front = Front()
    crowd(front, count)
    context = chromium.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    context.route("**/*", front.handle)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/ubus" in request.url else None)
    page.goto(f"{HOST}/cgi-bin/luci/admin/network/vpnpt/overview")
    page.wait_for_selector("#vpnpt-sessions tbody tr")
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    page.wait_for_timeout(3000)
    begun, requests, polls = metrics(session), len(asked), len(front.recorded.bytes)
    page.wait_for_timeout(MINUTE * 1000)
    ended, sent = metrics(session), front.recorded.bytes[polls:]
    drawing = sum(ended[name] - begun[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration"))
    context.close()
    return [len(asked) - requests, whole(front) * POLLS / 1000, sum(sent) / 1000, max(sent) / 1000, drawing * 1000 / len(sent)]


def table(found: dict[int, list[float]]) -> str:
    """As docs/MEASUREMENTS.md has it."""
    head = ["| sessions | requests a minute | kB a minute, before | kB a minute | largest poll, kB | drawn in, ms |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |"]
    return "\n".join(head + [f"| {count:,} | {row[0]:.0f} | {row[1]:,.1f} | {row[2]:,.1f} | {row[3]:.1f} | {row[4]:.0f} |"
                             for count, row in found.items()])


if __name__ == "__main__":
    with browser() as chromium:
        print(table({count: measure(chromium, count) for count in COUNTS}))
