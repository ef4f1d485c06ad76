# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages without an SDK, in seconds, the same to the byte each time.

usage: python -m buildroot.build [package | feed]

  package   dist/*.ipk, and dist/*.apk where apk-tools 3 is installed
  feed      that, and the indexes which make dist/ a feed: Packages and Packages.gz for opkg, packages.adb for apk; signed (sign.py)

SOURCE_DATE_EPOCH (seconds) dates everything; without it the last commit does.
"""
from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from buildroot import apk, ipk, sign, translations
from buildroot.recipe import RECIPES, TOP, Recipe, read

DIST = TOP / "dist"


def date() -> int:
    """Of what is built."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        done = subprocess.run(["git", "-C", TOP, "log", "-1", "--format=%ct"], capture_output=True, text=True)
        given = done.stdout.strip() or "0"
    return int(given)


def package(dist: Path = DIST) -> list[Path]:
    """Builds all packages in every form that can be built here."""
    dist.mkdir(exist_ok=True)
    epoch, made = date(), []
    with tempfile.TemporaryDirectory() as temporary:
        for name in RECIPES:
            work = Path(temporary) / name
            for recipe in with_translations(read(name, work / "ipk"), work / "i18n"):
                target = dist / ipk.file_name(recipe)
                target.write_bytes(ipk.build(recipe, epoch))
                made.append(target)
            if apk.tool():
                for recipe in with_translations(read(name, work / "apk", split_helpers=True), work / "apk-i18n"):
                    target = dist / apk.file_name(recipe)
                    (work / "scripts" / recipe.name).mkdir(parents=True)
                    apk.build(recipe, epoch, target, work / "scripts" / recipe.name)
                    made.append(target)
    return made


def with_translations(recipe: Recipe, out: Path) -> list[Recipe]:
    """A recipe, and those of its translations."""
    return [recipe, *(translations.recipes(recipe, out) if recipe.name.startswith("luci-app-") else [])]


def index(paths: list[Path]) -> str:
    """`Packages`, as scripts/ipkg-make-index.sh writes it."""
    stanzas = []
    for path in sorted(paths):
        content = path.read_bytes()
        found = ipk.read_control(content)
        size = f"Filename: {path.name}\nSize: {len(content)}\nSHA256sum: {hashlib.sha256(content).hexdigest()}\nDescription:"
        stanzas.append(found.replace("Description:", size, 1) + "\n")
    return "".join(stanzas)


def feed(dist: Path = DIST, keys: sign.Keys | None = None) -> list[Path]:
    """Builds all packages and their indexes. Signed with `keys`, packages.adb is another each time: ECDSA draws a number."""
    made = package(dist)
    text = index([path for path in made if path.suffix == ".ipk"]).encode()
    (dist / "Packages").write_bytes(text)
    (dist / "Packages.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    made += [dist / "Packages", dist / "Packages.gz"]
    if keys:
        made += [sign.sign(keys, dist / "Packages"), *sign.public(keys, dist)]
    program = apk.tool()
    if program:
        target = dist / "packages.adb"
        subprocess.run([program, "mkndx", "--allow-untrusted", "--output", target, *(["--sign-key", str(keys.apk)] if keys else []),
                        *(path for path in made if path.suffix == ".apk")], check=True)
        made.append(target)
    return made


def main(arguments: list[str]) -> int:
    if arguments not in (["package"], ["feed"]):
        print(__doc__, file=sys.stderr)
        return 2
    keys = sign.keys(sign.directory()) if arguments == ["feed"] else None
    for path in feed(keys=keys) if keys else package():
        print(f"{path.relative_to(TOP)}\t{path.stat().st_size} bytes")
    if not apk.tool():
        print("no .apk: apk-tools 3 is not installed here (`make package-sdk` has it)")
    if keys:
        print(f"\nsigned with the keys in {sign.directory()}: keep them. What a router needs to trust this feed (docs/INSTALL.md):\n"
              f"  24.10: dist/vpnpt-feed.pub as /etc/opkg/keys/{keys.name}\n  25.12: dist/vpnpt-feed.pem in /etc/apk/keys/")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
