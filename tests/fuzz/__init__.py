# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation fuzzing, led by coverage: see engine.py, targets.py and __main__.py (`make fuzz ARGS="--minutes 60"`)."""
