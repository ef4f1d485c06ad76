# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine that is told events as they come, and whose each SPI is by what it says."""
from __future__ import annotations

from typing import TYPE_CHECKING

from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Fan, Forget

if TYPE_CHECKING:
    from vpnpt.spi.messages import Event


class Story:
    """assigned: SPI → client, of those that are decided."""

    def __init__(self) -> None:
        self.engine, self.now = Engine(), 0.0
        self.assigned: dict[bytes, bytes] = {}

    def tell(self, event: Event, after: float = 0.001) -> None:
        """after: seconds since what was told before: two never come at the same moment."""
        self.now += after
        for action in self.engine.handle(event, self.now):
            if isinstance(action, Assign):
                self.assigned[action.spi] = action.client
            elif isinstance(action, (Fan, Forget)):
                self.assigned.pop(action.spi, None)
