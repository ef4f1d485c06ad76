# SPDX-License-Identifier: GPL-2.0-or-later
"""What others did to our tables: what the kernel holds, compared with what we loaded. Pure.

Two comparisons. Right after a load the kernel must hold what was compiled: the same chains with the same policies, the same rules by
their comments, in order. Later it must hold the very same rules, by handle and expressions (wire/nftrules.py): one that was replaced by
another with the same comment is found as well.
"""
from __future__ import annotations

from functools import reduce

from ..model import Said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ruleset import Ruleset
    from ..wire.nftrules import TableState

    Tables = Mapping[str, TableState]

NAMED = 3
"""The most rules, chains or tables that a sentence names; the others are counted."""


def as_compiled(ruleset: Ruleset) -> dict[str, dict[str, tuple[str, list[str]]]]:
    """What the kernel must hold after a load: by family and chain, the policy and each rule's comment."""
    return {family: {chain.name: (_policy(chain.hook), [_comment(rule) for rule in chain.rules]) for chain in table.chains}
            for family, table in ruleset.tables.items()}


def loaded_wrongly(ruleset: Ruleset, tables: Tables) -> list[Said]:
    """How the kernel differs from a ruleset that was just loaded; empty if it does not."""
    found = []
    for family, chains in as_compiled(ruleset).items():
        state = tables.get(family)
        if state is None:
            found.append(_gone(family))
            continue
        if state.dormant:
            found.append(_dormant(family))
        there = {name: (policy, [rule[2] for rule in rules]) for name, (_, policy, rules) in state.chains.items()}
        found += [Said("chain {chain} of table {table} vpnpt is not as it was compiled", chain=name, table=family)
                  for name in sorted(set(chains) | set(there)) if chains.get(name) != there.get(name)]
    return _named(found)


def changes(sealed: Tables, now: Tables) -> list[Said]:
    """What differs from the tables as they were loaded, in short sentences; empty if nothing does."""
    found = []
    for family, old in sealed.items():
        new = now.get(family)
        if new is None:
            found.append(_gone(family))
        elif new.handle != old.handle:
            found.append(Said("table {table} vpnpt was deleted and made anew", table=family))
        else:
            found += _table_changes(family, old, new)
    return found


def _table_changes(family: str, old: TableState, new: TableState) -> list[Said]:
    found = [_dormant(family)] if new.dormant and not old.dormant else []
    gone: list[tuple[str, str]] = []
    added: list[tuple[str, str]] = []
    moved: list[str] = []
    for name in sorted(set(old.chains) | set(new.chains)):
        before, after = old.chains.get(name), new.chains.get(name)
        if after is None or (before is not None and before[0] != after[0]):
            found.append(Said("chain {chain} of table {table} vpnpt is gone", chain=name, table=family) if after is None else
                         Said("chain {chain} of table {table} vpnpt was deleted and made anew", chain=name, table=family))
        if before is None:
            found.append(Said("chain {chain} was added to table {table} vpnpt", chain=name, table=family))
        elif after is not None and before[1] != after[1]:
            found.append(Said("chain {chain} of table {table} vpnpt has policy {policy}, not {before}", chain=name, table=family,
                              policy=after[1], before=before[1]))
        rules, rules_now = before[2] if before else (), after[2] if after else ()
        if rules == rules_now:
            continue
        known, present = set(rules), set(rules_now)
        gone += [(name, rule[2]) for rule in rules if rule not in present]
        added += [(name, rule[2]) for rule in rules_now if rule not in known]
        if [rule for rule in rules if rule in present] != [rule for rule in rules_now if rule in known]:
            moved.append(name)
    found += [Said("the rules of chain {chain} of table {table} vpnpt have another order", chain=name, table=family) for name in moved]
    total = sum(len(rules) for _, _, rules in old.chains.values())
    if gone and len(gone) == total:
        found.append(Said("all {count} rules of table {table} vpnpt are gone", count=total, table=family))
    elif gone:
        found.append(Said("{rules} gone from table {table} vpnpt: {names}", rules=_count(gone), table=family, names=_listed(gone)))
    if added:
        found.append(Said("{rules} added to table {table} vpnpt: {names}", rules=_count(added), table=family, names=_listed(added)))
    return _named(found)


def _gone(family: str) -> Said:
    return Said("table {table} vpnpt is gone", table=family)


def _dormant(family: str) -> Said:
    return Said("table {table} vpnpt is dormant: no packet meets its rules", table=family)


def _count(rules: list[tuple[str, str]]) -> Said:
    return Said("1 rule") if len(rules) == 1 else Said("{count} rules", count=len(rules))


def _listed(rules: list[tuple[str, str]]) -> Said:
    return reduce(lambda one, other: Said("{one}, {other}", one=one, other=other), _named([
        Said("{chain} ({comment})", chain=chain, comment=comment.removeprefix("vpnpt: ") or Said("no comment"))
        for chain, comment in rules]))


def _named(items: list[Said]) -> list[Said]:
    return items if len(items) <= NAMED else [*items[:NAMED], Said("and {count} more", count=len(items) - NAMED)]


def _policy(hook: str) -> str:
    return hook.rpartition("policy ")[2].rstrip("; ") if "policy " in hook else "accept" if hook else ""


def _comment(rule: str) -> str:
    return rule.rpartition(' comment "')[2].rstrip('"')
