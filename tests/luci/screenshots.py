# SPDX-License-Identifier: GPL-2.0-or-later
"""The pictures in docs/screenshots: the real LuCI (see site.py), the daemon's answers recorded.

usage: python -m tests.luci.screenshots [DIRECTORY]

Needs LUCI_ROOT and Pillow, which makes them small.
"""
from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from buildroot import build
from buildroot.recipe import TOP, read
from tests.lab.sandbox import enter_sandbox
from tests.lab.topology import Lab
from tests.luci.browser import DESKTOP, PHONE, browser
from tests.luci.recorded import Recorded
from tests.luci.site import LuciBox, inside, log_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

STYLES = {"light": {"viewport": DESKTOP}, "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
          "phone": {"viewport": PHONE, "screen": PHONE, "is_mobile": True, "has_touch": True, "device_scale_factor": 1.5}}
PAGES = {"overview": ".vp-card", "settings": "#cbi-vpnpt", "doctor": "#vpnpt-run", "changes": "#vpnpt-events-list li"}


def answer(route: Route, recorded: Recorded) -> None:
    """Calls of the object vpnpt from the record, all others by the router."""
    posted = route.request.post_data_json
    calls = [posted] if isinstance(posted, dict) else posted
    rest = [call for call in calls if call.get("method") != "call" or call["params"][1] != "vpnpt"]
    got = {item["id"]: item for item in (route.fetch(post_data=json.dumps(rest)).json() if rest else [])}
    answers = [got.get(call["id"]) or recorded.answer(call) for call in calls]
    route.fulfill(content_type="application/json", body=json.dumps(answers[0] if isinstance(posted, dict) else answers))


def prepare(page: Page, name: str) -> None:
    """What a person would have clicked."""
    if name == "overview":
        for _ in range(60):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.wait_for_timeout(40)
        page.click("#vpnpt-sessions tbody tr:has-text('anna-laptop') [aria-expanded]")
        page.click("#vpnpt-ended-box > summary")
    elif name == "settings":
        page.click('.vp-fold[data-name="ipsec"] > summary')
    elif name == "doctor":
        page.click("#vpnpt-run")
        page.wait_for_selector(".vp-finding")
        page.click("#vpnpt-report > summary")
    page.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
    page.wait_for_timeout(300)


def take(box: LuciBox, chromium: Browser, style: str, directory: Path) -> None:
    from PIL import Image
    page = log_in(box, chromium, **STYLES[style])
    recorded = Recorded()
    for _ in range(40):
        recorded.pass_time()
    page.context.route("**/ubus/**", lambda route: answer(route, recorded))
    for name, ready in PAGES.items():
        page.goto(box.url(f"admin/network/vpnpt/{name}"))
        page.wait_for_selector(ready)
        page.wait_for_timeout(800)
        prepare(page, name)
        picture = Image.open(io.BytesIO(page.screenshot(full_page=style != "phone" or name != "overview"))).convert("RGB")
        picture.quantize(96, dither=Image.Dither.NONE).save(directory / f"{name}-{style}.png", optimize=True)
    page.context.close()


def main(arguments: list[str]) -> int:
    directory = Path(arguments[0]) if arguments else TOP / "docs" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    enter_sandbox()
    with tempfile.TemporaryDirectory() as temporary:
        (package,) = [path for path in build.package(Path(temporary)) if path.name.startswith("vpnpt_") and path.suffix == ".ipk"]
        app = read("luci-app-vpnpt", Path(temporary) / "recipe").root
        with Lab(clients=2, servers=1, ipv6=False) as lab, LuciBox(lab) as box:
            box.put(app)
            (box.root / "etc/os-release").write_text('NAME="OpenWrt"\nVERSION="25.12"\nPRETTY_NAME="OpenWrt 25.12"\n')
            box.start()
            box.install(package)
            box.until(box.ready)
            with inside(box), browser() as chromium:
                for style in STYLES:
                    take(box, chromium, style, directory)
    for path in sorted(directory.glob("*.png")):
        print(f"{path.name}\t{path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
