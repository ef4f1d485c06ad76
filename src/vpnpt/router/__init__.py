# SPDX-License-Identifier: GPL-2.0-or-later
"""Doors to the router: UCI files, firewall zones and their devices, addresses, host names."""
