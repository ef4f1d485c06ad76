# SPDX-License-Identifier: GPL-2.0-or-later
"""Our pages in the real LuCI, of the real daemon, with tunnels of the lab. Skipped where LUCI_ROOT names no LuCI (see site.py)."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from buildroot import translations
from buildroot.recipe import read
from tests.luci.browser import DESKTOP, PHONE, Complaints, overflow
from tests.luci.site import log_in
from vpnpt.config.compile import OPTIONS, compile_config
from vpnpt.model import PROTOCOLS

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.lab.verbs import Stage
    from tests.luci.site import LuciBox

WAIT = 20_000  # milliseconds: Save & Apply waits for the router twice
PATH = "admin/network/vpnpt"


@pytest.fixture
def page(box: LuciBox, chromium: Browser) -> Page:
    """Logged in."""
    found = log_in(box, chromium, viewport=DESKTOP)
    found.set_default_timeout(WAIT)
    return found


def settings(box: LuciBox, page: Page) -> None:
    page.goto(box.url(f"{PATH}/settings"))
    page.wait_for_selector("#cbi-vpnpt .cbi-page-actions, #cbi-vpnpt", state="visible")


def apply(page: Page) -> None:
    """Save & Apply, until LuCI says that it is done and loads the page anew."""
    with page.expect_navigation(timeout=60_000):
        page.click(".cbi-page-actions .cbi-button-apply")
    page.wait_for_selector("#cbi-vpnpt")


def behaviour(box: LuciBox, protocol: str) -> str:
    found: str = box.call("vpnpt", "status")["protocols"][protocol]["behaviour"]
    return found


def switch(section: str) -> str:
    return f'[id="cbid.vpnpt.{section}.enabled"] input[type="checkbox"]'


def unfold(page: Page, name: str, *, advanced: bool = False) -> None:
    page.eval_on_selector(f'.vp-fold[data-name="{name}"]', "node => node.open = true")
    if advanced:
        page.click(f'.vp-fold[data-name="{name}"] .vp-advanced > summary')


def tick(page: Page, protocol: str, on: bool) -> None:
    """As by hand: the protocol is unfolded, then its switch."""
    unfold(page, protocol)
    page.set_checked(switch(protocol), on)


def test_a_switch_is_a_rule_of_the_kernel(box: LuciBox, page: Page, stage: Stage) -> None:
    """Off: the kernel blocks. On: it helps. What was typed by others is kept in the form in which it was typed."""
    complaints = Complaints(page)
    assert stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": "arrived", "esp": "arrived"}
    for on, becomes, seen in ((False, "block", "dropped"), (True, "help", "arrived")):
        settings(box, page)
        tick(page, "ipsec", on)
        apply(page)
        box.until(lambda becomes=becomes: behaviour(box, "ipsec") == becomes)
        assert stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": seen, "esp": seen}
        assert box.sh("uci get vpnpt.ipsec").strip() == str(int(on)) and box.sh("uci changes") == ""
    assert complaints.lines == []


def test_both_forms_of_a_section(box: LuciBox, page: Page) -> None:
    """Neither becomes the other; a contradiction is dissolved; options beside the switch stay."""
    box.sh("uci set vpnpt.l2tp=protocol; uci set vpnpt.l2tp.enabled=yes; uci set vpnpt.openvpn.enabled=1; uci set vpnpt.openvpn=on; "
           "uci add_list vpnpt.openvpn.port=1195; uci delete vpnpt.wireguard; uci commit vpnpt; reload_config")
    before = box.sh("uci export vpnpt")
    settings(box, page)
    for protocol in ("l2tp", "openvpn", "wireguard"):
        assert page.is_checked(switch(protocol))
        tick(page, protocol, False)
    apply(page)
    for protocol in ("l2tp", "openvpn", "wireguard"):
        box.until(lambda protocol=protocol: behaviour(box, protocol) == "block")
    assert box.sh("uci get vpnpt.l2tp; uci get vpnpt.l2tp.enabled").split() == ["protocol", "0"]
    assert box.sh("uci -q get vpnpt.openvpn; uci -q get vpnpt.openvpn.enabled; uci get vpnpt.openvpn.port").split() == ["0", "1195"]
    assert box.call("vpnpt", "status")["diagnostics"] == []
    assert "ipsec" in before and re.findall(r"config \S+ '(\w+)'", box.sh("uci export vpnpt"))[:2] == ["global", "ipsec"]


def test_saving_what_nobody_changed_writes_nothing(box: LuciBox, page: Page) -> None:
    before = box.sh("uci show vpnpt")
    settings(box, page)
    page.click(".cbi-page-actions .cbi-button-save")
    page.wait_for_selector("#cbi-vpnpt.flash")
    assert box.sh("uci show vpnpt") == before
    assert page.query_selector("#indicators [data-indicator='uci-changes']") is None


CHANGED: dict[str, Any] = {
    "lan_zone": ["lan", "guest"], "wan_zone": ["wan", "backup"], "lan_device": ["br-lan", "br-guest"], "wan_device": ["wan", "usb0"],
    "zone_base": "21000", "zone_count": "30000", "max_clients": "512", "max_keys": "9000", "client_timeout": "70000",
    "key_timeout": "20000", "pending_timeout": "7", "fast_timeout": "200",
    "allow_src": ["192.168.1.0/24", "00:00:5e:00:53:01", "2001:db8:1::/64"],
    "history": "/etc/vpnpt/history", "metrics_file": "/var/prometheus/vpnpt.prom", "metrics_interval": "120", "unused_days": "14",
    "deny_src": ["192.168.1.66"], "port": ["4711", "4712"], "natt_port": ["4500", "4501"]}


def other(option: Any) -> Any:
    """A value that is not the default."""
    if option.name in CHANGED:
        return CHANGED[option.name]
    if option.kind == "bool":
        return "0" if option.default else "1"
    return next(choice for choice in option.choices if choice != option.default)


@pytest.mark.parametrize("kind", ["global", *PROTOCOLS])
def test_every_option(box: LuciBox, page: Page, kind: str) -> None:
    """What was changed in the UI is what UCI holds and what the daemon compiles."""
    box.sh("for zone in guest backup; do section=$(uci add firewall zone); uci set firewall.$section.name=$zone; done; uci commit firewall")
    settings(box, page)
    changes = {option.name: other(option) for option in OPTIONS[kind]}
    # What is switched off has one option more: it is changed before the switch, or after it.
    switched = [{"enabled": changes["enabled"]}, {name: value for name, value in changes.items() if name != "enabled"}]
    for part in switched if changes["enabled"] == "0" else reversed(switched):
        for name, value in part.items():
            node = f'[id="cbid.vpnpt.{kind}.{name}"]'
            assert page.query_selector(node), f"the page lacks {kind}.{name}"
            if name == "enabled":
                page.eval_on_selector(switch(kind), "(node, on) => node.checked == on || node.click()", value == "1")
            else:
                page.eval_on_selector(node, "(node, value) => { L.dom.callClassMethod(node, 'setValue', value); "
                                            "L.dom.callClassMethod(node, 'triggerValidation') }", value)
        apply(page)
    shown = box.sh(f"uci show vpnpt.{kind}")
    for name, value in changes.items():
        if name == "enabled":
            assert shown.startswith(f"vpnpt.{kind}={value}\n") or f"vpnpt.{kind}.enabled='{value}'\n" in shown
        else:
            words = {f"'{word}'" for word in ([value] if isinstance(value, str) else value)}
            (line,) = [line for line in shown.splitlines() if line.startswith(f"vpnpt.{kind}.{name}=")]
            assert set(line.partition("=")[2].split()) == words
    config, diagnostics = compile_config(box.sh("uci export vpnpt"))
    assert config is not None and diagnostics == []
    section = config.general if kind == "global" else config.protocols[kind]
    for option in OPTIONS[kind]:
        assert getattr(section, option.field or option.name) != option.default, option.name
    said = box.sh("vpnpt check 2>&1", check=False).splitlines()
    wrong = [line for line in said if "error:" in line or "warning:" in line]  # it also says which devices the zones are
    assert [line for line in wrong if "there is no such device" not in line] == []
    assert ("table ip vpnpt" in box.sh("vpnpt render")) is config.general.enabled


def test_what_is_invalid_is_not_saved(box: LuciBox, page: Page) -> None:
    before = box.sh("uci show vpnpt")
    settings(box, page)
    unfold(page, "global", advanced=True)
    page.fill('[id="cbid.vpnpt.global.max_keys"] input', "63")
    page.click(".cbi-page-actions .cbi-button-save")
    page.wait_for_selector(".modal")
    assert box.sh("uci show vpnpt") == before and box.sh("uci changes") == ""


def test_sessions_appear_move_and_are_disconnected(box: LuciBox, page: Page, stage: Stage) -> None:
    complaints = Complaints(page)
    page.goto(box.url(f"{PATH}/overview"))
    page.wait_for_selector(".vp-empty:visible")
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    stage.do_traffic()
    for client in ("c1", "c2"):
        page.wait_for_selector(f"#vpnpt-sessions tbody tr:has-text('{box.lab.host(client).address}')")
    assert page.inner_text('[data-protocol="ipsec"] .vp-count') == "2"
    row = page.locator("#vpnpt-sessions tbody tr", has_text=box.lab.host("c1").address).first
    data = row.locator("td").nth(5)
    before = data.inner_text()
    stage.do_traffic()
    page.wait_for_function("([node, text]) => node.innerText != text", arg=[data.element_handle(), before])
    row.locator("[aria-expanded]").press("Enter")
    page.wait_for_selector("tr.vp-detail dt:has-text('SPIs')")
    row.locator(".vp-act .cbi-button-negative").click()
    page.wait_for_selector(f"#vpnpt-ended tbody tr:has-text('{box.lab.host('c1').address}')", state="attached")
    assert "Disconnected by hand" in page.text_content("#vpnpt-ended")  # type: ignore[operator]
    assert not stage.do_traffic()["c2"].lost, "the other one goes on"
    assert complaints.lines == []


def test_a_client_is_refused(box: LuciBox, page: Page, stage: Stage) -> None:
    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    page.goto(box.url(f"{PATH}/overview"))
    page.click("#vpnpt-sessions tbody tr [aria-expanded]")
    page.click("tr.vp-detail .cbi-button-negative")
    page.click(".modal .cbi-button-negative")
    box.until(lambda: box.sh("uci -q get vpnpt.ipsec.deny_src; uci changes", check=False).split())
    box.until(lambda: stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": "dropped", "esp": "dropped"})
    assert stage.do_probe(["ike", "esp"], "c2", "s1") == {"ike": "arrived", "esp": "arrived"}


def test_the_doctor_finds_what_was_provoked(box: LuciBox, page: Page) -> None:
    complaints = Complaints(page)
    page.goto(box.url(f"{PATH}/doctor"))
    box.sh("uci add_list vpnpt.ipsec.allow_src=nobody; uci commit vpnpt; reload_config")
    box.until(lambda: behaviour(box, "ipsec") == "block" and box.call("vpnpt", "status")["diagnostics"])
    page.click("#vpnpt-run")
    page.wait_for_selector(".vp-finding")
    assert "not one entry is valid" in str(page.text_content("#vpnpt-result"))
    page.click("#vpnpt-report > summary")
    assert "not one entry is valid" in page.input_value("#vpnpt-report textarea")
    page.click("#vpnpt-copy")
    page.wait_for_selector("text=Copied.")
    assert complaints.lines == []


def test_the_service_is_stopped_and_started_again(box: LuciBox, page: Page) -> None:
    complaints = Complaints(page)
    page.goto(box.url(f"{PATH}/overview"))
    page.wait_for_selector(".vp-card")
    box.sh("/etc/init.d/vpnpt stop")
    page.wait_for_selector("text=The service does not run")
    assert not page.is_visible(".vp-card")
    page.click(".vp-panel .cbi-button-positive")
    page.wait_for_selector(".vp-card")
    assert box.ready()
    page.click(".vp-service .cbi-button-negative")
    page.click(".modal .cbi-button-negative")
    page.wait_for_selector("text=The service does not run")
    assert "vpnpt" not in box.sh("nft list tables")
    page.uncheck("#vpnpt-autostart")
    box.until(lambda: box.status("/etc/init.d/vpnpt enabled") != 0)
    assert complaints.lines == []


def test_the_log(box: LuciBox, page: Page) -> None:
    complaints = Complaints(page)
    page.goto(box.url(f"{PATH}/changes"))
    page.wait_for_selector("#vpnpt-events-list:has-text('APPLIED')")
    page.select_option("#vpnpt-level", "error")
    page.wait_for_selector("#vpnpt-events-list:has-text('No line matches.')")
    assert complaints.lines == []


def test_who_may_read_may_not_change(box: LuciBox, chromium: Browser, stage: Stage) -> None:
    page = log_in(box, chromium, "guest", viewport=DESKTOP)
    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    page.goto(box.url(f"{PATH}/overview"))
    page.wait_for_selector("#vpnpt-sessions tbody tr")
    assert page.query_selector("#vpnpt-overview .cbi-button-negative") is None
    for call in ("kill('x')", "block('192.168.1.2', 'ipsec')", "unblock('192.168.1.2', 'ipsec')"):
        assert page.evaluate(f"L.require('vpnpt.api').then(api => api.{call})")["cause"] == "denied"
    assert page.evaluate("L.require('vpnpt.api').then(api => api.control('stop')).then(() => 'done', () => 'refused')") == "refused"
    assert page.evaluate("L.require('vpnpt.api').then(api => api.setType('ipsec', '0')).then(() => 'done', () => 'refused')") == "refused"
    settings(box, page)
    assert page.is_disabled(".cbi-page-actions .cbi-button-save")
    assert box.ready() and behaviour(box, "ipsec") == "help"


def test_the_widget_of_the_status_page(box: LuciBox, page: Page) -> None:
    """By its own module: which ones the page loads is not the same in every LuCI."""
    page.evaluate("""L.require('view.status.include.70_vpnpt').then(widget => widget.load().then(data => widget.render(data)))
                     .then(node => document.querySelector('#view').replaceChildren(node))""")
    assert page.inner_text("#vpnpt-widget").count("On") == 4


def test_in_german(box: LuciBox, page: Page, tmp_path: Path) -> None:
    app = read("luci-app-vpnpt", tmp_path / "recipe")
    (german,) = [recipe for recipe in translations.recipes(app, tmp_path / "i18n") if recipe.name.endswith("-de")]
    box.put(german.root)
    box.sh("sh /etc/uci-defaults/luci-i18n-vpnpt-de; uci set luci.main.lang=de; uci commit luci")
    page.goto(box.url(f"{PATH}/overview"))
    page.wait_for_selector("text=Zurzeit keine VPN-Sitzung")
    assert "VPN-Passthrough" in page.inner_text("h2")
    assert page.inner_text("#tabmenu").split() == ["Übersicht", "Einstellungen", "Diagnose", "Ereignisse"]
    box.sh("uci set vpnpt.ipsec.natt_port=70000; uci commit vpnpt; reload_config")
    page.wait_for_selector("text=Option 'natt_port': kein einziger Eintrag ist gültig; die Liste berichtigen; verwendet wird 4500")
    page.wait_for_selector("text=Wert '70000': außerhalb des Bereichs; gültig: 1 bis 65535; dieser Eintrag ist ausgelassen")
    box.sh("uci -q delete vpnpt.ipsec.natt_port; uci commit vpnpt; /etc/init.d/vpnpt stop; echo \"config vpnpt 'one\" >>/etc/config/vpnpt")
    page.goto(box.url(f"{PATH}/settings"))
    page.wait_for_selector("text=das Anführungszeichen ', das hier öffnet, wird nie geschlossen; schließen Sie es")


@pytest.mark.parametrize("theme", ["bootstrap", "bootstrap-dark", "material"])
def test_a_telephone(box: LuciBox, chromium: Browser, theme: str) -> None:
    """Nobody has to scroll sideways, or no further than on LuCI's own pages; nothing is complained about."""
    if not (box.root / "www/luci-static" / theme).exists():
        pytest.skip(f"this LuCI has no theme {theme}")
    page = log_in(box, chromium, viewport=PHONE, screen=PHONE, is_mobile=True, has_touch=True)
    box.sh(f"uci set luci.main.mediaurlbase=/luci-static/{theme}; uci commit luci")
    page.goto(box.url("admin/network/firewall"))
    page.wait_for_selector("#cbi-firewall")
    own, complaints = overflow(page), Complaints(page)
    for name, ready in (("overview", ".vp-card"), ("settings", "#cbi-vpnpt"), ("doctor", "#vpnpt-run"), ("changes", "#vpnpt-events-list")):
        page.goto(box.url(f"{PATH}/{name}"))
        page.wait_for_selector(ready)
        assert overflow(page) <= own, name
    assert complaints.lines == []
