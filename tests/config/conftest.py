"""Hypothesis without chance: the same examples at every run."""
from hypothesis import settings

settings.register_profile("config", derandomize=True, deadline=None, max_examples=300)
settings.load_profile("config")
