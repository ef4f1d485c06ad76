# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP errors that come back from outside, remembered for the doctor: connection tracking shows only that nothing came back.

Nothing but ICMP's "destination unreachable" passes here, a handful a second at most are put down, and nothing is decided by them.
"""

from __future__ import annotations

from .maps import ICMP, ICMP_ERRORS, ICMP_TOO_BIG, declare
from .text import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Config, Devices
    from .dispatch import Dispatch
    from .text import Table

CHAIN = "icmp_note"


def add_errors(table: Table, config: Config, devices: Devices, dispatch: Dispatch) -> None:
    """The sets, and the chain that fills them; to be called when `dispatch` knows who else wants ICMP."""
    declare(table, config, ICMP)
    note = table.chain(CHAIN)
    note.rule(f"iifname != {names(devices.wan)} return", "not from outside")
    note.rule("limit rate over 20/second burst 50 packets return", "enough to know")
    note.rule(f"@th,8,8 4 update @{ICMP_TOO_BIG.name} {{ {ICMP_TOO_BIG.key} }} return", "noted for vpnpt doctor")
    # The ports stand where GRE and ESP have something else: their errors are told apart by the protocol.
    note.rule(f"update @{ICMP_ERRORS.name} {{ {ICMP_ERRORS.key} : ip saddr }}", "noted for vpnpt doctor")
    if "icmp" not in dispatch.protocols:
        dispatch.protocols["icmp"] = "from_icmp"
        table.chain("from_icmp").rule(f"icmp type destination-unreachable goto {CHAIN}", "noted for the doctor: why nothing comes back")
