# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmarks: stock and vpnpt side by side in one run. Never part of the tests."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
