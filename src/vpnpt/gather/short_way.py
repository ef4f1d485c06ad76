# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about the short way of established ESP (docs/OFFLOAD.md): what it lacks where it is wanted, and what forbids it on this router."""
from __future__ import annotations

from ..kernel import nft
from ..kernel.netfilter import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..daemon.apply import Service
    from ..model import Devices

PACKAGE, MODULE = "vpnpt-offload", "kmod-nft-netdev"


def short_way(service: Service, devices: Devices) -> tuple[str, tuple[str, ...]]:
    """The package that is missing, or ''; and what forbids the short way whatever a client does. ('', ()) where nobody wants it."""
    if service.config is None or service.no_short_way():
        return "", ()
    try:
        from ..router.ways import Ways  # of vpnpt-offload
    except ImportError:
        # By 'auto' it is used where it is there.
        return (PACKAGE if service.config.protocols["ipsec"].esp_offload == "1" else ""), ()
    if not _netdev():
        return MODULE, ()
    try:
        ways = Ways(devices)
    except NetlinkError:
        return "", ()
    try:
        found = [ways.obstacle(), *(ways.device_obstacle(link) for link in ways.links.values()
                                    if link.up and link.name in (*devices.lan, *devices.wan))]
    except NetlinkError:
        return "", ()
    finally:
        ways.close()
    return "", tuple(why for why in found if why)


def _netdev() -> bool:
    """Has the kernel nftables' family netdev? Its chains are checked, never loaded."""
    def accepts(family: str, hook: str) -> bool:
        try:
            nft.check(f"table {family} vpnpt_probe {{\n\tchain probe {{\n\t\ttype filter hook {hook} priority 0;\n\t}}\n}}\n")
        except nft.NftError:
            return False
        return True
    # Without nft, or without nftables in the kernel, no single family can be judged.
    return accepts("netdev", 'ingress device "lo"') or not accepts("ip", "prerouting")
