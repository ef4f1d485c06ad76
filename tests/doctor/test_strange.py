# SPDX-License-Identifier: GPL-2.0-or-later
"""Listings that nobody has ever made: another nft may write them in another way. Nothing raises; what can't be read blocks nothing."""
from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING, Any

from tests.doctor.test_judges import codes, facts
from tests.lab import fw4

if TYPE_CHECKING:
    from tests.golden.kernel import Kernel

RULES = """
table inet mine {
	ct helper h {
		type "pptp" protocol tcp
	}
	chain pre {
		type filter hook prerouting priority raw
		udp dport { 53, 1701 } notrack
		tcp dport 1723 ct helper set "h"
		ct state vmap { new : jump other, established : accept }
	}
	chain other {
		meta l4proto { esp, gre } limit rate 5/second drop comment "kids"
		ip saddr 192.168.1.0/24 udp dport 500-600 counter reject
	}
	chain nat {
		type nat hook prerouting priority dstnat
		iifname "wan" udp dport 500 dnat ip to 192.168.1.9
		meta nfproto ipv6 iifname "wan" redirect
	}
}
"""
STRANGE: list[Any] = [None, "", "x", 0, -1, 1.5, True, [], {}, [None], {"x": None}, [[]], {"set": None}, {"set": [None]}, "@x",
                      {"range": [1]}, {"elem": {}}, {"prefix": None}, {"payload": None}, {"meta": "x"}, {"&": []}, {"target": 5}]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a tree of JSON."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


def changed(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(tree)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def test_whatever_nft_writes(kernel: Kernel) -> None:
    kernel.clear()
    kernel.load(fw4.transaction(fw4.body(("br-lan",), ("wan",), "/nowhere/*.nft"), restart=True) + RULES)
    objects = json.loads(kernel.run("nft", "-j", "-t", "list", "ruleset").stdout)["nftables"]
    config = "config 1 pptp\nconfig 1 ipsec\n"
    assert {"NOTRACK", "FIREWALL_BLOCKS", "PORT_FORWARD", "PPTP_HELPER_DOUBLED"} <= codes(facts(config, rules=tuple(objects)))
    spots, chance = places(objects), random.Random(1)
    for _ in range(1500):
        codes(facts(config, rules=tuple(changed(objects, chance.choice(spots), chance.choice(STRANGE)))))


def test_what_can_not_be_read_blocks_nothing() -> None:
    chain = {"chain": {"family": "inet", "table": "t", "name": "c", "hook": "forward", "prio": 0, "policy": "accept"}}
    unknown = {"match": {"op": "~", "left": {"new": 1}, "right": 2}}
    for expr in ([{"match": None}, {"drop": None}], [unknown, {"drop": None}], [None], "drop"):
        rule = {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 1, "expr": expr}}
        assert codes(facts(rules=(chain, rule))) == set()
