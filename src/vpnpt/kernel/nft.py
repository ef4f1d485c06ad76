# SPDX-License-Identifier: GPL-2.0-or-later
"""The only caller of nftables' own program: whole rulesets go in as text, each in one transaction."""

from __future__ import annotations

import time

from .. import process
from ..ruleset import FAMILIES, TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..ruleset import Ruleset
    from ..wire.nftables import Chain, Element

TIMEOUT = 30.0
"""Seconds: loading 65,536 elements takes several on a slow router."""
ALONE_TIMEOUT = 5.0
"""Seconds for a small text for which the daemon's loop stands still."""
IMPATIENT = 1.0
"""Seconds for every call while nft is known to hang."""
HANGS_FIRST, HANGS_LAST = 60.0, 600.0
"""For how long it is taken to hang after a call that did not end, at first and after each further one twice as long."""


class NftError(Exception):
    """nft refused a text; the kernel is as it was. The message is nft's own. hangs: it did not end in time, and was killed."""

    hangs = False


class _Patience:
    """How long nft is waited for."""

    hangs_until = 0.0
    doubled = HANGS_FIRST

    def run(self, argv: list[str], timeout: float, text: str = "", *, alone: bool = False) -> process.Result:
        now = time.monotonic()
        result = process.run(argv, input=text.encode(), timeout=IMPATIENT if now < self.hangs_until else timeout, alone=alone)
        if result.status == process.TIMED_OUT and now >= self.hangs_until:
            self.hangs_until = time.monotonic() + self.doubled
            self.doubled = min(2 * self.doubled, HANGS_LAST)
        elif result.status != process.TIMED_OUT:
            self.hangs_until, self.doubled = 0.0, HANGS_FIRST
        return result


_patience = _Patience()


def _run(text: str, *options: str, alone: bool = False) -> None:
    result = _patience.run(["nft", *options, "-f", "-"], ALONE_TIMEOUT if alone else TIMEOUT, text, alone=alone)
    if result.status == 127:
        raise NftError("the program nft is missing: install the package nftables")
    if result.status != 0:
        error = NftError(result.stderr.decode("utf-8", "replace").strip() or f"nft ended with status {result.status}")
        error.hangs = result.status == process.TIMED_OUT
        raise error


def replacement(ruleset: Ruleset, elements: Mapping[tuple[str, str], Iterable[Element]] | None = None) -> str:
    """Text that puts `ruleset` in the place of whatever tables of ours there are, with these elements."""
    gone = "".join(f"table {family} {TABLE} {{\n}}\ndelete table {family} {TABLE}\n" for family in FAMILIES)
    return gone + ruleset.render(elements)


def update(ruleset: Ruleset, chains: Iterable[tuple[str, Chain]]) -> str:
    """Text that changes the rules and leaves maps, sets and counters, with all they hold, as they are.

    `chains`: (family, chain) of ours that are in the kernel now. One transaction flushes and deletes them and adds the new ones.
    """
    lines = []
    for family in FAMILIES:
        lines.append(f"table {family} {TABLE} {{\n}}")
        if family not in ruleset.tables:
            lines.append(f"delete table {family} {TABLE}")
    old = [(family, chain) for family, chain in chains if family in ruleset.tables]
    lines += [f"flush chain {family} {TABLE} {chain.name}" for family, chain in old]
    lines += [f"delete chain {family} {TABLE} {chain.name}" for family, chain in old]
    return "\n".join([*lines, ruleset.render()])


def load(text: str, *, alone: bool = False) -> None:
    """Loads a text in one transaction. Raises NftError, and nothing has changed. alone: the daemon's loop stands still meanwhile."""
    _run(text, alone=alone)


def check(text: str) -> None:
    """Lets the kernel check a text without changing anything. Raises NftError."""
    _run(text, "-c")


def helper_available(kind: str) -> bool:
    """Does the kernel have this conntrack helper, as a module that it can load or built in? Raises NftError if nft hangs."""
    try:
        check(f'table ip {TABLE}_probe {{\n\tct helper probe {{\n\t\ttype "{kind}" protocol tcp\n\t\tl3proto ip\n\t}}\n}}\n')
    except NftError as error:
        if error.hangs:
            raise
        return False
    return True
