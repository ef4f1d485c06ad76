# SPDX-License-Identifier: GPL-2.0-or-later
"""What the pages say when the service is down, its configuration is broken, or it is another version."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from buildroot.recipe import TOP
from tests.luci.views.stand import HTDOCS, OVERVIEW, VIEWS, ask_until, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


@pytest.mark.parametrize("view", VIEWS[:4])
def test_the_service_is_down(page: Page, router: Router, view: str) -> None:
    """Said at once, also where nothing is asked of it before somebody presses a button."""
    router.recorded.down = True
    show(page, view)
    page.wait_for_selector("text=The service does not run")
    assert not page.is_visible(".vp-card") and page.locator(".vp-panel .cbi-button-positive").count() == 1, "a button to start it"


def test_it_is_started_and_stopped(page: Page, router: Router) -> None:
    router.recorded.down = True
    show(page, OVERVIEW)
    page.click(".vp-panel .cbi-button-positive")
    page.wait_for_selector(".vp-card")
    page.click(".vp-service .cbi-button-negative")
    page.click(".modal .cbi-button-negative")
    page.wait_for_selector("text=The service does not run")
    assert router.executed == [["start"], ["stop"]]


@pytest.mark.parametrize(("view", "then"), [(OVERVIEW, ".vp-card"), ("view.vpnpt.doctor", ".vp-finding")])
def test_a_start_takes_a_moment(page: Page, router: Router, view: str, then: str) -> None:
    """It is waited for: nobody is told once more that the service does not run."""
    router.recorded.down, answer, looks = True, router.recorded.answer, iter(range(3))
    router.recorded.answer = lambda call: (  # type: ignore[method-assign]
        {"id": call["id"], "error": {"code": -32000}} if router.executed and next(looks, None) is not None else answer(call))
    show(page, view)
    page.click(".vp-panel .cbi-button-positive")
    page.wait_for_function(f"document.querySelector('{then}')?.checkVisibility() || (!document.querySelector('.modal') && "
                           "[ ...document.querySelectorAll('.vp-panel button') ].some(button => !button.disabled))")
    assert router.executed == [["start"]] and not page.is_visible("text=The service does not run")


def test_who_may_only_read(page: Page, router: Router) -> None:
    page.add_init_script("window.readonly = true")
    show(page, OVERVIEW)
    assert page.locator("#vpnpt-sessions tbody tr").count() == 8 and page.locator(".cbi-button-negative").count() == 0
    router.recorded.denied = True
    ask_until(page, lambda: page.is_visible("text=You may not see this"))


def test_page_and_service_of_two_versions(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    assert not page.is_visible("text=Page and service are of different versions")
    router.recorded.status["version"] = "0.2.0"
    ask_until(page, lambda: page.is_visible("text=Page and service are of different versions"))


def test_the_page_s_version_is_the_package_s() -> None:
    said = re.search(r"VERSION: '(.*?)'", (HTDOCS / "luci-static/resources/vpnpt/api.js").read_text())
    assert said is not None and f"PKG_VERSION:={said[1]}\n" in (TOP / "luci-app/luci-app-vpnpt/Makefile").read_text()


def test_a_configuration_that_is_not_put_in_force(page: Page, router: Router) -> None:
    router.recorded.status.update(problem="vpnpt, line 12: not one entry is valid", in_force="earlier")
    for view in (OVERVIEW, "view.vpnpt.settings"):
        show(page, view)
        assert page.is_visible("text=line 12: not one entry is valid") and page.is_visible("text=In force is what was in force before")


@pytest.mark.parametrize(("in_force", "says", "label", "tone"), [
    ("last", "In force is the last one without an error, of 2026-0", "On", "good"),
    ("none", "knows no earlier one. VPN clients are on their own", "No rules", "bad"),
    ("partly", "What is wrong in it is left out, the rest is in force.", "On", "good")])
def test_what_is_in_force(page: Page, router: Router, in_force: str, says: str, label: str, tone: str) -> None:
    """Started with a bad configuration: in words and colours that are true. Without rules nothing is called off, let alone on."""
    router.recorded.status.update(problem="" if in_force == "partly" else "/etc/config/vpnpt:3: no", in_force=in_force,
                                  in_force_since=1775000000, diagnostics=["/etc/config/vpnpt:3: no"], enabled=in_force != "none")
    if in_force == "none":
        router.recorded.behaviour = {}
    show(page, OVERVIEW)
    assert page.is_visible(f"text={says}") and not page.is_visible("text=VPN passthrough is switched off")
    assert page.inner_text('[data-protocol="ipsec"] .vp-badge') == label
    assert page.locator(f'.vp-card.vp-{tone}[data-protocol="ipsec"]').count() == 1
    assert "Running" not in page.inner_text(".vp-service") and page.locator(".vp-service .vp-badge.vp-good").count() == 0


def test_rules_that_are_gone_help_nobody(page: Page, router: Router) -> None:
    router.recorded.status["in_place"] = False
    for view in (OVERVIEW, VIEWS[4]):
        show(page, view)
        page.wait_for_selector(".vp-badge:has-text('No rules')")
        assert set(page.locator(".vp-card .vp-badge, #vpnpt-widget .vp-badge").all_inner_texts()) == {"No rules"}


def test_rules_that_can_t_be_put_back(page: Page, router: Router) -> None:
    """The reason, and no word of the configuration, which is in order."""
    router.recorded.status.update(in_place=False, problem="the tables are gone: the program nft is missing")
    show(page, OVERVIEW)
    panel = page.inner_text(".vp-panel")
    assert "nft is missing" in panel and "The rules are not in the kernel" in panel and "ask the doctor" in panel
    assert not page.is_visible("text=The configuration can't be put in force") and "settings" not in panel


def test_all_of_it_is_switched_off(page: Page, router: Router) -> None:
    router.recorded.status["enabled"] = False
    show(page, OVERVIEW)
    assert page.is_visible("text=VPN passthrough is switched off") and page.locator(".vp-card .vp-good").count() == 0
