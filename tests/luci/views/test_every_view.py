# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for each page: it is drawn in each size, times and numbers are readable, and no text becomes markup."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.reference import said
from tests.luci.browser import DESKTOP, PHONE, overflow
from tests.luci.views.stand import EVIL, HTDOCS, OVERVIEW, VIEWS, ask_until, german, show
from vpnpt.audit.changes import History
from vpnpt.config.compile import compile_config
from vpnpt.daemon.log import Log, addresses
from vpnpt.model import Said, plain
from vpnpt.ruleset import notices

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
    """Before its line: in the log, on the overview and on LuCI's own page. Notes and details are as they were."""
    german(page)
    page.add_init_script("document.addEventListener('readystatechange', () => document.documentElement.lang = 'de')")
    for view, place in (("view.vpnpt.changes", "#vpnpt-events-list li"), (OVERVIEW, "#vpnpt-alerts li"), (VIEWS[4], "#view p")):
        show(page, view)
        lines = [text for text in page.locator(place).all_text_contents() if "dieselbe SPI" in text]
        assert len(lines) == 1 and "both get its packets" in lines[0], view  # no codes: in its own words
    show(page, "view.vpnpt.changes")
    page.fill("#vpnpt-changes input[type=search]", "dieselbe spi")
    assert page.locator("#vpnpt-events-list li").count() == 1


def test_lines_in_german(page: Page, router: Router) -> None:
    """The line itself, with what it is about, at every level: as the real log has it."""
    log = Log("debug")
    log.info("REFUSED", "{protocol}: {addresses}: {why} (vpnpt.{protocol})", protocol="pptp", why=notices.WHY["DENIED"],
             addresses=addresses(bytes([0x45]) + bytes(11) + bytes([192, 0, 2, 1]) + bytes([203, 0, 113, 9])))
    log.warning("NFLOG", "no notices from the kernel: {problem} (is kmod-nfnetlink-log installed, or does another program use group "
                         "{group}?)", problem="Operation not permitted", group=9107)
    log.debug("HELPER", "nf_conntrack_pptp is there now")
    (item,) = compile_config("config 1 'ipsec'\n\toption colour green\n", "/etc/config/vpnpt")[1]
    log.write(item.severity, "CONFIG", item.replace(severity=""))
    log.error("RULESET", "{problem}", problem=Said("the kernel refused the ruleset, the old one stays: {problem}", problem="<b>no</b>"))
    router.recorded.events = [(5, line["severity"], line["code"], line["text"]) for line in log.lines]
    router.recorded.said = {line["text"]: line["said"] for line in log.lines if "said" in line}
    router.recorded.status["problem"] = log.lines[-1]["text"]
    german(page)
    page.add_init_script("document.addEventListener('readystatechange', () => document.documentElement.lang = 'de')")
    show(page, "view.vpnpt.changes")
    page.wait_for_selector("#vpnpt-events-list li >> nth=4")
    for line in ("pptp: 192.0.2.1 an 203.0.113.9: dieser Client steht in deny_src (vpnpt.pptp)",
                 "keine Meldungen vom Kernel: Operation not permitted (ist kmod-nfnetlink-log installiert, oder benutzt ein anderes "
                 "Programm die Gruppe 9107?)", "nf_conntrack_pptp ist jetzt da",
                 "/etc/config/vpnpt:2: Abschnitt 'ipsec' Option 'colour': unbekannte Option; ausgelassen; gültig: enabled, ",
                 "der Kernel hat das Regelwerk zurückgewiesen, das alte bleibt: <b>no</b>"):
        assert line in page.inner_text("#vpnpt-events-list"), line
    assert page.locator("#vpnpt-events-list [lang=en]").count() == 0
    page.fill("#vpnpt-changes input[type=search]", "steht in deny_src")
    assert page.locator("#vpnpt-events-list li").count() == 1
    show(page, OVERVIEW)
    page.wait_for_selector(".vp-panel:has-text('das alte bleibt: <b>no</b>')")


def test_drift_in_german(page: Page, router: Router) -> None:
    found = Said("{rules} gone from table {table} vpnpt: {names}", rules=Said("1 rule"), table="ip", names="prerouting (PPTP)")
    router.recorded.status.update(drift=str(found), drift_said=plain(found))
    german(page)
    show(page, OVERVIEW)
    page.wait_for_selector("text=in der Tabelle ip vpnpt fehlt etwas (1 Regel): prerouting (PPTP)")


def test_changes_in_german(page: Page, router: Router) -> None:
    """What changed, and by what means: as the real history tells it."""
    history, nobody = History(), Said("while the daemon did not run")
    history.compare(1, "", {"network": {"WAN address of wan": "203.0.113.7", "LAN devices": "br-lan"}, "firewall": {}})
    history.compare(2, nobody, {"network": {"WAN address of wan": "(none)", "LAN devices": "br-lan guest"},
                                "firewall": {"firewall forwarding guest to wan": "<b>yes</b>"}})
    told = history.answer()
    router.recorded.changes = [(5, item["what"], item["how"], item["text"]) for item in told]
    router.recorded.said = {item["text"]: item["said"] for item in told}
    german(page)
    show(page, "view.vpnpt.changes")
    page.wait_for_selector("#vpnpt-changes-list li >> nth=2")
    said = page.locator("#vpnpt-changes-list .vp-text").all_inner_texts()
    assert sorted(said) == [
        "Firewall-Weiterleitung von guest nach wan: (nichts) -> <b>yes</b> (während der Dienst nicht lief)",
        "LAN-Geräte: br-lan -> br-lan guest (während der Dienst nicht lief)",
        "WAN-Adresse von wan: 203.0.113.7 -> (nichts) (während der Dienst nicht lief)"]


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
