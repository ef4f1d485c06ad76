# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts a whole ruleset in the place of our tables, with what the old maps held: in one transaction, so that no packet meets half of it.

Some versions of nft (1.1.7) write the key of a map `typeof ct zone` in network byte order, while the kernel looks it up in the host's:
the map would be wrong after every restore. So nft is tried on a table of its own, keys that it turns around are given to it
turned around, and what has arrived is read back, and corrected by netlink should it be wrong all the same.
"""

from __future__ import annotations

import contextlib
import errno

from ..ruleset import TABLE
from ..wire import netlink as nl
from ..wire import nftables
from ..wire.nftables import FAMILIES, IPV4, Element, pack_zone
from . import nft
from .netfilter import NetlinkError, dump_elements, table_exists
from .nft import NftError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..ruleset import Ruleset
    from .netfilter import Netlink

    Elements = Mapping[tuple[str, str], Iterable[Element]]
    Lists = dict[tuple[str, str], list[Element]]

HOST_ORDER = "ct zone"
"""The expression that the kernel keeps in the host's byte order; a key of this alone is what nft may turn around."""
PROBE = f"{TABLE}_probe"
_PROBED = 258  # 0x0102
_PROBE_TEXT = f"""table ip {PROBE} {{
}}
delete table ip {PROBE}
table ip {PROBE} {{
	map a_map {{
		typeof {HOST_ORDER} : ip daddr
		flags dynamic,timeout
		timeout 60s
		elements = {{ {_PROBED} timeout 60s expires 50s : 192.0.2.1 }}
	}}
	set a_set {{
		typeof {HOST_ORDER}
		flags dynamic,timeout
		timeout 60s
		elements = {{ {_PROBED} timeout 60s expires 50s }}
	}}
}}
"""
TRIES = 3
LEAST_MS = 1000
"""What has less time left is not put back."""
_NUMBERS = {name: number for number, name in FAMILIES.items()}


class Restorer:
    """Loads whole rulesets. turned: the kinds ('map', 'set') whose keys this nft turns around; None: not known yet."""

    def __init__(self, sock: Netlink) -> None:
        self._sock = sock
        self.turned: frozenset[str] | None = None

    def replace(self, ruleset: Ruleset, elements: Elements) -> None:
        """Puts `ruleset` in the place of whatever tables of ours there are, with these elements.

        Raises NftError: nft refuses it, and nothing has changed; or an element could not be put right.
        """
        given: Lists = {place: list(found) for place, found in elements.items()}
        wanted = {place: (kind, given[place]) for place, kind in _exposed(ruleset).items() if given.get(place)}
        if self.turned is None and self._in_place():
            self._probe()
        for place, (kind, found) in wanted.items():
            if kind in (self.turned or ()):
                given[place] = [Element(one.key[::-1], one.data, one.timeout_ms, one.expires_ms) for one in found]
        self._load(nft.replacement(ruleset, given))
        wrong = {kind for place, (kind, found) in wanted.items() if self._correct(place, found)}
        if wrong:
            # nft is another one than when it was tried, or was not tried yet.
            self.turned = (self.turned or frozenset()) ^ wrong
        elif self.turned is None:
            self._probe()

    def _load(self, text: str) -> None:
        """What is written into the old tables meanwhile, as the daemon's loop goes on, is written into the new ones as well."""
        journal = self._sock.journal = []
        try:
            nft.load(text)
        finally:
            self._sock.journal = None
        for requests in journal:
            with contextlib.suppress(NetlinkError):
                self._sock.transaction(requests)

    def _in_place(self) -> bool:
        """Do packets meet rules of ours now? Then there is time to try nft first; else the rules come first."""
        try:
            return table_exists(self._sock, IPV4, TABLE)
        except NetlinkError:
            return False

    def _probe(self) -> None:
        """Tries nft on a table of its own; where that fails, the reading back must do."""
        try:
            nft.load(_PROBE_TEXT)
            self.turned = frozenset(kind for kind in ("map", "set") if pack_zone(_PROBED) not in {
                element.key for element in dump_elements(self._sock, IPV4, PROBE, f"a_{kind}")})
            self._sock.transaction([nftables.request(nftables.DELTABLE, 0, IPV4, nl.text(nftables.TABLE_NAME, PROBE))])
        except (NftError, NetlinkError):
            return

    def _correct(self, place: tuple[str, str], wanted: Iterable[Element]) -> bool:
        """Puts right what nft has written otherwise. True: something was wrong. Raises NftError where the kernel refuses."""
        family, name = place
        keys = {element.key: element for element in wanted if element.expires_ms is None or element.expires_ms >= LEAST_MS}
        for attempt in range(TRIES):
            try:
                # Packets may have added some of their own meanwhile.
                there = {element.key for element in dump_elements(self._sock, _NUMBERS[family], TABLE, name)}
                missing = [element for key, element in keys.items() if key not in there]
                if not missing:
                    return attempt > 0
                turned = [key for key in there if key not in keys and key[::-1] in keys]
                self._change(_NUMBERS[family], name, turned, missing)
            except NetlinkError as error:
                # A table that is gone again is put back again; an element that came or went meanwhile: look again.
                if error.errno not in (errno.ENOENT, errno.EEXIST):
                    raise NftError(f"what {name} held could not be put back: {error.strerror}") from None
        return True

    def _change(self, family: int, name: str, old: list[bytes], new: list[Element]) -> None:
        def requests(most: int) -> Iterator[bytes]:
            yield from nftables.delete_elements(family, TABLE, name, old, most=most)
            yield from nftables.add_elements(family, TABLE, name, new, most=most)

        self._sock.transactions(requests)


def _exposed(ruleset: Ruleset) -> dict[tuple[str, str], str]:
    """The collections that nft may write wrongly, and which kind each is."""
    return {(family, name): "map" if collection.value else "set" for family, table in ruleset.tables.items()
            for name, collection in table.collections.items() if collection.key == HOST_ORDER}
