# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that holds the history. What can't be written is kept in memory and written as soon as that is possible."""
from __future__ import annotations

from ..audit.changes import LIMIT, History
from ..model import Said
from . import safe_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log

FILE_LIMIT = 128 << 10
"""Bytes: a file that is larger, and twice as large as what counts, is written anew."""
READ_LIMIT = 4 * FILE_LIMIT
OURS = (b'{"time":', b'{"state":')
"""How every line of a history begins."""


class HistoryFile:
    """Lines are added, so that flash is spared; now and then all is written anew. Before `open` nothing is written."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._path = ""
        self._problem = ""
        self._foreign = False  # the file is somebody else's: it is left alone
        self._behind = False  # it lacks something that is in memory
        self._compact = 0

    def open(self, path: str, history: History) -> None:
        """The file is this one from now on. What it holds comes before what `history` holds already."""
        if path == self._path:
            return
        self._path, self._problem, self._foreign, self._behind = path, "", False, False
        known = list(history.changes)
        before, text = History(), b""
        try:
            first = safe_file.read(path, 16)
            if first and not first.startswith(OURS):
                self._foreign = True
                self._complain(Said("the file holds something else"))
            else:
                text = safe_file.read(path, READ_LIMIT, end=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._complain(str(error.strerror))
        before.load(text.decode("utf-8", "replace").splitlines())
        history.changes.clear()
        history.changes.extend([*before.changes, *known])
        history.count += LIMIT + 1  # whoever knows the end of it has all of it told
        if history.state is None:
            history.state = before.state
        if known or (text and not text.endswith(b"\n")):  # a power cut tore the last line
            self._behind = True
            self.write("", history)

    def write(self, text: str, history: History) -> None:
        """Adds these lines, which `history` has by now; or writes all that it has."""
        if not self._path or self._foreign:
            return
        try:
            if not self._behind:
                size = safe_file.append(self._path, text.encode())
                self._behind = size > max(FILE_LIMIT, 2 * self._compact)
            if self._behind:
                data = "".join(history.lines()).encode()
                safe_file.replace(self._path, data, sync=True)
                self._behind, self._compact = False, len(data)
        except OSError as error:
            self._behind = True
            self._complain(str(error.strerror))
            return
        if self._problem:
            self._problem = ""
            self._log.info("HISTORY", "{path} is written again", path=self._path)

    def _complain(self, problem: str) -> None:
        """Once for each cause."""
        if problem != self._problem:
            self._problem = problem
            self._log.warning("HISTORY", "{path} can't be used: {problem}; what changes is kept in memory, and written when that is "
                                         "possible (vpnpt.global.history)", path=self._path, problem=problem)
