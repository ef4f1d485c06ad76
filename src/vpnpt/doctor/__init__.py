# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor: facts about this router → findings in plain words. Pure: gather/ brings the facts, nothing here looks or waits."""
from __future__ import annotations

from . import firewall, network, short_way, system, traffic
from .codes import CODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .facts import Facts

_ORDER = {"error": 0, "warning": 1, "info": 2}


def judge(facts: Facts) -> dict[str, Any]:
    """The whole answer: time, the codes that were looked for, and what was found, most serious first."""
    found = [finding for module in (system, firewall, short_way, network, traffic) for finding in module.findings(facts)]
    found.sort(key=lambda finding: _ORDER[finding.severity])
    return {"time": facts.now, "checked": list(CODES), "findings": [finding.shown() for finding in found]}
