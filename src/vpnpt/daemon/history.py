# SPDX-License-Identifier: GPL-2.0-or-later
"""The history of what changed: in memory, and in a file. Part of package vpnpt-tools: without it nothing is remembered."""
from __future__ import annotations

import os
import time

from .. import __version__
from ..audit import changes
from ..config import ucitext
from ..model import Said
from ..router import uci
from ..router.addresses import device_addresses
from .history_file import HistoryFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .log import Log


class Changes:
    """Before `open` nothing is written to a file."""

    def __init__(self, log: Log, run_dir: str) -> None:
        self.history = changes.History()
        self._default = os.path.join(run_dir, "history")
        self._file = HistoryFile(log)

    def open(self, path: str) -> None:
        """The history is in this file from now on, '' for one in the run directory; what it holds comes before what is known."""
        self._file.open(path or self._default, self.history)

    def add(self, what: str, how: str, text: str) -> None:
        """One change, to the file as well. what: see `audit/changes.py`. how: by what means, '' if unknown."""
        self._file.write(self.history.add(time.time(), what, how, text).line(), self.history)

    def note(self, config: Config, devices: Devices, config_dir: str | None, how: str, *, first: bool) -> None:
        """What is different from the last time in configuration, firewall and network. first: the daemon has just started."""
        self.open(config.general.history)
        if first:
            self.add("service", how, Said("vpnpt {version} has started", version=__version__))
        try:
            sections = ucitext.parse(uci.read_package("firewall", config_dir)[0]).sections
        except (uci.ConfigMissing, OSError):
            sections = []
        ports = frozenset(str(port) for protocol in config.protocols.values() for port in protocol.ports) | {"500"}
        self._compare(Said("while the daemon did not run") if first else how, {
            "configuration": changes.configuration(config), "firewall": changes.firewall(sections, ports),
            "network": changes.network(devices, {name: device_addresses(name) for name in devices.wan})})

    def _compare(self, how: str, state: changes.State) -> None:
        before = self.history.state
        found = self.history.compare(time.time(), how, state)
        if state != before:
            self._file.write("".join(change.line() for change in found) + changes.state_line(state), self.history)
