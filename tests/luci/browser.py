# SPDX-License-Identifier: GPL-2.0-or-later
"""A headless Chromium, by Playwright: both are on the machine or what needs them is skipped, loudly.

    CHROMIUM   the program, if it is neither chromium, chromium-browser nor google-chrome of the PATH.
"""
from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 780}


def program() -> str:
    """Chromium's path. Raises LookupError with what to do where there is none."""
    for name in (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise LookupError("there is no chromium (`apt-get install chromium`, or CHROMIUM names one)")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Started in the network namespace of the caller's thread. Raises LookupError where it can't be had."""
    path = program()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise LookupError("there is no playwright (`make setup`)") from None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


class Complaints:
    """What a page's console said that nobody wants to read, and what was thrown and not caught.

    Files that LuCI itself asks for and this router lacks (its own status widgets, cgi-io) are not ours to complain about.
    """

    def __init__(self, page: Page) -> None:
        self.lines: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.lines.append(f"thrown: {error}"))

    def _said(self, message: ConsoleMessage) -> None:
        url = message.location.get("url", "")
        ours = "vpnpt" in url + message.text or not message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and ours:
            self.lines.append(f"{message.type}: {message.text} ({url})")


@contextlib.contextmanager
def answered(browser: Browser, answer: Callable[[Route], None], *, seconds: float = 10, forgiven: str = "\0") -> Iterator[Page]:
    """A page all of whose requests go to `answer`. Fails afterwards if anything was complained about but what has `forgiven` in it."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    context.route("**/*", answer)
    page = context.new_page()
    page.set_default_timeout(seconds * 1000)
    complaints = Complaints(page)
    yield page
    assert [line for line in complaints.lines if forgiven not in line] == []
    context.close()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window: 0 if nobody has to scroll sideways."""
    width: int = page.evaluate("Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)")
    return width
