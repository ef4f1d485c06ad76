"""Benchmarks: stock and vpnpt side by side in one run. Never part of the tests."""
