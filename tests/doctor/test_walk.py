# SPDX-License-Identifier: GPL-2.0-or-later
"""What rules do with a packet that we imagine, as the kernel's own listing has them."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.lab import fw4
from vpnpt.doctor.walk import Packet, Walker

if TYPE_CHECKING:
    from tests.golden.kernel import Kernel

IKE = Packet(iif="br-lan", oif="wan", proto=17, dport=500)
ESP = Packet(iif="br-lan", oif="wan", proto=50)
PPTP = Packet(iif="br-lan", oif="wan", proto=6, dport=1723)
GRE = Packet(iif="br-lan", oif="wan", proto=47)
SIX = Packet(iif="br-lan", oif="wan", proto=17, dport=500, family=6)
BACK = Packet(iif="wan", oif="br-lan", proto=17, sport=500, state="established", direction="reply")

FORWARD = "chain forward {\n\ttype filter hook forward priority 0; policy POLICY;\nRULES\n\t}"
# Rules of a forward chain; what they do with each packet: passes, stops (sure), may (only if what is open holds).
CASES = {
    "nothing": ("", {"IKE": "passes", "ESP": "passes", "GRE": "passes"}),
    "port": ("udp dport 500 drop", {"IKE": "stops", "ESP": "passes", "PPTP": "passes", "BACK": "passes", "SIX": "stops"}),
    "ports": ("meta l4proto { tcp, udp } th dport { 400-600, 1723 } reject", {"IKE": "stops", "PPTP": "stops", "GRE": "passes"}),
    "another port": ("udp dport != 53 drop", {"IKE": "stops", "ESP": "passes"}),
    "source port": ("udp sport 500 drop", {"BACK": "stops"}),
    "protocols": ("ip protocol { gre, esp } drop", {"ESP": "stops", "GRE": "stops", "IKE": "passes", "SIX": "passes"}),
    "by number": ("meta l4proto 47 drop", {"GRE": "stops", "ESP": "passes"}),
    "one family": ("meta nfproto ipv6 udp dport 500 drop", {"IKE": "passes", "SIX": "stops"}),
    "addresses": ("ip saddr 192.168.1.50 udp dport 500 drop", {"IKE": "may", "SIX": "passes", "ESP": "passes"}),
    "addresses, not of VPNs": ("ip saddr 192.168.1.50 drop", {"IKE": "passes", "ESP": "passes"}),
    "a named set": ("ip daddr @some meta l4proto esp drop", {"ESP": "may", "IKE": "passes"}),
    "time": ('meta hour "22:00"-"23:00" udp dport 500 drop', {"IKE": "may"}),
    "limit": ("udp dport 500 limit rate over 5/second drop", {"IKE": "may"}),
    "devices": ('iifname { "br-guest", "eth*" } drop', {"IKE": "passes"}),
    "wildcard": ('iifname "br-*" oifname "wan" udp dport 500 drop', {"IKE": "stops", "BACK": "passes"}),
    "accepted before": ("udp dport 500 accept\nudp dport 500 drop", {"IKE": "passes"}),
    "perhaps accepted before": ("ip saddr 192.168.1.2 accept\nudp dport 500 drop", {"IKE": "may", "ESP": "passes"}),
    "perhaps accepted, then all": ("ip saddr 192.168.1.2 accept\ndrop", {"IKE": "passes"}),
    "all": ("drop", {"IKE": "stops", "ESP": "stops", "SIX": "stops", "BACK": "stops"}),
    "states": ("ct state established,related accept\nudp sport 500 drop\nudp dport 500 drop", {"BACK": "passes", "IKE": "stops"}),
    "states by map": ("ct state vmap { established : accept, new : drop }", {"BACK": "passes", "IKE": "stops"}),
    "ports by map": ("udp dport vmap { 53 : accept, 500 : drop }", {"IKE": "stops", "ESP": "passes", "PPTP": "passes"}),
    "jump": ("udp dport 500 jump dropping", {"IKE": "stops", "ESP": "passes"}),
    "jump that returns": ("jump returning\nudp dport 500 accept\ndrop", {"IKE": "passes", "ESP": "stops"}),
    "goto that ends": ("meta l4proto esp goto returning\ndrop", {"ESP": "passes", "IKE": "stops"}),
    "jump under conditions": ("ip saddr 192.168.1.50 jump blocking", {"PPTP": "may", "IKE": "passes"}),
    "deep": ("jump level1", {"GRE": "stops", "ESP": "passes"}),
    "a mark": ("meta mark 7 udp dport 500 drop", {"IKE": "may"}),
    "masks": ("ip frag-off & 0x1fff != 0 meta l4proto esp drop", {"ESP": "may"}),
    "raw bits that nft knows the name of": ("@th,16,16 500 drop", {"IKE": "stops", "ESP": "passes"}),
    "raw bits": ("@th,48,16 500 meta l4proto udp drop", {"IKE": "passes"}),
}
CHAINS = """
	set some { type ipv4_addr; elements = { 198.51.100.11 }
	}
	chain dropping {
		counter drop
	}
	chain returning {
		return
	}
	chain blocking {
		tcp dport 1723 drop
	}
	chain level2 {
		meta l4proto gre drop
	}
	chain level1 {
		jump level2
	}
"""


def walker(kernel: Kernel, text: str) -> Walker:
    kernel.clear()
    kernel.load(text)
    return Walker(json.loads(kernel.run("nft", "-j", "-t", "list", "ruleset").stdout)["nftables"], skip="vpnpt")


@pytest.mark.parametrize("name", CASES)
def test_stops(kernel: Kernel, name: str) -> None:
    rules, expected = CASES[name]
    found = walker(kernel, f"table inet mine {{{CHAINS}{FORWARD.replace('POLICY', 'accept').replace('RULES', rules)}\n}}\n")
    for packet, verdict in expected.items():
        hits = found.stops(globals()[packet])
        assert ("stops" if any(hit.sure for hit in hits) else "may" if hits else "passes") == verdict, (packet, hits)


def test_policy(kernel: Kernel) -> None:
    found = walker(kernel, f"table inet mine {{\n{FORWARD.replace('POLICY', 'drop').replace('RULES', 'udp dport 500 accept')}\n}}\n")
    assert not found.stops(IKE)
    (hit,) = found.stops(ESP)
    assert hit.sure and hit.rule.place == "table inet mine, chain forward, its policy"


def test_a_stock_firewall_passes_all(kernel: Kernel) -> None:
    found = walker(kernel, fw4.transaction(fw4.body(["br-lan"], ["wan"], "/nowhere/*.nft"), restart=True))
    for packet in (IKE, ESP, PPTP, GRE, SIX, BACK):
        assert not found.stops(packet)
    inbound = Packet(iif="wan", oif="br-lan", proto=17, dport=500)
    assert [hit.sure for hit in found.stops(inbound)] == [True]


def test_the_rule_that_is_named(kernel: Kernel) -> None:
    """Not the chain that drops for everybody, but the rule that sent this packet there."""
    found = walker(kernel, "table inet fw4 {\n\tchain drop_to_wan {\n\t\tcounter drop comment \"!fw4: drop wan traffic\"\n\t}\n"
                           "\tchain forward {\n\t\ttype filter hook forward priority 0\n"
                           "\t\tudp dport 500 counter packets 7 bytes 9 jump drop_to_wan comment \"!fw4: No-IKE\"\n\t}\n}\n")
    (hit,) = found.stops(IKE)
    assert (hit.rule.comment, hit.rule.chain, hit.rule.packets) == ("!fw4: No-IKE", "forward", 7)


def test_every_hook_on_the_way_and_no_other(kernel: Kernel) -> None:
    for hook, verdict in (("prerouting", 1), ("forward", 1), ("postrouting", 1), ("input", 0), ("output", 0)):
        chain = f"chain c {{\n\t\ttype filter hook {hook} priority -350\n\t\tmeta l4proto esp drop\n\t}}"
        found = walker(kernel, f"table ip t {{\n\t{chain}\n}}\n")
        assert len(found.stops(ESP)) == verdict, hook


def test_our_own_table_is_not_the_users(kernel: Kernel) -> None:
    found = walker(kernel, "table ip vpnpt {\n\tchain c {\n\t\ttype filter hook forward priority 0\n\t\tdrop\n\t}\n}\n")
    assert not found.chains and not found.stops(ESP)


def test_jumps_in_a_circle_end() -> None:
    """The kernel takes none; a listing that was made while rules change might show one."""
    jump = {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 2, "expr": [{"jump": {"target": "c"}}]}}
    chain = {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "forward", "prio": 0, "policy": "accept"}}
    assert not Walker([chain, jump]).stops(ESP)


def test_statements(kernel: Kernel) -> None:
    found = walker(kernel, """table ip t {
	ct helper h {
		type "pptp" protocol tcp
	}
	chain a {
		type filter hook prerouting priority raw
		udp dport { 500, 1701 } notrack
		tcp dport 1723 ct helper set "h"
	}
	chain b {
		type nat hook prerouting priority dstnat
		iifname "wan" udp dport 500 dnat to 192.168.1.9
		iifname "wan" tcp dport 8080 dnat to 192.168.1.9
	}
}
""")
    assert len(found.matching(IKE, "notrack")) == 1 and not found.matching(ESP, "notrack")
    assert len(found.matching(PPTP, "ct helper")) == 1 and found.helpers == {("ip", "t", "h"): "pptp"}
    assert len(found.matching(Packet(iif="wan", proto=17, dport=500), "dnat")) == 1
    assert not found.matching(Packet(iif="br-lan", proto=17, dport=500), "dnat"), "it is for the WAN"
