# SPDX-License-Identifier: GPL-2.0-or-later
"""What a new configuration refuses is cut: live flows of it are deleted from conntrack, and who has a pair with a server loses it."""
from __future__ import annotations

from ..kernel.netfilter import NetlinkError, delete_flow, dump_conntrack
from ..router.addresses import local_addresses, neighbours
from ..ruleset import FAMILIES
from ..sessions.classify import bypasses, ends, names_macs, protocol_of, refused, stray
from ..wire.nftables import FAMILIES as FAMILY_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.netfilter import Netlink
    from ..model import Config, Devices
    from .log import Log
    from .spi_driver import Tracker

_NUMBERS = {name: number for number, name in FAMILY_NAMES.items()}


class Cutter:
    """`cut`: flows that the configuration in force refused when it came, by conntrack's number."""

    def __init__(self, sock: Netlink, log: Log, tracker: Tracker) -> None:
        self.cut: set[int | None] = set()
        self._sock, self._log, self._tracker = sock, log, tracker
        self._done_for: object = None
        self._had: set[bytes] = set()

    def again(self) -> None:
        """Next time all flows are looked at, whatever is in force."""
        self._done_for = None

    def run(self, config: Config, devices: Devices | None, *, offload: bool) -> None:
        """Cuts what is refused. What can't be read is said, and left."""
        if not config.general.enabled:
            return
        local, known, count = local_addresses(), neighbours(), 0
        # What is refused is refused at its first packet: all flows are looked at only when that may be otherwise than before.
        state = (config, devices, offload, local, known if names_macs(config) else None)
        if state == self._done_for:
            return
        self._done_for = state
        self.cut.clear()
        self._had |= local
        gone, pairs = self._had - local, set()
        try:
            for family in FAMILIES:
                for flow in dump_conntrack(self._sock, _NUMBERS[family]):
                    if refused(config, flow, local, known):
                        count += delete_flow(self._sock, flow)
                        self.cut.add(flow.ident)
                        protocol = protocol_of(config, flow)
                        if protocol is not None and protocol.name == "ipsec" and len(flow.orig.src) == 4:
                            pairs.add(ends(flow))
                    elif stray(config, flow, gone) or (config.shares_servers and bypasses(config, flow, local, offload=offload)):
                        delete_flow(self._sock, flow)
            if pairs and config.shares_servers:
                # Or the server's next packet would begin a flow in which the client may answer.
                self._tracker.refuse(pairs)
        except NetlinkError as error:
            self._log.warning("CUT", "live sessions could not be cut: {problem} (is kmod-nf-conntrack-netlink installed?)",
                              problem=error.strerror)
        if count:
            self._log.info("CUT", "{count} live flows of refused protocols", count=count)
