# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation fuzzing, led by coverage: see engine.py, targets.py and __main__.py (`make fuzz ARGS="--minutes 60"`)."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
