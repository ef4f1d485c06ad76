# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: a router of OpenWrt's own programs, with vpnpt installed from the package that was just built."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildroot import build
from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from tests.openwrt.box import Box, lower

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ours, as opkg takes them, by name."""
    return {path.name.partition("_")[0]: path for path in build.package(tmp_path_factory.mktemp("dist")) if path.suffix == ".ipk"}


@pytest.fixture
def bare(sandbox: None) -> Iterator[Box]:
    """The router before anything of ours is installed."""
    try:
        lower()
    except LookupError as reason:
        pytest.skip(f"OpenWrt's own programs are missing, nothing of this was tested: {reason}")
    with Lab(clients=2, servers=1, ipv6=False) as lab, Box(lab) as box:
        box.start()
        yield box


@pytest.fixture
def box(bare: Box, packages: dict[str, Path]) -> Box:
    """The router with vpnpt running as it does after `opkg install`, its tools beside it."""
    bare.install(packages["vpnpt"])
    bare.install(packages["vpnpt-tools"])
    bare.until(bare.ready)
    return bare


@pytest.fixture
def stage(box: Box) -> Stage:
    """Tunnels through that router."""
    stage = Stage(box.lab, {}, {}, str)
    stage.stock, stage.patience = False, 1.5
    return stage
