# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe under OpenWrt's own build system: scanned as a feed, its dependencies looked up, and built, without a toolchain.

    OPENWRT_TREE   checkouts of openwrt/openwrt (include/, scripts/, package/kernel/linux/ and the like), separated by colons.

What comes out must be what `make package` makes. Wants gawk, rsync, Perl and a C compiler, as OpenWrt does.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildroot import apk
from buildroot.recipe import TOP, read
from tests.package.conftest import Package

if TYPE_CHECKING:
    from buildroot.recipe import Recipe

TREES = [Path(tree) for tree in os.environ.get("OPENWRT_TREE", "").split(":") if tree]
COPIED = ("Config.in", "Makefile", "config", "include", "rules.mk", "scripts", "target", "toolchain")
# Of its own doing: where the sources were, when, and the disk blocks it took.
NAMES = ("vpnpt", "vpnpt-tools", "vpnpt-offload")
LEFT_OUT = ("Source: ", "SourceDateEpoch: ", "Installed-Size: ", "Description: ")


class Tree:
    """OpenWrt's build system with our feed in it. uses_apk: the release packs .apk. info: what it knows of all packages.

    Raises LookupError where the machine lacks a program that it insists on.
    """

    def __init__(self, source: Path, work: Path) -> None:
        self.top, self.feed = work / "tree", work / "feed"
        self.top.mkdir()
        self.uses_apk = bool(re.search(r"config USE_APK\n(?:\t\t.+\n)*\t\tdefault y", (source / "config/Config-build.in").read_text()))
        for name in COPIED:
            copy = shutil.copytree if (source / name).is_dir() else shutil.copy
            copy(source / name, self.top / name)
        shutil.copytree(source / "package/kernel/linux", self.top / "package/kernel/linux")
        self.feed.mkdir()
        for name in ("package", "src", "files", "buildroot"):
            shutil.copytree(TOP / name, self.feed / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.top / "feeds.conf").write_text(f"src-link vpnpt {self.feed}\n")
        self.said = self.run("./scripts/feeds", "update", "-a") + self.run("./scripts/feeds", "install", "-p", "vpnpt", *NAMES)
        missing = re.findall("Build dependency: Please install (.*)", self.said)
        if "Prerequisite check failed" in self.said:
            raise LookupError(f"OpenWrt's build system wants {', '.join(dict.fromkeys(missing))}")
        self.info = "".join((self.top / name).read_text() for name in ("tmp/.packageinfo", "feeds/vpnpt.index"))

    def run(self, *command: str) -> str:
        """What it printed. Raises AssertionError with it."""
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(self.top)}
        done = subprocess.run(command, cwd=self.top, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert not done.returncode, done.stdout[-3000:]
        return done.stdout

    def build(self, name: str) -> Path:
        """A package as that makes it. Nothing of ours is compiled or stripped, so no toolchain is needed."""
        wanted = "".join(f"CONFIG_PACKAGE_{package}=m\n" for package in NAMES)
        (self.top / ".config").write_text(wanted + "CONFIG_USE_APK=y\n" * self.uses_apk)
        program = apk.tool()
        if self.uses_apk:
            if program is None:
                pytest.skip("apk-tools 3 is missing: no .apk was built by OpenWrt's build system")
            tool = self.top / "staging_dir/host/bin/apk"
            tool.unlink(missing_ok=True)
            tool.symlink_to(program)
        self.run("make", "-C", "package/feeds/vpnpt/vpnpt", f"TOPDIR={self.top}", "compile", "V=s", "NO_DEPS=1", "IS_TTY=0", "RSTRIP=:",
                 "FAKEROOT=")
        (made,) = (self.top / "bin").rglob(f"{name}-[0-9]*.apk" if self.uses_apk else f"{name}_*.ipk")
        return made


@pytest.fixture(scope="module", params=TREES or [None], ids=lambda tree: tree.name if tree else "none")
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    if request.param is None:
        pytest.skip("OPENWRT_TREE names no checkout of openwrt/openwrt: the recipe was not tried under OpenWrt's own build system")
    try:
        return Tree(request.param, tmp_path_factory.mktemp("openwrt"))
    except LookupError as reason:
        pytest.skip(f"the recipe was not tried under OpenWrt's own build system: {reason}")


@pytest.mark.parametrize("name", NAMES)
def test_found_as_a_feed(tree: Tree, name: str) -> None:
    assert "Installing package 'vpnpt' from vpnpt" in tree.said and "ERROR" not in tree.said
    (stanza,) = re.findall(rf"^Package: {name}\n.*?^@@", tree.info, re.S | re.M)
    depends = re.findall(r"\+(\S+)", re.search(r"^Depends: (.*)$", stanza, re.M)[1])  # type: ignore[index]
    assert {"libc", *read(name, tree.top / "ours" / name, split_helpers=tree.uses_apk).depends} == set(depends)
    modules = {module for module in depends if module.startswith("kmod-")}
    assert bool(modules) == (name != "vpnpt-tools")
    assert modules <= set(re.findall(r"^Package: (kmod-\S+)$", tree.info, re.M)), "every kernel module is a package there"


@pytest.mark.parametrize("name", NAMES)
def test_built_as_make_package_does(tree: Tree, name: str, tmp_path: Path) -> None:
    made, recipe = tree.build(name), read(name, tmp_path / "recipe", split_helpers=tree.uses_apk)
    if tree.uses_apk:
        ours = tmp_path / "ours.apk"
        apk.build(recipe, 0, ours, tmp_path)
        assert adb(made, recipe) == adb(ours, recipe)
        return
    theirs, ours_ = Package(recipe, made.read_bytes()), Package(recipe)
    for ours_by_name, theirs_by_name in ((ours_.data, theirs.data), (ours_.control, theirs.control)):
        assert {name: member.mode for name, member in ours_by_name.items()} == \
            {name: member.mode for name, member in theirs_by_name.items()}
    for name, member in ours_.data.items():
        assert not member.isfile() or ours_.file(name[2:]) == theirs.file(name[2:]), name
    for name, member in ours_.control.items():
        if member.isfile() and name != "./control":
            assert ours_.text(name[2:]) == theirs.text(name[2:]), name
    assert fields(ours_) == fields(theirs)


def fields(package: Package) -> list[str]:
    """Of the control file, as far as both builders must say the same."""
    lines = [line for line in package.text("control").replace("libc, ", "").splitlines() if not line.startswith((*LEFT_OUT, " "))]
    described = package.text("control").partition("Description: ")[2]
    return [*lines, " ".join(described.split())]


def adb(path: Path, recipe: Recipe) -> str:
    """A package as apk shows it, as far as both builders must say the same: not when and where it was built."""
    program = apk.tool()
    assert program is not None
    text = subprocess.run([program, "adbdump", path], capture_output=True, text=True, check=True).stdout
    others = rf"^ *(mtime|hashes|origin|installed-size): .*\n|^# .*\n| # \d+ items$|^ *- libc\n|^ *provides:.*\n *- {recipe.name}-any\n"
    return re.sub(others, "", text, flags=re.M)
