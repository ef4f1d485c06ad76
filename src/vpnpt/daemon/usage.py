# SPDX-License-Identifier: GPL-2.0-or-later
"""When each protocol was last used: five numbers in a file that outlives the daemon, written once a day at most.

Where the file is, `vpnptd --state-dir` says: on a router it is on flash, which a line a day does not wear out.
"""
from __future__ import annotations

import contextlib
import json
import os
import time

from ..model import PROTOCOLS
from . import safe_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FILE = "usage"
DAY = 86400
LIMIT = 4096
"""Bytes of the file that are read."""


class Usage:
    """`clock` gives seconds of the epoch, `steady` seconds that never jump: a router without a clock of its own learns the time late,
    and what it did meanwhile was not years ago. A protocol that was never seen counts from the first time that we asked."""

    def __init__(self, directory: str, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock, self._steady = os.path.join(directory, FILE), clock, steady
        self._before = self._read()
        self._since = {name: steady() for name in PROTOCOLS if name not in self._before}
        self._written: dict[str, float] = {}

    def _read(self) -> dict[str, int]:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(safe_file.read(self._path, LIMIT))
            if isinstance(found, dict):
                return {name: when for name, when in found.items() if name in PROTOCOLS and isinstance(when, int)}
        return {}

    def times(self) -> dict[str, int]:
        """Protocol to when it was last used, or first counted: seconds of the epoch."""
        now, steady = int(self._clock()), self._steady()
        own = {name: now - int(steady - since) for name, since in self._since.items()}
        return {name: min(when, now) for name, when in {**self._before, **own}.items()}

    def used(self, protocol: str) -> None:
        """It is in use now."""
        now = self._steady()
        self._since[protocol] = now
        if now - self._written.get(protocol, -DAY) >= DAY:
            self._written[protocol] = now
            self.write()

    def write(self) -> None:
        """Puts it into the file; where that can't be written, it is remembered until the daemon ends."""
        with contextlib.suppress(OSError):
            safe_file.replace(self._path, json.dumps(self.times()).encode(), sync=True)
