# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel: netlink sockets, the nft program, raw packets, IPsec associations."""
