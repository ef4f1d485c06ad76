# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: the real LuCI with our app and a browser in front of it."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildroot import build
from buildroot.recipe import read
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from tests.luci import browser as browsers
from tests.luci.site import LuciBox, inside, root
from tests.openwrt.box import lower

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ours, as opkg takes them, by name."""
    return {path.name.partition("_")[0]: path for path in build.package(tmp_path_factory.mktemp("dist")) if path.suffix == ".ipk"}


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the app's package installs."""
    return read("luci-app-vpnpt", tmp_path_factory.mktemp("app") / "recipe").root


@pytest.fixture
def box(sandbox: None, packages: dict[str, Path], app: Path) -> Iterator[LuciBox]:
    """The router with vpnpt and LuCI running."""
    try:
        root()
        browsers.program()
        lower()
    except LookupError as reason:
        pytest.skip(f"nothing of this was tested: {reason}")
    with Lab(clients=2, servers=1, ipv6=False) as lab, LuciBox(lab) as box:
        box.put(app)
        box.start()
        box.install(packages["vpnpt"])
        box.install(packages["vpnpt-tools"])
        box.until(box.ready)
        yield box


@pytest.fixture
def chromium(box: LuciBox) -> Iterator[Browser]:
    """In the router's network."""
    with inside(box), browsers.browser() as chromium:
        yield chromium


@pytest.fixture
def stage(box: LuciBox) -> Stage:
    """Tunnels through that router."""
    stage = Stage(box.lab, {}, {}, str)
    stage.stock, stage.patience = False, 1.5
    return stage
