# SPDX-License-Identifier: GPL-2.0-or-later
"""ESLint, as LuCI uses it, over the app's JavaScript. `tests/setup pages` installs it where there is npm."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from buildroot.recipe import TOP

TOOLS = TOP / ".venv/eslint"
CONFIG = Path(__file__).with_name("eslint.config.mjs")


def test_eslint(tmp_path: Path) -> None:
    if not (TOOLS / "node_modules/.bin/eslint").exists():
        pytest.skip("ESLint is not installed: the app's JavaScript was not linted")
    # Modules are looked for from where the configuration is.
    (tmp_path / "node_modules").symlink_to((TOOLS / "node_modules").resolve())
    shutil.copy(CONFIG, tmp_path)
    shutil.copytree(TOP / "luci-app/luci-app-vpnpt/htdocs", tmp_path / "htdocs")
    done = subprocess.run(["node_modules/.bin/eslint", "--max-warnings", "0", "htdocs"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
