# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts that change without us: releases that are over, and packages' names by release. Each with where it can be looked up again.

tests/doctor/test_dated.py fails when nobody has looked for a year, and when a package is named anywhere that is not here.
"""
from __future__ import annotations

CHECKED = "2026-11-28"
"""When all of this was last compared with its sources. Set it anew only after having looked."""

ENDED = {"17": "September 2018", "18": "December 2020", "19": "April 2022", "21": "May 2023", "22": "July 2024", "23": "August 2025",
         "24": "September 2026"}
"""OpenWrt series (its year) to when security support ended: half a year after the next series' release (25.12: 5 March 2026), or with the
last release of its own where that was later."""
ENDED_SOURCE = "https://openwrt.org/docs/guide-developer/security#support_status"
ENDED_DATES = "https://endoflife.date/openwrt"  # by day, from that rule

NETFILTER_MK = "https://github.com/openwrt/openwrt/blob/main/package/kernel/linux/modules/netfilter.mk"
HELPERS_SPLIT = "https://github.com/openwrt/openwrt/pull/23967"  # merged on 29 June 2026, 25.12.5 is of 30 June
PACKAGES = {
    "kmod-nf-conntrack-netlink": ("", "conntrack's entries and events by netlink", NETFILTER_MK),
    "kmod-nf-nathelper-extra": ("before 25.12.5; since then a name for all helpers", "the PPTP helper", NETFILTER_MK),
    "kmod-nf-nathelper-pptp": ("25.12.5 and newer", "the PPTP helper", HELPERS_SPLIT),
    "kmod-nfnetlink-log": ("", "notices of the rules", NETFILTER_MK),
    "kmod-nft-core": ("", "nftables", NETFILTER_MK),
    "kmod-nft-dup-inet": ("", "copies of a packet", NETFILTER_MK),
    "kmod-nft-fib": ("", "whether an address is the router's own", NETFILTER_MK),
    "kmod-nft-socket": ("", "whether a program of the router listens", NETFILTER_MK),
    "kmod-nft-nat": ("", "address translation", NETFILTER_MK),
    "kmod-nft-netdev": ("", "established ESP on a short way", NETFILTER_MK),
    "kmod-nft-offload": ("", "flow tables", NETFILTER_MK),
}
"""OpenWrt's kernel packages that we name: in which releases ('' all that nftables' firewall has), what for, and the source."""
