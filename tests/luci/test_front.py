# SPDX-License-Identifier: GPL-2.0-or-later
"""Our pages with LuCI's own code around them (front.py): its forms, its Save buttons, its tabs. Skipped without LUCI_SOURCE.

Once as written, once as its build installs them.
"""
from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from buildroot.recipe import TOP
from tests.luci import browser as browsers
from tests.luci.browser import PHONE, overflow
from tests.luci.front import APP, HOST, TABS, Front, minify, source
from tests.luci.views.stand import broken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

READY = {"overview": ".vp-card", "settings": "#cbi-vpnpt", "doctor": "#vpnpt-run", "changes": "#vpnpt-events-list li"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    try:
        source()
        with browsers.browser() as found:
            yield found
    except LookupError as reason:
        pytest.skip(f"nothing of this was tested: {reason}")


@pytest.fixture(scope="module")
def minified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our pages as LuCI's build leaves them: each through LuCI's own jsmin."""
    directory = tmp_path_factory.mktemp("minified")
    shutil.copytree(APP / "htdocs", directory / "htdocs")
    try:
        minify(directory / "htdocs", directory)
    except LookupError as reason:
        pytest.skip(f"the minified pages were not drawn: {reason}")
    return directory / "htdocs"


@pytest.fixture(params=["as written", "minified"])
def front(chromium: Browser, request: pytest.FixtureRequest) -> Front:
    front = Front()
    if request.param == "minified":
        front.roots[0] = request.getfixturevalue("minified")
    return front


@pytest.fixture
def page(chromium: Browser, front: Front) -> Iterator[Page]:
    # LuCI throws what its form refuses, and nobody catches it.
    with browsers.answered(chromium, front.handle, seconds=20, forgiven="contains an invalid input value") as page:
        yield page


def show(page: Page, name: str, ready: str = "") -> None:
    page.goto(f"{HOST}/cgi-bin/luci/admin/network/vpnpt/{name}")
    page.wait_for_selector(ready or READY[name])


@pytest.mark.parametrize("name", TABS)
def test_one_row_of_tabs(page: Page, name: str) -> None:
    show(page, name)
    assert page.locator("#tabmenu ul.tabs").count() == 1 and page.locator(".cbi-tabmenu").count() == 0


def test_on_a_telephone_in_german(page: Page, front: Front) -> None:
    front.language = "de"
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for name in TABS:
        show(page, name)
        assert overflow(page) == 0, name
    assert "Übersicht" in page.inner_text("#tabmenu")


def test_what_stands_in_a_row_is_of_one_height(page: Page) -> None:
    """LuCI's theme has other rules for a field to search in than for one to choose from."""
    show(page, "changes")
    page.wait_for_function("document.styleSheets.length > 2")
    heights = [page.locator(f"#vpnpt-changes .vp-tools {kind}").bounding_box() for kind in ("select", "input")]
    assert abs(heights[0]["height"] - heights[1]["height"]) <= 4, heights  # type: ignore[index]


def test_what_is_wrong_is_unfolded(page: Page, front: Front) -> None:
    """An invalid value hidden in a fold would be a form that does not save and does not say why."""
    show(page, "settings")
    page.click('.vp-fold[data-name="global"] .vp-advanced > summary')
    page.fill('[id="cbid.vpnpt.global.max_keys"] input', "63")
    page.click('.vp-fold[data-name="global"] .vp-advanced > summary')
    before = dict(front.config or {})
    page.click(".cbi-page-actions .cbi-button-save")
    page.wait_for_selector('[id="cbid.vpnpt.global.max_keys"] .cbi-input-invalid', state="visible")
    assert front.config == before


def test_a_refused_client_is_not_refused_anew(page: Page, front: Front) -> None:
    """Let in again from the list below the form; saving the form afterwards does not write it back."""
    assert front.config is not None
    front.config["ipsec"]["deny_src"] = ["192.168.1.50", "192.168.1.51"]
    front.recorded.unblocks = True
    show(page, "settings")
    page.click("#vpnpt-refused li:has-text('192.168.1.50') button")
    page.wait_for_function("document.querySelectorAll('#vpnpt-refused li').length == 1")
    front.config["ipsec"]["deny_src"] = ["192.168.1.51"]  # as the service has written it
    page.click(".cbi-page-actions .cbi-button-save")
    page.wait_for_selector("#cbi-vpnpt.flash")
    assert front.config["ipsec"]["deny_src"] == ["192.168.1.51"]


def test_no_save_beside_a_configuration_that_is_none(page: Page, front: Front) -> None:
    broken(front)
    front.recorded.status["problem"] = "/etc/config/vpnpt:9: the quote ' that opens here has no end"
    show(page, "settings", ".vp-mend")
    assert page.locator(".cbi-page-actions").count() == 0
    assert page.input_value("[data-line='9']") == "config vpnpt 'global"
    assert "RPC" not in page.inner_text("#view")


def test_the_doctors_findings_and_the_masked_report(page: Page) -> None:
    """Most of the texts and regular expressions that a minifier could spoil."""
    show(page, "doctor")
    page.click("#vpnpt-run")
    page.wait_for_selector(".vp-finding")
    page.click("#vpnpt-report > summary")
    report = page.input_value("#vpnpt-report textarea")
    assert "[LAN-1]/24" in report and "192.168" not in report and "ipsec help" in " ".join(report.split())


def test_links_to_the_docs(page: Page, front: Front, tmp_path: Path) -> None:
    """None as long as they are published nowhere; else from each page to one that is there."""
    for name in TABS:
        show(page, name)
        assert page.locator(".vp-docs").count() == 0
    shutil.copytree(front.roots[0], tmp_path / "htdocs")
    file = tmp_path / "htdocs/luci-static/resources/vpnpt/parts.js"
    text = re.sub(r"const DOCS ?= ?''", "const DOCS='https://docs.example.org/'", file.read_text())
    file.write_text(text)
    front.roots[0] = tmp_path / "htdocs"
    found = set()
    for name in TABS:
        show(page, name)
        found.add(page.locator(".vp-docs a").get_attribute("href"))
    assert len(found) == len(TABS)
    for address in found:
        assert address is not None and (TOP / "docs" / address.removeprefix("https://docs.example.org/")).is_file(), address
