# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a client's VPN passed where, by server and kind, and when that is enough to say why it does not connect. Pure."""
from __future__ import annotations

from ..record import Record
from ..wire.conntrack import AH, ESP, GRE, L2TP, TCP, UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..model import Config

SETTLED = 8.0
"""Seconds after the first packet, in which a client has tried at least three times (IKE, L2TP and TCP wait 1, 2 and 4 seconds)."""
WORKS_AFTER = 2.0
PLACES = ("asked", "left", "came", "delivered")
DATA = {"NAT-T": (3, 3), "NAT-T/TCP": (6, 5), "ESP": (1, 1), "GRE": (2, 2), "L2TPv2": (5, 3), "L2TPv3": (2, 2), "OpenVPN": (5, 5),
        "WireGuard": (3, 2)}
"""Kinds that carry data, and from how many packets of the client and to the client on data passes; fewer set a tunnel up."""


class Passage(Record):
    """One kind of traffic with one server, and how many packets of it were seen where (gather/passing.py). server: its address as text.

    protocol, kind: as in sessions/classify.py, '' and `UDP 51999` for what is no known VPN. port: the server's, 0 if it has none.
    """

    __slots__ = ("protocol", "kind", "server", "proto", "port", "asked", "left", "came", "delivered")
    protocol: str
    kind: str
    server: str
    proto: int
    port: int
    asked: int
    left: int
    came: int
    delivered: int

    @classmethod
    def of(cls, config: Config, server: str, proto: int, port: int, counts: dict[str, int]) -> Passage:
        """counts: packets by place."""
        protocol, kind = kind_of(config, proto, port)
        places = {place: counts.get(place, 0) for place in PLACES}
        return cls(protocol=protocol, kind=kind, server=server, proto=proto, port=port, **places)

    @property
    def key(self) -> tuple[str, int, int]:
        """What it is about."""
        return self.server, self.proto, self.port

    @property
    def name(self) -> str:
        """As people call it: `ESP`, `IKE (UDP 500)`."""
        if self.kind in ("ESP", "AH", "GRE") or not self.protocol or not self.port:
            return self.kind
        return f"{self.kind} ({'TCP' if self.proto == TCP else 'UDP'} {self.port})"

    def at_least(self, before: Passage | None) -> Passage:
        """Somebody may have emptied the table: what was seen was seen."""
        if before is None:
            return self
        return self.replace(**{place: max(getattr(self, place), getattr(before, place)) for place in PLACES})

    def works(self) -> bool:
        """Does data pass both ways?"""
        out, back = DATA.get(self.kind, (10, 10) if not self.protocol else (1 << 31, 0))
        return self.asked >= out and self.delivered >= back

    def state(self) -> str:
        """works, answered (both ways, so far), here (it stops in this router), back (its answer does), away (nothing comes back), or
        waiting."""
        if self.works():
            return "works"
        if self.delivered:
            return "answered"
        if self.came:
            return "back"
        if self.left:
            return "away"
        return "here" if self.asked else "waiting"

    def shown(self) -> dict[str, Any]:
        """The fields, with name and state."""
        return {**self.as_dict(), "name": self.name, "state": self.state()}


def passage(data: dict[str, Any]) -> Passage:
    """What `shown` made."""
    return Passage(**{name: data[name] for name in Passage.__slots__})


def kind_of(config: Config, proto: int, port: int) -> tuple[str, str]:
    """Protocol and kind of what goes to this port of a server."""
    if proto in (ESP, AH):
        return "ipsec", "ESP" if proto == ESP else "AH"
    if proto in (GRE, L2TP):
        return ("pptp", "GRE") if proto == GRE else ("l2tp", "L2TPv3")
    ports = {name: protocol.ports for name, protocol in config.protocols.items()}
    if proto == UDP and port in (500, *ports["ipsec"]):
        return "ipsec", "IKE" if port == 500 else "NAT-T"
    if proto == TCP and port in ports["pptp"]:
        return "pptp", "PPTP"
    if proto == TCP and port == 4500:
        return "ipsec", "NAT-T/TCP"
    if proto == UDP and port in ports["l2tp"]:
        return "l2tp", "L2TPv2"
    if port in ports["openvpn"]:
        return "openvpn", "OpenVPN"
    if proto == UDP and port in ports["wireguard"]:
        return "wireguard", "WireGuard"
    return "", f"{'TCP' if proto == TCP else 'UDP'} {port}"


def enough(passages: Sequence[Passage], age: float) -> bool:
    """Is it time to judge? age: seconds since the first packet."""
    return age >= SETTLED or (age >= WORKS_AFTER and any(one.works() for one in passages)
                              and all(one.delivered for one in passages if one.asked))
