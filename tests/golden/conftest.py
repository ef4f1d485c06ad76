# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the golden tests."""
from tests.golden.kernel import kernel as kernel
