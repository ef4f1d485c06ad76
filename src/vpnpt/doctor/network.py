# SPDX-License-Identifier: GPL-2.0-or-later
"""The way to the internet: addresses, translation before us, how long packets may be, IPv6. Pure."""
from __future__ import annotations

import socket

from .facts import finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding

PRIVATE = (("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16))
"""RFC 1918."""
SHARED = (("100.64.0.0", 10), ("192.0.0.0", 29))
"""RFC 6598 (carrier-grade NAT), RFC 6333 section 5.7 (DS-Lite)."""
MTU_LEAST = 1400
FOLLOWS = (
    ("pptp", "PPTP passes only if the router before this one has a PPTP helper too"),
    ("ipsec", "plain ESP passes only if the router before this one lets it through, and for one client per server; NAT traversal passes"),
    ("l2tp", "L2TP passes"),
)
FOLLOWS_SHARED = (
    ("pptp", "PPTP hardly ever passes, for the provider has no helper for it"),
    ("ipsec", "plain ESP hardly ever passes; IPsec with NAT traversal does"),
    ("l2tp", "L2TP over IPsec with NAT traversal passes"),
)


def findings(facts: Facts) -> Iterator[Finding]:
    """All that these facts say."""
    yield from _uplinks(facts)
    yield from _ipv6(facts)


def within(address: str, networks: tuple[tuple[str, int], ...]) -> bool:
    """Is this IPv4 address in one of these networks?"""
    value = int.from_bytes(socket.inet_aton(address), "big")
    return any(value >> 32 - bits == int.from_bytes(socket.inet_aton(network), "big") >> 32 - bits for network, bits in networks)


def _uplinks(facts: Facts) -> Iterator[Finding]:
    down = [uplink for uplink in facts.uplinks if not uplink.up]
    if facts.uplinks and len(down) == len(facts.uplinks):
        names = ", ".join(uplink.device for uplink in down)
        yield finding("WAN_DOWN", "The WAN is down.", f"{names}: " + ("no such device" if not down[0].mtu else "not up"))
    elif facts.uplinks and not (facts.default_devices or facts.default_route6):
        yield finding("WAN_DOWN", "The router knows no way to the internet.", "there is no default route")
    # A modem's own network may be in the WAN zone too: what counts is where the way out is.
    carrying = [uplink for uplink in facts.uplinks if uplink.device in facts.default_devices]
    for uplink in carrying or facts.uplinks:
        if not uplink.up:
            continue
        shared = [address for address in uplink.addresses if within(address, SHARED)]
        private = [address for address in uplink.addresses if within(address, PRIVATE)]
        if shared:
            yield finding("CGNAT", f"The provider translates addresses once more. What follows: {_follows(facts, FOLLOWS_SHARED)}.",
                          f"{uplink.device} has {shared[0]}")
        elif private:
            yield finding("DOUBLE_NAT", "Another router before this one translates addresses once more. What follows: "
                          f"{_follows(facts, FOLLOWS)}.", f"{uplink.device} has the private address {private[0]}")
        if uplink.mtu < MTU_LEAST:
            yield finding("MTU_LOW", f"{uplink.device} carries packets of {uplink.mtu} bytes at most.", f"MTU {uplink.mtu}",
                          f"Set the MTU of the clients' VPNs to {max(1280, uplink.mtu - 80)} or less.")


def _follows(facts: Facts, consequences: tuple[tuple[str, str], ...]) -> str:
    said = [text for protocol, text in consequences if facts.helps(protocol)]
    return "; ".join([*said, "OpenVPN and WireGuard pass"])


def _ipv6(facts: Facts) -> Iterator[Finding]:
    if facts.lan6 and not facts.default_route6:
        yield finding("IPV6_BROKEN", "LAN hosts have public IPv6 addresses, and the router has no IPv6 way to the internet.",
                      f"{facts.lan6[0]} on the LAN side, no IPv6 default route")
