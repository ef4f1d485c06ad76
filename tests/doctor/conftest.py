# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the doctor's tests."""
from tests.golden.kernel import kernel as kernel
