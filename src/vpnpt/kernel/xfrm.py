# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the kernel for the router's own IPsec associations."""

from __future__ import annotations

from ..wire import xfrm
from .socket import XFRM, NetlinkError, dump


def associations() -> list[xfrm.Association]:
    """The router's own ESP SAs, both directions; all of them or none: empty where the kernel has no IPsec, or does not answer."""
    try:
        found = dump(XFRM, xfrm.dump(), xfrm.decode)
    except NetlinkError:
        return []
    return [association for association in found if association.proto == xfrm.ESP]
