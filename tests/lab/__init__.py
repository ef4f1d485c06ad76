# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a virtual router in network namespaces, VPN clients and servers that speak real packets, scenarios in YAML."""
