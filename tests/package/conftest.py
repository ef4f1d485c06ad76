# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: our packages, taken apart."""
from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildroot import ipk
from buildroot.recipe import RECIPES, Recipe, read

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1700000000


class Package:
    """An .ipk, ours or another builder's `content`. outer, data, control: its archives, as members by name; text(name): a control
    file."""

    def __init__(self, recipe: Recipe, content: bytes = b"") -> None:
        self.recipe = recipe
        self.content = content or ipk.build(recipe, EPOCH)
        self._outer = self._open(self.content)
        self._data = self._open(self._read(self._outer, "./data.tar.gz"))
        self._control = self._open(self._read(self._outer, "./control.tar.gz"))
        self.outer, self.data, self.control = (
            {member.name: member for member in archive.getmembers()} for archive in (self._outer, self._data, self._control))

    @staticmethod
    def _open(content: bytes) -> tarfile.TarFile:
        return tarfile.open(fileobj=io.BytesIO(content), mode="r:gz")

    @staticmethod
    def _read(archive: tarfile.TarFile, name: str) -> bytes:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()

    def text(self, name: str) -> str:
        return self._read(self._control, f"./{name}").decode()

    def file(self, name: str) -> str:
        return self._read(self._data, f"./{name}").decode()

    def fields(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.text("control").splitlines())


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    """By name, as of 24.10."""
    found = {}
    for name in RECIPES:
        recipe = read(name, tmp_path_factory.mktemp("recipe") / "24.10")
        found[recipe.name] = Package(recipe)
    return found


@pytest.fixture(scope="session")
def vpnpt(packages: dict[str, Package]) -> Package:
    return packages["vpnpt"]


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a recipe for 25.12 can be read into."""
    return tmp_path_factory.mktemp("split")
