# SPDX-License-Identifier: GPL-2.0-or-later
"""A copy of our sets and maps, for putting them back when somebody deletes every table (`fw4 flush`).

The kernel sends no notification of elements that packets add. The rules that add them log a notice instead, and the daemon renews the
copy a moment later.
"""

from __future__ import annotations

from ..model import PROTOCOLS
from ..ruleset import TABLE, refused_set
from ..ruleset.maps import IPSEC, L2TP
from ..wire.nftables import FAMILIES, Element
from .netfilter import NetlinkError, dump_elements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..ruleset import Ruleset
    from .netfilter import Netlink

_NUMBERS = {name: number for number, name in FAMILIES.items()}
# Elements with a rate limit or a counter, whose state can't be put back.
_METERS = (*(row.name for row in (*IPSEC, *L2TP) if row.name.startswith("rate_")), "copied", "sending", *map(refused_set, PROTOCOLS))
LEFT_OUT = frozenset((*_METERS, "esp_fast", "ike_fast", "ike_fast_in", "spi_new", "came_esp", "came_ike", "renewing", "renewed", "parted",
                      "asked", "hushed"))
"""Not worth the time: the fast path's next packet puts its entry back itself, the others count for a second or for one packet."""


class Mirror:
    """The elements of every set and map of a ruleset at the last `refresh`. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, list[Element]]] = {}

    def refresh(self, sock: Netlink, ruleset: Ruleset) -> None:
        """Dumps all sets and maps. One that is missing keeps its last copy: its table may just have been deleted."""
        now = self._clock()
        for family, table in ruleset.tables.items():
            for name in table.collections:
                if name in LEFT_OUT:
                    continue
                try:
                    self._seen[family, name] = (now, dump_elements(sock, _NUMBERS[family], TABLE, name))
                except NetlinkError:
                    continue

    def adopt(self, elements: Mapping[tuple[str, str], list[Element]]) -> None:
        """These were in the kernel until now, as an earlier daemon saw it."""
        now = self._clock()
        self._seen.update({place: (now, found) for place, found in elements.items()})

    def forget(self) -> None:
        """Drops the copy, after which nothing is put back."""
        self._seen.clear()

    def elements(self) -> dict[tuple[str, str], list[Element]]:
        """The elements to put back now: lifetimes are shortened by the age of the copy, expired elements are left out."""
        now = self._clock()
        result: dict[tuple[str, str], list[Element]] = {}
        for place, (seen, elements) in self._seen.items():
            passed = int((now - seen) * 1000)
            alive = []
            for element in elements:
                left = None if element.expires_ms is None else element.expires_ms - passed
                if left is None or left > 0:
                    alive.append(Element(element.key, element.data, element.timeout_ms, left))
            result[place] = alive
        return result

    def count(self, name: str) -> int:
        """How many elements the set or map had at the last `refresh`, both families together."""
        return sum(len(elements) for (_, seen_name), (_, elements) in self._seen.items() if seen_name == name)
