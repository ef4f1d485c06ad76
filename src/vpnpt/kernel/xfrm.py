# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the kernel for the router's own IPsec associations."""

from __future__ import annotations

from ..wire import xfrm
from .socket import dump

NETLINK_XFRM = 6


def associations() -> list[xfrm.Association]:
    """The router's own ESP SAs, both directions; empty where the kernel has no IPsec at all."""
    decoded = map(xfrm.decode, dump(NETLINK_XFRM, xfrm.dump()))
    return [association for association in decoded if association is not None and association.proto == xfrm.ESP]
