# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor's findings and its report for others to read."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildroot import messages, po
from tests.luci.views.stand import german, show
from vpnpt.config.compile import compile_config
from vpnpt.doctor import judge
from vpnpt.doctor.facts import Facts, Uplink
from vpnpt.doctor.texts import TEXTS
from vpnpt.model import Devices

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


def test_the_doctors_report(page: Page) -> None:
    show(page, "view.vpnpt.doctor")
    page.click("#vpnpt-run")
    findings = page.locator(".vp-finding h3 .vp-badge")
    findings.first.wait_for()
    assert findings.all_inner_texts() == ["Error", "Warning", "Note"]
    assert page.get_attribute(".vp-finding a", "href") == "/cgi-bin/luci/admin/network/network"
    page.click("#vpnpt-report > summary")
    area = page.locator("#vpnpt-report textarea")
    assert "[LAN-1]/24" in area.input_value() and "192.168" not in area.input_value()
    page.uncheck("#vpnpt-mask")
    assert "192.168.178.20/24" in area.input_value()
    page.click("#vpnpt-copy")
    page.wait_for_selector("text=Copied.")


def test_findings_in_german(page: Page, router: Router) -> None:
    """Sentence, evidence and remedy, made of the real judges' codes and values; what the page does not know stays English."""
    uplink = Uplink(device="wan", addresses=("192.168.178.20",), mtu=1492, up=True)
    config, _ = compile_config("config 1 pptp\n", "vpnpt")
    known = Facts(now=1, config=config, devices=Devices(lan=("br-lan",), wan=("wan",)), uplinks=(uplink,))
    router.recorded.findings = judge(known)["findings"]
    router.recorded.findings.append({**router.recorded.findings[0], "code": "NEWER", "text": "something newer",
                                     "said": {"text": {"code": "newer", "values": {}}, "evidence": "", "remedy": ""}})
    german(page)
    show(page, "view.vpnpt.doctor")
    page.click("#vpnpt-run")
    finding = page.locator("[data-code=DOUBLE_NAT]")
    words = po.read(po.APP / "po/de/vpnpt.po")
    assert finding.locator("pre").inner_text() == words[TEXTS["double-nat-seen"]].format(device="wan", address="192.168.178.20")
    assert words[TEXTS["do-DOUBLE_NAT"]] in finding.inner_text() and words[TEXTS["follows-pptp"]] in finding.inner_text()
    assert page.locator("[data-code=NEWER] h3").inner_text().endswith("something newer")


def test_the_sentences_are_the_doctors() -> None:
    assert messages.TARGET.read_text() == messages.made(), "run: python -m buildroot.messages update"


@pytest.mark.parametrize(("text", "masked"), [
    ("from 192.168.1.7 to 203.0.113.9, again 192.168.1.7", "from [LAN-1] to [WAN-1], again [LAN-1]"),
    ("10.0.0.1/24 172.20.0.1 100.64.3.4 172.32.0.1", "[LAN-1]/24 [LAN-2] [LAN-3] [WAN-1]"),
    ("mac 00:00:5e:00:53:01 and 00:00:5E:00:53:01", "mac [MAC-1] and [MAC-1]"),
    ("2001:db8::1 fe80::1%eth0 2001:db8:1:2:3:4:5:6", "[IPv6-1] [IPv6-2]%eth0 [IPv6-3]"),
    ("::ffff:192.0.2.1 [2001:db8::7]:500", "::ffff:[WAN-1] [[IPv6-1]]:500"),
    ("at 12:34:56, version 0.1.0, kernel 6.6.110, 127.0.0.1, line 3:", "at 12:34:56, version 0.1.0, kernel 6.6.110, 127.0.0.1, line 3:"),
])
def test_masks(page: Page, text: str, masked: str) -> None:
    show(page, "view.vpnpt.doctor")
    assert page.evaluate("text => L.require('vpnpt.api').then(api => api.masked(text))", text) == masked
