# SPDX-License-Identifier: GPL-2.0-or-later
"""The scripts that build by OpenWrt's SDK, as far as they can be tried without it."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildroot.recipe import RECIPES, TOP

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("directory", sorted(set(RECIPES.values())))
def test_the_feed_has_what_a_recipe_reads(directory: str) -> None:
    (copied,) = re.findall(r"^cp -r (.*) /tmp/feed/$", (TOP / "buildroot/sdk/build").read_text(), re.M)
    feed = {name.removeprefix("/vpnpt/") for name in copied.split()}
    recipe = (TOP / directory / "Makefile").read_text()
    read = {directory.split("/")[0], *re.findall(r"^include \.\./\.\./(\S+)", recipe, re.M), *re.findall(r"\$\(SOURCES\)/(\w+)", recipe)}
    assert len(read) > 1
    assert read <= feed


ENGINE = """#!/bin/sh
[ "$1" = run ] || exit 0
echo "$*" | grep -o 'openwrt/[a-z]*' >>"$ASKED"
for argument; do case $argument in *:/out) out=${argument%:/out} ;; esac; done
cat >/dev/null
: >"$out/vpnpt-1.apk"
"""


def test_an_image_has_what_is_committed(tmp_path: Path) -> None:
    """Packages of an older revision are not taken, nor kept. An engine that only says which image was asked for stands for Docker."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(ENGINE)
    (tmp_path / "bin/docker").chmod(0o755)
    asked, clone = tmp_path / "asked", tmp_path / "clone"
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "ASKED": str(asked)}

    def git(*arguments: str) -> None:
        author = "-c", "user.name=a", "-c", "user.email=a@example.org"
        subprocess.run(["git", *author, *arguments], cwd=clone, check=True, capture_output=True)

    def image() -> list[str]:
        asked.unlink(missing_ok=True)
        subprocess.run(["buildroot/sdk/image", "25.12", "x86-64", "generic"], cwd=clone, env=environment, check=True, capture_output=True)
        return asked.read_text().split()

    clone.mkdir()
    git("init", "-q")
    shutil.copytree(TOP / "buildroot/sdk", clone / "buildroot/sdk")
    (clone / ".gitignore").write_text("/dist/\n")
    git("add", ".")
    git("commit", "-qm", "one")
    assert image() == ["openwrt/sdk", "openwrt/imagebuilder"]
    (clone / "dist/sdk-25.12/vpnpt-0.apk").touch()
    assert image() == ["openwrt/imagebuilder"], "the packages are of this revision"
    git("commit", "-qm", "two", "--allow-empty")
    assert image() == ["openwrt/sdk", "openwrt/imagebuilder"]
    assert not (clone / "dist/sdk-25.12/vpnpt-0.apk").exists()
    (clone / "buildroot/changed").touch()
    assert image() == image() == ["openwrt/sdk", "openwrt/imagebuilder"], "not committed"
