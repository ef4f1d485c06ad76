# SPDX-License-Identifier: GPL-2.0-or-later
"""The LuCI app and a language by the router's own opkg and apk: on a running router, and into a root that does not run, as image builders
do (their uci-defaults run at its first boot)."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildroot import apk, translations
from buildroot.recipe import read

if TYPE_CHECKING:
    from pathlib import Path

    from buildroot.recipe import Recipe
    from tests.openwrt.box import Box

WANTED = {"/www/luci-static/resources/view/vpnpt/overview.js", "/usr/share/rpcd/acl.d/luci-app-vpnpt.json",
          "/usr/share/luci/menu.d/luci-app-vpnpt.json", "/usr/lib/lua/luci/i18n/vpnpt.de.lmo"}
OFFLINE = "/tmp/image"


def app(work: Path) -> list[Recipe]:
    """The app and its German."""
    found = read("luci-app-vpnpt", work / "recipe")
    return [found, next(one for one in translations.recipes(found, work / "i18n") if one.name.endswith("-de"))]


def missing(box: Box, root: str = "") -> set[str]:
    return {path for path in WANTED if box.status(f"test -s {root}{path}")}


def test_by_opkg(box: Box, packages: dict[str, Path]) -> None:
    """On the running router rpcd knows the rights at once; in a root that does not run nothing is run."""
    names = ("luci-app-vpnpt", "luci-i18n-vpnpt-de")
    for name in names:
        (box.root / "tmp" / packages[name].name).write_bytes(packages[name].read_bytes())
    paths = " ".join(f"/tmp/{packages[name].name}" for name in names)
    if box.status("opkg status luci-base | grep -q Package"):
        (box.root / "usr/lib/opkg/info/luci-base.list").touch()
        status = box.root / "usr/lib/opkg/status"
        status.write_text(status.read_text() + "\nPackage: luci-base\nVersion: 1\nStatus: install ok installed\nArchitecture: all\n\n")
        (box.root / "etc/config/luci").write_text("config internal languages\n")
    box.sh(f"mkdir -p {OFFLINE}/usr/lib {OFFLINE}/tmp {OFFLINE}/etc {OFFLINE}/var/lock; cp /etc/opkg.conf {OFFLINE}/etc/; "
           f"cp -r /usr/lib/opkg {OFFLINE}/usr/lib/")
    said = box.sh(f"opkg -o {OFFLINE} install {paths} 2>&1", check=False)
    assert missing(box, OFFLINE) == set(), said
    assert "rror" not in said and box.status(f"test -e {OFFLINE}/etc/uci-defaults/luci-i18n-vpnpt-de") == 0, said
    before = box.sh("pidof rpcd")
    said = box.sh(f"opkg install {paths} 2>&1")
    assert missing(box) == set() and "rror" not in said, said
    assert box.status("test -e /etc/uci-defaults/luci-i18n-vpnpt-de"), "it was run, and is gone"
    assert box.sh("pidof rpcd") == before, "those who are logged in stay so"
    assert box.sh("opkg remove luci-i18n-vpnpt-de luci-app-vpnpt 2>&1") and missing(box) == WANTED


def test_by_apk(bare: Box, tmp_path: Path) -> None:
    """Into a root that does not run, without scripts, as the image builder calls it."""
    if apk.tool() is None or bare.status("apk --version | grep -q 'apk-tools 3'"):
        pytest.skip("apk-tools 3 is missing here or in the router: nothing of .apk was tested")
    paths = []
    for recipe in app(tmp_path):
        recipe = recipe._replace(depends=())
        target = bare.root / "tmp" / apk.file_name(recipe)
        (tmp_path / recipe.name).mkdir()
        apk.build(recipe, 0, target, tmp_path / recipe.name)
        paths.append(f"/tmp/{target.name}")
    said = bare.sh(f"apk --root {OFFLINE} --arch noarch add --initdb --no-scripts --allow-untrusted --no-network --force-non-repository "
                   f"{' '.join(paths)} 2>&1")
    assert missing(bare, OFFLINE) == set() and not [word for word in ("WARNING", "ERROR") if word in said], said
