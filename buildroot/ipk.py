# SPDX-License-Identifier: GPL-2.0-or-later
"""The .ipk of OpenWrt up to 24.10, as its scripts/ipkg-build makes it: opkg takes no other form."""
from __future__ import annotations

import io
import tarfile

from buildroot.archive import tar_gz, tree
from buildroot.recipe import Recipe

# As include/package-pack.mk writes them: the services of the package are enabled and started, or stopped and disabled.
POSTINST = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_postinst $0 $@
"""
PRERM = """#!/bin/sh
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_prerm $0 $@
"""
NAMES = {"postinst": "postinst-pkg", "prerm": "prerm-pkg"}
"""Scripts that the usual ones call; others stand for themselves."""


def file_name(recipe: Recipe) -> str:
    return f"{recipe.name}_{recipe.version}_{recipe.arch}.ipk"


def control(recipe: Recipe, epoch: int, size: int) -> str:
    """The control file. No `Depends` without dependencies: opkg would crash on an empty one."""
    depends = f"Depends: {', '.join(recipe.depends)}\n" if recipe.depends else ""
    files = f"LicenseFiles: {recipe.license_files}\n" if recipe.license_files else ""
    return (f"Package: {recipe.name}\nVersion: {recipe.version}\n{depends}SourceName: {recipe.source}\nLicense: {recipe.license}\n"
            f"{files}Section: {recipe.section}\nSourceDateEpoch: {epoch}\nMaintainer: {recipe.maintainer}\nArchitecture: {recipe.arch}\n"
            f"Installed-Size: {size}\nDescription:  {recipe.description}\n")


def build(recipe: Recipe, epoch: int) -> bytes:
    """The package. epoch: the date of everything in it, seconds."""
    files = tree(recipe.root)
    data = tar_gz(files, epoch)
    texts = {"control": control(recipe, epoch, sum(len(content or b"") for _, content, _ in files)), "postinst": POSTINST, "prerm": PRERM}
    if recipe.conffiles:
        texts["conffiles"] = "".join(f"{name}\n" for name in sorted(recipe.conffiles))
    for name, script in recipe.scripts.items():
        texts[NAMES.get(name, name)] = script
    entries: list[tuple[str, bytes | None, int]] = [("./", None, 0o755)]
    entries += [(f"./{name}", texts[name].encode(), 0o644 if name in ("control", "conffiles") else 0o755) for name in sorted(texts)]
    return tar_gz([("./debian-binary", b"2.0\n", 0o644), ("./data.tar.gz", data, 0o644),
                   ("./control.tar.gz", tar_gz(entries, epoch), 0o644)], epoch)


def read_control(package: bytes) -> str:
    """The control file of a package."""
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as outer:
        inner = outer.extractfile("./control.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=inner, mode="r:gz") as archive:
            found = archive.extractfile("./control")
            assert found is not None
            return found.read().decode()
