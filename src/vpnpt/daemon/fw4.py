# SPDX-License-Identifier: GPL-2.0-or-later
"""What fw4's forward chain includes of ours: one file in the run directory, and a reload of fw4 when it changed."""
from __future__ import annotations

import os

from .. import process
from . import safe_file
from .instance import JAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log

HOOK_DIR = "fw4"
"""In the run directory: fw4 includes every *.nft in it."""
FILE = "forward.nft"
OUTSIDE = ["sh", "-c", """ubus -t 3 call uci configs &&
ubus call file exec '{"command":"/sbin/fw4","params":["reload"]}' | grep 'code": 0'"""]
"""Has rpcd run it: fw4 runs the users' own scripts (`config include`), which may need more capabilities than our jail leaves us. rpcd is
asked for something else first: it may be waiting for us, while a script that it runs stops us."""
RELOAD_TIMEOUT = 25.0
"""Seconds: less than procd waits for us at a stop, in which fw4 has to let our rules go."""


class Include:
    """The file, and whether fw4 has it as it is. failed: it could not be written; `again` tries once more."""

    def __init__(self, run_dir: str, log: Log) -> None:
        self._path, self._log = os.path.join(run_dir, HOOK_DIR, FILE), log
        self._stale = False  # the file is right, but fw4 could not be reloaded
        self.failed = ""  # the text

    def write(self, text: str) -> None:
        """The rules are these; fw4 reloads if it does not have them yet."""
        try:
            old = safe_file.read(self._path).decode("utf-8", "replace")
        except OSError:
            old = ""
        if old == text and not self._stale:
            self.failed = ""
            return
        try:
            safe_file.replace(self._path, text.encode(), 0o644)
        except OSError as error:
            if self.failed != text:
                self._log.warning("FW4", "{path} can't be written, what servers start does not pass: {problem}", path=self._path,
                                  problem=error.strerror)
            self.failed = text
            return
        self.failed = ""
        self._reload()

    def again(self) -> bool:
        """Writes what could not be written. False: it still can't."""
        if self.failed:
            self.write(self.failed)
        return not self.failed

    def remove(self) -> None:
        """There are no rules of ours any more."""
        self.failed = ""
        try:
            there = os.path.lexists(self._path)
            safe_file.remove(self._path)
        except OSError as error:
            self._log.warning("FW4", "{path} can't be removed: {problem}", path=self._path, problem=error.strerror)
            return
        if there:
            self._reload()

    def _reload(self) -> None:
        for argv in (OUTSIDE, ["fw4", "-q", "reload"])[not JAILED:]:
            result = process.run(argv, timeout=RELOAD_TIMEOUT)
            if result.status in (0, process.TIMED_OUT):
                break
        self._stale = result.status not in (0, process.MISSING)
        if self._stale:
            self._log.warning("FW4", "fw4 reload ended with status {status}: {problem}", status=result.status,
                              problem=result.stderr.decode("utf-8", "replace").strip())
