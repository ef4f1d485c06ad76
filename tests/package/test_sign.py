# SPDX-License-Identifier: GPL-2.0-or-later
"""A feed's signatures, by openssl alone. What the real usign, opkg and apk say of them: tests/openwrt/test_feed.py."""
from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

from buildroot import build, sign

if TYPE_CHECKING:
    from pathlib import Path

DER_HEAD = bytes.fromhex("302a300506032b6570032100")
"""Of every Ed25519 public key (RFC 8410)."""


def decoded(path: Path) -> tuple[bytes, bytes, bytes]:
    """usign's file: algorithm, name of the key, content."""
    comment, text = path.read_text().splitlines()
    assert comment.startswith("untrusted comment: ")
    content = base64.b64decode(text)
    return content[:2], content[2:10], content[10:]


def verifies(feed: Path, work: Path) -> bool:
    """Whether Packages.sig signs Packages, by nothing but what the feed has in it."""
    (algorithm, name, key), (_, signer, signature) = decoded(feed / "vpnpt-feed.pub"), decoded(feed / "Packages.sig")
    assert algorithm == b"Ed" and name == signer and len(signature) == 64
    (work / "key.der").write_bytes(DER_HEAD + key)
    (work / "signature").write_bytes(signature)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", work / "key.der", "-sigfile",
                           work / "signature", "-in", feed / "Packages"], capture_output=True, check=False)
    return not done.returncode


def test_signed_and_noticed_when_changed(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    made = build.feed(feed, sign.keys(tmp_path / "keys"))
    assert {"Packages.sig", "vpnpt-feed.pub", "vpnpt-feed.pem"} <= {path.name for path in made}
    assert verifies(feed, tmp_path)
    (feed / "Packages").write_text((feed / "Packages").read_text().replace("Package: vpnpt\n", "Package: other\n"))
    assert not verifies(feed, tmp_path)


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    first = sign.keys(tmp_path / "keys")
    assert sign.keys(tmp_path / "keys") == first and len(bytes.fromhex(first.name)) == 8
    for path in (first.opkg, first.apk):
        assert path.stat().st_mode & 0o777 == 0o600
    assert sign.keys(tmp_path / "others").name != first.name


def test_no_private_key_is_in_the_feed(tmp_path: Path) -> None:
    build.feed(tmp_path / "feed", sign.keys(tmp_path / "keys"))
    assert not [path for path in (tmp_path / "feed").iterdir() if b"PRIVATE" in path.read_bytes()]
