# SPDX-License-Identifier: GPL-2.0-or-later
""""My VPN does not connect" in the real LuCI, in German, on a telephone: the real daemon watches what is provoked in the lab, and the page
names it. The judgement itself, of these and more: tests/lab/test_why.py."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildroot import translations
from buildroot.recipe import read
from tests.luci.browser import PHONE, Complaints, overflow
from tests.luci.site import log_in

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.lab.verbs import Stage
    from tests.luci.site import LuciBox

WAIT = 40_000  # milliseconds


@pytest.fixture
def page(box: LuciBox, chromium: Browser, tmp_path: Path) -> Page:
    """The overview, in German."""
    (german,) = [recipe for recipe in translations.recipes(read("luci-app-vpnpt", tmp_path / "recipe"), tmp_path / "i18n")
                 if recipe.name.endswith("-de")]
    box.put(german.root)
    box.sh("sh /etc/uci-defaults/luci-i18n-vpnpt-de; uci set luci.main.lang=de; uci commit luci")
    found = log_in(box, chromium, viewport=PHONE, screen=PHONE, is_mobile=True, has_touch=True)
    found.set_default_timeout(WAIT)
    return found


def put(box: LuciBox, *changes: str) -> None:
    """In force when this returns."""
    for change in changes:
        box.sh(f"uci {change}")
    box.sh("uci commit; vpnpt reload")


def works(box: LuciBox, stage: Stage) -> None:
    """Nothing is provoked."""


def a_rule(box: LuciBox, stage: Stage) -> None:
    box.sh("section=$(uci add firewall rule); uci set firewall.$section.name=Kein-VPN; uci set firewall.$section.src=lan; "
           "uci set firewall.$section.dest=wan; uci set firewall.$section.proto=udp; uci set firewall.$section.dest_port=500; "
           "uci set firewall.$section.target=DROP; uci commit firewall; fw4 -q reload")


def refused(box: LuciBox, stage: Stage) -> None:
    put(box, "add_list vpnpt.ipsec.deny_src=192.168.1.101")


def switched_off(box: LuciBox, stage: Stage) -> None:
    put(box, "set vpnpt.ipsec=0")


def dead(box: LuciBox, stage: Stage) -> None:
    stage.do_isp("ip saddr 198.51.100.11")


def no_esp(box: LuciBox, stage: Stage) -> None:
    stage.do_isp("meta l4proto esp")


FAULTS = {
    "works": (works, "Es funktioniert", None),
    "rule": (a_rule, "Regel „Kein-VPN“", None),
    "refused": (refused, "Liste der abgewiesenen Clients", "Wieder zulassen"),
    "off": (switched_off, "Es ist ausgeschaltet", "IPsec einschalten"),
    "dead": (dead, "198.51.100.11 antwortet nicht", None),
    "esp": (no_esp, "ESP kommt nicht zurück", None)}


@pytest.mark.parametrize("fault", FAULTS)
def test_why(box: LuciBox, page: Page, stage: Stage, tmp_path: Path, fault: str) -> None:
    """Asked for from the overview, while the client tries."""
    provoke, said, button = FAULTS[fault]
    provoke(box, stage)
    complaints = Complaints(page)
    page.goto(box.url("admin/network/vpnpt/overview"))
    page.click("#vpnpt-why-open")
    page.fill("#vpnpt-why-client", "192.168.1.101")
    page.click("#vpnpt-why .cbi-button-positive")
    page.wait_for_selector("#vpnpt-why [role=progressbar]")
    box.until(lambda: "vpnpt_why" in box.sh("nft list tables"))
    stage.patience = 1.0
    stage.do_up("c1")
    stage.do_up("c1", name="again")
    if stage.tunnels["c1"].up():
        stage.do_traffic("c1", out=4, back=4)
    page.wait_for_selector("#vpnpt-why-text")
    page.screenshot(path=tmp_path / f"why-{fault}.png")
    text = page.inner_text("#vpnpt-why")
    assert said in text, text
    assert overflow(page) == 0 and complaints.lines == []
    if button:
        page.click(f"#vpnpt-why-act:has-text('{button}')")
    if fault == "off":  # a change of the configuration: LuCI's own list of what is staged opens, with its Save & Apply
        page.wait_for_selector(".uci-change-list:has-text('vpnpt')")
    elif button:
        box.until(lambda: "192.168.1.101" not in box.sh("uci -q get vpnpt.ipsec.deny_src", check=False))
