"""The lab: a virtual router in network namespaces, VPN clients and servers that speak real packets, scenarios in YAML."""
