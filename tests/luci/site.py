# SPDX-License-Identifier: GPL-2.0-or-later
"""The real LuCI on the real router: rpcd, uhttpd and LuCI's own files beside OpenWrt's programs, our app from its package.

    LUCI_ROOT   directories to be laid over OPENWRT_ROOT, separated by colons: together a root with LuCI (usr/sbin/uhttpd with its
                ubus and ucode plugins, rpcd with its file, luci and ucode modules, www/luci-static, usr/share/ucode/luci).
                An unpacked rootfs of OpenWrt's with LuCI installed is one, as OPENWRT_ROOT as well.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab import sandbox
from tests.openwrt.box import Box

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.lab.topology import Lab

PASSWORD = "vpnpt"
RPCD = """
config rpcd
	option socket /var/run/ubus/ubus.sock

config login
	option username 'root'
	option password '{hash}'
	list read '*'
	list write '*'

config login
	option username 'guest'
	option password '{hash}'
	list read '*'
"""


def root() -> str:
    """LUCI_ROOT. Raises LookupError where it is not given."""
    given = os.environ.get("LUCI_ROOT")
    if not given:
        raise LookupError("LUCI_ROOT names no LuCI")
    return given


class LuciBox(Box):
    """A box with LuCI. `url`: of a page."""

    def __init__(self, lab: Lab) -> None:
        before = os.environ.get("OPENWRT_ROOT")
        os.environ["OPENWRT_ROOT"] = ":".join([root(), before or "/"])
        try:
            super().__init__(lab)
        finally:
            if before is None:
                del os.environ["OPENWRT_ROOT"]
            else:
                os.environ["OPENWRT_ROOT"] = before

    def put(self, files: Path) -> None:
        """Lays a package's files over the root."""
        for path in sorted(files.rglob("*")):
            target = self.root / path.relative_to(files)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(path.read_bytes())
                target.chmod(path.stat().st_mode & 0o777)

    def start(self, theme: str = "bootstrap", language: str = "en") -> None:
        etc = self.root / "etc/config"
        etc.mkdir(parents=True, exist_ok=True)
        word = self.sh(f"openssl passwd -6 -salt vpnpt {PASSWORD}").strip()
        (etc / "rpcd").write_text(RPCD.format(hash=word))
        (etc / "network").write_text(NETWORK.format(lan=self.lab.router.lan_device, wan=self.lab.router.wan_device))
        (etc / "system").write_text("config system\n\toption hostname 'OpenWrt'\n")
        (etc / "dhcp").touch()
        (etc / "wireless").touch()
        super().start()
        self.sh(f"uci set luci.main.mediaurlbase=/luci-static/{theme}; uci set luci.main.lang={language}; "
                "uci set luci.apply.holdoff=1; uci set luci.apply.display=0.2; uci commit luci")
        self.spawn("uhttpd", "-f", "-h", "/www", "-r", "OpenWrt", "-x", "/cgi-bin", "-u", "/ubus", "-U", "/var/run/ubus/ubus.sock",
                   "-o", "/cgi-bin/luci", "-O", "/usr/share/ucode/luci/uhttpd.uc", "-n", "6", "-p", "127.0.0.1:80")
        self.until(lambda: self.status("wget -q -O /dev/null http://127.0.0.1/luci-static/resources/luci.js") == 0)

    def url(self, page: str = "") -> str:
        return f"http://127.0.0.1/cgi-bin/luci/{page}"


NETWORK = """
config device
	option name '{lan}'
	option type 'bridge'

config interface 'lan'
	option device '{lan}'
	option proto 'static'
	option ipaddr '192.168.1.1/24'

config interface 'wan'
	option device '{wan}'
	option proto 'dhcp'
"""


def inside(box: Box) -> Any:
    """The router's network, for a browser to be started in."""
    return sandbox.inside(box.lab.router.namespace)


def log_in(box: LuciBox, browser: Browser, user: str = "root", **options: Any) -> Page:
    """By LuCI's own login page."""
    page = browser.new_context(**options).new_page()
    page.goto(box.url())
    page.fill("#luci_username", user)
    page.fill("#luci_password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#topmenu li", state="attached")
    return page
