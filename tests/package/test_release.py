# SPDX-License-Identifier: GPL-2.0-or-later
"""The release tarball is the same each time and holds what the recipe needs; test.sh passes where the programs are, and fails for another
version."""
from __future__ import annotations

import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildroot import release
from buildroot.recipe import TOP
from vpnpt import __version__

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not (TOP / ".git").exists(), reason="no git here, a release is made of a commit: none was made")
def test_the_same_to_the_byte(tmp_path: Path) -> None:
    first, second = (release.tarball(tmp_path / name) for name in ("one.tar.gz", "other.tar.gz"))
    assert first == second
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        names = tar.getnames()
        assert all(entry.uid == entry.gid == 0 and not entry.uname for entry in tar)
    top = f"vpnpt-{__version__}/"
    assert {f"{top}LICENSE", f"{top}src/vpnpt/daemon/__main__.py", f"{top}files/etc/init.d/vpnpt", f"{top}buildroot/strip.py"} <= set(names)
    assert not [name for name in names if "/tests/" in name or not name.startswith(top)] and names == sorted(names)


def test_the_version_stands_once() -> None:
    assert release.version() == __version__


@pytest.mark.parametrize(("version", "passes"), [(__version__, True), ("9.9.9", False)])
def test_test_sh(tmp_path: Path, version: str, passes: bool) -> None:
    for name, module in (("vpnpt", "vpnpt.cli"), ("vpnptd", "vpnpt.daemon")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nPYTHONPATH={TOP}/src exec {sys.executable} -m {module} \"$@\" --config-dir {TOP}/files/etc/config\n"
                           if name == "vpnpt" else f"#!/bin/sh\nPYTHONPATH={TOP}/src exec {sys.executable} -m {module} \"$@\"\n")
        program.chmod(0o755)
    done = subprocess.run(["sh", TOP / "package/vpnpt/test.sh", "vpnpt", version], capture_output=True, text=True, check=False,
                          env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert (done.returncode == 0) is passes, done.stderr
    tools = subprocess.run(["sh", TOP / "package/vpnpt/test.sh", "vpnpt-tools", version], capture_output=True, text=True, check=False,
                           env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert tools.returncode == 0, tools.stderr
