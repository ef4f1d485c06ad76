# SPDX-License-Identifier: GPL-2.0-or-later
"""LuCI's own build/i18n-scan.pl over our app: it finds the very texts of our template. Skipped without LUCI_SOURCE, perl and gettext.

Its xgettext stops reading where JavaScript's syntax is beyond it, and says nothing: what it does not find is never translated there.
"""
from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildroot import po
from tests.luci.front import APP, source

OTHERS = ("modules/luci-base/po/{}/base.po", "applications/luci-app-firewall/po/{}/firewall.po",
          "applications/luci-app-package-manager/po/{}/package-manager.po")
"""Catalogues that every LuCI has beside ours."""

if TYPE_CHECKING:
    from pathlib import Path


def scan(app: Path, work: Path) -> set[str]:
    """The texts that the script finds below a directory. Skips where it can't be run."""
    try:
        script = source() / "build/i18n-scan.pl"
    except LookupError as reason:
        pytest.skip(f"what LuCI's i18n-scan.pl finds was not tested: {reason}")
    missing = [name for name in ("perl", "xgettext", "msguniq") if shutil.which(name) is None]
    if missing or not script.exists():
        pytest.skip(f"what LuCI's i18n-scan.pl finds was not tested: there is no {', '.join(missing) or script}")
    done = subprocess.run(["perl", script, app.name], cwd=app.parent, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    (work / "found.pot").write_text(done.stdout)
    return set(po.read(work / "found.pot"))


def test_it_finds_every_text(tmp_path: Path) -> None:
    template = set(po.read(APP / "po/templates/vpnpt.pot"))
    assert len(template) > 500
    assert scan(APP, tmp_path) ^ template == set()


def test_one_that_the_template_lacks_is_seen(tmp_path: Path) -> None:
    """Also below all the others of its file, behind what was hard to read."""
    shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("po"))
    for path in sorted((tmp_path / "app/htdocs").rglob("*.js")):
        path.write_text(f"{path.read_text()}\n_('Last of {path.stem}');\n")
    names = {path.stem for path in (APP / "htdocs").rglob("*.js")}
    template = set(po.read(APP / "po/templates/vpnpt.pot"))
    assert scan(tmp_path / "app", tmp_path) - template == {f"Last of {name}" for name in names}


@pytest.mark.parametrize("language", po.languages())
def test_shared_texts_are_translated_as_by_luci(language: str) -> None:
    """All catalogues are one in LuCI, and which one wins nobody knows: what needs another word there has to be another text here.

    Its "Log" is "Protokoll" in German, as is "Protocol"; its "State" is a region in Russian.
    """
    try:
        catalogues = [source() / path.format(language) for path in OTHERS]
    except LookupError as reason:
        pytest.skip(f"whether LuCI translates what we share as we do was not tested: {reason}")
    ours = po.read(APP / f"po/{language}/vpnpt.po")
    theirs = [po.read(path) for path in catalogues if path.exists()]
    assert theirs and len(ours.keys() & theirs[0].keys()) > 10
    assert {(text, ours[text], words[text]) for words in theirs for text in ours if words.get(text) and words[text] != ours[text]} == set()
