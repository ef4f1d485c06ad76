# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel's notices of a server are more than we can handle (backlog.py), its counters are read instead, several times a second.

They tell less than notices (how many, not when), but for nearly nothing, and of every packet.
"""
from __future__ import annotations

from ..spi.messages import Counted
from ..wire.conntrack import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..kernel.maps import Learned

EVERY, SHARE = 0.15, 10
"""Seconds between two readings; that many times as long as one takes, at least."""
GOES_ON = 4.0
"""Seconds for which counters are read after the kernel has begun to speak again: it may soon be asked to be silent once more."""


class Readings:
    """due: when counters are to be read next, by `clock`; None: notices tell all."""

    def __init__(self, learned: Learned, clock: Callable[[], float]) -> None:
        self._learned, self._clock = learned, clock
        self._until: dict[bytes, float] = {}
        self.due: float | None = None

    def hush(self, servers: Collection[bytes], seconds: float) -> None:
        """The kernel is to be silent about these servers for so long: see `Learned.hush`."""
        self._learned.hush(servers, seconds)
        now = self._clock()
        self._until |= dict.fromkeys(servers, now + seconds + GOES_ON)
        if self._until and self.due is None:
            self.due = now

    def feed(self, known: Collection[bytes], tell: Callable[[Counted], None]) -> None:
        """If it is time for that: tells what the counters say of each of these servers that are known. Raises NetlinkError."""
        if self.due is None or self.due > (now := self._clock()):
            return
        self._until = {server: until for server, until in self._until.items() if until > now}
        self.due = now + EVERY if self._until else None
        found = {server: Counted(server=server, came={}, sent={}) for server in self._until.keys() & known}
        for element in self._learned.counted(AF_INET, "copied") if found else ():
            if element.counted and element.key[:4] in found:
                found[element.key[:4]].came[element.key[4:8]] = element.counted[0]
        for element in self._learned.counted(AF_INET, "sending") if found else ():
            if element.counted and element.key[4:8] in found:
                found[element.key[4:8]].sent[element.key[:4]] = element.counted[0]
        for event in found.values():
            tell(event)
        if self._until:
            ended = self._clock()
            self.due = ended + max(EVERY, SHARE * (ended - now))
