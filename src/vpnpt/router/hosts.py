# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts as they are shown: with names where vpnpt-tools is installed, else by their Ethernet addresses alone."""
from __future__ import annotations

from .addresses import neighbours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .names import Hosts


class Nameless:
    """What names.Hosts is to a router without it."""

    def __init__(self) -> None:
        self._macs: dict[bytes, str] = {}

    def read(self) -> None:
        """The neighbours of this moment."""
        self._macs = neighbours()

    def name(self, _address: bytes) -> str:
        """Not known."""
        return ""

    def mac(self, address: bytes) -> str:
        """Its Ethernet address, '' if it is not known."""
        return self._macs.get(address, "")


def hosts(config_dir: str | None) -> Hosts | Nameless:
    """config_dir: where the UCI package dhcp is, None for the system's own."""
    try:
        from .names import Hosts
    except ImportError:
        return Nameless()
    return Hosts(config_dir)
