"""vpnpt: VPN passthrough for NAT routers (OpenWrt): any number of PPTP, L2TP and IPsec clients to one server."""

__version__ = "0.1.0"
