# SPDX-License-Identifier: GPL-2.0-or-later
"""Judgements at their edges; that each code is found for real is shown in the lab (tests/lab/test_doctor.py)."""
from __future__ import annotations

from typing import Any

import pytest

from vpnpt.config.compile import compile_config
from vpnpt.doctor import judge
from vpnpt.doctor.codes import CODES
from vpnpt.doctor.facts import Facts, LeftOut, Uplink, finding
from vpnpt.model import Devices
from vpnpt.wire.conntrack import Flow, Tuple

CLIENT, OTHER, SERVER, SECOND = (bytes(octets) for octets in ((192, 168, 1, 2), (192, 168, 1, 3), (203, 0, 113, 1), (203, 0, 113, 2)))
SEEN_REPLY = 2


def facts(config: str = "", **known: Any) -> Facts:
    return Facts(now=1_800_000_000, config=compile_config(config, "vpnpt")[0], devices=Devices(lan=("br-lan",), wan=("wan",)), **known)


def codes(known: Facts) -> set[str]:
    return {item["code"] for item in judge(known)["findings"]}


def flow(proto: int, port: int | None = None, *, client: bytes = CLIENT, server: bytes = SERVER, answered: bool = False, sent: int = 3,
         octets: int = 300) -> Flow:
    return Flow(2, Tuple(client, server, proto, port, port), status=SEEN_REPLY if answered else 0, packets=(sent, int(answered)),
                octets=(octets, 0))


def test_nothing_known_nothing_said() -> None:
    """What can't be had is no finding: not of a fact that is missing, nor without any configuration."""
    assert judge(Facts(now=1)) == {"time": 1, "checked": list(CODES), "findings": []}
    assert codes(facts()) == set()


def test_the_most_serious_first() -> None:
    found = judge(facts("config 1 pptp\n", problem="broken", helper_missing=True, flows=(("wireguard", flow(17, 51820)),),
                        counters={"l2tp_blocked": (1, 1)}))["findings"]
    severities = [item["severity"] for item in found]
    assert severities == sorted(severities, key=["error", "warning", "info"].index) and set(severities) == {"error", "warning", "info"}


def test_an_error_in_a_configuration_that_is_in_force() -> None:
    """A list of which no entry can be used closes its protocol to all, the rest goes on: no problem, but somebody is refused."""
    text = "config 1 ipsec\n list allow_src nobody\n"
    said = tuple(compile_config(text, "vpnpt")[1])
    found = [item for item in judge(facts(text, diagnostics=said))["findings"] if item["code"] == "CONFIG_WARNING"]
    assert len(said) == len(found) == 2 and any("not one entry is valid" in item["evidence"] for item in found)


@pytest.mark.parametrize(("counter", "remedy"), [("blocked", "switch L2TP on (section vpnpt.l2tp)"), ("denied", "deny_src of vpnpt.l2tp")])
def test_who_is_refused_and_what_helps(counter: str, remedy: str) -> None:
    who = tuple(("l2tp", bytes((192, 168, 1, host))) for host in (7, 9, 7))
    (found,) = judge(facts(counters={f"l2tp_{counter}": (3, 1)}, refused=who))["findings"]
    assert "L2TP of 192.168.1.7, 192.168.1.9 is refused" in found["text"] and remedy in found["remedy"]
    (unknown,) = judge(facts(counters={f"l2tp_{counter}": (3, 1)}))["findings"]
    assert "L2TP of clients is refused" in unknown["text"]


@pytest.mark.parametrize(("address", "code"), [
    ("10.0.0.1", "DOUBLE_NAT"), ("172.16.0.1", "DOUBLE_NAT"), ("172.31.255.255", "DOUBLE_NAT"), ("172.32.0.1", None),
    ("192.168.0.1", "DOUBLE_NAT"), ("192.169.0.1", None), ("100.64.0.0", "CGNAT"), ("100.127.255.255", "CGNAT"), ("100.128.0.1", None),
    ("192.0.0.2", "CGNAT"), ("192.0.0.8", None), ("203.0.113.1", None)])
def test_addresses(address: str, code: str | None) -> None:
    assert codes(facts(uplinks=(Uplink(device="wan", addresses=(address,), mtu=1500, up=True),))) == ({code} if code else set())


def test_a_modem_s_own_network_is_not_the_way_out() -> None:
    modem = Uplink(device="eth1", addresses=("192.168.100.2",), mtu=1500, up=True)
    line = Uplink(device="pppoe-wan", addresses=("203.0.113.9",), mtu=1492, up=True)
    assert codes(facts(uplinks=(modem, line), default_devices=("pppoe-wan",))) == set()
    assert codes(facts(uplinks=(modem, line), default_devices=("eth1",))) == {"DOUBLE_NAT"}
    assert codes(facts(uplinks=(modem, line))) == {"DOUBLE_NAT"}, "nobody knows the way out"


def test_what_follows_is_said_of_what_is_on() -> None:
    uplink = Uplink(device="wan", addresses=("192.168.0.2",), mtu=1500, up=True)
    (found,) = judge(facts("config 0 pptp\nconfig 1 ipsec\nconfig 0 l2tp\n", uplinks=(uplink,)))["findings"]
    assert "plain ESP" in found["text"] and "PPTP" not in found["text"] and "L2TP" not in found["text"]


@pytest.mark.parametrize(("kernel", "old"), [("5.14.21", True), ("5.15.0", False), ("6.6.93", False), ("4.4", True), ("2.6.78-fc+", True),
                                             ("10.1.0-rc1", False), ("", False), ("nonsense", False), ("6", False)])
def test_kernels(kernel: str, old: bool) -> None:
    assert ("KERNEL_OLD" in codes(facts(kernel=kernel))) == old


@pytest.mark.parametrize(("release", "over"), [("19.07.10", True), ("22.03.7", True), ("23.05.6", True), ("24.10.8", True),
                                               ("25.12.0", False), ("SNAPSHOT", False), ("", False), ("2.3", False)])
def test_releases(release: str, over: bool) -> None:
    assert ("RELEASE_EOL" in codes(facts(release=release))) == over


def test_nearly_full() -> None:
    assert codes(facts(conntrack=(899, 1000), fill={"spi_zone": (57, 64)})) == set()
    assert codes(facts(conntrack=(900, 1000), fill={"spi_zone": (58, 64)})) == {"CONNTRACK_FULL", "MAPS_FULL"}


def test_unused_days() -> None:
    day, now = 86400, 1_800_000_000
    usage = {"ipsec": now - 30 * day, "l2tp": now - 30 * day + 1, "pptp": 0}
    assert codes(facts(usage=usage)) == {"UNUSED"}, "pptp is off"
    assert codes(facts("config vpnpt global\n option unused_days 0\n", usage=usage)) == set()
    assert codes(facts("config vpnpt global\n option unused_days 31\n", usage=usage)) == set()


def test_one_packet_may_just_have_been_sent() -> None:
    assert codes(facts(flows=(("ipsec", flow(17, 500, sent=1)),))) == set()
    assert codes(facts(flows=(("ipsec", flow(17, 500, sent=2)),))) == {"IKE_UNANSWERED"}


def test_a_pair_that_is_answered_now_and_then_is_no_finding() -> None:
    assert codes(facts(flows=(("ipsec", flow(17, 500)), ("ipsec", flow(17, 500, answered=True))))) == set()


def test_who_else_is_answered_is_said() -> None:
    def says(*others: Flow) -> str:
        known = facts(flows=(("ipsec", flow(17, 500)), *(("ipsec", other) for other in others)))
        return str(judge(known)["findings"][0]["text"])
    assert "No server answers" in says()
    assert "The same server answers other clients" in says(flow(17, 500, client=OTHER, answered=True))
    assert "Other servers answer" in says(flow(17, 500, server=SECOND, answered=True))


def test_esp_that_came_as_a_copy_is_an_answer() -> None:
    silent = (("ipsec", flow(50)),)
    assert codes(facts(flows=silent)) == {"ESP_UNANSWERED"}
    assert codes(facts(flows=silent, heard=frozenset({(CLIENT, SERVER)}))) == set()
    assert codes(facts(flows=silent, heard=frozenset({(OTHER, SERVER)}))) == {"ESP_UNANSWERED"}


def test_what_is_off_or_ignored_is_not_judged() -> None:
    flows = (("ipsec", flow(17, 500)), ("l2tp", flow(17, 1701)))
    assert codes(facts("config 0 ipsec\nconfig protocol l2tp\n option enabled 0\n option when_disabled ignore\n", flows=flows)) == set()


@pytest.mark.parametrize(("short_way", "said"), [
    (("vpnpt-offload", ()), "Install vpnpt-offload"), (("", ("policy routing", "wan is down")), "policy routing; wan is down")])
def test_a_short_way_that_is_barred(short_way: tuple[str, tuple[str, ...]], said: str) -> None:
    (found,) = judge(facts(short_way=short_way))["findings"]
    assert (found["code"], found["severity"]) == ("ESP_OFFLOAD", "info") and said in found["evidence"] + found["remedy"]


def test_an_unknown_code_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        finding("NO_SUCH_CODE", "", "")


def test_why_a_host_is_left_out() -> None:
    """By its device; where that is served, or not known, there was no room or too many came."""
    def said(*devices: str, used: int = 1) -> list[str]:
        hosts = tuple(LeftOut(client=CLIENT, server=SERVER, device=device) for device in devices)
        return [item["said"]["text"]["code"] for item in judge(facts(left_out=hosts, fill={"client_zone": (used, 8)}))["findings"]
                if item["code"] == "HOSTS_LEFT_OUT"]
    assert said() == []
    assert said("br-guest", "br-lan", "br-guest", "br-work") == ["left-out", "left-out-rate", "left-out"]
    assert said("") == ["left-out-rate"] and said("br-lan", used=8) == ["left-out-full"]
