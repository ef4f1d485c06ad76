# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor on a router with OpenWrt's own programs: silent on a healthy one, and it knows the firewall's rules by their names."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.lab.verbs import Stage
    from tests.openwrt.box import Box


def findings(box: Box) -> dict[str, dict[str, Any]]:
    """By code."""
    answer = box.call("vpnpt", "doctor")
    assert answer["checked"]
    return {item["code"]: item for item in answer["findings"]}


def test_a_healthy_router(box: Box, stage: Stage) -> None:
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    stage.do_traffic()
    assert findings(box) == {}


def test_a_rule_of_the_user_s_own(box: Box, stage: Stage) -> None:
    """Made as people make them, put in force by fw4; vpnpt does not overrule it, and names it."""
    box.sh("uci add firewall rule; uci set firewall.@rule[-1].name='No work at home'; uci set firewall.@rule[-1].src=lan; "
           "uci set firewall.@rule[-1].dest=wan; uci set firewall.@rule[-1].proto=udp; uci set firewall.@rule[-1].dest_port='500 4500'; "
           "uci set firewall.@rule[-1].target=REJECT; uci commit firewall; fw4 -q reload")
    assert stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": "dropped", "esp": "arrived"}
    found = findings(box)
    assert list(found) == ["FIREWALL_BLOCKS"]
    assert found["FIREWALL_BLOCKS"]["text"].startswith("Rule 'No work at home' (firewall.@rule[0]) stops IKE (UDP 500), NAT traversal")
    box.sh("uci delete firewall.@rule[-1]; uci commit firewall; fw4 -q reload")
    assert findings(box) == {}


def test_the_firewall_s_own_helper_and_a_port_forward(box: Box) -> None:
    options = {"name": "Office", "src": "wan", "proto": "tcp", "src_dport": "1723", "dest_ip": "192.168.1.101", "dest": "lan",
               "target": "DNAT"}
    box.sh("uci set vpnpt.pptp=1; uci commit vpnpt; reload_config; uci add firewall redirect")
    for name, value in options.items():
        box.sh(f"uci set firewall.@redirect[-1].{name}={value}")
    box.sh("uci commit firewall; fw4 -q reload")
    box.until(lambda: "WEAK_PPTP" in findings(box))
    found = findings(box)
    assert set(found) == {"WEAK_PPTP", "PORT_FORWARD"}
    assert "Redirect 'Office' (firewall.@redirect[0]) takes PPTP (TCP 1723)" in found["PORT_FORWARD"]["text"]


def test_a_zone_that_forwards_nothing(box: Box) -> None:
    box.sh("uci delete firewall.@forwarding[-1]; uci commit firewall; fw4 -q reload")
    found = findings(box)
    assert list(found) == ["FIREWALL_BLOCKS"]
    assert found["FIREWALL_BLOCKS"]["text"] == "The firewall lets no L2TP (UDP 1701), IKE (UDP 500), NAT traversal (UDP 4500), ESP, " \
        "OpenVPN (UDP 1194), OpenVPN (TCP 1194), WireGuard (UDP 51820) pass between LAN and WAN: nothing accepts it."


def test_an_old_release(box: Box) -> None:
    (box.root / "etc/openwrt_release").write_text("DISTRIB_RELEASE='21.02.7'\nDISTRIB_DESCRIPTION='OpenWrt 21.02.7 r16847'\n")
    assert list(findings(box)) == ["RELEASE_EOL"]
    assert box.call("vpnpt", "status")["release"] == "OpenWrt 21.02.7"
