# SPDX-License-Identifier: GPL-2.0-or-later
"""The lists of clients that get copies of an SPI: as the kernel has them, and had them when it copied what we hear of only now."""

from __future__ import annotations

from ..kernel.maps import arranged
from ..ruleset.maps import LIST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from ..kernel.maps import Learned

    Key = tuple[bytes, bytes]

QUEUED = 10.0
"""Seconds for which a logged packet may have waited for us."""
SERVERS_CAP, SPIS_CAP = 1024, 4096
"""Servers whose packets' addresses are remembered; SPIs that were decided of."""


class Lists:
    """By server and SPI. Methods that write raise NetlinkError."""

    def __init__(self, learned: Learned, clock: Callable[[], float]) -> None:
        self._learned, self._clock = learned, clock
        self._slots: dict[Key, tuple[bytes, ...]] = {}
        self._spills: set[Key] = set()
        self._written: dict[Key, float] = {}
        self._retired: dict[Key, list[tuple[float, tuple[bytes, ...]]]] = {}
        self._given: dict[Key, tuple[bytes, float]] = {}
        self._addresses: dict[bytes, set[bytes]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._slots

    def __iter__(self) -> Iterator[Key]:
        return iter(self._slots)

    def read(self) -> list[tuple[Key, tuple[bytes, ...], bool]]:
        """Takes over what the kernel has: each key, its clients, and whether there are more of them than those."""
        for known in (self._slots, self._spills, self._written, self._retired, self._given):
            known.clear()
        self._spills |= self._learned.spilled()
        self._slots.update((key, tuple(slots)) for key, slots in self._learned.fans().items())
        return [(key, tuple(filter(None, slots)), key in self._spills) for key, slots in self._slots.items()]

    def came(self, server: bytes, address: bytes) -> None:
        """This server sent something to this address of the router's."""
        self._addresses.setdefault(server, set()).add(address)
        cap(self._addresses, SERVERS_CAP)

    def renumbered(self, local: Collection[bytes]) -> None:
        """These are the router's addresses now."""
        self._addresses = {server: known & set(local) for server, known in self._addresses.items()}

    def put(self, key: Key, clients: tuple[bytes, ...], *, spills: bool) -> None:
        """This list is in force from now on. spills: there are more candidates than those."""
        before = self._slots.get(key, ())
        if before:
            self._retired[key] = [*self._retired.get(key, ())[-3:], (self._clock(), before)]
        self._given.pop(key, None)
        self._slots[key] = arranged(before, clients)
        (self._spills.add if spills else self._spills.discard)(key)
        self._write(key)

    def renew(self, key: Key, *, in_force: bool) -> None:
        """A packet of this SPI came, and was copied by the list (in_force) or to all: no packet renews a list, and it may be gone."""
        if key in self._slots and self._clock() - self._written.get(key, 0.0) >= (LIST / 4 if in_force else QUEUED):
            self._write(key)

    def _write(self, key: Key) -> None:
        self._written[key] = self._clock()
        self._learned.fan(*key, self._slots[key], self._addresses.get(key[0], ()), spills=key in self._spills)

    def copied(self, key: Key) -> frozenset[bytes]:
        """Who surely got the kernel's copy of a packet that came within the last seconds: a second copy does no harm, none does."""
        copied = set(filter(None, self._slots.get(key, ())))
        for until, clients in self._retired.get(key, ()):
            if self._clock() - until < QUEUED:
                copied.intersection_update(clients)
        return frozenset(copied)

    def drop(self, key: Key) -> None:
        """It is no list any more."""
        self._slots.pop(key, None)
        self._spills.discard(key)
        self._written.pop(key, None)
        self._retired.pop(key, None)
        self._given.pop(key, None)

    def give(self, key: Key, client: bytes) -> None:
        """It is this client's alone from now on."""
        self._given[key] = client, self._clock()
        cap(self._given, SPIS_CAP)

    def was_given(self, key: Key, client: bytes, when: float) -> bool:
        """Has it become this client's since `when`? Then a packet that was copied at that time is no reason to write so again."""
        owner, since = self._given.get(key, (b"", 0.0))
        return owner == client and when < since


def cap(remembered: dict[Any, Any], limit: int) -> None:
    """The oldest go."""
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
