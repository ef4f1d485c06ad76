# SPDX-License-Identifier: GPL-2.0-or-later
"""Real VPN programs, several clients at once with one server, behind a stock router and behind vpnpt; `run` starts it."""
