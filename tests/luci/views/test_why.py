# SPDX-License-Identifier: GPL-2.0-or-later
""""My VPN does not connect": watched live, and judged."""
from __future__ import annotations

from typing import TYPE_CHECKING

from tests.luci.browser import PHONE, overflow
from tests.luci.recorded import VERDICT
from tests.luci.views.stand import OVERVIEW, german, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


def test_why_it_does_not_connect(page: Page, router: Router) -> None:
    """From the row that gets no answer, in German, on a telephone: watched live, then one sentence."""
    german(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    show(page, OVERVIEW)
    assert page.locator(".vp-table button", has_text="Warum?").count() == 1, "only where there is no answer"
    page.click("button[aria-label^='Warum?']")
    page.wait_for_selector("#vpnpt-why-seen")
    assert "Starten Sie jetzt das VPN auf anna-laptop (192.168.1.5)." in page.inner_text("#vpnpt-why")
    page.wait_for_selector("#vpnpt-why-text")
    assert page.inner_text("#vpnpt-why-text") == ("198.51.100.10 beantwortet IKE (UDP 500), aber ESP kommt nicht zurück: "
                                                  "Etwas auf dem Weg verwirft ESP.")
    text = page.inner_text("#vpnpt-why")
    assert "Es geht unterwegs verloren" in text and "bitten Sie den Anbieter, ESP durchzulassen" in text
    gap = "getComputedStyle(document.querySelector('#vpnpt-why .vp-panel > p + p')).marginTop"
    assert page.evaluate(gap) != "0px", "what to do stands apart from what is wrong"
    assert "Pakete: vom Client 6, aus dem Router 6; zurück 0, zugestellt 0" in text
    assert overflow(page) == 0
    asked = [arguments for method, arguments in router.recorded.calls if method == "why"]
    assert (asked[0]["client"], asked[0]["server"]) == ("192.168.1.5", "198.51.100.24")


def test_why_for_a_device_that_is_named(page: Page, router: Router) -> None:
    """And one that is refused is let in again, at once."""
    router.recorded.verdict = {**VERDICT, "place": "here", "action": {"do": "unblock", "protocol": "ipsec", "client": "192.168.1.113"}}
    show(page, OVERVIEW)
    page.click("#vpnpt-why-open")
    page.wait_for_selector("#vpnpt-why-known option:has-text('anna-laptop')", state="attached")  # the router is asked for them first
    page.fill("#vpnpt-why-client", "192.168.1.113")
    page.click("#vpnpt-why .cbi-button-positive")
    page.click("#vpnpt-why-act")
    page.wait_for_selector(".alert-message:has-text('unknown method')")  # the record can't: what went wrong is said
    assert ("unblock", {"client": "192.168.1.113", "protocol": "ipsec"}) in router.recorded.calls


def test_why_is_cancelled(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.click("button[aria-label^='Why?']")
    page.wait_for_selector("#vpnpt-why-seen")
    page.click("#vpnpt-why .cbi-button-neutral")
    page.wait_for_function("!document.querySelector('#vpnpt-why')")
    page.wait_for_timeout(1500)
    looks = [arguments for method, arguments in router.recorded.calls if method == "why"]
    assert looks[-1]["cancel"] == "1" and len(looks) < 6


def test_a_name_that_nobody_knows(page: Page, router: Router) -> None:
    """Said in the reader's language; what was typed is there to be corrected."""
    german(page)
    call, unknown = router.recorded.call, {"error": "no such name is known", "said": {"code": "why-ask-unknown", "values": {}}}
    router.recorded.call = lambda method, arguments: unknown if method == "why" else call(method, arguments)  # type: ignore[method-assign]
    show(page, OVERVIEW)
    page.click("#vpnpt-why-open")
    page.fill("#vpnpt-why-client", "laptpo")
    page.click("#vpnpt-why .cbi-button-positive")
    page.wait_for_selector("#vpnpt-why:has-text('Ein Gerät dieses Namens ist nicht bekannt')")
    page.click("#vpnpt-why button:has-text('Noch einmal')")
    assert page.input_value("#vpnpt-why-client") == "laptpo"
