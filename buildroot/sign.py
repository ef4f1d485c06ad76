# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures of a feed: a key of usign's form for opkg, an EC key for apk. Both are made by openssl, which every builder has.

    FEED_KEYS   the directory of the private keys; without it ~/.config/vpnpt-feed. Made with new keys where it has none.

usign's files are signify's: a comment line, then Base64 of "Ed", eight bytes that name the key, and the Ed25519 key or signature.
"""
from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

KINDS = {"opkg.pem": ("-algorithm", "ed25519"), "apk.pem": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")}
"""The private keys, by file, and what openssl is to make."""


class Keys(NamedTuple):
    """Of a feed. name: of usign's key, 16 hexadecimal digits, by which opkg looks it up."""

    opkg: Path
    apk: Path
    name: str


def directory() -> Path:
    """Where the private keys are."""
    return Path(os.environ.get("FEED_KEYS") or Path.home() / ".config/vpnpt-feed")


def keys(place: Path) -> Keys:
    """The keys in a directory; what is missing is made, and readable by its owner alone."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, kind in KINDS.items():
        path = place / name
        if not path.exists():
            made = openssl("genpkey", *kind)
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(made)
    return Keys(place / "opkg.pem", place / "apk.pem", identifier(place / "opkg.pem").hex())


def openssl(*arguments: str | Path) -> bytes:
    """What it prints. Raises CalledProcessError."""
    return subprocess.run(["openssl", *arguments], stdout=subprocess.PIPE, check=True).stdout


def raw_public(private: Path) -> bytes:
    """An Ed25519 key's 32 bytes, which end its DER form."""
    return openssl("pkey", "-in", private, "-pubout", "-outform", "DER")[-32:]


def identifier(private: Path) -> bytes:
    """Eight bytes. signify draws them; the same key has the same here."""
    return hashlib.sha256(raw_public(private)).digest()[:8]


def usign_file(comment: str, name: bytes, content: bytes) -> str:
    return f"untrusted comment: {comment}\n{base64.b64encode(b'Ed' + name + content).decode()}\n"


def public(found: Keys, dist: Path) -> list[Path]:
    """Writes the public keys into a feed: what a router must have before it trusts that."""
    opkg, apk = dist / "vpnpt-feed.pub", dist / "vpnpt-feed.pem"
    opkg.write_text(usign_file(f"vpnpt feed, public key {found.name}", identifier(found.opkg), raw_public(found.opkg)))
    apk.write_bytes(openssl("pkey", "-in", found.apk, "-pubout"))
    return [opkg, apk]


def sign(found: Keys, path: Path) -> Path:
    """Signs a file for opkg: PATH.sig."""
    signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", found.opkg, "-in", path)
    target = path.with_name(f"{path.name}.sig")
    target.write_text(usign_file(f"signed by key {found.name}", identifier(found.opkg), signature))
    return target
