# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP errors that come back from outside, remembered for the doctor: connection tracking shows only that nothing came back.

Nothing but ICMP's "destination unreachable" passes here, a handful a second at most are put down, and nothing is decided by them.
"""

from __future__ import annotations

from .text import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Devices
    from .dispatch import Dispatch
    from .text import Table

CHAIN = "icmp_note"
ERRORS, ERRORS_KEY = "icmp_errors", "@th,192,32 . @th,136,8 . @th,240,16 . @th,8,8"
"""Of what it quotes destination, IP protocol and destination port; the code. The value is who says so: a key of more than four parts
can't be read back by nft 1.0.6."""
TOO_BIG, TOO_BIG_KEY = "icmp_too_big", "ip saddr . @th,192,32 . @th,136,8 . @th,48,16"
"""Who says so; of what it quotes destination and IP protocol; the next hop's MTU (RFC 1191 section 4)."""
ERRORS_FIELDS, TOO_BIG_FIELDS = (4, 1, 2, 1), (4, 4, 1, 2)
"""Bytes of each part of the keys."""
SIZE, KEPT = 512, 600


def add_errors(table: Table, devices: Devices, dispatch: Dispatch) -> None:
    """The sets, and the chain that fills them; to be called when `dispatch` knows who else wants ICMP."""
    table.collection(ERRORS, ERRORS_KEY, value="ip saddr", size=SIZE, timeout=KEPT, comment="ICMP errors")
    table.collection(TOO_BIG, TOO_BIG_KEY, size=SIZE, timeout=KEPT, comment="ICMP: too long")
    note = table.chain(CHAIN)
    note.rule(f"iifname != {names(devices.wan)} return", "not from outside")
    note.rule("limit rate over 20/second burst 50 packets return", "enough to know")
    note.rule(f"@th,8,8 4 update @{TOO_BIG} {{ {TOO_BIG_KEY} }} return", "for vpnpt doctor")
    # The ports stand where GRE and ESP have something else: their errors are told apart by the protocol.
    note.rule(f"update @{ERRORS} {{ {ERRORS_KEY} : ip saddr }}", "for vpnpt doctor")
    if "icmp" not in dispatch.protocols:
        dispatch.protocols["icmp"] = "from_icmp"
        table.chain("from_icmp").rule(f"icmp type destination-unreachable goto {CHAIN}", "why nothing comes back")
