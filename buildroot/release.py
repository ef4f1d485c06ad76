# SPDX-License-Identifier: GPL-2.0-or-later
"""The tarball that a recipe in openwrt/packages downloads: dist/vpnpt-VERSION.tar.gz, the same to the byte from the same commit.

usage: python -m buildroot.release

It holds what git has of src/, files/, buildroot/strip.py and LICENSE, as committed; the time of each file is that of the commit. What is
printed goes into the recipe.
"""
from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

from buildroot.recipe import TOP

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = ("src", "files", "buildroot/strip.py", "LICENSE")


def version() -> str:
    text = (TOP / "package/vpnpt/Makefile").read_text()
    return next(line.partition(":=")[2].strip() for line in text.splitlines() if line.startswith("PKG_VERSION:="))


def tarball(target: Path, commit: str = "HEAD") -> str:
    """Writes it, and returns its SHA-256. Raises CalledProcessError where there is no git or no such commit."""
    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", str(TOP), *arguments], capture_output=True, check=True).stdout

    when = int(git("log", "-1", "--format=%ct", commit))
    name = f"vpnpt-{version()}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        found = git("ls-tree", "-r", "-z", commit, "--", *CONTENT).decode().split("\0")
        for line in sorted(found, key=lambda line: line.partition("\t")[2]):
            if not line:
                continue
            fields, _, path = line.partition("\t")
            mode, _, blob = fields.split()
            content = git("cat-file", "blob", blob)
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mtime, entry.mode = len(content), when, 0o755 if mode == "100755" else 0o644
            tar.addfile(entry, io.BytesIO(content))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as zipped:
        zipped.write(packed.getvalue())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    target = TOP / "dist" / f"vpnpt-{version()}.tar.gz"
    checksum = tarball(target)
    print(f"PKG_VERSION:={version()}\nPKG_SOURCE:={target.name}\nPKG_HASH:={checksum}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
