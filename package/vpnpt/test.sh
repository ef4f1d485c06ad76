#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# As the CI of openwrt/packages calls it: with the package's name and version, where it is installed.

case "$1" in
vpnpt)
	vpnpt --version | grep -Fx "vpnpt $2" && vpnptd --version | grep -Fx "vpnptd $2" && vpnpt render >/dev/null
	;;
vpnpt-tools)
	vpnpt help ipsec | grep -q ipsec
	;;
vpnpt-offload)
	[ -f /usr/lib/vpnpt/vpnpt/daemon/offload.py ]
	;;
esac
