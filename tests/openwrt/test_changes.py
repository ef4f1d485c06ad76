# SPDX-License-Identifier: GPL-2.0-or-later
"""The watch over changes with OpenWrt's own programs: uci, fw4, procd's triggers, ubus."""
from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from vpnpt.daemon.metrics import FAMILIES

if TYPE_CHECKING:
    from tests.openwrt.box import Box


def told(box: Box) -> list[tuple[str, str]]:
    """What changed, newest first: what, and the text."""
    return [(item["what"], item["text"]) for item in box.call("vpnpt", "changes")["changes"]]


def newest(box: Box, text: str) -> dict[str, Any]:
    """Waits until a change with this text is told."""
    return box.until(lambda: box.status("ubus call vpnpt status") == 0 and next(
        (item for item in box.call("vpnpt", "changes")["changes"] if text in item["text"]), None), 15)


def test_options_and_the_firewall(box: Box) -> None:
    box.sh("uci set vpnpt.pptp=1; uci commit vpnpt; reload_config")
    change = newest(box, "vpnpt.pptp.enabled: 0 -> 1")
    assert change["what"] == "configuration" and change["how"].startswith("a signal (reload_config")
    box.sh("uci set firewall.@defaults[0].flow_offloading=1; uci commit firewall; /etc/init.d/vpnpt reload")
    assert newest(box, "firewall flow_offloading: (none) -> 1")["what"] == "firewall"
    assert box.call("vpnpt", "block", {"client": "192.168.1.77", "protocol": "ipsec"})["blocked"]
    assert newest(box, "vpnpt.ipsec.deny_src: (none) -> 192.168.1.77")["how"] == "ubus block 192.168.1.77 ipsec"
    box.sh("vpnpt unblock 192.168.1.77 ipsec")
    assert newest(box, "vpnpt.ipsec.deny_src: 192.168.1.77 -> (none)")["how"] == "vpnpt unblock 192.168.1.77 ipsec"


def test_rules_that_others_flush(box: Box) -> None:
    events = box.root / "tmp" / "alerts"
    box.spawn("sh", "-c", "exec ubus listen vpnpt.alert >/tmp/alerts")
    box.until(events.exists)
    time.sleep(0.3)  # until it listens: nothing tells
    box.sh("nft flush table ip vpnpt")
    assert "put back as they were" in newest(box, "rules of table ip vpnpt are gone")["text"]
    (line,) = box.until(lambda: events.read_text().splitlines())
    alert = json.loads(line)["vpnpt.alert"]
    assert (alert["severity"], alert["code"]) == ("warning", "DRIFT")
    shot = box.call("vpnpt", "status")
    assert shot["drift"] == "" and [item["code"] for item in shot["alerts"]] == ["DRIFT"]
    assert box.sh("nft list chain ip vpnpt prerouting").count("comment") >= 3


def test_fw4_is_no_drift(box: Box) -> None:
    box.sh("fw4 -q reload; fw4 -q restart; /etc/init.d/firewall restart")
    assert not [item for item in told(box) if item[0] == "rules" and "deleted" not in item[1]]


def test_a_history_over_a_restart(box: Box) -> None:
    box.sh("uci set vpnpt.global.history=/etc/vpnpt/history; uci commit vpnpt; reload_config")
    newest(box, "vpnpt.global.history: (none) -> /etc/vpnpt/history")
    before = told(box)
    box.sh("/etc/init.d/vpnpt stop; rm -rf /var/run/vpnpt; uci set vpnpt.l2tp=0; uci commit vpnpt; /etc/init.d/vpnpt start")
    assert newest(box, "vpnpt.l2tp.enabled: 1 -> 0")["how"] == "while the daemon did not run"
    assert told(box)[-len(before):] == before


@pytest.mark.parametrize("way", ["vpnpt metrics", "ubus -S call vpnpt metrics"])
def test_metrics(box: Box, way: str) -> None:
    text = box.sh(way)
    text = json.loads(text)["text"] if way.startswith("ubus") else text
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")] == [family.name for family in FAMILIES]


def test_the_textfile_where_the_collector_reads(box: Box) -> None:
    """prometheus-node-exporter-lua-textfile reads /var/prometheus/*.prom."""
    box.sh("uci set vpnpt.global.metrics_file=/var/prometheus/vpnpt.prom; uci commit vpnpt; reload_config")
    box.until(lambda: box.status("grep -q '^vpnpt_rules_in_place 1$' /var/prometheus/*.prom") == 0, 15)
