# SPDX-License-Identifier: GPL-2.0-or-later
"""The watch over changes: our tables against what was loaded, by the kernel's notifications.

No polling: a transaction that touched our tables ends with a notification of its generation, which names the process. What we load
ourselves is sealed at once: our own transactions are looked at too, but nothing is different then.
"""
from __future__ import annotations

import contextlib
import time

from ..audit import drift
from ..kernel.netfilter import NetlinkError, generation, read_table
from ..model import Said
from ..ruleset import FAMILIES, TABLE
from ..wire.nftables import FAMILIES as FAMILY_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..kernel.netfilter import Netlink
    from ..ruleset import Ruleset
    from ..wire.nftables import Change
    from ..wire.nftrules import TableState
    from .log import Log

_NUMBERS = {name: number for number, name in FAMILY_NAMES.items()}
ANCESTORS = 3
AGAIN_FIRST, AGAIN_LAST = 1.0, 60.0
"""Seconds until drift is looked at again when it follows an earlier one within a minute: each time twice as long."""


class Watch:
    """`drift`: how our tables differ now from what was loaded, '' if they don't. `catch_up`: reads all notifications that are there.

    changed: hears who changed elements of ours, and what; that is not drift.
    """

    def __init__(self, sock: Netlink, log: Log) -> None:
        self.drift = ""
        self.catch_up: Callable[[], None] = lambda: None
        self.changed: Callable[[str, Said], None] = lambda _by, _text: None
        self._sock, self._log = sock, log
        self._sealed: dict[str, TableState] = {}
        self._sealed_generation = 0
        self._wrong: list[Said] = []
        self._touched = False
        self._elements = 0
        self._by = ""
        self._repaired, self._pause = float("-inf"), 0.0

    # --- our tables ------------------------------------------------------------------------------------------------------

    def seal(self, ruleset: Ruleset) -> None:
        """What the kernel holds now is what we loaded; whatever is different later was done by others."""
        try:
            for _ in range(5):
                self._sealed_generation = generation(self._sock)
                self._sealed = self._read()
                if generation(self._sock) == self._sealed_generation:
                    break
        except NetlinkError as error:
            self._log.warning("DRIFT", "the rules can't be read, so nobody watches over them: {problem}", problem=error.strerror)
            self._sealed = {}
            return
        self._wrong = drift.loaded_wrongly(ruleset, self._sealed)
        self.drift = ""

    def on_change(self, change: Change) -> bool:
        """Whether our tables must be looked at: a transaction that touched them has ended."""
        if change.what == "generation":
            touched, elements, self._touched, self._elements = self._touched, self._elements, False, 0
            newer = 0 < ((change.generation or 0) - self._sealed_generation) % (1 << 32) < 1 << 31
            if newer and (touched or elements):
                self._by = _who(change.process, change.process_id)
            if newer and elements and not touched:
                self.changed(self._by, Said("{count} elements of our maps and sets were changed", count=elements))
            return touched
        if change.table == TABLE and change.what in ("table", "chain", "rule"):
            self._touched = True
        elif change.table == TABLE and change.what == "element" and change.port != self._sock.port:
            self._elements += len(change.elements)
        return False

    def look(self) -> tuple[list[Said], str]:
        """How our tables differ from what was loaded, and who did it ('' if that is not known)."""
        if not self._sealed:
            return [], ""
        found = self._wrong or drift.changes(self._sealed, self._read())
        if not found:
            return [], ""
        self.catch_up()  # who did it has been told by now, but perhaps not read
        return found, self.taken()

    def taken(self) -> str:
        """Who touched our tables last; '' if that is not known, or was asked before."""
        by, self._by = self._by, ""
        return by

    def by(self, name: str) -> None:
        """Who it was, for whoever asks next."""
        self._by = self._by or name

    def remade(self) -> bool:
        """Whether a table of ours is another one than was loaded: what it holds is not what ours had learned."""
        now = self._read()
        return any(family in now and now[family].handle != state.handle for family, state in self._sealed.items())

    def _read(self) -> dict[str, TableState]:
        found = {family: read_table(self._sock, _NUMBERS[family], TABLE) for family in FAMILIES}
        return {family: state for family, state in found.items() if state is not None}

    def repaired(self) -> None:
        """The tables were put right. Two programs that put the same thing right for ever must not use up the processor."""
        now = time.monotonic()
        again = now - self._repaired < self._pause + AGAIN_LAST
        self._pause = min(AGAIN_LAST, max(AGAIN_FIRST, 2 * self._pause)) if again else 0.0
        self._repaired = now

    def pause(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._repaired + self._pause - time.monotonic())


def _who(process: str, number: int | None) -> str:
    """`nft (process 12), started by sh, started by dropbear`, as far as /proc still knows them.

    The number is one of the first PID namespace: in another one /proc knows it by another number, or not at all.
    """
    text = Said("{name} (process {number})", name=process, number=number) if process and number else process
    names = [process]
    for _ in range(ANCESTORS):
        name, parent = _parent(number)
        if not parent or name != names[-1]:
            break  # it has ended, or its number is another's by now
        name, _ = _parent(parent)
        if not name or parent == 1:
            break
        if name != names[-1]:
            names.append(name)
        number = parent
    for name in names[1:]:
        text = Said("{what}, started by {name}", what=text, name=name)
    return text


def _parent(number: int | None) -> tuple[str, int]:
    """A process' name, and the number of the one that started it; ('', 0) if it is gone."""
    name, parent = "", 0
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{number}/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key == "Name":
                name = value.strip()
            elif key == "PPid":
                parent = int(value)
                break
    return name, parent
