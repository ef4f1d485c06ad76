# SPDX-License-Identifier: GPL-2.0-or-later
"""LuCI's own pages, forms and theme in a browser, before recorded answers: what needs no router.

    LUCI_SOURCE   a checkout of openwrt/luci: its JavaScript and its themes are served as they stand there.

The page around a view is what the theme's header.ut makes of it, in short. UCI is a dictionary: what a page saves is found in
`Front.config`, and Save & Apply is confirmed at once.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildroot import po
from buildroot.recipe import TOP
from tests.luci.views.stand import Router

if TYPE_CHECKING:
    from playwright.sync_api import Route

APP = TOP / "luci-app/luci-app-vpnpt"
HOST = "http://vpnpt.test"
PAGE = """<!DOCTYPE html><html lang="{language}" data-darkmode="{dark}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/luci-static/{theme}/cascade.css">
<link rel="stylesheet" media="only screen and (max-device-width: 854px)" href="/luci-static/{theme}/mobile.css">
<script src="/luci-static/resources/cbi.js"></script><script src="/translations"></script></head>
<body class="lang_{language}" data-page="{page}">
<header><a class="brand" href="/">OpenWrt</a><ul class="nav" id="topmenu" style="display:none"></ul>
<div id="indicators" class="pull-right"></div></header>
<div id="maincontent" class="container"><div id="tabmenu" style="display:none"></div>
<script src="/luci-static/resources/luci.js"></script><script>L = new LuCI({environment});</script>
<div id="view"><script>L.require('ui').then(ui => ui.instantiateView('{view}'));</script></div></div>
<footer><ul class="breadcrumb pull-right" id="modemenu" style="display:none"></ul></footer>
<script>L.require('menu-{menu}')</script></body></html>"""
TABS = ("overview", "settings", "doctor", "changes")
NO_DATA, NOT_FOUND = 5, 4
"""Status codes of ubus."""


def source() -> Path:
    """LUCI_SOURCE. Raises LookupError where it is not given."""
    given = os.environ.get("LUCI_SOURCE")
    if not given or not (Path(given) / "modules/luci-base/htdocs/luci-static/resources/luci.js").is_file():
        raise LookupError("LUCI_SOURCE names no checkout of LuCI")
    return Path(given)


def minify(directory: Path, work: Path) -> None:
    """Leaves the JavaScript below a directory as LuCI's build does: through its own jsmin. Raises LookupError where it can't be had."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise LookupError("there is no C compiler (cc) to make LuCI's jsmin")
    subprocess.run([compiler, "-w", "-o", work / "jsmin", source() / "modules/luci-base/src/jsmin.c"], check=True)
    for path in directory.rglob("*.js"):
        path.write_bytes(subprocess.run([work / "jsmin"], input=path.read_bytes(), capture_output=True, check=True).stdout)


class Front(Router):
    """Answers all that LuCI's pages ask. text: /etc/config/vpnpt, as the page of broken configurations reads and writes it."""

    def __init__(self) -> None:
        super().__init__()
        root = source()
        self.roots = [APP / "htdocs", root / "modules/luci-base/htdocs", *sorted((root / "themes").glob("*/htdocs"))]
        self.theme, self.language, self.readonly = "bootstrap", "en", False
        self.text = (TOP / "files/etc/config/vpnpt").read_text()
        self.reloads: list[dict[str, Any]] = []
        self.unknown: list[str] = []

    def handle(self, route: Route) -> None:
        path = route.request.url.partition("vpnpt.test")[2].partition("?")[0]
        if path.startswith("/ubus"):
            posted = json.loads(route.request.post_data or "{}")
            calls = posted if isinstance(posted, list) else [posted]
            answers = [self.call(call) if call.get("method") == "call" else {"jsonrpc": "2.0", "id": call.get("id"), "result": {}}
                       for call in calls]
            route.fulfill(content_type="application/json", body=json.dumps(answers if isinstance(posted, list) else answers[0]))
        elif path == "/translations":
            words = po.read(APP / f"po/{self.language}/vpnpt.po") if self.language != "en" else {}
            words = {**self.own_words(), **words}
            route.fulfill(content_type="text/javascript", body=f"window.WORDS = {json.dumps(words)}; window._ = text => WORDS[text] "
                          "|| text; window.N_ = (n, one, many) => n == 1 ? _(one) : _(many);")
        elif path.startswith("/cgi-bin/luci/admin/menu"):
            route.fulfill(content_type="application/json", body=json.dumps(self.menu()))
        elif path.startswith("/cgi-bin/luci/admin/network/vpnpt/"):
            route.fulfill(content_type="text/html", body=self.page(path.rpartition("/")[2]))
        else:
            found = next((root / path[1:] for root in self.roots if (root / path[1:]).is_file()), None)
            if found is None:
                route.fulfill(status=204 if path.endswith(("favicon.ico", "apply_rollback", "confirm")) else 404)
            else:
                route.fulfill(path=found)

    def own_words(self) -> dict[str, str]:
        path = source() / f"modules/luci-base/po/{self.language}/base.po"
        return po.read(path) if path.is_file() else {}

    def page(self, name: str) -> str:
        parts = ["admin", "network", "vpnpt", name]
        environment = {
            "media": f"/luci-static/{self.theme}", "resource": "/luci-static/resources", "scriptname": "/cgi-bin/luci",
            "pathinfo": "/" + "/".join(parts), "documentroot": "/www", "requestpath": parts, "dispatchpath": parts, "pollinterval": 5,
            "ubuspath": "/ubus/", "sessionid": "0" * 32, "token": "0" * 32, "nodespec": {"satisfied": True, "readonly": self.readonly},
            "apply_rollback": 90, "apply_holdoff": 1, "apply_timeout": 5, "apply_display": 1}
        return PAGE.format(language=self.language, dark=str(self.dark).lower(), theme=self.theme, page="-".join(parts),
                           environment=json.dumps(environment), view=f"vpnpt/{name}", menu=self.theme.partition("-")[0])

    def menu(self) -> dict[str, Any]:
        entries = json.loads((APP / "root/usr/share/luci/menu.d/luci-app-vpnpt.json").read_text())
        pages = {name: {"title": entries[f"admin/network/vpnpt/{name}"]["title"], "satisfied": True, "order": number,
                        "action": {"type": "view", "path": f"vpnpt/{name}"}} for number, name in enumerate(TABS)}
        vpnpt = {"title": "VPN Passthrough", "satisfied": True, "action": {"type": "firstchild"}, "children": pages}
        network = {"title": "Network", "satisfied": True, "action": {"type": "firstchild"}, "children": {"vpnpt": vpnpt}}
        admin = {"title": "Administration", "satisfied": True, "action": {"type": "firstchild"}, "children": {"network": network}}
        return {"children": {"admin": admin}}

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        _, name, method, arguments = call["params"]
        answer = getattr(self, f"{name.replace('-', '_')}_{method}", None)
        if answer is not None:
            return {"jsonrpc": "2.0", "id": call["id"], "result": answer(arguments)}
        found = super().call(call)
        if "error" in found and not self.recorded.down and not self.recorded.denied:
            self.unknown.append(f"{name}.{method}")
            return {"jsonrpc": "2.0", "id": call["id"], "result": [NOT_FOUND]}
        return found

    # --- the objects of rpcd -------------------------------------------------------------------------------------------------------

    def file_read(self, arguments: dict[str, Any]) -> list[Any]:
        return [0, {"data": self.text}] if arguments["path"] == "/etc/config/vpnpt" else [NOT_FOUND]

    def file_write(self, arguments: dict[str, Any]) -> list[Any]:
        self.text = arguments["data"]
        return [0]

    def file_exec(self, arguments: dict[str, Any]) -> list[Any]:
        self.executed.append([arguments["command"], *arguments["params"]])
        return [0, {"code": 0, "stdout": "", "stderr": ""}]

    def uci_get(self, arguments: dict[str, Any]) -> list[Any]:
        if arguments["config"] != "vpnpt":
            return [0, {"values": {}}]
        return [0, {"values": self.config}] if self.config is not None else [9]

    def uci_set(self, arguments: dict[str, Any]) -> list[Any]:
        assert self.config is not None
        self.config.setdefault(arguments["section"], {".name": arguments["section"], ".type": "protocol", ".anonymous": False})
        self.config[arguments["section"]].update(arguments["values"])
        return [0]

    def uci_delete(self, arguments: dict[str, Any]) -> list[Any]:
        assert self.config is not None
        for option in arguments.get("options", []):
            self.config[arguments["section"]].pop(option, None)
        return [0]

    def uci_add(self, arguments: dict[str, Any]) -> list[Any]:
        assert self.config is not None
        self.config.setdefault(arguments["name"], {".name": arguments["name"], ".anonymous": False})[".type"] = arguments["type"]
        return [0, {"section": arguments["name"]}]

    def uci_changes(self, _arguments: dict[str, Any]) -> list[Any]:
        return [0, {"changes": {}}]

    def session_access(self, _arguments: dict[str, Any]) -> list[Any]:
        return [0, {"access": not self.readonly}]
