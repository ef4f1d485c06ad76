# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make feed` made, installed as docs/INSTALL.md says: by opkg that checks signatures, and by apk without --allow-untrusted. A router
without the key, and a feed that somebody has changed, are refused."""
from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import pytest

from buildroot import apk, build, sign
from tests.openwrt.test_apk import stubs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.openwrt.box import Box

OPKG = "dest root /\nlists_dir ext /tmp/opkg-lists\noption check_signature\narch all 1\nsrc/gz vpnpt file:/tmp/feed\n"


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
    bare.pretend(feed / "vpnpt_0.1.0-r1_all.ipk")
    (bare.root / "etc/opkg.conf").write_text(OPKG)
    # It says so, leaves the list out and ends with status 0.
    assert "Signature check failed" in bare.sh("opkg update 2>&1") and bare.status("opkg install vpnpt-tools"), "the key is not known"
    bare.sh(f"mkdir -p /etc/opkg/keys; cp /tmp/feed/vpnpt-feed.pub /etc/opkg/keys/{keys.name}")
    packages = (feed / "Packages.gz").read_bytes()
    changed = gzip.decompress(packages).replace(b"SHA256sum: ", b"SHA256sum: 0")
    (feed / "Packages.gz").write_bytes(gzip.compress(changed))
    assert "Signature check failed" in bare.sh("opkg update 2>&1") and bare.status("opkg install vpnpt-tools"), "not what was signed"
    (feed / "Packages.gz").write_bytes(packages)
    said = bare.sh("opkg update 2>&1 && opkg install vpnpt-tools 2>&1")
    assert "Signature check passed" in said and "Configuring vpnpt-tools" in said
    bare.until(bare.ready)


def test_apk_trusts_the_feed(bare: Box, feed: Path, tmp_path: Path) -> None:
    if apk.tool() is None or bare.status("apk --version | grep -q 'apk-tools 3'"):
        pytest.skip("apk-tools 3 is missing here or in the router: nothing of .apk was tested")
    bare.sh("apk add --initdb --arch noarch --no-network; mkdir -p /etc/apk/keys /etc/apk/repositories.d; echo noarch >/etc/apk/arch")
    bare.sh(f"apk add --allow-untrusted --no-network {stubs(bare, tmp_path)}")
    bare.sh("echo file:///tmp/feed/packages.adb >/etc/apk/repositories.d/customfeeds.list")
    assert bare.status("apk update && apk add vpnpt-tools"), "the key is not known"
    bare.sh("cp /tmp/feed/vpnpt-feed.pem /etc/apk/keys/")
    said = bare.sh("apk update 2>&1 && apk add vpnpt-tools 2>&1")
    assert not [line for line in said.splitlines() if any(word in line for word in ("WARNING", "ERROR", "not found", "rror"))], said
    bare.until(bare.ready)
