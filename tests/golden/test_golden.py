# SPDX-License-Identifier: GPL-2.0-or-later
"""Every golden file: compared byte for byte, loaded into the kernel, listed back, and replaced by the next one while it runs."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.golden.case import EXPECTATIONS, Case, cases
from vpnpt.config.compile import compile_config
from vpnpt.kernel import nft
from vpnpt.kernel.nft import NftError
from vpnpt.model import Devices
from vpnpt.ruleset import compile_ruleset

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
    produced, expected = case.produce(tmp_path), case.expected_in()
    for name in EXPECTATIONS:
        assert produced[name] == expected[name], f"{name} of {case.name}: if that is meant, run tests/golden/update {case.name}"
    assert case.text(case.expected) == case.path.read_text(), "not as tests/golden/update writes it"


@pytest.mark.parametrize("case", BY_NAME)
def test_same_bytes_whatever_the_hash_seed(case: Case, tmp_path: Path) -> None:
    assert case.produce(tmp_path, seed="1") == case.produce(tmp_path, seed="20481")


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("case", BY_NAME)
def test_the_daemon_compiles_what_render_prints(case: Case, byteorder: str) -> None:
    assert case.compile(byteorder).render() == case.expected_in(byteorder)["ruleset"]


@pytest.mark.parametrize("case", BY_NAME)
def test_no_address_is_set_to_raw_bits(case: Case) -> None:
    """nft 1.0 takes that, nft 1.1 refuses it, and with it the whole ruleset (datatype mismatch). Raw bits to raw bits do in both."""
    assert not re.findall(r"ip6? [sd]addr set @(?:ll|nh|th),\d+,\d+ (?!\.|map)", case.expected["ruleset"])


def test_byte_orders_differ() -> None:
    """Or the expectation of the other one would be empty words."""
    differ = [case.name for case in CASES if case.expected_in("big") != case.expected_in("little")]
    assert differ and set(differ) == {case.name for case in CASES if "jhash" in case.expected["ruleset"]}


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


@pytest.mark.parametrize("text", [
    "config protocol 'l2tp'\n list allow_src 192.168.1.0/24\n list allow_src 192.168.1.20\n list allow_src 2001:db8::/32\n"
    " list allow_src 2001:db8::1\n",
    "config protocol 'l2tp'\n list allow_src 0.0.0.0/0\n list allow_src 192.168.1.20\n list allow_src ::/0\n",
    "config protocol 'l2tp'\n list allow_src 0.0.0.0/1\n list allow_src 128.0.0.0/1\n list allow_src 255.255.255.255\n",
    "config vpnpt 'global'\n list lan_device 'if'\n list lan_device 'a;b'\n list lan_device '$p'\n list lan_device '@c'\n"
    " list wan_device 'wan.2'\n list wan_device 'table'\n list wan_device '012345678901234'\n",
    "config vpnpt 'global'\n option zone_base 65535\n option zone_count 1\n option max_clients 1\n option max_keys 64\n"
    " option client_timeout 2\n option key_timeout 2\n option fast_timeout 1\n option pending_timeout 120\n",
    "config vpnpt 'global'\n option zone_base 1\n option zone_count 65535\n option max_clients 65535\n option max_keys 1048576\n"
    " option client_timeout 2592000\n option key_timeout 2592000\n option fast_timeout 86400\n",
    "config 0 'openvpn'\n list port 1\n list port 65535\nconfig protocol 'ipsec'\n list natt_port 500\n list natt_port 4500\n"
    "config 1 'pptp'\n list port 500\n",
], ids=["overlaps", "everybody", "the whole range", "device names", "smallest", "largest", "ports"])
def test_the_extremes_load_and_list_back(kernel: Kernel, text: str) -> None:
    config, diagnostics = compile_config(text)
    assert config is not None and not diagnostics
    devices = Devices(lan=config.general.lan_device or ("br-lan",), wan=config.general.wan_device or ("wan",))
    kernel.clear()
    kernel.load(compile_ruleset(config, devices).render())
    kernel.run("nft", "list", "ruleset")


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


def test_no_rule_asks_whether_a_map_has_a_key() -> None:
    """Linux before 6.5 refuses it (EINVAL, nft_lookup_init()), and with it the whole ruleset; the host's kernel may take it."""
    config, _ = compile_config("config 1 'pptp'\nconfig 1 'ipsec'\nconfig 1 'l2tp'\n")
    assert config is not None
    table = compile_ruleset(config, Devices(lan=("br-lan",), wan=("wan",)), offload=True).tables["ip"]
    maps = {name for name, one in table.collections.items() if one.value}
    asked = [(chain.name, rule) for chain in table.chains for rule in chain.rules
             for word, name in re.findall(r"(\S+) @(\w+)", rule) if name in maps and word not in ("map", "add", "update", "delete")]
    assert len(maps) > 20 and asked == []
