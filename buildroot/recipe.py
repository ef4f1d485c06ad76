"""What the OpenWrt recipes say: the only place where versions, dependencies and installed files are written down."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
RECIPES = ("package/vpnpt", "luci-app/luci-app-vpnpt")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


class Recipe(NamedTuple):
    """A package as its recipe describes it. root: the files it installs. scripts: by name, what they add to the usual ones."""

    name: str
    version: str
    section: str
    title: str
    arch: str
    license: str
    maintainer: str
    depends: tuple[str, ...]
    description: str
    conffiles: tuple[str, ...]
    scripts: dict[str, str]
    root: Path


def read(directory: str, out: Path, *, split_helpers: bool = False) -> Recipe:
    """Runs a recipe with make, our stand-ins for OpenWrt's build system, and `out`, an empty directory.

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
    subprocess.run(["make", "--no-print-directory", "-s", "-C", TOP / directory, f"TOPDIR={top}", f"OUT={fields}", "package"],
                   check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, umask=0o022)

    def text(name: str) -> str:
        path = fields / name
        return path.read_text() if path.exists() else ""

    return Recipe(
        name=Path(directory).name, version=text("VERSION").strip(), section=text("SECTION").strip(), title=text("TITLE").strip(),
        arch=text("PKGARCH").strip(), license=text("LICENSE").strip(), maintainer=text("MAINTAINER").strip(),
        depends=tuple(word.removeprefix("+") for word in text("DEPENDS").split()),
        description=" ".join(text("description").split()), conffiles=tuple(text("conffiles").split()),
        scripts={name: text(name) for name in SCRIPTS if text(name)}, root=fields / "root")


def shebang_free(script: str) -> str:
    """A script to be appended to another."""
    return re.sub(r"^\s*#!.*\n", "", script)
