# SPDX-License-Identifier: GPL-2.0-or-later
"""A port belongs to one protocol: who keeps one that two of them name. Pure.

Rules for two protocols on one port would contradict each other: what one blocks the other helps. So the port is left to one of them:
to IPsec what is always its own; to a protocol whose default it is, before one that names it; to the one that is blocked or
restricted, before one that is open to all; else to the one that names it first.
"""
from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Config
    from .ucitext import OptionText, SectionText

TRANSPORTS = {"pptp": ("tcp",), "l2tp": ("udp",), "ipsec": ("udp",), "openvpn": ("tcp", "udp"), "wireguard": ("udp",)}
ALWAYS = {"ipsec": (("udp", 500), ("tcp", 4500))}
"""Whatever is configured: IKE, and IKE over TCP (RFC 8229)."""


class Ports(Record):
    """The port list of a section as it is written. default: the ports of the protocol without it."""

    __slots__ = ("section", "text", "default")
    section: SectionText
    text: OptionText
    default: tuple[int, ...]

    def line(self, port: int) -> int:
        """The line that names this port."""
        places = zip(self.text.values, self.text.lines, strict=True)
        return next((line for value, line in places if str(port) in value.split()), self.text.line)


def apart(config: Config, written: Mapping[str, Ports]) -> tuple[dict[str, tuple[int, ...]], list[tuple[str, int, str]]]:
    """The ports of each protocol, none in two of them; and what was taken away: (the loser, the port, who keeps it).

    A protocol that loses all that it names has its default ports. This ends: each port that is written is lost once at most, and no
    two protocols have a default port in common.
    """
    ports = {name: protocol.ports for name, protocol in config.protocols.items()}
    lost: list[tuple[str, int, str]] = []
    while (found := _conflict(ports)) is not None:
        port, one, other, fixed = found
        keeper = fixed or _keeper(config, written, port, one, other)
        loser = other if keeper == one else one
        lost.append((loser, port, keeper))
        ports[loser] = tuple(own for own in ports[loser] if own != port) or written[loser].default
    return ports, lost


def _conflict(ports: Mapping[str, tuple[int, ...]]) -> tuple[int, str, str, str] | None:
    """The first port of two protocols: the port, both, and the one of them whose it is in any case ('' if of none)."""
    owners: dict[tuple[str, int], tuple[str, bool]] = {place: (name, True) for name, places in ALWAYS.items() for place in places}
    for name, own in ports.items():
        for port in own:
            for transport in TRANSPORTS[name]:
                owner, fixed = owners.setdefault((transport, port), (name, False))
                if owner != name:
                    return port, owner, name, owner if fixed else ""
    return None


def _keeper(config: Config, written: Mapping[str, Ports], port: int, one: str, other: str) -> str:
    for name, rival in ((one, other), (other, one)):
        if rival in written and (name not in written or port in written[name].default):
            return name
    if _closed(config, one) != _closed(config, other):
        return one if _closed(config, one) else other
    return one if written[one].line(port) < written[other].line(port) else other


def _closed(config: Config, name: str) -> bool:
    protocol = config.protocols[name]
    return config.behaviour(name) == "block" or bool(protocol.allow_src or protocol.deny_src)
