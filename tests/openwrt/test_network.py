# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices and addresses that come and go, by OpenWrt's own netifd: bridge, VLAN, ifdown and ifup, another address, another uplink."""
from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.flows import ALL, Flows
from tests.lab.topology import SECOND_WAN, Lab
from tests.lab.verbs import Stage
from tests.openwrt.box import SLOWER, Box, lower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETWORK = """
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	option ipaddr '127.0.0.1/8'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1/24'

config interface 'wan'
	option device 'wan'
	option proto 'static'
	option ipaddr '203.0.113.1/24'
	option gateway '203.0.113.254'
"""
BRIDGE = NETWORK[NETWORK.index("config device"):NETWORK.index("config interface 'lan'")]
"""Left out where netifd can't make one: it sets up one that appears later then, for it deletes those that it finds."""
BOTH_UP = {"c1": "up", "c2": "up"}


PPPOE = """
config interface 'wan'
	option device 'wan'
	option proto 'pppoe'
	option username 'home'
	option password 'home'
	option ipv6 '0'
"""
PROVIDER = "noauth\nnoipv6\nnoccp\nnodefaultroute\nnoproxyarp\nlcp-echo-interval 5\nlcp-echo-failure 2\n"
"""Of pppd, as the provider's access concentrator runs it."""


@pytest.fixture
def box(sandbox: None, packages: dict[str, Path]) -> Iterator[Box]:
    """A router whose network is netifd's, with vpnpt on it."""
    with made(packages, NETWORK) as box:
        yield box


@pytest.fixture
def pppoe_box(sandbox: None, packages: dict[str, Path]) -> Iterator[Box]:
    """The same, but the provider wants PPPoE. Which address it gives is what its process says last."""
    if shutil.which("pppoe-server") is None or shutil.which("pppd") is None:
        pytest.skip("no pppoe-server and pppd (Debian's packages pppoe and ppp): PPPoE was not tested")
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-qa", "ppp_generic", "pppoe"], check=False)
    if not Path("/dev/ppp").exists():
        pytest.skip("this kernel has no PPP: PPPoE was not tested")
    with made(packages, NETWORK.partition("config interface 'wan'")[0] + PPPOE, serve_pppoe) as box:
        yield box


def bridges_filter_vlans() -> bool:
    """Whether this kernel can: of each bridge that it makes netifd says whether it is to."""
    return not subprocess.run(["unshare", "--net", "ip", "link", "add", "b", "type", "bridge", "vlan_filtering", "0"], check=False,
                              stderr=subprocess.DEVNULL).returncode


def serve_pppoe(lab: Lab) -> None:
    """The provider's end: each session gets the next address."""
    options = lab.directory / "pppoe-server-options"
    options.write_text(PROVIDER)
    lab.isp.run("ip", "addr", "flush", "dev", "eth0")
    lab.isp.spawn("pppoe-server", "-F", "-I", "eth0", "-O", str(options), "-L", "203.0.113.254", "-R", "203.0.113.1", "-N", "2", "-r",
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def plug(lab: Lab) -> None:
    """A bridge that netifd did not make."""
    lab.router.run("ip", "link", "add", "br-lan", "type", "bridge")
    for port in ("lan1", "lan2"):
        lab.router.run("ip", "link", "set", port, "up", "master", "br-lan")


@contextlib.contextmanager
def made(packages: dict[str, Path], network: str, provider: Callable[[Lab], None] = lambda lab: None) -> Iterator[Box]:
    """Skips where OpenWrt's programs are missing, or this kernel lacks what netifd wants of it."""
    try:
        root = lower()
        if not any(Path(place, sbin, "netifd").exists() for place in root.split(":") for sbin in ("sbin", "usr/sbin")):
            raise LookupError(f"no netifd in {root}: OPENWRT_ROOT can name a root that has it")
        for place in root.split(":"):
            call = Path(place, "usr/sbin" if Path(place, "usr/sbin/hotplug-call").exists() else "sbin", "hotplug-call")
            if call.exists() and "%PATH%" in call.read_text():
                raise LookupError(f"{call} has its placeholder %PATH% still, and runs nothing: base-files' Makefile fills it in")
    except LookupError as reason:
        pytest.skip(f"OpenWrt's own programs are missing, nothing of this was tested: {reason}")
    with Lab(clients=2, servers=2, ipv6=False, uplinks=2) as lab, Box(lab) as box:
        # netifd finds ports and cables, and nothing set up.
        own_bridge = bridges_filter_vlans()
        for line in ("addr flush dev br-lan", "link del br-lan", "addr flush dev wan", f"link set {SECOND_WAN} down",
                     f"addr flush dev {SECOND_WAN}", "link set wan down"):
            lab.router.run("ip", *line.split())
        provider(lab)
        box.start(network if own_bridge else network.replace(BRIDGE, ""), (lambda: None) if own_bridge else lambda: plug(lab))
        box.install(packages["vpnpt"])
        box.until(box.ready)
        yield box


@pytest.fixture
def stage(box: Box) -> Stage:
    """Tunnels through that router."""
    return tunnels(box)


def tunnels(box: Box) -> Stage:
    """Nothing is up yet."""
    stage = Stage(box.lab, {}, {}, str)
    stage.stock, stage.patience = False, 1.5 * SLOWER
    return stage


def devices(box: Box) -> tuple[list[str], list[str]]:
    """LAN and WAN, as vpnpt has them in force."""
    status = box.call("vpnpt", "status")
    return status["lan"], status["wan"]


def set_(box: Box, *changes: str) -> None:
    """As typed by a person, and put in force."""
    for change in changes:
        box.sh(f"uci {change}")
    box.sh("uci commit; reload_config")


def lost(stage: Stage) -> int:
    """Of packets both ways of all tunnels."""
    return sum(tally.lost for name, tally in stage.do_traffic().items() if name in stage.tunnels)


def test_what_netifd_brings_up(box: Box, stage: Stage) -> None:
    assert devices(box) == (["br-lan"], ["wan"])
    assert stage.do_up("c1..c2") == BOTH_UP and not lost(stage)


def test_the_uplink_goes_down_and_comes_back(box: Box, stage: Stage) -> None:
    """A cable pulled for a moment: the tunnels' keys are the same as before, so they must go on."""
    assert stage.do_up("c1..c2") == BOTH_UP and not lost(stage)
    box.sh("/sbin/ifdown wan")
    box.until(lambda: not box.is_up("wan"))
    box.sh("/sbin/ifup wan")
    box.until(lambda: box.is_up("wan"))
    box.until(lambda: devices(box) == (["br-lan"], ["wan"]))
    box.until(lambda: box.lab.barrier(box.lab.clients[0], box.lab.servers[0], 0.3 * SLOWER))
    assert not lost(stage) and {"table ip vpnpt", "table ip6 vpnpt"} <= box.tables()


def test_another_address(box: Box, stage: Stage) -> None:
    """What was known of the old one goes, and the clients connect anew."""
    assert stage.do_up("c1") == {"c1": "up"} and not lost(stage)
    assert "203.0.113.1 " in box.sh("nft list set ip vpnpt esp_known; nft list map ip vpnpt esp_fast")
    set_(box, "set network.wan.ipaddr=203.0.113.77/24")
    box.until(lambda: "203.0.113.77" in box.sh("ip addr show wan") and box.is_up("wan"))
    box.lab.router.wan_address = "203.0.113.77"
    box.until(lambda: "203.0.113.1 " not in box.sh("nft list set ip vpnpt esp_known; nft list map ip vpnpt esp_fast"))
    box.until(lambda: box.lab.barrier(box.lab.clients[0], box.lab.servers[0], 0.3 * SLOWER))
    assert stage.do_up("c1..c2") == BOTH_UP and not lost(stage)


def test_the_uplink_becomes_a_vlan(box: Box, stage: Stage) -> None:
    """Providers often want one. The device has another name then."""
    if box.lab.isp.run("ip", "link", "add", "link", "eth0", "name", "eth0.8", "type", "vlan", "id", "8", check=False).returncode:
        pytest.skip("this kernel has no VLANs (8021q): an uplink that is one was not tested")
    for line in ("link add link eth0 name eth0.7 type vlan id 7", "addr del 203.0.113.254/24 dev eth0",
                 "addr add 203.0.113.254/24 dev eth0.7", "link set eth0.7 up"):
        box.lab.isp.run("ip", *line.split())
    set_(box, "set network.wan.device=wan.7")
    box.until(lambda: devices(box) == (["br-lan"], ["wan.7"]))
    box.until(lambda: box.lab.barrier(box.lab.clients[0], box.lab.servers[0], 0.3 * SLOWER))
    assert stage.do_up("c1..c2") == BOTH_UP and not lost(stage)


def test_a_second_uplink(box: Box, stage: Stage) -> None:
    """In the same zone, for the servers that are routed by it.

    fw4 reads its zones' devices when it loads, and the new interface comes up after that: netifd's hotplug calls have fw4 loaded again.
    We name what fw4 names, no sooner.
    """
    set_(box, "set network.wan2=interface", f"set network.wan2.device={SECOND_WAN}", "set network.wan2.proto=static",
         "set network.wan2.ipaddr=203.0.114.1/24", "set network.s2=route", "set network.s2.interface=wan2",
         f"set network.s2.target={box.lab.servers[1].address}/32", "set network.s2.gateway=203.0.114.254",
         "add_list firewall.@zone[1].network=wan2")
    box.until(lambda: devices(box) == (["br-lan"], ["wan", SECOND_WAN]))
    assert any("Reloading firewall due to ifup of wan2" in line for line in box.read_log()), "fw4's own hotplug script"
    assert f'iifname {{ "wan", "{SECOND_WAN}" }}' in box.sh("nft list chain inet fw4 forward")
    box.until(lambda: box.lab.barrier(box.lab.clients[0], box.lab.servers[1], 0.3 * SLOWER))
    assert stage.do_up("c1", to="s2") == {"c1": "up"} and not lost(stage)
    assert stage.do_up("c2", to="s2") == {"c2": "up"} and not lost(stage)
    assert "203.0.114.1" in box.sh("nft list map ip vpnpt esp_fast")


def test_a_guest_network_is_no_lan(box: Box) -> None:
    """A zone of its own, which vpnpt does not name: it stays as it was."""
    set_(box, "set network.guest=interface", "set network.guest.device=guest0", "set network.guest.proto=static",
         "set network.guest.ipaddr=192.168.3.1/24", "set firewall.guest=zone",
         "set firewall.guest.name=guest", "add_list firewall.guest.network=guest", "set firewall.guest.input=REJECT",
         "set firewall.guest.forward=REJECT", "set firewall.guest.output=ACCEPT")
    box.until(lambda: "guest" in box.sh("fw4 print"))
    assert devices(box) == (["br-lan"], ["wan"])


def connected(box: Box) -> str:
    """Waits until a session of PPPoE can be used. Its address."""
    box.until(lambda: box.is_up("wan") and devices(box) == (["br-lan"], ["pppoe-wan"]), 30)
    for server in box.lab.servers:
        box.until(lambda server=server: box.lab.barrier(box.lab.clients[0], server, 0.3 * SLOWER))
    address = json.loads(box.sh("ubus call network.interface.wan status"))["ipv4-address"][0]["address"]
    assert isinstance(address, str)
    return address


def reconnect(box: Box) -> None:
    """The session ends, and another one is asked for."""
    box.sh("/sbin/ifdown wan")
    box.until(lambda: not box.is_up("wan"))
    box.sh("/sbin/ifup wan")


def test_pppoe(pppoe_box: Box) -> None:
    """The WAN device is made by pppd, has another address after each reconnection, and a lower MTU."""
    box, stage = pppoe_box, tunnels(pppoe_box)
    assert devices(box) == (["br-lan"], ["pppoe-wan"])
    for again in (False, True):
        if again:
            reconnect(box)
        address = connected(box)
        assert stage.do_up("c1") == {"c1": "up"} and not lost(stage)
        assert stage.do_up("c2") == {"c2": "up"} and not lost(stage)
        assert f" {address} " in box.sh("nft list map ip vpnpt esp_fast")


def test_the_short_way_over_pppoe(pppoe_box: Box, packages: dict[str, Path]) -> None:
    """A session of PPPoE has no Ethernet addresses; the next one is another device of the same name, with another address.

    Each time both tunnels take the short way again, and each packet arrives; netifd's events end it for a moment now and then.
    """
    box = pppoe_box
    box.install(packages["vpnpt-offload"])
    set_(box, "set vpnpt.ipsec.esp_offload=1")
    addresses = set()
    for again in (False, True, True):
        if again:
            reconnect(box)
        address = box.lab.router.wan_address = connected(box)
        addresses.add(address)
        flows = Flows(box.lab, lambda method: box.call("vpnpt", method))

        def taken(flows: Flows = flows) -> bool:
            """All but one packet a second of each key, of 80."""
            assert flows.on(), (flows.state(), box.read_log()[-20:])
            before = flows.short()
            assert flows.delivered() == ALL
            return flows.short() - before > 40

        box.until(taken, 60)
        assert re.search(r"<= (1492|0x5d4) ", box.sh("nft list table netdev vpnpt")), "what is longer takes the long way"
    assert len(addresses) > 1
