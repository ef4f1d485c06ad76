# SPDX-License-Identifier: GPL-2.0-or-later
"""VPN clients and servers: real messages on real sockets, driven by the lab's pump, scripted by the scenarios."""
