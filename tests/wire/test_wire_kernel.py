# SPDX-License-Identifier: GPL-2.0-or-later
"""The codecs and sockets against the real kernel: every case of cases.py in a network namespace of its own.

Once as root where the tests are root, and once as root of a user namespace, which may less (no forced socket buffers).
"""
from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .cases import CASES

ROOT = Path(__file__).parents[2]
WAYS = {"root": ["unshare", "-n"], "user namespace": ["unshare", "-Urn"]}


@functools.cache
def refusal(way: str) -> str:
    """Why this kernel gives us no such namespace; '' when it does."""
    done = subprocess.run([*WAYS[way], "nft", "list", "tables"], capture_output=True, text=True)
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_kernel(case: str, way: str) -> None:
    if refusal(way):
        pytest.skip(f"NOT TESTED against this kernel ({' '.join(WAYS[way])}): {refusal(way)}")
    done = subprocess.run([*WAYS[way], sys.executable, "-m", "tests.wire.cases", case], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, timeout=120)
    assert done.returncode == 0, done.stderr
