# SPDX-License-Identifier: GPL-2.0-or-later
"""The scripts that build by OpenWrt's SDK, as far as they can be tried without it: the feed has what a recipe reads."""
from __future__ import annotations

import re

import pytest

from buildroot.recipe import RECIPES, TOP


@pytest.mark.parametrize("directory", sorted(set(RECIPES.values())))
def test_the_feed_has_what_a_recipe_reads(directory: str) -> None:
    (copied,) = re.findall(r"^cp -r (.*) /tmp/feed/$", (TOP / "buildroot/sdk/build").read_text(), re.M)
    feed = {name.removeprefix("/vpnpt/") for name in copied.split()}
    recipe = (TOP / directory / "Makefile").read_text()
    read = {directory.split("/")[0], *re.findall(r"^include \.\./\.\./(\S+)", recipe, re.M), *re.findall(r"\$\(SOURCES\)/(\w+)", recipe)}
    assert len(read) > 1
    assert read <= feed
