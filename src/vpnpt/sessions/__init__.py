# SPDX-License-Identifier: GPL-2.0-or-later
"""Who talks VPN with whom: conntrack's flows → sessions. Pure."""
