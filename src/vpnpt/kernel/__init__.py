# SPDX-License-Identifier: GPL-2.0-or-later
"""Doors to the kernel: netlink sockets, the nft program, raw packets, IPsec associations."""
