# SPDX-License-Identifier: GPL-2.0-or-later
"""The last configuration without an error, kept over restarts and reboots: what it blocks stays blocked when the file is broken.

It is in the state directory, on flash, and written only when what the file says has changed.
"""
from __future__ import annotations

import os
import time

from . import safe_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log

FILE = "in-force"
LIMIT = 256 << 10
"""Bytes: a longer configuration is not kept."""
HEAD = "# vpnpt: in force since "


class InForce:
    """The copy of a configuration's text, and since when it was in force: seconds of the epoch."""

    def __init__(self, directory: str, log: Log) -> None:
        self.path, self._log = os.path.join(directory, FILE), log
        self._problem = ""

    def read(self) -> tuple[str, int] | None:
        """The text and its time; None if there is none."""
        try:
            text = safe_file.read(self.path, LIMIT).decode("utf-8", "surrogateescape")
            head, newline, rest = text.partition("\n")
            if not head.startswith(HEAD) or not newline:
                return None
            return rest, int(head[len(HEAD):])
        except (OSError, ValueError):
            return None

    def keep(self, text: str) -> None:
        """This text is in force, and has no error."""
        known = self.read()
        if known is not None and known[0] == text:
            return
        data = f"{HEAD}{int(time.time())}\n{text}".encode("utf-8", "surrogateescape")
        if len(data) > LIMIT:
            return
        try:
            safe_file.replace(self.path, data, sync=True)
            self._problem = ""
        except OSError as error:
            if self._problem != str(error.strerror):
                self._problem = str(error.strerror)
                self._log.warning("STATE", "{path} can't be written: {problem}; after a restart with an error in the configuration "
                                           "an older one would be in force", path=self.path, problem=error.strerror)
