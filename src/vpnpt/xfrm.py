"""Asks the kernel for the router's own IPsec associations."""

from __future__ import annotations

import contextlib
import socket

from .wire import netlink as nl
from .wire import xfrm

NETLINK_XFRM = 6


def associations() -> list[xfrm.Association]:
    """The router's own ESP SAs, both directions; empty where the kernel has no IPsec at all."""
    found: list[xfrm.Association] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_XFRM) as sock:
        sock.settimeout(1.0)
        sock.send(xfrm.dump())
        while True:
            for message in nl.messages(sock.recv(65536)):
                if nl.acknowledgement(message) is not None:
                    return found
                association = xfrm.decode(message)
                if association is not None and association.proto == xfrm.ESP:
                    found.append(association)
    return found
