# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for each page: it is drawn in each size, times and numbers are readable, and no text becomes markup."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.reference import said
from tests.luci.browser import DESKTOP, PHONE, overflow
from tests.luci.views.stand import EVIL, HTDOCS, OVERVIEW, VIEWS, ask_until, german, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


@pytest.mark.parametrize("view", VIEWS)
def test_every_view(page: Page, router: Router, view: str) -> None:
    """Light and dark, on a desk and on a telephone: drawn, and nobody has to scroll sideways."""
    for router.dark in (False, True):
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            show(page, view)
            page.wait_for_selector(".vpnpt", state="attached")
            if view.endswith("doctor"):
                page.click("#vpnpt-run")
                page.wait_for_selector(".vp-finding")
            page.wait_for_function("document.styleSheets.length > 1")
            assert overflow(page) == 0, (router.dark, size)


def test_texts_stay_aligned_whatever_the_code(page: Page) -> None:
    show(page, "view.vpnpt.changes")
    page.wait_for_function("document.styleSheets.length > 1")
    for place in ("changes", "events"):
        lefts = page.eval_on_selector_all(f"#vpnpt-{place}-list .vp-text", "nodes => nodes.map(node => node.getBoundingClientRect().left)")
        assert len(lefts) > 3 and len(set(lefts)) == 1, place


def test_times_stay_aligned_over_midnight(page: Page, router: Router) -> None:
    """Where one line has a date, all leave room for it."""
    router.recorded.now -= 86400
    show(page, "view.vpnpt.changes")
    page.wait_for_function("document.styleSheets.length > 1")
    places = page.eval_on_selector_all("#vpnpt-events-list .vp-kind", "nodes => nodes.map(node => node.getBoundingClientRect().left)")
    assert len(places) > 3 and len(set(places)) == 1 and page.locator("#vpnpt-events-list.vp-dated").count() == 1


def test_a_full_log_is_told_once(page: Page, router: Router) -> None:
    """After that a poll brings what came since, and the page shows what one shows that asks for all."""
    router.recorded.events = [(500 - number, "debug", "FANNED", f"SPI {number:08x} of 198.51.100.10 may be of many" + 20 * " others")
                              for number in range(200)]
    router.recorded.changes = [(number, "rules", "nft", f"{number} rules are gone") for number in range(200)]
    show(page, "view.vpnpt.changes")
    assert page.locator("#vpnpt-events-list li").count() == page.locator("#vpnpt-changes-list li").count() == 200
    router.recorded.events = [*router.recorded.events, (0, "error", "FULL", "the last one")]
    router.recorded.changes.insert(0, (0, "service", "procd", "the last one"))
    first = len(router.recorded.bytes)
    ask_until(page, lambda: page.locator("#vpnpt-events-list li:has-text('the last one')").count() == 1)
    assert max(router.recorded.bytes[:first]) > 30_000 and max(router.recorded.bytes[first:]) < 300
    for place, gone in (("events", "SPI 00000000"), ("changes", ": 199 rules")):
        assert page.locator(f"#vpnpt-{place}-list li").count() == 200, "the oldest is gone"
        assert "the last one" in page.locator(f"#vpnpt-{place}-list li").first.inner_text()
        assert gone not in page.inner_text(f"#vpnpt-{place}-list")


def test_what_a_warning_means_in_german(page: Page, router: Router) -> None:
    """Before its line, which is English: in the log, on the overview and on LuCI's own page. Notes and details are as they were."""
    german(page)
    page.add_init_script("document.addEventListener('readystatechange', () => document.documentElement.lang = 'de')")
    for view, place in (("view.vpnpt.changes", "#vpnpt-events-list li"), (OVERVIEW, "#vpnpt-alerts li"), (VIEWS[4], "#view p")):
        show(page, view)
        lines = [text for text in page.locator(place).all_text_contents() if "dieselbe SPI" in text]
        assert len(lines) == 1 and "both get its packets" in lines[0], view
    show(page, "view.vpnpt.changes")
    page.fill("#vpnpt-changes input[type=search]", "dieselbe spi")
    assert page.locator("#vpnpt-events-list li").count() == 1


def test_every_warning_has_a_meaning(page: Page) -> None:
    """Of those that the log knows; none is made up."""
    show(page, OVERVIEW)
    codes = {line.code for line in said() if line.level in ("error", "warning")}
    with_meaning = {code for code in codes if page.evaluate("code => L.require('vpnpt.meanings').then(all => all.meaning(code))", code)}
    assert codes == with_meaning
    assert (HTDOCS / "luci-static/resources/vpnpt/meanings.js").read_text().count("_('") == len(with_meaning)


def test_numbers(page: Page) -> None:
    show(page, "view.vpnpt.doctor")
    said = page.evaluate("""L.require('vpnpt.api').then(api => [ ...[ 0, 999, 1000, 150e6, -1 ].map(api.bytes),
        ...[ 125, 125e6 ].map(api.rate), ...[ 59, 3599, 90061 ].map(api.duration), ...[ 'Yes', 'off', 'x' ].map(api.bool) ])""")
    assert said == ["0 B", "999 B", "1.0 KiB", "143 MiB", "0 B", "1.0 kbit/s", "1.0 Gbit/s", "59 s", "59 min", "1 d 1 h", True, False, None]


@pytest.mark.parametrize("view", VIEWS)
def test_what_the_router_says_is_text(page: Page, router: Router, view: str) -> None:
    """Names, reasons, findings: no markup of theirs becomes ours."""
    for item in [*router.recorded.sessions, *router.recorded.ended]:
        item.update(client_name=EVIL, server_name=EVIL, variant=EVIL, state=EVIL, mac=EVIL, details={"cookies": [EVIL]})
        item["reason"] = EVIL
    router.recorded.findings = [dict.fromkeys(("code", "severity", "text", "evidence", "remedy", "link"), EVIL)]
    router.recorded.status.update(version=EVIL, diagnostics=[EVIL], drift=EVIL, lan=[EVIL])
    show(page, view)
    if view == OVERVIEW:
        page.click("#vpnpt-sessions tbody tr:first-child [aria-expanded]")
    if view.endswith("doctor"):
        page.click("#vpnpt-run")
        page.wait_for_selector(".vp-finding")
    assert page.locator("#view img, #view b").count() == 0 and page.evaluate("window.pwned") is None


def test_one_module_asks_the_router() -> None:
    """And data never becomes markup."""
    for path in HTDOCS.rglob("*.js"):
        text = path.read_text()
        assert ("rpc.declare" in text) is (path.name == "api.js"), path
        assert not re.search(r"innerHTML\s*=[^=]|outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|rawhtml", text), path
