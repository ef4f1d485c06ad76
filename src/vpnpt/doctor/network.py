# SPDX-License-Identifier: GPL-2.0-or-later
"""The way to the internet: addresses, translation before us, how long packets may be, IPv6. Pure."""
from __future__ import annotations

import socket

from .facts import finding
from .said import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding
    from .said import Said

PRIVATE = (("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16))
"""RFC 1918."""
SHARED = (("100.64.0.0", 10), ("192.0.0.0", 29))
"""RFC 6598 (carrier-grade NAT), RFC 6333 section 5.7 (DS-Lite)."""
MTU_LEAST = 1400
FOLLOWS = ("pptp", "ipsec", "l2tp")
"""Protocols of which something is said where addresses are translated once more."""


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
        names = tuple(uplink.device for uplink in down)
        yield finding("WAN_DOWN", say("wan-down"), say("wan-down-seen" if down[0].mtu else "wan-absent-seen", devices=names))
    elif facts.uplinks and not (facts.default_devices or facts.default_route6):
        yield finding("WAN_DOWN", say("no-route"), say("no-route-seen"))
    # A modem's own network may be in the WAN zone too: what counts is where the way out is.
    carrying = [uplink for uplink in facts.uplinks if uplink.device in facts.default_devices]
    for uplink in carrying or facts.uplinks:
        if not uplink.up:
            continue
        shared = [address for address in uplink.addresses if within(address, SHARED)]
        private = [address for address in uplink.addresses if within(address, PRIVATE)]
        if shared:
            yield finding("CGNAT", say("cgnat", follows=_follows(facts, "-provider")),
                          say("cgnat-seen", device=uplink.device, address=shared[0]))
        elif private:
            yield finding("DOUBLE_NAT", say("double-nat", follows=_follows(facts, "")),
                          say("double-nat-seen", device=uplink.device, address=private[0]))
        if uplink.mtu < MTU_LEAST:
            yield finding("MTU_LOW", say("mtu-low", device=uplink.device, mtu=uplink.mtu), say("mtu-low-seen", mtu=uplink.mtu),
                          say("mtu-low-do", mtu=max(1280, uplink.mtu - 80)))


def _follows(facts: Facts, where: str) -> Said:
    """What passes then, of what is switched on. where: '' behind a router of one's own, '-provider' behind the provider's."""
    said = say("follows-others")
    for protocol in reversed(FOLLOWS):
        if facts.helps(protocol):
            said = say("follows-both", one=say(f"follows-{protocol}{where}"), other=said)
    return said


def _ipv6(facts: Facts) -> Iterator[Finding]:
    if facts.lan6 and not facts.default_route6:
        yield finding("IPV6_BROKEN", say("ipv6-broken"), say("ipv6-broken-seen", address=facts.lan6[0]))
