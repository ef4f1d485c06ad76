# SPDX-License-Identifier: GPL-2.0-or-later
"""The LuCI app's translations: complete, and compiled as LuCI's own po2lmo compiles them."""
from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from buildroot import lmo, po, translations
from buildroot.recipe import read
from buildroot.translations import LANGUAGES

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = r"""msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

msgid "a \"quoted\" text"
msgstr "ein „Wort“ in \"Zeichen\""

msgid "same"
msgstr "same"

msgid "ü"
msgstr "Übersetzung"

msgid "four"
msgstr "vier"

msgid "empty"
msgstr ""
"""
# What po2lmo of openwrt-25.12 makes of it.
COMPILED = bytes.fromhex(
    "6e706c7572616c733d323b20706c7572616c3d286e20213d2031293b65696e20e2809e576f7274e2809c20696e20225a65696368656e2200c39c6265727365747a"
    "756e67766965720000000000000000000000000000001c787e0cc700000001000000380000000cd4499232000000010000004400000004f62e4c76000000010000"
    "001c0000001b00000048")


def test_compiled_as_po2lmo_does(tmp_path: Path) -> None:
    path = tmp_path / "vpnpt.po"
    path.write_text(SOURCE)
    assert translations.compiled(path) == COMPILED


def test_every_text_in_every_language() -> None:
    """With the same placeholders; what is no longer there is gone."""
    assert po.languages() == sorted(LANGUAGES)
    assert po.problems() == [], "run `python -m buildroot.po update`, and translate what it added"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("_('%d hosts'); _(\"it\\'s\"); my._('no'); _('never'); N_('no');")
    po.write(tmp_path / "po/templates/vpnpt.pot", {"%d hosts": ["a.js"]}, {})
    po.write(tmp_path / "po/de/vpnpt.po", {"%d hosts": ["a.js"], "old": ["a.js"]}, {"%d hosts": "%s Hosts", "old": "alt"})
    assert po.problems(tmp_path) == [
        "po/templates/vpnpt.pot is out of date", "de: not translated: it's", "de: not translated: never", "de: no longer there: old",
        "de: other placeholders: %d hosts"]


@pytest.mark.parametrize("language", po.languages())
def test_the_package(tmp_path: Path, language: str) -> None:
    app = read("luci-app-vpnpt", tmp_path / "recipe")
    code, title = LANGUAGES[language]
    (recipe,) = [recipe for recipe in translations.recipes(app, tmp_path / "i18n") if recipe.name == f"luci-i18n-vpnpt-{code}"]
    assert recipe.depends == ("luci-app-vpnpt",) and recipe.version == app.version
    content = (recipe.root / f"usr/lib/lua/luci/i18n/vpnpt.{code}.lmo").read_bytes()
    start = struct.unpack(">I", content[-4:])[0]
    index = {entry[0]: entry[2:] for entry in struct.iter_unpack(">IIII", content[start:-4])}
    offset, length = index[lmo.sfh(b"Disconnect", len("Disconnect"))]
    text = content[offset:offset + length].decode()
    assert text == po.read(po.APP / f"po/{language}/vpnpt.po")["Disconnect"] != "Disconnect"
    assert title in (recipe.root / f"etc/uci-defaults/luci-i18n-vpnpt-{code}").read_text()
