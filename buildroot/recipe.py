# SPDX-License-Identifier: GPL-2.0-or-later
"""What the OpenWrt recipes say: the only place where versions, dependencies and installed files are written down."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
RECIPES = {"vpnpt": "package/vpnpt", "vpnpt-tools": "package/vpnpt", "vpnpt-offload": "package/vpnpt",
           "luci-app-vpnpt": "luci-app/luci-app-vpnpt"}
"""Our packages, and the directories of their recipes."""
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


class Recipe(NamedTuple):
    """A package as its recipe describes it. source: the name of the recipe. root: the files it installs. scripts: by name, what they
    add to the usual ones."""

    name: str
    source: str
    version: str
    section: str
    title: str
    arch: str
    license: str
    license_files: str
    maintainer: str
    depends: tuple[str, ...]
    description: str
    conffiles: tuple[str, ...]
    scripts: dict[str, str]
    root: Path


def read(name: str, out: Path, *, split_helpers: bool = False) -> Recipe:
    """Runs the recipe of a package with make, our stand-ins for OpenWrt's build system, and `out`, an empty directory.

    split_helpers: as on 25.12, where the PPTP helper has a package of its own.
    """
    top = out / "top"
    top.mkdir(parents=True)
    for entry in (TOP / "buildroot" / "make").iterdir():
        (top / entry.name).symlink_to(entry)
    if split_helpers:
        modules = top / "package" / "kernel" / "linux" / "modules"
        modules.mkdir(parents=True)
        (modules / "netfilter.mk").write_text("define KernelPackage/nf-nathelper-pptp\n")
    fields = out / "fields"
    fields.mkdir()
    subprocess.run(["make", "--no-print-directory", "-s", "-C", TOP / RECIPES[name], f"TOPDIR={top}", f"OUT={fields}",
                    f"PACKAGE={name}", "package"], check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, umask=0o022)

    def text(field: str) -> str:
        path = fields / field
        return path.read_text() if path.exists() else ""

    return Recipe(
        name=name, source=Path(RECIPES[name]).name, version=text("VERSION").strip(), section=text("SECTION").strip(),
        title=text("TITLE").strip(), arch=text("PKGARCH").strip(), license=text("LICENSE").strip(),
        license_files=text("LICENSE_FILES").strip(), maintainer=text("MAINTAINER").strip(),
        depends=tuple(word.removeprefix("+") for word in text("DEPENDS").split()),
        description=" ".join(text("description").split()), conffiles=tuple(text("conffiles").split()),
        scripts={script: text(script) for script in SCRIPTS if text(script)}, root=fields / "root")


def shebang_free(script: str) -> str:
    """A script to be appended to another."""
    return re.sub(r"^\s*#!.*\n", "", script)
