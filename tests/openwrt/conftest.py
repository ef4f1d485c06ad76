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
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours."""
    (path,) = [path for path in build.package(tmp_path_factory.mktemp("dist")) if path.name.startswith("vpnpt_")]
    return path


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
def box(bare: Box, package: Path) -> Box:
    """The router with vpnpt running as it does after `opkg install`."""
    bare.install(package)
    bare.until(bare.ready)
    return bare


@pytest.fixture
def stage(box: Box) -> Stage:
    """Tunnels through that router."""
    stage = Stage(box.lab, {}, {}, str)
    stage.stock, stage.patience = False, 1.5
    return stage
