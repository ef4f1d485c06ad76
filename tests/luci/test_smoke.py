# SPDX-License-Identifier: GPL-2.0-or-later
"""Our views, drawn over a thin stand-in for LuCI's loader, of recorded answers: runs wherever there is a Chromium."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildroot import messages, po
from buildroot.recipe import TOP
from tests.luci import browser as browsers
from tests.luci.browser import DESKTOP, PHONE, Complaints, overflow
from tests.luci.recorded import VERDICT, Recorded
from vpnpt.config.compile import OPTIONS, compile_config
from vpnpt.config.ucitext import parse
from vpnpt.doctor import judge
from vpnpt.doctor.facts import Facts, Uplink
from vpnpt.doctor.texts import TEXTS
from vpnpt.model import Devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

HTDOCS = TOP / "luci-app/luci-app-vpnpt/htdocs"
STAND_IN = Path(__file__).with_name("stand_in.js").read_text()
PAGE = """<!doctype html><html lang="en" data-darkmode="{dark}"><meta name="viewport" content="width=device-width, initial-scale=1">
<style>html {{ color-scheme: {scheme}; font: 13px sans-serif }} body {{ margin: 8px }} label {{ margin-right: 1em }}</style>
<body data-page="test"><div id="view"></div><script src="/stand_in.js"></script></body></html>"""
VIEWS = ("view.vpnpt.overview", "view.vpnpt.settings", "view.vpnpt.doctor", "view.vpnpt.changes", "view.status.include.70_vpnpt")
OVERVIEW = VIEWS[0]
EVIL = "<img src=x onerror='window.pwned=1'><b>bold</b>"


class Router:
    """What the page's requests are answered with."""

    def __init__(self) -> None:
        self.recorded = Recorded()
        self.config: dict[str, Any] | None = shipped()
        self.enabled = True
        self.executed: list[Any] = []
        self.dark = False
        self.text: str | None = (TOP / "files/etc/config/vpnpt").read_text()
        self.checked = ""

    def handle(self, route: Route) -> None:
        path = route.request.url.partition("vpnpt.test")[2].partition("?")[0]
        if path == "/ubus":
            route.fulfill(content_type="application/json", body=json.dumps(self.call(json.loads(route.request.post_data or ""))))
        elif path == "/stand_in.js":
            route.fulfill(content_type="text/javascript", body=STAND_IN)
        elif path.startswith("/luci-static/") and (HTDOCS / path[1:]).is_file():
            route.fulfill(path=HTDOCS / path[1:])
        elif path == "/":
            route.fulfill(content_type="text/html", body=PAGE.format(dark=str(self.dark).lower(), scheme="dark" if self.dark else "light"))
        else:
            route.fulfill(status=404 if path != "/favicon.ico" else 204)

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        _, name, method, arguments = call["params"]
        frame = {"jsonrpc": "2.0", "id": call["id"]}
        if name == "vpnpt":
            return self.recorded.answer(call)
        if (name, method) == ("file", "read"):
            return {**frame, "result": [4] if self.text is None else [0, {"data": self.text}]}
        if (name, method) == ("file", "write"):
            self.text = arguments["data"]
            return {**frame, "result": [0, {}]}
        if (name, method, arguments.get("params")) == ("file", "exec", ["check"]):
            return {**frame, "result": [0, {"code": 2, "stdout": "", "stderr": self.checked}]}
        if (name, method) == ("file", "exec"):
            self.executed.append(arguments["params"])
            self.recorded.down = arguments["params"] == ["stop"]
            return {**frame, "result": [0, {"code": 0}]}
        if (name, method) == ("rc", "list"):
            return {**frame, "result": [0, {"vpnpt": {"start": 21, "enabled": self.enabled, "running": not self.recorded.down}}]}
        if (name, method) == ("uci", "get"):
            return {**frame, "result": [0, {"values": self.config}] if self.config is not None else [4]}
        if (name, method) == ("uci", "add"):
            self.executed.append(arguments)
            return {**frame, "result": [0, {"section": arguments["name"]}]}
        if (name, method) == ("luci-rpc", "getHostHints"):
            return {**frame, "result": [0, {"00:00:5E:00:53:13": {"name": "anna-laptop", "ipaddrs": ["192.168.1.113"], "ip6addrs": []}}]}
        return {**frame, "error": {"code": -32000, "message": "Object not found"}}


def shipped() -> dict[str, Any]:
    """The configuration that is installed, as rpcd gives it."""
    document = parse((TOP / "files/etc/config/vpnpt").read_text(), "vpnpt")
    return {section.name: {".type": section.type, ".name": section.name, ".anonymous": False,
                           **{option.name: option.values[0] if len(option.values) == 1 else option.values
                              for option in section.options.values()}}
            for section in document.sections}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    try:
        with browsers.browser() as found:
            yield found
    except LookupError as reason:
        pytest.skip(f"no page was drawn: {reason}")


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def page(chromium: Browser, router: Router) -> Iterator[Page]:
    """Fails afterwards if anything was complained about."""
    context = chromium.new_context(viewport=DESKTOP)
    context.route("**/*", router.handle)
    page = context.new_page()
    page.set_default_timeout(10_000)
    complaints = Complaints(page)
    yield page
    assert complaints.lines == []
    context.close()


def show(page: Page, view: str) -> None:
    page.goto("http://vpnpt.test/")
    page.evaluate("view => show(view)", view)


def again(page: Page) -> None:
    """As if the page had been hidden: it asks at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


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


def test_the_overview(page: Page) -> None:
    show(page, OVERVIEW)
    assert page.locator(".vp-card").count() == 5 and page.locator("#vpnpt-sessions tbody tr").count() == 8
    assert "Weak" in page.inner_text('[data-protocol="pptp"]') and "14 packets refused" in page.inner_text('[data-protocol="openvpn"]')
    again(page)
    page.wait_for_selector('[data-protocol="ipsec"] .vp-graph path', state="attached")
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
    again(page)
    page.wait_for_function("text => document.querySelector('#vpnpt-sessions tbody tr:nth-child(2)').innerText != text", arg=before)
    assert "c0ffee01" in page.inner_text("tr.vp-detail")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


def test_details(page: Page) -> None:
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('MacBook-Pro') [aria-expanded]")
    pairs = dict(zip(page.locator("tr.vp-detail dt").all_inner_texts(), page.locator("tr.vp-detail dd").all_inner_texts(), strict=True))
    assert (pairs["SPIs to the client"], pairs["Server's ports"]) == ("04d1377c, 5e19aa02", "500")
    assert "Tunnel IDs" not in pairs, "what does not apply is left out"


def test_a_client_is_refused(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('plc-gateway') [aria-expanded]")
    page.click("tr.vp-detail .cbi-button-negative")
    page.click(".modal .cbi-button-negative")
    page.wait_for_selector(".alert-message:has-text('unknown method')")  # the record knows none: what went wrong is said
    assert ("block", {"client": "192.168.1.77", "protocol": "pptp"}) in router.recorded.calls


def test_search(page: Page) -> None:
    show(page, OVERVIEW)
    page.fill("#vpnpt-overview input[type=search]", "l2tp")
    assert page.locator("#vpnpt-sessions tbody tr").count() == 2
    page.fill("#vpnpt-overview input[type=search]", "nobody")
    assert page.is_visible("text=No session matches.")


def test_disconnect(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('Pixel-8') .cbi-button-negative")
    page.wait_for_function("document.querySelectorAll('#vpnpt-sessions tbody tr').length == 7")
    assert ("kill", {"session": "ipsec-00001f2c"}) in router.recorded.calls
    page.click("#vpnpt-ended-box > summary")
    assert "Disconnected by hand" in page.inner_text("#vpnpt-ended tr:has-text('Pixel-8')")


def german(page: Page) -> None:
    """What is drawn from now on."""
    words = po.read(po.APP / "po/de/vpnpt.po")
    page.add_init_script(f"window.words = {json.dumps(words)}")


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
    assert "6 Pakete kamen vom Client" in text
    assert overflow(page) == 0
    asked = [arguments for method, arguments in router.recorded.calls if method == "why"]
    assert (asked[0]["client"], asked[0]["server"]) == ("192.168.1.5", "198.51.100.24")


def test_why_for_a_device_that_is_named(page: Page, router: Router) -> None:
    """And one that is refused is let in again, at once."""
    router.recorded.verdict = {**VERDICT, "place": "here", "action": {"do": "unblock", "protocol": "ipsec", "client": "192.168.1.113"}}
    show(page, OVERVIEW)
    page.click("#vpnpt-why-open")
    assert "anna-laptop" in str(page.locator("#vpnpt-why-known option").all_text_contents())
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


def test_a_refused_client_is_let_in_where_it_was_refused(page: Page, router: Router) -> None:
    router.recorded.sessions[0].update(state="blocked")
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('anna-laptop') [aria-expanded]")
    page.click("tr.vp-detail .cbi-button-positive")
    page.wait_for_selector(".alert-message:has-text('unknown method')")
    assert ("unblock", {"client": "192.168.1.113", "protocol": "ipsec"}) in router.recorded.calls


def test_page_and_service_of_two_versions(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    assert not page.is_visible("text=Page and service are of different versions")
    router.recorded.status["version"] = "0.2.0"
    again(page)
    page.wait_for_selector("text=Page and service are of different versions")


def test_the_page_s_version_is_the_package_s() -> None:
    said = re.search(r"VERSION: '(.*?)'", (HTDOCS / "luci-static/resources/vpnpt/api.js").read_text())
    assert said is not None and f"PKG_VERSION:={said[1]}\n" in (TOP / "luci-app/luci-app-vpnpt/Makefile").read_text()


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
    for _ in range(4):
        count = len(router.recorded.bytes)
        again(page)
        page.wait_for_timeout(700)
        assert len(router.recorded.bytes) > count
    assert router.recorded.bytes[0] > 200_000 and max(router.recorded.bytes[1:]) < 20_000
    router.recorded.sessions = router.recorded.sessions[:2]
    again(page)
    page.wait_for_function("document.querySelectorAll('#vpnpt-sessions tbody tr').length == 2")


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


@pytest.mark.parametrize("view", VIEWS[:4])
def test_the_service_is_down(page: Page, router: Router, view: str) -> None:
    router.recorded.down = True
    show(page, view)
    if view.endswith("doctor"):
        page.click("#vpnpt-run")
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


def test_who_may_only_read(page: Page, router: Router) -> None:
    page.add_init_script("window.readonly = true")
    show(page, OVERVIEW)
    assert page.locator("#vpnpt-sessions tbody tr").count() == 8 and page.locator(".cbi-button-negative").count() == 0
    router.recorded.denied = True
    again(page)
    page.wait_for_selector("text=You may not see this")


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


def test_times_stay_aligned_over_midnight(page: Page, router: Router) -> None:
    """Where one line has a date, all leave room for it."""
    router.recorded.now -= 86400
    show(page, "view.vpnpt.changes")
    page.wait_for_function("document.styleSheets.length > 1")
    places = page.eval_on_selector_all("#vpnpt-events-list .vp-kind", "nodes => nodes.map(node => node.getBoundingClientRect().left)")
    assert len(places) > 3 and len(set(places)) == 1 and page.locator("#vpnpt-events-list.vp-dated").count() == 1


def broken(router: Router) -> None:
    """A quote is missing: the daemon runs with an earlier configuration, and LuCI can't read this one."""
    assert router.text is not None
    lines = router.text.splitlines()
    lines[8] = "config vpnpt 'global"
    router.config, router.text = None, "\n".join(lines) + "\n"
    router.checked = "error: /etc/config/vpnpt:9: the quote ' that opens here has no end\n"


def test_the_very_line_is_mended(page: Page, router: Router) -> None:
    """No Save beside it that would write over the file, and no stack of a program's."""
    broken(router)
    show(page, "view.vpnpt.settings")
    assert page.is_visible("text=Line 9: the quote ' that opens here has no end")
    assert page.input_value("[data-line='9']") == "config vpnpt 'global"
    buttons = page.evaluate("L.require('view.vpnpt.settings').then(view => [ view.handleSave, view.handleSaveApply, view.handleReset ])")
    assert buttons == [None, None, None]
    assert "RPC" not in page.inner_text("#view") and "uci/get" not in page.inner_text("#view")
    page.fill("[data-line='9']", "config vpnpt 'global'")
    page.click("#vpnpt-mend-save")
    page.wait_for_selector(".vp-mend")
    page.wait_for_timeout(500)
    assert router.text == (TOP / "files/etc/config/vpnpt").read_text(), "nothing but that line is another"
    assert ("reload", {}) in router.recorded.calls


def test_a_line_is_taken_out_and_the_whole_file_is_there(page: Page, router: Router) -> None:
    broken(router)
    show(page, "view.vpnpt.settings")
    page.click(".vp-mend button")
    assert page.input_value("#vpnpt-mend-text").splitlines()[8] == "# config vpnpt 'global"
    router.checked = ""
    show(page, "view.vpnpt.settings")
    assert page.is_visible("#vpnpt-mend-text"), "where no line is known, the whole file is open"
    page.add_init_script("window.readonly = true")
    show(page, "view.vpnpt.settings")
    assert page.locator("#vpnpt-mend-save").count() == 0 and page.get_attribute("#vpnpt-mend-text", "readonly") is not None


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


def test_whom_a_session_is_shared_with(page: Page, router: Router) -> None:
    router.recorded.sessions[0]["shared_with"] = ["192.168.1.131", "192.168.1.142"]
    show(page, OVERVIEW)
    page.click("#vpnpt-sessions tbody tr:has-text('anna-laptop') [aria-expanded]")
    assert page.is_visible("text=shared with 192.168.1.131, 192.168.1.142 until it is known whose it is")


def test_all_of_it_is_switched_off(page: Page, router: Router) -> None:
    router.recorded.status["enabled"] = False
    show(page, OVERVIEW)
    assert page.is_visible("text=VPN passthrough is switched off") and page.locator(".vp-card .vp-good").count() == 0


def test_it_rests_while_it_is_hidden(page: Page, router: Router) -> None:
    show(page, OVERVIEW)
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    count = len(router.recorded.calls)
    again(page)
    page.wait_for_timeout(6500)
    assert len(router.recorded.calls) == count
    page.evaluate("delete document.hidden")
    again(page)
    page.wait_for_timeout(300)
    assert len(router.recorded.calls) > count


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


def test_numbers(page: Page) -> None:
    show(page, "view.vpnpt.doctor")
    said = page.evaluate("""L.require('vpnpt.api').then(api => [ ...[ 0, 999, 1000, 150e6, -1 ].map(api.bytes),
        ...[ 125, 125e6 ].map(api.rate), ...[ 59, 3599, 90061 ].map(api.duration), ...[ 'Yes', 'off', 'x' ].map(api.bool) ])""")
    assert said == ["0 B", "999 B", "1.0 KiB", "143 MiB", "0 B", "1.0 kbit/s", "1.0 Gbit/s", "59 s", "59 min", "1 d 1 h", True, False, None]


def test_the_settings(page: Page, router: Router) -> None:
    """Every option of config/options.py is there, with its default and range; sections in both forms are read, missing ones are made."""
    assert router.config is not None
    router.config["l2tp"] = {".type": "protocol", ".name": "l2tp", "enabled": "no", "allow_src": "192.168.1.2 192.168.1.3"}
    router.config["openvpn"][".type"] = "off"
    del router.config["wireguard"]
    show(page, "view.vpnpt.settings")
    for name, on in (("ipsec", True), ("l2tp", False), ("pptp", False), ("openvpn", False), ("wireguard", True), ("global", True)):
        assert page.is_checked(f'[id="{name}.enabled"]') is on, name
    assert page.input_value('[id="l2tp.allow_src"]') == "192.168.1.2 192.168.1.3" and page.input_value('[id="global.lan_zone"]') == ""
    table = page.evaluate("L.require('vpnpt.options').then(module => module.OPTIONS)")
    for section, options in OPTIONS.items():
        known = {spec["name"]: spec for spec in table[section]}
        assert set(known) == {option.name for option in options}, section
        for option in options:
            spec = known[option.name]
            default = list(option.default) if option.many else option.default
            assert (spec["def"], "switch" if option.name == "enabled" else option.kind) == (default, spec["kind"]), (section, option.name)
            assert option.kind != "int" or (spec["low"], spec["high"]) == (option.low, option.high), option.name
            assert option.kind != "choice" or set(spec["choices"]) - {""} == set(option.choices), option.name
            assert spec["title"] and spec["help"] and page.is_visible(f'[data-section="{section}"] [data-option="{option.name}"]')


def test_the_configuration_is_missing(page: Page, router: Router) -> None:
    router.config = router.text = None
    show(page, "view.vpnpt.settings")
    assert page.is_visible("text=Reinstalling the package vpnpt brings it back")


def test_one_module_asks_the_router() -> None:
    """And data never becomes markup."""
    for path in HTDOCS.rglob("*.js"):
        text = path.read_text()
        assert ("rpc.declare" in text) is (path.name == "api.js"), path
        assert not re.search(r"innerHTML\s*=[^=]|outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|rawhtml", text), path
