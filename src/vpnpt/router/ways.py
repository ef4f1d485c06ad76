# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way the router would send a client's ESP, asked of the kernel, and what forbids a short one."""
from __future__ import annotations

import contextlib
import socket

from ..kernel.socket import ROUTE, XFRM, NetlinkError, Socket, dump
from ..ruleset.offload import Way
from ..wire import routing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Devices
    from ..wire.routing import Link, Route

STACKED = frozenset(("vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"))
"""Kinds of devices whose packets pass the ingress of the device below, with their tag: a hook there would take them for its own."""
BEHIND = "some clients are behind another router of the LAN"
SEVERAL = "some servers are reached by several next hops"
NO_ROUTE = "some packets have no route, or leave by a device that is neither inside nor WAN"


class Ways:
    """What the kernel says now; made anew for each look. links: by index. Raises NetlinkError where routing can't be read."""

    def __init__(self, devices: Devices, proc: str = "/proc/sys/net") -> None:
        self._devices, self._proc = devices, proc
        self._sock = Socket(ROUTE)
        self.links: dict[int, Link] = {link.index: link for link in dump(ROUTE, routing.links(), routing.decode_link)}
        self._found: dict[tuple[bytes, bytes], tuple[Way, Way] | str] = {}

    def close(self) -> None:
        """Asks no more."""
        self._sock.close()

    def obstacle(self) -> str:
        """Why nothing at all may take a short way, or ''."""
        if not all(dump(ROUTE, routing.rules(), routing.decode_rule)):
            return "policy routing (ip rule): which route a packet takes is not known before"
        with contextlib.suppress(NetlinkError):  # a kernel without IPsec has no policies
            if any(dump(XFRM, routing.policies(), routing.decode_policy)):
                return "the router has IPsec policies of its own, which look at every packet"
        return ""

    def device_obstacle(self, link: Link) -> str:
        """Why nothing may take a short way from or to this device, or ''."""
        if not link.up:
            return f"{link.name} is down"
        if any(other.kind in STACKED and other.lower == link.index for other in self.links.values()):
            return f"{link.name} carries other devices (VLANs), whose packets its hook would see"
        if link.master:
            return f"{link.name} is a port of a bridge or in a VRF"
        if link.kind == "bridge" and self._setting("bridge/bridge-nf-call-iptables") == "1":
            return f"{link.name} is a bridge that calls the firewall (net.bridge.bridge-nf-call-iptables)"
        if self._setting(f"ipv4/conf/{link.name}/forwarding") == "0":
            return f"{link.name} does not forward (net.ipv4.conf.{link.name}.forwarding)"
        return ""

    def find(self, client: bytes, server: bytes) -> tuple[Way, Way] | str:
        """The ways out and in; text: why there is none."""
        if (client, server) not in self._found:
            self._found[client, server] = self._find(client, server)
        return self._found[client, server]

    def _find(self, client: bytes, server: bytes) -> tuple[Way, Way] | str:
        try:
            near = self._route(b"", client, 0)
            if near is None or near.gateway:
                return BEHIND
            far = self._route(client, server, near.device)
            back = self._route(server, client, far.device) if far is not None else None
        except NetlinkError:
            return NO_ROUTE
        if far is None or back is None:
            return SEVERAL
        inside, outside = self.links.get(near.device), self.links.get(far.device)
        if inside is None or outside is None or inside.name not in self._devices.lan or outside.name not in self._devices.wan:
            return NO_ROUTE
        if back.device != near.device or back.gateway:
            return BEHIND
        why = self.device_obstacle(inside) or self.device_obstacle(outside)
        if why:
            return why
        gateway = socket.inet_ntoa(far.gateway) if far.gateway else ""
        return (Way(source=inside.name, target=outside.name, gateway=gateway, mtu=_smaller(far.mtu, outside.mtu), outbound=True),
                Way(source=outside.name, target=inside.name, gateway="", mtu=_smaller(back.mtu, inside.mtu), outbound=False))

    def _route(self, source: bytes, destination: bytes, device: int) -> Route | None:
        """The route of a packet that comes in at a device (0: of the router's own); None where several next hops are possible."""
        found = []
        for whole in (True, False):
            answer = self._sock.request(routing.route(source, destination, device, whole=whole))
            found.append(routing.decode_route(answer) if answer is not None else None)
        return found[1] if all(route is not None and route.plain for route in found) else None

    def _setting(self, name: str) -> str:
        with contextlib.suppress(OSError), open(f"{self._proc}/{name}", encoding="ascii") as file:
            return file.read().strip()
        return ""


def _smaller(route: int, device: int) -> int:
    return min(route or device, device, 65535)
