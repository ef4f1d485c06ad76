# SPDX-License-Identifier: GPL-2.0-or-later
"""nf_tables messages about a table's content: its flags, its chains' policies, its rules. Pure.

Source: include/uapi/linux/netfilter/nf_tables.h and net/netfilter/nf_tables_api.c. A table's handle is drawn from a counter of the
network namespace, that of a chain or rule from one of its table, and both only grow: what was deleted and made again, even with the
very same text, has another. But a rule that is replaced keeps its handle (measured, Linux 6.18): so its expressions count too.
"""
from __future__ import annotations

from ..record import Record
from . import netlink as nl
from .nftables import CHAIN_NAME, CHAIN_TABLE, GETTABLE, NEWCHAIN, NEWTABLE, TABLE_NAME, _attributes, request

TYPE_CHECKING = False

# enum nf_tables_msg_types
NEWRULE, GETRULE = 6, 7

# Attributes, without their prefix NFTA_
TABLE_FLAGS, TABLE_HANDLE = 2, 4
CHAIN_HANDLE, CHAIN_POLICY = 2, 5
RULE_TABLE, RULE_CHAIN, RULE_HANDLE, RULE_EXPRESSIONS, RULE_USERDATA = 1, 2, 3, 4, 7
EXPR_NAME = 1
UDATA_COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT of libnftnl's include/libnftnl/udata.h

DORMANT = 1  # NFT_TABLE_F_DORMANT: no chain of the table sees a packet
POLICIES = {0: "drop", 1: "accept"}  # NF_DROP, NF_ACCEPT


VOLATILE = (b"counter\0", b"quota\0", b"last\0")  # expressions with a state: packets change what the kernel reports of them

if TYPE_CHECKING:
    Rule = tuple[int, int, str]


class TableState(Record):
    """A table: chains by name, each as (handle, policy, rules); policy '' where it is no base chain.

    A rule is (handle, a number that stands for its expressions, comment).
    """

    __slots__ = ("handle", "dormant", "chains")
    handle: int
    dormant: bool
    chains: dict[str, tuple[int, str, tuple[Rule, ...]]]

    def __hash__(self) -> int:
        return hash((self.handle, self.dormant, *self.chains))


def dump_rules(family: int, table: str) -> bytes:
    """Ask for all rules of a table."""
    return request(GETRULE, nl.DUMP, family, nl.text(RULE_TABLE, table))


def get_table(family: int, table: str) -> bytes:
    """Ask for one table."""
    return request(GETTABLE, 0, family, nl.text(TABLE_NAME, table))


def decode_table(msg: nl.Message) -> tuple[int, bool] | None:
    """(handle, whether it is dormant) of a NEWTABLE message; None for others, and for broken ones."""
    parsed = _attributes(msg, NEWTABLE)
    if parsed is None:
        return None
    handle, flags = nl.number(parsed[1].get(TABLE_HANDLE), 8), nl.number(parsed[1].get(TABLE_FLAGS), 4)
    return None if handle is None else (handle, bool((flags or 0) & DORMANT))


def decode_chain(msg: nl.Message) -> tuple[str, str, int, str] | None:
    """(table, name, handle, policy) of a NEWCHAIN message; None for others, and for broken ones."""
    parsed = _attributes(msg, NEWCHAIN)
    if parsed is None or CHAIN_TABLE not in parsed[1] or CHAIN_NAME not in parsed[1]:
        return None
    attrs = parsed[1]
    policy = nl.number(attrs.get(CHAIN_POLICY), 4)
    return (nl.string(attrs[CHAIN_TABLE]), nl.string(attrs[CHAIN_NAME]), nl.number(attrs.get(CHAIN_HANDLE), 8) or 0,
            "" if policy is None else POLICIES.get(policy, str(policy)))


def decode_rule(msg: nl.Message) -> tuple[str, str, Rule] | None:
    """(table, chain, rule) of a NEWRULE message; None for others, and for broken ones."""
    parsed = _attributes(msg, NEWRULE)
    if parsed is None or RULE_TABLE not in parsed[1] or RULE_CHAIN not in parsed[1]:
        return None
    attrs = parsed[1]
    handle, expressions = nl.number(attrs.get(RULE_HANDLE), 8), _digest(attrs.get(RULE_EXPRESSIONS, b""))
    if handle is None or expressions is None:
        return None
    rule = handle, expressions, _comment(attrs.get(RULE_USERDATA, b""))
    return nl.string(attrs[RULE_TABLE]), nl.string(attrs[RULE_CHAIN]), rule


def _digest(expressions: bytes) -> int | None:
    """A hash of a rule's expressions, stable within this process; None for broken ones. Those with a state (VOLATILE) are left out."""
    if not any(name in expressions for name in VOLATILE):
        return hash(expressions)
    items = nl.split(expressions)
    if items is None:
        return None
    kept = []
    for _kind, item in items:
        attrs = nl.attributes(item)
        if attrs is None:
            return None
        name = attrs.get(EXPR_NAME, b"")
        kept.append(name if name in VOLATILE else item)
    return hash(tuple(kept))


def _comment(userdata: bytes) -> str:
    """Userdata is nft's own: a byte of type, one of length, the value (libnftnl, src/udata.c)."""
    at = 0
    while len(userdata) - at >= 2:
        kind, length = userdata[at], userdata[at + 1]
        if kind == UDATA_COMMENT:
            return nl.string(userdata[at + 2:at + 2 + length])
        at += 2 + length
    return ""
