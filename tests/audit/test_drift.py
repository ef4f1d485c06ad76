# SPDX-License-Identifier: GPL-2.0-or-later
"""Our tables against what was loaded: every golden ruleset as the kernel holds it, and what is said of a difference."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.config import default_config
from tests.golden.case import Case, cases
from vpnpt.audit import drift
from vpnpt.kernel import nft
from vpnpt.kernel.netfilter import read_table
from vpnpt.model import Devices
from vpnpt.ruleset import FAMILIES, TABLE, compile_ruleset
from vpnpt.wire import netlink as nl
from vpnpt.wire import nftrules
from vpnpt.wire.nftrules import TableState

if TYPE_CHECKING:
    from tests.golden.kernel import Kernel

NUMBERS = {"ip": 2, "ip6": 10}
RULESET = compile_ruleset(default_config(), Devices(lan=("br-lan",), wan=("wan",)), helper=False)


def tables(kernel: Kernel) -> dict[str, TableState]:
    """Ours, as the kernel holds them."""
    with kernel.inside():
        found = {family: read_table(kernel.netlink, NUMBERS[family], TABLE) for family in FAMILIES}
    return {family: state for family, state in found.items() if state is not None}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.path.stem)
def test_the_kernel_holds_what_was_compiled(kernel: Kernel, case: Case) -> None:
    """Every ruleset that we can compile; also after an update, in which the maps stay."""
    ruleset = case.compile()
    kernel.clear()
    kernel.load(nft.replacement(ruleset))
    first = tables(kernel)
    assert set(first) == set(ruleset.tables) and drift.loaded_wrongly(ruleset, first) == []
    assert drift.changes(first, tables(kernel)) == [], "read again, the same"
    kernel.load(nft.update(ruleset, kernel.chains()))
    assert drift.loaded_wrongly(ruleset, tables(kernel)) == []
    assert bool(drift.changes(first, tables(kernel))) == bool(ruleset.tables), "the same text loaded again is not the same rules"


def test_a_ruleset_that_was_changed_under_way_is_seen_at_once(kernel: Kernel) -> None:
    """Between our load and the first look there is a moment."""
    kernel.clear()
    kernel.load(nft.replacement(RULESET))
    kernel.run("nft", "insert rule ip vpnpt prerouting accept")
    kernel.run("nft", "chain ip vpnpt flow_end { policy drop; }")
    kernel.run("nft", "delete table ip6 vpnpt")
    assert drift.loaded_wrongly(RULESET, tables(kernel)) == [
        "chain flow_end of table ip vpnpt is not as it was compiled", "chain prerouting of table ip vpnpt is not as it was compiled",
        "table ip6 vpnpt is gone"]


def test_counters_in_rules_do_not_matter(kernel: Kernel) -> None:
    """What packets change is no drift."""
    kernel.clear()
    kernel.load("table ip vpnpt {\n chain out {\n  type filter hook output priority 0; policy accept;\n"
                "  ip daddr 127.0.0.1 counter quota 9 mbytes\n  counter comment \"one\"\n }\n}\n")
    kernel.run("ip", "link", "set", "lo", "up")
    before = tables(kernel)
    kernel.run("ping", "-c", "1", "127.0.0.1")
    assert "packets 0 " not in kernel.run("nft", "list", "table", "ip", "vpnpt").stdout
    assert drift.changes(before, tables(kernel)) == []


def state(*rules: tuple[str, int, str], handle: int = 1, dormant: bool = False, policies: dict[str, str] | None = None) -> TableState:
    """A table of rules (chain, handle, comment)."""
    chains: dict[str, tuple[int, str, tuple[tuple[int, int, str], ...]]] = {}
    for chain, number, comment in rules:
        known = chains.get(chain, (hash(chain), (policies or {}).get(chain, ""), ()))
        chains[chain] = (*known[:2], (*known[2], (number, number, comment)))
    return TableState(handle=handle, dormant=dormant, chains=chains)


OLD = state(("a", 1, "vpnpt: one"), ("a", 2, "vpnpt: two"), ("b", 3, "vpnpt: three"), policies={"a": "accept"})


@pytest.mark.parametrize(("new", "said"), [
    (OLD, []),
    (None, ["table ip vpnpt is gone"]),
    (OLD.replace(handle=2), ["table ip vpnpt was deleted and made anew"]),
    (OLD.replace(dormant=True), ["table ip vpnpt is dormant: no packet meets its rules"]),
    (state(("a", 1, "vpnpt: one"), ("a", 2, "vpnpt: two"), ("b", 3, "vpnpt: three"), policies={"a": "drop"}),
     ["chain a of table ip vpnpt has policy drop, not accept"]),
    (state(("a", 2, "vpnpt: two"), ("b", 3, "vpnpt: three"), policies={"a": "accept"}), ["1 rule gone from table ip vpnpt: a (one)"]),
    (state(("a", 1, "vpnpt: one"), ("a", 2, "vpnpt: two"), ("a", 9, ""), ("b", 3, "vpnpt: three"), policies={"a": "accept"}),
     ["1 rule added to table ip vpnpt: a (no comment)"]),
    (state(("a", 2, "vpnpt: two"), ("a", 1, "vpnpt: one"), ("b", 3, "vpnpt: three"), policies={"a": "accept"}),
     ["the rules of chain a of table ip vpnpt have another order"]),
    (state(("a", 1, "vpnpt: one"), ("a", 2, "vpnpt: two"), policies={"a": "accept"}),
     ["chain b of table ip vpnpt is gone", "1 rule gone from table ip vpnpt: b (three)"]),
    (state(("a", 1, "vpnpt: one"), ("a", 2, "vpnpt: two"), ("b", 3, "vpnpt: three"), ("c", 9, "x"), policies={"a": "accept"}),
     ["chain c was added to table ip vpnpt", "1 rule added to table ip vpnpt: c (x)"]),
])
def test_what_is_said(new: TableState | None, said: list[str]) -> None:
    assert drift.changes({"ip": OLD}, {} if new is None else {"ip": new}) == said


def test_many_are_counted() -> None:
    many = state(*(("a", number, f"vpnpt: {number}") for number in range(9)), ("b", 99, "x"))
    assert drift.changes({"ip": many}, {"ip": state(("b", 99, "x"))})[-1] == (
        "9 rules gone from table ip vpnpt: a (0), a (1), a (2), and 6 more")


@pytest.mark.parametrize("cut", range(0, 200, 3))
def test_garbage_is_no_rule(cut: int) -> None:
    """A message that was cut anywhere decodes to nothing, or to a rule; never to an exception."""
    body = nl.GENERIC.pack(2, 0, 0) + nl.text(1, "vpnpt") + nl.text(2, "chain") + nl.be64(3, 7) + nl.nested(
        4, nl.nested(1, nl.text(1, "counter"), nl.nested(2, nl.be64(1, 5)))) + nl.attribute(7, b"\0\5abcd\0")
    message = nl.Message(nl.NFTABLES << 8 | nftrules.NEWRULE, 0, 1, 0, body)
    assert nftrules.decode_rule(message) == ("vpnpt", "chain", (7, hash((b"counter\0",)), "abcd"))
    message.body = body[:cut]
    for decode in (nftrules.decode_rule, nftrules.decode_chain, nftrules.decode_table):
        decode(message)
    message.body = body[:-1] + b"\xff"
    nftrules.decode_rule(message)
