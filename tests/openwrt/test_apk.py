# SPDX-License-Identifier: GPL-2.0-or-later
"""Installed, upgraded and removed by apk, as on 25.12. Needs apk-tools 3 both here, to build, and in the router."""
from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from buildroot import apk
from buildroot.recipe import read
from tests.openwrt.test_router import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.openwrt.box import Box

OPTIONS = "--allow-untrusted --no-network --force-missing-repositories"


def build(box: Box, work: Path, version: str) -> str:
    """Our packages in the router's /tmp; returns their paths there."""
    paths = []
    for name in ("vpnpt", "vpnpt-tools"):
        place = work / version / name
        place.mkdir(parents=True)
        recipe = read(name, place / "recipe", split_helpers=True)._replace(version=version)
        target = box.root / "tmp" / apk.file_name(recipe)
        apk.build(recipe, 0, target, place)
        paths.append(f"/tmp/{target.name}")
    return " ".join(paths)


def stubs(box: Box, work: Path, *others: str) -> str:
    """Packages with nothing in them, named as what ours depends on, and others."""
    program = apk.tool()
    assert program is not None
    empty = work / "empty"
    empty.mkdir()
    depends = (*read("vpnpt", work / "depends", split_helpers=True).depends, *others)
    for name in depends:
        subprocess.run([program, "mkpkg", "--info", f"name:{name}", "--info", "version:1-r1", "--info", "arch:noarch", "--files", empty,
                        "--output", box.root / "tmp" / f"{name}.apk"], check=True)
    return " ".join(f"/tmp/{name}.apk" for name in depends)


def test_installed_upgraded_removed(bare: Box, tmp_path: Path) -> None:
    if apk.tool() is None or bare.status("apk --version | grep -q 'apk-tools 3'"):
        pytest.skip("apk-tools 3 is missing here or in the router: nothing of .apk was tested")
    rules = bare.sh("nft list ruleset")
    if bare.status("test -d /lib/apk/db"):
        bare.sh(f"apk add --initdb --arch noarch {OPTIONS}")
    bare.sh(f"apk add --arch noarch {OPTIONS} {stubs(bare, tmp_path)} {build(bare, tmp_path, '0.1-r1')} 2>&1")
    bare.until(bare.ready)
    first = bare.call("vpnpt", "status")["pid"]
    has_sysupgrade = bare.status("command -v sysupgrade") == 0
    assert not has_sysupgrade or "/etc/config/vpnpt" not in bare.sh("sysupgrade -l").splitlines(), "as it was installed"
    bare.sh("uci set vpnpt.l2tp=0; uci commit vpnpt; vpnpt reload")
    assert not has_sysupgrade or "/etc/config/vpnpt" in bare.sh("sysupgrade -l").splitlines()
    bare.sh(f"apk add --arch noarch {OPTIONS} {build(bare, tmp_path, '0.2-r1')} 2>&1")
    assert bare.tables() >= OURS, "not for a moment were they away"
    bare.until(lambda: bare.status("ubus call vpnpt status") == 0 and bare.call("vpnpt", "status")["pid"] != first)
    assert bare.call("vpnpt", "status")["protocols"]["l2tp"]["behaviour"] == "block"
    assert bare.call("vpnpt", "doctor")["checked"]
    bare.sh(f"apk del --arch noarch {OPTIONS} vpnpt vpnpt-tools 2>&1")
    assert bare.sh("nft list ruleset") == rules and "vpnpt" not in bare.sh("ubus list")
    assert bare.status("test -e /usr/lib/vpnpt -o -e /var/run/vpnpt -o -e /etc/init.d/vpnpt") == 1
