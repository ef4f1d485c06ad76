# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings, and a configuration that is mended in the page."""
from __future__ import annotations

from typing import TYPE_CHECKING

from buildroot.recipe import TOP
from tests.luci.views.stand import OVERVIEW, VIEWS, broken, german, report, show
from vpnpt.config.compile import OPTIONS
from vpnpt.model import Diagnostic, Said

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.luci.views.stand import Router


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


def test_a_line_with_many_faults_is_there_once(page: Page, router: Router) -> None:
    """A quote that ends lines later makes nonsense of all the words between."""
    broken(router)
    router.checked = [Diagnostic(severity="warning", file="/etc/config/vpnpt", line=line, value=value, message=Said(message))
                      for line, value, message in [(9, None, "too many words"), *((9, str(number), "not the name of a zone")
                                                                                 for number in range(20)), (12, None, "no")]]
    show(page, "view.vpnpt.settings")
    assert page.locator("[data-line]").count() == 2 and page.inner_text(".vp-mend >> nth=0").count("not the name") == 2
    assert page.is_visible("text=Line 9: too many words") and page.is_visible("text=Line 12: no")


def test_a_line_is_taken_out_and_the_whole_file_is_there(page: Page, router: Router) -> None:
    broken(router)
    show(page, "view.vpnpt.settings")
    page.click(".vp-mend button")
    assert page.input_value("#vpnpt-mend-text").splitlines()[8] == "# config vpnpt 'global"
    router.checked = []
    show(page, "view.vpnpt.settings")
    assert page.is_visible("#vpnpt-mend-text"), "where no line is known, the whole file is open"
    page.add_init_script("window.readonly = true")
    show(page, "view.vpnpt.settings")
    assert page.locator("#vpnpt-mend-save").count() == 0 and page.get_attribute("#vpnpt-mend-text", "readonly") is not None


BAD = """config 1 'ipsec'
\tlist natt_port 70000
\tlist natt_port 4500
\toption colour green
config vpnpt 'global'
\toption max_keys 3
"""
GERMAN = ["/etc/config/vpnpt:2: Abschnitt 'ipsec' Option 'natt_port' Wert '70000': außerhalb des Bereichs; gültig: 1 bis 65535; dieser "
          "Eintrag ist ausgelassen",
          "/etc/config/vpnpt:4: Abschnitt 'ipsec' Option 'colour': unbekannte Option; ausgelassen; gültig: enabled, when_disabled, ",
          "/etc/config/vpnpt:6: Abschnitt 'global' Option 'max_keys' Wert '3': außerhalb des Bereichs; gültig: 64 bis 1048576 Schlüssel; "
          "verwendet wird 65536"]


def test_what_is_wrong_in_german(page: Page, router: Router) -> None:
    """Where, about what, and the remedy: each of it in the reader's language."""
    report(router, BAD)
    german(page)
    for view in (OVERVIEW, "view.vpnpt.settings"):
        show(page, view)
        page.wait_for_selector("text=max_keys")
        for line in GERMAN:
            assert page.is_visible(f"text=Warnung: {line}"), line


def test_errors_in_german(page: Page, router: Router) -> None:
    """They are the reason why nothing new is in force; with them no word of English."""
    report(router, BAD + "config protocol 'l2tp'\n\tlist allow_src nobody\n")
    german(page)
    for view in (OVERVIEW, "view.vpnpt.settings", VIEWS[4]):
        show(page, view)
        page.wait_for_selector("text=allow_src")
        assert page.is_visible("text=Fehler: /etc/config/vpnpt:8: Abschnitt 'l2tp' Option 'allow_src': kein einziger Eintrag ist gültig; "
                               "die Liste berichtigen; bis dahin darf niemand dieses Protokoll nutzen")
        assert not page.is_visible("text=not one entry is valid")


def test_in_english_as_the_terminal_has_it(page: Page, router: Router) -> None:
    report(router, BAD)
    show(page, OVERVIEW)
    page.wait_for_selector("text=max_keys")
    for line in router.recorded.status["diagnostics"]:
        assert page.is_visible("text=" + line[0].upper() + line[1:]), line


def test_a_service_that_gives_no_codes(page: Page, router: Router) -> None:
    report(router, BAD)
    del router.recorded.status["diagnostics_said"]
    german(page)
    show(page, OVERVIEW)
    page.wait_for_selector("text=max_keys")
    assert all(page.is_visible(f"text={line}") for line in router.recorded.status["diagnostics"])


def test_a_line_is_mended_in_german(page: Page, router: Router) -> None:
    """By `vpnpt check`: the service need not run."""
    broken(router)
    router.recorded.down = True
    german(page)
    show(page, "view.vpnpt.settings")
    page.wait_for_selector("text=Zeile 9: das Anführungszeichen ', das hier öffnet, wird nie geschlossen; die Zeile wird übersprungen")
