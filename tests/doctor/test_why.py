# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict at its edges; that each cause is named for real is shown in the lab (tests/lab/test_why.py)."""
from __future__ import annotations

from typing import Any

import pytest

from vpnpt.config.compile import compile_config
from vpnpt.doctor.facts import Facts, Uplink
from vpnpt.doctor.passage import Passage, enough
from vpnpt.doctor.why import Case, judge
from vpnpt.model import Devices

CLIENT = bytes((192, 168, 1, 2))
SERVER = "203.0.113.1"
UP = (Uplink(device="wan", addresses=("198.51.100.2",), mtu=1500, up=True),)


def passage(proto: int, port: int, *counts: int, server: str = SERVER) -> Passage:
    config, _ = compile_config("config 1 ipsec\nconfig 1 pptp\nconfig 1 l2tp\n", "vpnpt")
    assert config is not None
    return Passage.of(config, server, proto, port, dict(zip(("asked", "left", "came", "delivered"), counts, strict=True)))


def verdict(*passages: Passage, config: str = "config 1 ipsec\nconfig 1 pptp\n", mac: str = "", **known: Any) -> dict[str, Any]:
    devices = Devices(lan=("br-lan",), wan=("wan",))
    facts = Facts(now=100, config=compile_config(config, "vpnpt")[0], devices=devices, **{"uplinks": UP, **known})
    return judge(facts, Case(client=CLIENT, server=b"", mac=mac, since=40, passages=passages))


@pytest.mark.parametrize(("passages", "code"), [
    ((), "nothing"),
    ((passage(17, 500, 4, 4, 0, 0),), "IKE_UNANSWERED"),
    ((passage(17, 500, 4, 4, 4, 4),), "agree"),
    ((passage(17, 500, 4, 4, 4, 4), passage(50, 0, 3, 3, 0, 0)), "ESP_UNANSWERED"),
    ((passage(17, 500, 4, 4, 4, 4), passage(50, 0, 3, 3, 3, 3)), "works"),
    ((passage(17, 4500, 2, 2, 2, 2),), "agree"),
    ((passage(17, 4500, 9, 9, 9, 9),), "works"),
    ((passage(6, 1723, 6, 6, 6, 6), passage(47, 0, 3, 3, 0, 0)), "GRE_UNANSWERED"),
    ((passage(17, 500, 4, 0, 0, 0),), "lost"),
    ((passage(17, 500, 4, 4, 4, 0),), "lost"),
    ((passage(17, 500, 4, 4, 0, 0), passage(17, 500, 4, 4, 4, 4, server="203.0.113.2"),
      passage(50, 0, 4, 4, 4, 4, server="203.0.113.2")), "works"),
    ((passage(17, 51999, 12, 12, 12, 12),), "works"),
    ((passage(17, 51999, 12, 12, 0, 0),), "silent"),
])
def test_causes(passages: tuple[Passage, ...], code: str) -> None:
    assert verdict(*passages)["code"] == code


def test_one_packet_that_has_not_left_yet_is_no_fault() -> None:
    """The engine may hold a packet until it knows whose it is."""
    assert verdict(passage(17, 500, 4, 4, 4, 4), passage(50, 0, 1, 0, 0, 0))["code"] == "agree"


def test_whose_rules_name_a_mac() -> None:
    config = "config protocol 'ipsec'\n\toption enabled '1'\n\tlist deny_src '00:00:5e:00:53:01'\n"
    found = verdict(passage(17, 500, 4, 0, 0, 0), config=config, mac="00:00:5e:00:53:01")
    assert (found["code"], found["action"]["client"]) == ("PROTOCOL_BLOCKED", "00:00:5e:00:53:01")
    assert verdict(passage(17, 500, 4, 0, 0, 0), config=config, mac="00:00:5e:00:53:02")["code"] == "lost"


def test_a_subnet_is_not_unblocked_by_a_button() -> None:
    config = "config protocol 'ipsec'\n\toption enabled '1'\n\tlist deny_src '192.168.1.0/24'\n"
    found = verdict(passage(17, 500, 4, 0, 0, 0), config=config)
    assert found["action"] == {} and "192.168.1.0/24" in found["remedy"]


def test_no_way_out() -> None:
    down = (Uplink(device="wan", addresses=(), mtu=1500, up=False),)
    assert verdict(passage(17, 500, 4, 0, 0, 0), uplinks=down)["code"] == "WAN_DOWN" == verdict(uplinks=down)["code"]


@pytest.mark.parametrize(("age", "passages", "done"), [
    (1.0, (passage(50, 0, 9, 9, 9, 9),), False), (2.0, (passage(50, 0, 9, 9, 9, 9),), True),
    (4.0, (passage(17, 500, 4, 4, 4, 4),), False), (8.0, (passage(17, 500, 4, 4, 4, 4),), True),
    (4.0, (passage(50, 0, 9, 9, 9, 9), passage(17, 500, 1, 1, 0, 0)), False)])
def test_enough(age: float, passages: tuple[Passage, ...], done: bool) -> None:
    assert enough(passages, age) is done
