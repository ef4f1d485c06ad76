"""Every golden file: compared byte for byte, loaded into the kernel, listed back, and replaced by the next one while it runs."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.golden.case import EXPECTATIONS, Case, cases
from vpnpt import nft
from vpnpt.nft import NftError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.golden.kernel import Kernel
    from vpnpt.ruleset import Ruleset

CASES = cases()
BY_NAME = [pytest.param(case, id=case.name) for case in CASES]
PAIRS = [pytest.param(one, other, id=f"{one.name}-{other.name}")
         for one, other in zip(CASES, [*CASES[1:], CASES[0]], strict=True)]


@pytest.mark.parametrize("case", BY_NAME)
def test_golden(case: Case, tmp_path: Path) -> None:
    produced = case.produce(tmp_path)
    for name in EXPECTATIONS:
        assert produced[name] == case.expected[name], f"{name} of {case.name}: if that is meant, run tests/golden/update {case.name}"
    assert case.text(case.expected) == case.path.read_text(), "not as tests/golden/update writes it"


@pytest.mark.parametrize("case", BY_NAME)
def test_same_bytes_whatever_the_hash_seed(case: Case, tmp_path: Path) -> None:
    assert case.produce(tmp_path, seed="1") == case.produce(tmp_path, seed="20481")


@pytest.mark.parametrize("case", BY_NAME)
def test_the_daemon_compiles_what_render_prints(case: Case) -> None:
    assert case.compile().render() == case.expected["ruleset"]


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("case", BY_NAME)
def test_loads_and_lists_back(kernel: Kernel, case: Case, byteorder: str) -> None:
    kernel.clear()
    ruleset = case.compile(byteorder)
    kernel.load(ruleset.render())
    kernel.run("nft", "list", "ruleset")
    listed = {place: [rule["comment"] for rule in rules[1:]] for place, rules in kernel.rules().items()}
    assert listed == {(family, chain.name): [comment_of(rule) for rule in chain.rules]
                      for family, table in ruleset.tables.items() for chain in table.chains}


@pytest.mark.parametrize("case", BY_NAME)
def test_fw4_takes_the_forward_rules(kernel: Kernel, case: Case) -> None:
    rules = case.expected["fw4 rules"]
    chain = "type filter hook forward priority filter; policy drop;"
    kernel.load(f"table inet fw4 {{\n chain forward {{\n {chain}\n{rules} }}\n}}\ndelete table inet fw4\n")


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_reload(kernel: Kernel, one: Case, other: Case) -> None:
    """By `update` where the collections stay (then it must work, and keep their elements), else by `replacement`."""
    old, new = one.compile(), other.compile()
    kernel.clear()
    kernel.load(new.render())
    fresh = kernel.rules()
    kernel.clear()
    kernel.load(old.render())
    zoned = "ip" in old.tables and "client_zone" in old.tables["ip"].collections
    if zoned:
        kernel.run("nft", "add", "element", "ip", "vpnpt", "client_zone", "{ 192.168.1.7 : 20485 }")
    kept = update_or_replace(kernel, old, new)
    assert kernel.rules() == fresh
    if zoned and kept and "ip" in new.tables:
        assert "192.168.1.7" in kernel.run("nft", "list", "map", "ip", "vpnpt", "client_zone").stdout


def update_or_replace(kernel: Kernel, old: Ruleset, new: Ruleset) -> bool:
    """Was it done by `update`?"""
    same = all(table.declarations() == old.tables[family].declarations() for family, table in new.tables.items() if family in old.tables)
    with kernel.inside():
        if same:
            nft.load(nft.update(new, kernel.chains()))
        else:
            nft.load(nft.replacement(new))
    return same


def test_a_refused_text_changes_nothing(kernel: Kernel) -> None:
    kernel.clear()
    kernel.load(CASES[0].compile().render())
    before = kernel.rules()
    with kernel.inside(), pytest.raises(NftError, match="nonsense"):
        nft.load(nft.update(CASES[1].compile(), kernel.chains()) + "nonsense\n")
    assert kernel.rules() == before


def comment_of(rule: str) -> Any:
    found = re.search(r' comment "([^"]*)"$', rule)
    assert found, f"no comment: {rule}"
    return found[1]
