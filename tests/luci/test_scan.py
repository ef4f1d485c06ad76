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
