# SPDX-License-Identifier: GPL-2.0-or-later
"""The .apk of OpenWrt 25.12 and later, by `apk mkpkg` of apk-tools 3."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from buildroot.archive import tree
from buildroot.recipe import Recipe, shebang_free

# As include/package-pack.mk writes them.
HEAD = """#!/bin/sh
{first}[ -s ${{IPKG_INSTROOT}}/lib/functions.sh ] || exit 0
. ${{IPKG_INSTROOT}}/lib/functions.sh
export root="${{IPKG_INSTROOT}}"
export pkgname="{name}"
{call}
"""
NO_SCRIPT = '[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n'


def tool() -> str | None:
    """The program, if it is there and of version 3."""
    path = shutil.which("apk")
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    return path if said.startswith("apk-tools 3") else None


def file_name(recipe: Recipe) -> str:
    return f"{recipe.name}-{recipe.version}.apk"


def scripts(recipe: Recipe) -> dict[str, str]:
    """By apk's names. apk runs nothing of the old package at an upgrade, only `post-upgrade` of the new one."""
    post = HEAD.format(first=NO_SCRIPT, name=recipe.name, call="add_group_and_user\ndefault_postinst")
    post += shebang_free(recipe.scripts.get("postinst", ""))
    pre = HEAD.format(first="", name=recipe.name, call="default_prerm") + shebang_free(recipe.scripts.get("prerm", ""))
    found = {"post-install": post, "post-upgrade": f"#!/bin/sh\nexport PKG_UPGRADE=1\n{shebang_free(post)}", "pre-deinstall": pre}
    if "postrm" in recipe.scripts:
        found["post-deinstall"] = recipe.scripts["postrm"]
    return found


def build(recipe: Recipe, epoch: int, target: Path, work: Path) -> None:
    """Writes the package. epoch: its date, seconds. work: an empty directory."""
    program = tool()
    assert program is not None
    lists = recipe.root / "lib" / "apk" / "packages"
    lists.mkdir(parents=True)
    (lists / f"{recipe.name}.list").write_text("".join(
        f"{name}\n" for name in sorted(Path(name[1:]) for name, content, _ in tree(recipe.root) if content is not None)))
    if recipe.conffiles:
        (lists / f"{recipe.name}.conffiles").write_text("".join(f"{name}\n" for name in recipe.conffiles))
        (lists / f"{recipe.name}.conffiles_static").write_text("".join(
            f"{name} {hashlib.sha256((recipe.root / name.lstrip('/')).read_bytes()).hexdigest()}\n" for name in recipe.conffiles))
    # What recipes install has the modes they say; what was written here has those of the umask.
    for path in [*recipe.root.rglob("*"), recipe.root]:
        if path.is_dir() or path.parent == lists:
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))
    command = [program, "mkpkg", "--files", str(recipe.root), "--output", str(target)]
    for field, value in {"name": recipe.name, "version": recipe.version, "arch": "noarch", "license": recipe.license,
                         "description": recipe.description, "maintainer": recipe.maintainer, "depends": " ".join(recipe.depends),
                         "origin": recipe.source}.items():
        command += ["--info", f"{field}:{value}"]
    for name, script in scripts(recipe).items():
        path = work / name
        path.write_text(script)
        path.chmod(0o755)
        command += ["--script", f"{name}:{path}"]
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
