# SPDX-License-Identifier: GPL-2.0-or-later
""""My VPN does not connect" in the real LuCI, in German, on a telephone: the real daemon watches what is provoked in the lab, and the page
names it, with what was seen and what to do. The judgement itself, of these and more: tests/lab/test_why.py.

One of them is not provoked to the end: a kernel that has PPTP's helper built in can't lose it, so a program in nft's place says so.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from buildroot import translations
from buildroot.recipe import read
from tests.lab.ailments import REFUSES
from tests.luci.browser import PHONE, Complaints, overflow
from tests.luci.front import minify
from tests.luci.site import log_in
from tests.openwrt.box import SLOWER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.lab.verbs import Stage
    from tests.luci.site import LuciBox

WAIT = 40_000  # milliseconds
WITHIN = 20_000 * SLOWER
"""Milliseconds from the attempt to the answer."""
READY = {"overview": ".vp-card", "settings": "#cbi-vpnpt", "doctor": "#vpnpt-run", "changes": "#vpnpt-events-list li"}
ENGLISH = re.compile(r"\b(the|and|of|packets|does|not|this)\b")


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


def untrusted(box: LuciBox, stage: Stage) -> None:
    put(box, "add_list vpnpt.ipsec.allow_src=192.168.1.7")


def switched_off(box: LuciBox, stage: Stage) -> None:
    put(box, "set vpnpt.ipsec=0")


def dead(box: LuciBox, stage: Stage) -> None:
    stage.do_isp("ip saddr 198.51.100.11")


def no_esp(box: LuciBox, stage: Stage) -> None:
    stage.do_isp("meta l4proto esp")


def double_nat(box: LuciBox, stage: Stage) -> None:
    """The router before this one translates, and does not pass ESP."""
    stage.do_wan(address="192.168.178.23")
    stage.lab.isp.run("ip", "addr", "add", "192.168.178.1/24", "dev", "eth0")
    stage.do_ip("route replace default via 192.168.178.1 dev wan")
    stage.lab.isp.run("nft", "-f", "-", text="table ip nat {\nchain out {\ntype nat hook postrouting priority srcnat\n"
                      "ip saddr 192.168.178.0/24 masquerade\n}\n}\n")
    no_esp(box, stage)


def no_module(box: LuciBox, stage: Stage) -> None:
    real = box.sh("command -v nft").strip()
    box.sh(f"mv {real} {real}.real")
    program = box.root / real[1:]
    program.write_text(REFUSES.replace("NFT", f"{real}.real").replace("WHAT", 'type "pptp"'))
    program.chmod(0o755)
    put(box, "set vpnpt.pptp=1")


def tries(stage: Stage) -> None:
    """IKE and ESP with s1; the client goes on trying."""
    stage.do_up("c1")
    stage.do_up("c1", name="again")
    if stage.tunnels["c1"].up():
        stage.do_traffic("c1", out=4, back=4)


def calls(stage: Stage) -> None:
    stage.do_up("c1", kind="pptp")


def both_ways(stage: Stage) -> None:
    """ESP in UDP, and plain."""
    stage.do_up("c1", natt=True)
    stage.do_traffic()
    stage.do_up("c1", kind="manual", name="plain")
    stage.do_traffic("plain")


def too_long(stage: Stage) -> None:
    """Somebody on the way says that it carries 1,400 bytes."""
    stage.do_up("c1")
    stage.do_traffic()
    stage.do_icmp(about="esp", who="c1")


class Fault(NamedTuple):
    """said: in the answer, cause and remedy. button: what can be done here."""

    provoke: Callable[[LuciBox, Stage], None]
    said: tuple[str, ...]
    button: str = ""
    attempt: Callable[[Stage], None] = tries


FAULTS = {
    "works": Fault(works, ("Es funktioniert",)),
    "module": Fault(no_module, ("Dem Kernel dieses Routers fehlt der Helfer", "kmod-nf-nathelper-pptp"), attempt=calls),
    "double-nat": Fault(double_nat, ("Der Router vor diesem lässt ESP nicht durch", "192.168.178.23", "als Modem")),
    "rule": Fault(a_rule, ("Regel „Kein-VPN“", "Ändern oder entfernen Sie diese Regel")),
    "refused": Fault(refused, ("Liste der abgewiesenen Clients",), "Wieder zulassen"),
    "untrusted": Fault(untrusted, ("Nur aufgeführte Clients dürfen es verwenden",), "Diesem Client IPsec erlauben"),
    "off": Fault(switched_off, ("Es ist ausgeschaltet",), "IPsec einschalten"),
    "dead": Fault(dead, ("198.51.100.11 antwortet nicht", "Prüfen Sie die Adresse des Servers")),
    "esp": Fault(no_esp, ("ESP kommt nicht zurück", "Verwenden Sie NAT-Traversal")),
    "nat-t": Fault(works, ("sowohl direkt als auch in UDP", "an beiden Enden gleich"), attempt=both_ways),
    "mtu": Fault(works, ("Er trägt höchstens 1400 Bytes", "auf 1320 oder weniger"), attempt=too_long)}


def ask(box: LuciBox, page: Page, stage: Stage, fault: Fault, picture: Path) -> None:
    """From the overview, while the client tries."""
    page.goto(box.url("admin/network/vpnpt/overview"))
    page.click("#vpnpt-why-open")
    page.fill("#vpnpt-why-client", "192.168.1.101")
    page.click("#vpnpt-why .cbi-button-positive")
    page.wait_for_selector("#vpnpt-why [role=progressbar]")
    box.until(lambda: "vpnpt_why" in box.sh("nft list tables"))
    stage.patience = 1.0
    fault.attempt(stage)
    page.wait_for_selector("#vpnpt-why-text", timeout=WITHIN)
    page.screenshot(path=picture)
    text = page.inner_text("#vpnpt-why")
    assert [words for words in fault.said if words not in text] == [], text
    assert ENGLISH.findall(text) == [], text
    assert page.locator("#vpnpt-why .vp-list li").count() >= 1
    assert overflow(page) == 0


@pytest.mark.parametrize("name", FAULTS)
def test_why(box: LuciBox, page: Page, stage: Stage, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    fault.provoke(box, stage)
    complaints = Complaints(page)
    ask(box, page, stage, fault, tmp_path / f"why-{name}.png")
    assert complaints.lines == []
    if fault.button:
        page.click(f"#vpnpt-why-act:has-text('{fault.button}')")
    if name in ("off", "untrusted"):  # a change of the configuration: LuCI's own list of what is staged opens, with its Save & Apply
        page.wait_for_selector(".uci-change-list:has-text('vpnpt')")
        page.click(".modal .cbi-dropdown > ul > li >> nth=0")
        box.until(lambda: stage.do_probe(["ike"], "c1", "s1") == {"ike": "arrived"}, 60)
    elif fault.button:
        box.until(lambda: "192.168.1.101" not in box.sh("uci -q get vpnpt.ipsec.deny_src", check=False))


def test_as_luci_s_build_leaves_the_pages(box: LuciBox, page: Page, stage: Stage, tmp_path: Path) -> None:
    """Minified, in the real LuCI: all four, and an answer."""
    try:
        for place in ("vpnpt", "view/vpnpt"):
            minify(box.root / "www/luci-static/resources" / place, tmp_path)
    except LookupError as reason:
        pytest.skip(f"the minified pages were not drawn in the real LuCI: {reason}")
    complaints = Complaints(page)
    for name, ready in READY.items():
        page.goto(box.url(f"admin/network/vpnpt/{name}"))
        page.wait_for_selector(ready)
    ask(box, page, stage, FAULTS["works"], tmp_path / "why-minified.png")
    assert complaints.lines == []
