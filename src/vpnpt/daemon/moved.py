# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients whose address has changed: ESP goes on with the same outbound SPI, from another address."""

from __future__ import annotations

from ..router.addresses import neighbours
from ..spi.messages import SpiMoved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.maps import Learned
    from .lists import Lists

SEEN_CAP = 1024
"""Clients with their outbound SPIs that were looked at."""


class Moves:
    """Which inbound SPIs may be a client's that has another address now. Methods raise NetlinkError."""

    def __init__(self, learned: Learned, lists: Lists) -> None:
        self._learned, self._lists = learned, lists
        self._seen: dict[tuple[bytes, bytes, bytes], None] = {}

    def look(self, server: bytes, client: bytes, spi: bytes) -> list[SpiMoved]:
        """`client` uses this outbound SPI. Was it another one's? Then what comes for that one may be its: each inbound SPI of the two."""
        if (server, client, spi) in self._seen:
            return []
        self._seen[server, client, spi] = None
        if len(self._seen) > SEEN_CAP:
            del self._seen[next(iter(self._seen))]
        before = self._learned.used_by(server, spi)
        if before is None or before == client:
            return []
        zone, own = self._learned.zone_of(before), self._learned.zone_of(client)
        known = neighbours()
        if own is not None and known.get(client) and known.get(client) == known.get(before):
            # The same host: who only knows the SPI gets nothing.
            self._learned.uses(server, spi, own)
        for peer, _, way, _ in self._learned.zoned("esp_fast", 8, 0.0):
            if peer == server:
                self._lists.came(server, way[:4])
        owned = [inbound for peer, owner, inbound, _ in self._learned.zoned("spi_zone", 4, 0.0) if peer == server and owner == zone]
        shared = [inbound for (peer, inbound), candidates in self._learned.fans().items() if peer == server and before in candidates]
        return [SpiMoved(server=server, spi=inbound, owner=before, client=client, outbound=spi) for inbound in (*owned, *shared)]
