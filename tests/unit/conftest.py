"""Fixtures of the unit tests."""
from tests.golden.kernel import kernel as kernel
