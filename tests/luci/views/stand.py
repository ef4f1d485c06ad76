# SPDX-License-Identifier: GPL-2.0-or-later
"""A page that draws one of our views, and a router that answers what it asks."""
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildroot import po
from buildroot.recipe import TOP
from tests.luci.recorded import Recorded
from vpnpt.config.compile import compile_config
from vpnpt.config.ucitext import parse
from vpnpt.model import Diagnostic, Said

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

HTDOCS = TOP / "luci-app/luci-app-vpnpt/htdocs"
STAND_IN = Path(__file__).parents[1].joinpath("stand_in.js").read_text()
PAGE = """<!doctype html><html lang="en" data-darkmode="{dark}"><meta name="viewport" content="width=device-width, initial-scale=1">
<style>html {{ color-scheme: {scheme}; font: 13px sans-serif }} body {{ margin: 8px }} label {{ margin-right: 1em }}</style>
<body data-page="test"><div id="view"></div><script src="/stand_in.js"></script></body></html>"""
VIEWS = ("view.vpnpt.overview", "view.vpnpt.settings", "view.vpnpt.doctor", "view.vpnpt.changes", "view.status.include.70_vpnpt")
OVERVIEW = VIEWS[0]
EVIL = "<img src=x onerror='window.pwned=1'><b>bold</b>"


class Router:
    """What the page's requests are answered with."""

    def __init__(self) -> None:
        self.recorded = Recorded()
        self.config: dict[str, Any] | None = shipped()
        self.enabled = True
        self.executed: list[Any] = []
        self.dark = False
        self.text: str | None = (TOP / "files/etc/config/vpnpt").read_text()
        self.checked: list[Diagnostic] = []

    def handle(self, route: Route) -> None:
        path = route.request.url.partition("vpnpt.test")[2].partition("?")[0]
        if path == "/ubus":
            route.fulfill(content_type="application/json", body=json.dumps(self.call(json.loads(route.request.post_data or ""))))
        elif path == "/stand_in.js":
            route.fulfill(content_type="text/javascript", body=STAND_IN)
        elif path.startswith("/luci-static/") and (HTDOCS / path[1:]).is_file():
            route.fulfill(path=HTDOCS / path[1:])
        elif path == "/":
            route.fulfill(content_type="text/html", body=PAGE.format(dark=str(self.dark).lower(), scheme="dark" if self.dark else "light"))
        else:
            route.fulfill(status=404 if path != "/favicon.ico" else 204)

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        _, name, method, arguments = call["params"]
        frame = {"jsonrpc": "2.0", "id": call["id"]}
        if name == "vpnpt":
            return self.recorded.answer(call)
        if (name, method) == ("file", "read"):
            return {**frame, "result": [4] if self.text is None else [0, {"data": self.text}]}
        if (name, method) == ("file", "write"):
            self.text = arguments["data"]
            return {**frame, "result": [0, {}]}
        if (name, method, arguments.get("params")) == ("file", "exec", ["check", "--json"]):
            return {**frame, "result": [0, {"code": 2, "stdout": json.dumps([item.shown() for item in self.checked]), "stderr": ""}]}
        if (name, method) == ("file", "exec"):
            self.executed.append(arguments["params"])
            self.recorded.down = arguments["params"] == ["stop"]
            return {**frame, "result": [0, {"code": 0}]}
        if (name, method) == ("rc", "list"):
            return {**frame, "result": [0, {"vpnpt": {"start": 21, "enabled": self.enabled, "running": not self.recorded.down}}]}
        if (name, method) == ("uci", "get"):
            return {**frame, "result": [0, {"values": self.config}] if self.config is not None else [4]}
        if (name, method) == ("uci", "add"):
            self.executed.append(arguments)
            return {**frame, "result": [0, {"section": arguments["name"]}]}
        if (name, method) == ("luci-rpc", "getHostHints"):
            return {**frame, "result": [0, {"00:00:5E:00:53:13": {"name": "anna-laptop", "ipaddrs": ["192.168.1.113"], "ip6addrs": []}}]}
        return {**frame, "error": {"code": -32000, "message": "Object not found"}}


def shipped() -> dict[str, Any]:
    """The configuration that is installed, as rpcd gives it."""
    document = parse((TOP / "files/etc/config/vpnpt").read_text(), "vpnpt")
    return {section.name: {".type": section.type, ".name": section.name, ".anonymous": False,
                           **{option.name: option.values[0] if len(option.values) == 1 else option.values
                              for option in section.options.values()}}
            for section in document.sections}


def show(page: Page, view: str) -> None:
    page.goto("http://vpnpt.test/")
    page.evaluate("view => show(view)", view)


def again(page: Page) -> None:
    """As if the page had been hidden: it asks at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def ask_until(page: Page, condition: Callable[[], bool]) -> None:
    """Has the page ask again and again until it holds: one that has not drawn its last answer yet asks for nothing."""
    for _ in range(200):
        again(page)
        page.wait_for_timeout(100)
        if condition():
            return
    raise TimeoutError("the page never showed it")


def german(page: Page) -> None:
    """What is drawn from now on."""
    words = po.read(po.APP / "po/de/vpnpt.po")
    page.add_init_script(f"window.words = {json.dumps(words)}")


def broken(router: Router) -> None:
    """A quote is missing: the daemon runs with an earlier configuration, and LuCI can't read this one."""
    assert router.text is not None
    lines = router.text.splitlines()
    lines[8] = "config vpnpt 'global"
    router.config, router.text = None, "\n".join(lines) + "\n"
    router.checked = [Diagnostic(severity="error", file="/etc/config/vpnpt", line=9, remedy=Said("the line is skipped"),
                                 message=Said("the quote {quote} that opens here has no end", quote="'"))]


def report(router: Router, text: str) -> None:
    """The daemon has read it, and says so."""
    found = compile_config(text, "/etc/config/vpnpt")[1]
    errors = [str(item) for item in found if item.severity == "error"]
    router.recorded.status.update(problem="; ".join(errors), in_force="earlier" if errors else "partly",
                                  diagnostics=[str(item) for item in found], diagnostics_said=[item.shown() for item in found])
