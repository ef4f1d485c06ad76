# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the room of that name in src/vpnpt."""
