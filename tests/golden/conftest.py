"""Fixtures of the golden tests."""
from tests.golden.kernel import kernel as kernel
