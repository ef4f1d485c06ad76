# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the short way of established ESP can be taken where it is wanted. Pure."""
from __future__ import annotations

from .codes import PACKAGES
from .facts import finding
from .said import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding


def findings(facts: Facts) -> Iterator[Finding]:
    """All that these facts say."""
    package, obstacles = facts.short_way
    if package:
        yield finding("ESP_OFFLOAD", say("short-way-lacks", package=package), say("short-way-lacks-seen", package=package),
                      say("short-way-lacks-do", package=package), link=PACKAGES)
    elif obstacles:
        yield finding("ESP_OFFLOAD", say("short-way-barred"), "; ".join(obstacles))
