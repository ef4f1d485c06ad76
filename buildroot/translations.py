# SPDX-License-Identifier: GPL-2.0-or-later
"""The translations of the LuCI app as packages of their own, as luci.mk makes them: one for each po/LANGUAGE."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildroot import lmo, po

if TYPE_CHECKING:
    from pathlib import Path

    from buildroot.recipe import Recipe

# By directory: the code that LuCI uses, and the language's name, as luci.mk has them.
LANGUAGES = {"de": ("de", "Deutsch (German)"), "es": ("es", "Español (Spanish)"), "fr": ("fr", "Français (French)"),
             "ja": ("ja", "日本語 (Japanese)"), "ru": ("ru", "Русский (Russian)"), "zh_Hans": ("zh-cn", "简体中文 (Simplified Chinese)")}
BASE = "vpnpt"


def compiled(path: Path) -> bytes:
    """A .po file as .lmo."""
    plural = re.search(r'"Plural-Forms: (.*?)\\n"', po.header(path))
    return lmo.compile_(po.read(path), plural[1] if plural else "")


def recipes(app: Recipe, out: Path) -> list[Recipe]:
    """Of the app's translations; their files are put into `out`."""
    found = []
    for directory in po.languages():
        code, title = LANGUAGES[directory]
        name = f"luci-i18n-{BASE}-{code}"
        root = out / name
        catalogue, defaults = root / f"usr/lib/lua/luci/i18n/{BASE}.{code}.lmo", root / f"etc/uci-defaults/{name}"
        for path in (catalogue, defaults):
            path.parent.mkdir(parents=True)
        catalogue.write_bytes(compiled(po.APP / f"po/{directory}/{BASE}.po"))
        defaults.write_text(f"uci set luci.languages.{code.replace('-', '_')}='{title}'; uci commit luci\n")
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        found.append(app._replace(name=name, title=f"{app.name} - {code} translation", depends=(app.name,), conffiles=(), scripts={},
                                  description=f"Translation for {app.name} - {title}", root=root))
    return found
