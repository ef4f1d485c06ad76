# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make feed` made, installed as docs/INSTALL.md says: by opkg that checks signatures, and by apk without --allow-untrusted. A router
without the key, and a feed that somebody has changed, are refused. A language brings the LuCI app, and that all else."""
from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import pytest

from buildroot import apk, build, sign
from tests.openwrt.test_apk import stubs
from tests.openwrt.test_app import WANTED, missing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.openwrt.box import Box

OPKG = "dest root /\nlists_dir ext /tmp/opkg-lists\noption check_signature\narch all 1\nsrc/gz vpnpt file:/tmp/feed\n"


LANGUAGE = "luci-i18n-vpnpt-de"


def put_luci(box: Box) -> None:
    """What the languages' scripts write into; in place of luci-base there is a package with nothing in it."""
    if box.status("uci -q get luci.languages"):
        (box.root / "etc/config/luci").write_text("config internal languages\n")


def is_installed(box: Box) -> None:
    """All of it, and it runs."""
    assert missing(box) == set()
    assert box.sh("uci get luci.languages.de") == "Deutsch (German)\n" and box.status("test -e /etc/uci-defaults/luci-i18n-vpnpt-de")
    box.until(box.ready)
    assert box.call("vpnpt", "doctor")["checked"]


@pytest.fixture
def keys(tmp_path: Path) -> sign.Keys:
    return sign.keys(tmp_path / "keys")


@pytest.fixture
def feed(bare: Box, tmp_path: Path, keys: sign.Keys) -> Path:
    """In the router's /tmp/feed, as if it were on a server."""
    build.feed(tmp_path / "dist", keys)
    place = bare.root / "tmp/feed"
    shutil.copytree(tmp_path / "dist", place)
    return place


def test_opkg_checks_the_signature(bare: Box, feed: Path, keys: sign.Keys) -> None:
    if bare.status("command -v usign && command -v opkg-key"):
        pytest.skip("no usign and opkg-key in OPENWRT_ROOT: what opkg makes of a feed's signature was not tested")
    bare.pretend(feed / "vpnpt_0.1.0-r1_all.ipk", "luci-base")
    put_luci(bare)
    (bare.root / "etc/opkg.conf").write_text(OPKG)
    # It says so, leaves the list out and ends with status 0.
    assert "Signature check failed" in bare.sh("opkg update 2>&1") and bare.status(f"opkg install {LANGUAGE}"), "the key is not known"
    bare.sh(f"mkdir -p /etc/opkg/keys; cp /tmp/feed/vpnpt-feed.pub /etc/opkg/keys/{keys.name}")
    packages = (feed / "Packages.gz").read_bytes()
    changed = gzip.decompress(packages).replace(b"SHA256sum: ", b"SHA256sum: 0")
    (feed / "Packages.gz").write_bytes(gzip.compress(changed))
    assert "Signature check failed" in bare.sh("opkg update 2>&1") and bare.status(f"opkg install {LANGUAGE}"), "not what was signed"
    (feed / "Packages.gz").write_bytes(packages)
    said = bare.sh(f"opkg update 2>&1 && opkg install {LANGUAGE} 2>&1")
    assert "Signature check passed" in said and f"Configuring {LANGUAGE}" in said and "rror" not in said, said
    is_installed(bare)


def test_apk_trusts_the_feed(bare: Box, feed: Path, tmp_path: Path) -> None:
    if apk.tool() is None or bare.status("apk --version | grep -q 'apk-tools 3'"):
        pytest.skip("apk-tools 3 is missing here or in the router: nothing of .apk was tested")
    bare.sh("apk add --initdb --arch noarch --no-network; mkdir -p /etc/apk/keys /etc/apk/repositories.d; echo noarch >/etc/apk/arch")
    bare.sh(f"apk add --allow-untrusted --no-network {stubs(bare, tmp_path, 'luci-base')}")
    put_luci(bare)
    bare.sh("echo file:///tmp/feed/packages.adb >/etc/apk/repositories.d/customfeeds.list")
    assert bare.status(f"apk update && apk add {LANGUAGE}") and missing(bare) == WANTED, "the key is not known"
    bare.sh("cp /tmp/feed/vpnpt-feed.pem /etc/apk/keys/")
    for path in (feed / "packages.adb", *feed.glob(f"{LANGUAGE}-*.apk")):
        signed = path.read_bytes()
        path.write_bytes(signed[:-9] + bytes([signed[-9] ^ 1]) + signed[-8:])
        assert bare.status(f"rm -rf /var/cache/apk/*; apk update && apk add {LANGUAGE}"), f"{path.name} is not what was signed"
        assert "/usr/lib/lua/luci/i18n/vpnpt.de.lmo" in missing(bare)
        path.write_bytes(signed)
    said = bare.sh(f"apk update 2>&1 && apk add {LANGUAGE} 2>&1")
    assert not [line for line in said.splitlines() if any(word in line for word in ("WARNING", "ERROR", "not found", "rror"))], said
    is_installed(bare)
