"""Fixtures of the doctor's tests."""
from tests.golden.kernel import kernel as kernel
