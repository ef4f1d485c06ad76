# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands as a person uses them, with real VPNs through the lab's router."""
from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.topology import Lab
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = "config vpnpt global\n option log_level debug\nconfig 1 ipsec\nconfig 1 pptp\nconfig 1 l2tp\n"
CLIENTS = ("192.168.1.101", "192.168.1.102")


@pytest.fixture(scope="module")
def stage(sandbox: None) -> Iterator[Stage]:
    """c1 with IPsec and L2TP, c2 with IPsec and PPTP, one after the other; data has passed."""
    with Lab(clients=2, servers=1, router="vpnpt", config=CONFIG, ipv6=False) as lab:
        made = Stage(lab, {}, {}, str)
        for who, kind, name in (("c1", "ipsec", "i1"), ("c2", "ipsec", "i2"), ("c1", "l2tp", "l1"), ("c2", "pptp", "p2")):
            assert made.do_up(who, kind=kind, name=name) == {name: "up"}
            made.do_traffic(who=name)
        yield made


def vpnpt(stage: Stage, *arguments: str) -> list[str]:
    """The lines that a command prints; it must succeed."""
    return stage.lab.router.vpnpt(*arguments).splitlines()


def rows(stage: Stage, *arguments: str) -> list[list[str]]:
    """The words of each line of `vpnpt sessions`, without the head."""
    lines = vpnpt(stage, "sessions", *arguments)
    assert max(map(len, lines)) <= 80
    return [line.split() for line in lines[1:]] if lines[0].startswith("CLIENT") else []


def test_status(stage: Stage) -> None:
    lines = vpnpt(stage, "status")
    assert max(map(len, lines)) <= 80 and "rules in place" in lines[0]
    counted = {line.split()[0]: line.split()[2] for line in lines if re.match(r"  (pptp|l2tp|ipsec|openvpn) ", line)}
    assert counted == {"pptp": "1", "l2tp": "1", "ipsec": "2", "openvpn": "-"}


def test_sessions_and_top(stage: Stage) -> None:
    found = rows(stage)
    assert {(row[0], row[2]) for row in found} == {
        (CLIENTS[0], "ESP"), (CLIENTS[0], "L2TPv2"), (CLIENTS[1], "ESP"), (CLIENTS[1], "PPTP")}
    assert {row[3] for row in found} == {"up"} and len({row[-1] for row in found}) == 4
    top = vpnpt(stage, "top", "--count", "1")
    assert top[0].endswith("4 sessions: 4 up") and sorted(line.split()[-1] for line in top[4:]) == sorted(row[-1] for row in found)


def test_doctor_events_and_changes(stage: Stage) -> None:
    lines = stage.lab.router.vpnpt("doctor", check=False).splitlines()
    assert "warning: WEAK_PPTP" in lines and "looked at" in lines[-1] and max(map(len, lines)) <= 80
    assert any(" info    APPLIED: " in line for line in vpnpt(stage, "events"))
    assert vpnpt(stage, "changes")[-1].endswith(" has started [start]")


def test_no_key_is_ever_logged(stage: Stage) -> None:
    """Not even with log_level debug: neither SPIs nor cookies, in any spelling."""
    stage.do_up("c1..c2", together=True)
    stage.do_traffic("c1..c2", first="back")
    keys = [key for item in json.loads(stage.lab.router.vpnpt("sessions", "--json"))["sessions"]
            for name in ("cookies", "spis_out", "spis_in") for key in item["details"].get(name, ())]
    assert len(keys) >= 6
    said = stage.lab.router.log_text().lower()
    assert "debug: " in said
    assert not [key for key in keys if key.lower() in said or str(int(key, 16)) in said or f"{int(key, 16):x}" in said]


def test_kill_and_block(stage: Stage) -> None:
    """By the ID that is shown, by client and protocol, by client; and a blocked one is told."""
    by = {(row[0], row[2]): row[-1] for row in rows(stage)}
    assert vpnpt(stage, "kill", by[CLIENTS[0], "L2TPv2"]) == ["1 session ended"]
    assert len(rows(stage)) == 3 and rows(stage, "--ended")[0][:4] == [CLIENTS[0], "198.51.100.11", "L2TPv2", "killed"]
    assert vpnpt(stage, "kill", CLIENTS[1], "pptp") == ["1 session ended"]
    assert vpnpt(stage, "kill", CLIENTS[1]) == ["1 session ended"]
    (left,) = rows(stage)
    assert left[0] == CLIENTS[0]
    assert vpnpt(stage, "block", CLIENTS[0], "ipsec") == [f"{CLIENTS[0]}: ipsec is refused"]
    stage.tunnels["i1"].send(True, 64)
    assert stage.lab.router.wait_until(lambda: [row[:4] for row in rows(stage)] == [[CLIENTS[0], "198.51.100.11", "ipsec", "blocked"]])
    assert vpnpt(stage, "unblock", CLIENTS[0], "ipsec") == [f"{CLIENTS[0]}: ipsec is not refused any more"]
    stage.tunnels["i1"].send(True, 64)
    assert stage.lab.router.wait_until(lambda: "blocked" not in str(rows(stage)) and len(rows(stage)) == 1)
    assert vpnpt(stage, "changes")[0].endswith(f"vpnpt.ipsec.deny_src: {CLIENTS[0]} -> (none) [vpnpt unblock {CLIENTS[0]} ipsec]")
