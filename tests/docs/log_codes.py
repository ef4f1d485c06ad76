# SPDX-License-Identifier: GPL-2.0-or-later
"""What each code of the log means, and what to do. docs/reference/log-codes.md is made from it; a test holds it against the code.

Here and not in src/vpnpt: the router needs none of these sentences.
"""
from __future__ import annotations

MEANINGS = {
    "APPLIED": "The configuration is in force; the line says what it does.",
    "READY": "The file `ready` of the run directory can't be written; everything else works.",
    "STATE": "What is to outlive a restart (the last good configuration, the maps) can't be written: is there space?",
    "TROUBLE": "The system refuses what the daemon needs (descriptors, memory); it goes on and asks again.",
    "CONFIG": "Something in the configuration is wrong; the line says what, where, and what is valid.",
    "RULESET": "The kernel refused the ruleset; what ran goes on. Is a kernel module missing?",
    "RESTORED": "Somebody deleted our tables; they are back, with what they had learned.",
    "RESTORE": "Somebody deleted our tables, and they could not be put back; that is tried again.",
    "DRIFT": "Others changed the rules in our tables; the line says what, who, and whether they were put back (`on_drift`).",
    "HISTORY": "The file of `vpnpt.global.history` can't be used; the history is kept in RAM.",
    "METRICS": "The file of `vpnpt.global.metrics_file` can't be written.",
    "REFUSED": "A flow was refused: its protocol is switched off, or its client is not in `allow_src`, or is in `deny_src`.",
    "CUT": "Live flows of a protocol that is now refused were ended.",
    "FULL": "A client was refused because `max_clients` are being served.",
    "HELPER": "The kernel's PPTP helper is missing; the line names the package.",
    "AH": "A client uses AH, which can't pass NAT (RFC 3715): use ESP, or NAT traversal.",
    "SAME-SPI": "Two clients chose the same SPI with one server: both get its packets, for good.",
    "SAME-TUNNEL": "Two clients chose the same L2TP tunnel ID with one server that sends to port 1701 whatever the client's port was.",
    "MOVED": "An L2TP server answers from another port (RFC 2661 section 8.1).",
    "UBUS": "The object `vpnpt` could not be put on ubus, or an answer was too long for it.",
    "NFLOG": "The kernel's notices can't be had; the line names the package.",
    "OVERRUN": "More notices came than the daemon could read; what the kernel knows was read again.",
    "SESSIONS": "conntrack's events can't be had; the line names the package. Or too many flows begin and end: `vpnpt sessions` still "
                "answers.",
    "ACCOUNTING": "`net.netfilter.nf_conntrack_acct` was off and is on now, so that sessions show their packets and bytes.",
    "KERNEL": "A decision could not be written to the kernel's maps; the next packet tries again.",
    "RESYNC": "The kernel's maps could not be read; the next packet tries again.",
    "HOUSEKEEPING": "The kernel's maps could not be read to find clients that have gone; that is tried again.",
    "ASSIGNED": "An inbound SPI has one owner.",
    "FANNED": "An inbound SPI is open: several clients may own it, and each gets a copy.",
    "FW4": "`fw4 reload` failed.",
    "LOG-FULL": "The system log did not read its socket for a time; so many lines are only in `vpnpt events`. Is logd stuck?",
}
