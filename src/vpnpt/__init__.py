# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnpt: VPN passthrough for NAT routers (OpenWrt): any number of PPTP, L2TP and IPsec clients to one server."""

__version__ = "0.1.0"
TOOLS_MISSING = (f"this is in the package vpnpt-tools, which is missing here or of another version than {__version__}: install it by "
                 "`opkg install vpnpt-tools`, from OpenWrt 25.12 on `apk add vpnpt-tools`")
"""doctor, why, top, changes, metrics, help on options: who has no room for that can leave them out."""
