# SPDX-License-Identifier: GPL-2.0-or-later
"""The overview: sessions, sorting, details, throughput, alerts."""
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.luci.browser import PHONE
from tests.luci.views.stand import OVERVIEW, again, ask_until, german, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


def test_the_overview(page: Page) -> None:
    show(page, OVERVIEW)
    assert page.locator(".vp-card").count() == 5 and page.locator("#vpnpt-sessions tbody tr").count() == 8
    assert "Weak" in page.inner_text('[data-protocol="pptp"]') and "14 packets refused" in page.inner_text('[data-protocol="openvpn"]')
    ask_until(page, lambda: page.locator('[data-protocol="ipsec"] .vp-graph path').count() > 0)
    label = page.get_attribute("#vpnpt-sessions tbody tr:nth-child(2) .vp-act button", "aria-label")
    assert label == "Details: anna-laptop → vpn.example.com"


def test_sorting_by_keyboard(page: Page) -> None:
    show(page, OVERVIEW)
    heading = page.locator("#vpnpt-sessions th", has_text="Data")
    for order in ("ascending", "descending"):
        heading.locator("button").press("Enter")
        assert heading.get_attribute("aria-sort") == order
    assert "anna-laptop" in page.inner_text("#vpnpt-sessions tbody tr:first-child")


def test_what_has_the_focus_keeps_it(page: Page) -> None:
    """And what is open stays open, while the numbers move."""
    show(page, OVERVIEW)
    button = page.locator("#vpnpt-sessions tbody tr", has_text="anna-laptop").locator("[aria-expanded]")
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    before = page.inner_text("#vpnpt-sessions tbody tr:nth-child(2)")
    ask_until(page, lambda: page.inner_text("#vpnpt-sessions tbody tr:nth-child(2)") != before)
    assert "c0ffee01" in page.inner_text("tr.vp-detail")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


def test_details(page: Page) -> None:
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('MacBook-Pro') [aria-expanded]")
    pairs = dict(zip(page.locator("tr.vp-detail dt").all_inner_texts(), page.locator("tr.vp-detail dd").all_inner_texts(), strict=True))
    assert (pairs["SPIs to the client"], pairs["Server's ports"]) == ("04d1377c, 5e19aa02", "500")
    assert "Tunnel IDs" not in pairs, "what does not apply is left out"


def test_search(page: Page) -> None:
    show(page, OVERVIEW)
    page.fill("#vpnpt-overview input[type=search]", "l2tp")
    assert page.locator("#vpnpt-sessions tbody tr").count() == 2
    page.fill("#vpnpt-overview input[type=search]", "nobody")
    assert page.is_visible("text=No session matches.")


def test_sessions_come_first_on_a_telephone(page: Page) -> None:
    show(page, OVERVIEW)
    place = """(() => {
        const [ table, card ] = [ '#vpnpt-sessions', '.vp-card' ].map(name => document.querySelector(name).getBoundingClientRect().top);
        return table < card;
    })()"""
    assert page.evaluate(place) is False
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert page.evaluate(place) is True


def test_all_sessions_are_sorted_not_only_those_shown(page: Page, router: Router) -> None:
    template = router.recorded.sessions[0]
    router.recorded.sessions = [{**template, "id": f"ipsec-{number:08x}", "client": f"10.0.{number // 250}.{number % 250 + 1}",
                                 "client_name": "", "bytes_in": number, "bytes_out": 0, "rate": (0, 0)} for number in range(300)]
    show(page, OVERVIEW)
    assert page.locator("#vpnpt-sessions tbody tr").count() == 200 and page.is_visible("text=100 more are not shown")
    heading = page.locator("#vpnpt-sessions th", has_text="Data")
    heading.locator("button").click()
    heading.locator("button").click()
    assert "10.0.1.50" in page.inner_text("#vpnpt-sessions tbody tr:first-child"), "the busiest of all"


def test_a_poll_of_a_thousand_sessions_is_small(page: Page, router: Router) -> None:
    """And the page shows the same as one that asked for everything; how long it takes to draw is said."""
    template = router.recorded.sessions[0]
    router.recorded.sessions = [{**template, "id": f"ipsec-{number:08x}", "client": f"10.0.{number // 250}.{number % 250 + 1}"}
                                for number in range(1000)]
    router.recorded.capped = True
    show(page, OVERVIEW)
    assert page.is_visible("text=The service keeps no more sessions than these")
    page.fill("#vpnpt-overview input[type=search]", "10.0.3")
    assert page.is_visible("text=The service keeps no more sessions than these"), "also while it is looked through"
    page.fill("#vpnpt-overview input[type=search]", "")
    for _ in range(4):
        count = len(router.recorded.bytes)
        ask_until(page, lambda: len(router.recorded.bytes) > count)  # noqa: B023
    assert router.recorded.bytes[0] > 200_000 and max(router.recorded.bytes[1:]) < 20_000
    router.recorded.sessions = router.recorded.sessions[:2]
    ask_until(page, lambda: page.locator("#vpnpt-sessions tbody tr").count() == 2)


def test_rates_of_sessions_that_take_turns(page: Page, router: Router) -> None:
    """Of a thousand busy ones an answer has some: each shows its rate all the time, and the rate is what it was since it was last told."""
    template = router.recorded.sessions[0]
    router.recorded.sessions = [{**template, "id": f"ipsec-{number:08x}", "client": f"10.0.{number // 250}.{number % 250 + 1}"}
                                for number in range(1000)]

    def pass_time(seconds: int = 5) -> None:
        router.recorded.now += seconds
        for item in router.recorded.sessions:
            item["bytes_in"] += 125_000 * seconds

    router.recorded.pass_time = pass_time  # type: ignore[method-assign]
    show(page, OVERVIEW)
    cells = page.locator("#vpnpt-sessions tbody tr td:nth-child(7)")
    for turn in range(1, 10):
        ask_until(page, lambda: len(router.recorded.bytes) > turn)  # noqa: B023
        page.wait_for_timeout(300)
        rates = {re.sub("[^0-9]*([0-9.]+ .?bit/s).*", r"\1", text, flags=re.DOTALL) for text in cells.all_inner_texts()}
        assert rates <= {"1.0 Mbit/s", "0 bit/s"} and (turn < 6 or rates == {"1.0 Mbit/s"}), (turn, rates)


def test_a_state_is_found_by_its_word(page: Page) -> None:
    """In the reader's language."""
    german(page)
    show(page, OVERVIEW)
    state = page.locator("#vpnpt-sessions .vp-badge").first.inner_text()
    page.fill("#vpnpt-overview input[type=search]", state)
    assert page.locator("#vpnpt-sessions .vp-badge").count() > 0
    assert set(page.locator("#vpnpt-sessions .vp-badge").all_inner_texts()) == {state}


def test_saved_for_a_spreadsheet(page: Page, router: Router) -> None:
    router.recorded.sessions[0]["client_name"] = '=cmd|"x"'
    show(page, OVERVIEW)
    with page.expect_download() as download:
        page.click("#vpnpt-csv")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("id,protocol,variant,client,") and len(lines) == 9
    assert any('"\'=cmd|""x"""' in line for line in lines), "a name is no formula"


def test_nobody_there_yet(page: Page, router: Router) -> None:
    router.recorded.sessions = []
    router.recorded.ended = []
    show(page, OVERVIEW)
    assert page.is_visible("text=No VPN session at the moment") and not page.is_visible("#vpnpt-sessions")


def test_a_client_has_a_view_of_its_own(page: Page, router: Router) -> None:
    """With "why" for it, what passed, and the way back."""
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions .vp-link:has-text('anna-laptop')")
    assert page.locator("#vpnpt-sessions tbody tr").count() == 1 and "1/8" in page.inner_text("#vpnpt-sessions-title")
    page.click("#vpnpt-device button:has-text('Its throughput')")
    page.wait_for_selector("#vpnpt-throughput .vp-chart rect >> nth=0", state="attached")
    assert page.locator("#vpnpt-throughput rect").count() == 2 * 48
    assert page.locator("#vpnpt-throughput option:checked").all_inner_texts() == ["By the hour", "anna-laptop (192.168.1.113)"]
    page.select_option("#vpnpt-throughput select >> nth=0", "days")
    assert page.locator("#vpnpt-throughput rect").count() == 2 * 31 and page.locator(".vp-axis-y span").count() == 3
    page.click("#vpnpt-device button:has-text('My VPN does not connect')")
    page.wait_for_selector("#vpnpt-why-seen")
    assert ("why", {"client": "192.168.1.113", "server": "", "watch": "", "cancel": ""}) in router.recorded.calls
    page.click("#vpnpt-why .cbi-button-neutral")
    page.click("#vpnpt-device button:has-text('Show all clients')")
    assert page.locator("#vpnpt-sessions tbody tr").count() == 8


def test_throughput_is_asked_for_only_while_it_is_shown(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    again(page)
    page.wait_for_timeout(300)
    assert "throughput" not in [method for method, _ in router.recorded.calls]
    page.click("#vpnpt-throughput > summary")
    page.wait_for_selector("#vpnpt-throughput .vp-chart")
    again(page)
    page.wait_for_timeout(300)
    assert [method for method, _ in router.recorded.calls].count("throughput") == 1


def test_nothing_was_counted_yet(page: Page, router: Router) -> None:
    """A sentence, and no axis from 1 B to 1 B."""
    call = router.recorded.call
    router.recorded.call = lambda method, arguments: (  # type: ignore[method-assign]
        {"hours": [], "days": []} if method == "throughput" else call(method, arguments))
    show(page, OVERVIEW)
    page.click("#vpnpt-throughput > summary")
    page.wait_for_selector("text=Nothing was counted in this time")
    assert page.locator("#vpnpt-throughput .vp-chart").count() == 0


def test_an_alert_goes_when_its_cause_goes(page: Page) -> None:
    """Of a state, while it lasts; of what happened, for a day; each text once."""
    show(page, OVERVIEW)
    said = page.evaluate("""L.require('vpnpt.api').then(api => {
        const alerts = [ [ 'DRIFT', 10, 'a' ], [ 'HELPER', 20, 'b' ], [ 'RESTORED', 30, 'c' ], [ 'AH', 99000, 'd' ], [ 'AH', 99100, 'd' ] ]
            .map(([ code, time, text ]) => ({ code, time, text }));
        const of = status => api.alerts({ alerts, ...status }, 100000).map(alert => alert.text).join('');

        return [ of({ drift: 'x', helper_missing: true }), of({ drift: '', helper_missing: false }) ];
    })""")
    assert said == ["dba", "d"]


def test_whom_a_session_is_shared_with(page: Page, router: Router) -> None:
    router.recorded.sessions[0]["shared_with"] = ["192.168.1.131", "192.168.1.142"]
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('anna-laptop') [aria-expanded]")
    assert page.is_visible("text=shared with 192.168.1.131, 192.168.1.142 until it is known whose it is")


def test_it_rests_while_it_is_hidden(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    count = len(router.recorded.calls)
    again(page)
    page.wait_for_timeout(6500)
    assert len(router.recorded.calls) == count
    page.evaluate("delete document.hidden")
    ask_until(page, lambda: len(router.recorded.calls) > count)
