"""Fixtures that several suites share."""
from __future__ import annotations

import pytest

from tests.lab.sandbox import SandboxError, enter_sandbox


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Namespaces of our own for the rest of the run; skips where the kernel gives none."""
    try:
        enter_sandbox()
    except SandboxError as error:
        pytest.skip(str(error))
