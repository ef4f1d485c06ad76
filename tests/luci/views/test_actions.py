# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person does to a client or a protocol: disconnect, refuse, let in again, switch."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.luci.views.stand import OVERVIEW, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


def test_disconnect(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('Pixel-8') .cbi-button-negative")
    page.wait_for_function("document.querySelectorAll('#vpnpt-sessions tbody tr').length == 7")
    assert ("kill", {"session": "ipsec-00001f2c"}) in router.recorded.calls
    page.click("#vpnpt-ended-box > summary")
    assert "Disconnected by hand" in page.inner_text("#vpnpt-ended tr:has-text('Pixel-8')")


def test_a_client_is_refused(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('plc-gateway') [aria-expanded]")
    page.click("tr.vp-detail .cbi-button-negative")
    page.click(".modal .cbi-button-negative")
    page.wait_for_selector(".alert-message:has-text('unknown method')")  # the record knows none: what went wrong is said
    assert ("block", {"client": "192.168.1.77", "protocol": "pptp"}) in router.recorded.calls


def test_a_refused_client_is_let_in_where_it_was_refused(page: Page, router: Router) -> None:
    router.recorded.sessions[0].update(state="blocked")
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('anna-laptop') [aria-expanded]")
    page.click("tr.vp-detail .cbi-button-positive")
    page.wait_for_selector(".alert-message:has-text('unknown method')")
    assert ("unblock", {"client": "192.168.1.113", "protocol": "ipsec"}) in router.recorded.calls


def test_refused_clients_are_listed_and_let_in_again(page: Page, router: Router) -> None:
    assert router.config is not None
    router.config["l2tp"]["deny_src"] = ["192.168.1.30", "192.168.9.0/24"]
    router.config["ipsec"]["deny_src"] = "00:00:5e:00:53:13"
    show(page, "view.vpnpt.settings")
    assert page.locator("#vpnpt-refused li").count() == 3 and page.locator("#vpnpt-refused button").count() == 2, "a network has no button"
    router.recorded.unblocks = True
    page.click("#vpnpt-refused li:has-text('192.168.1.30') button")
    page.wait_for_function("document.querySelectorAll('#vpnpt-refused li').length == 2")
    assert ("unblock", {"client": "192.168.1.30", "protocol": "l2tp"}) in router.recorded.calls
    assert page.input_value('[id="l2tp.deny_src"]') == "192.168.9.0/24", "or saving would refuse it again"


@pytest.mark.parametrize(("type_", "staged"), [
    ("0", [["unset", "pptp", "enabled"]]), ("protocol", [["set", "pptp", "enabled", "1"]])])
def test_a_protocol_is_switched_on_its_card(page: Page, router: Router, type_: str, staged: list[Any]) -> None:
    """It is staged as the settings would, and LuCI shows what is not applied yet; until then the card shows what is in force."""
    assert router.config is not None
    router.config["pptp"][".type"] = type_
    router.recorded.behaviour["pptp"] = "block"
    show(page, OVERVIEW)
    page.select_option('[data-protocol="pptp"] select', "help")
    page.wait_for_selector(".modal:has-text('Unsaved changes')")
    assert json.loads(page.inner_text(".modal").partition("\n")[2]) == staged
    assert page.input_value('[data-protocol="pptp"] select') == "block"
    assert router.executed == ([{"config": "vpnpt", "type": "1", "name": "pptp"}] if type_ == "0" else [])
