# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the configuration and the devices come from: a small `uci` and a small `fw4` in PATH, and UCI files."""
import os
import stat

import pytest

from tests.config import default_config
from vpnpt.model import Devices
from vpnpt.router import uci
from vpnpt.router.devices import DROP_IN, include_problems, resolve_devices


@pytest.fixture
def system(tmp_path, monkeypatch):
    """An /etc/config of its own, and no program but those that the test installs."""
    class System:
        etc = tmp_path / "config"

        def file(self, name, text):
            (self.etc / name).write_text(text)

        def program(self, name, script):
            path = tmp_path / "bin" / name
            path.write_text("#!/bin/sh\n" + script)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

        existing = ()

        def resolve(self, **general):
            config = default_config()
            config = config.replace(general=config.general.replace(**general))
            devices, diagnostics = resolve_devices(config, config_dir=str(self.etc), existing=self.existing)
            return devices, [str(diagnostic) for diagnostic in diagnostics]

        def devices(self, **general):
            """Without the zones that were found."""
            devices, diagnostics = self.resolve(**general)
            return devices.replace(found=()), diagnostics

        def found(self, **general):
            return [str(zone) for zone in self.resolve(**general)[0].found]

    (tmp_path / "bin").mkdir()
    (tmp_path / "config").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return System()


# --- the configuration's text -----------------------------------------------------------------------------------------------

TEXT = "# mine\n\nconfig 1 ipsec\n"


def test_reads_the_file(system):
    system.file("vpnpt", TEXT)
    assert uci.read_config(str(system.etc)) == (TEXT, f"{system.etc}/vpnpt")


def test_missing_file(system):
    with pytest.raises(uci.ConfigMissing) as caught:
        uci.read_config(str(system.etc))
    assert str(caught.value) == (f"{system.etc}/vpnpt does not exist; create it (an empty file means the defaults) or choose another "
                                 "directory with --config-dir")


def test_unreadable_file(system):
    (system.etc / "vpnpt").mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        uci.read_config(str(system.etc))


def test_bytes_that_are_not_text(system):
    (system.etc / "vpnpt").write_bytes(b"config \xff\n")
    assert uci.read_config(str(system.etc))[0] == "config \udcff\n"


def test_uci_agrees_with_the_file(system):
    """Then it is the file's text that is used, for its line numbers."""
    system.file("vpnpt", TEXT)
    system.program("uci", f"""[ "$*" = "export {system.etc}/vpnpt" ] || exit 9
echo "package vpnpt"; echo; echo "config 1 'ipsec'"; echo""")
    assert uci.read_config(str(system.etc)) == (TEXT, f"{system.etc}/vpnpt")


def test_uci_has_the_last_word(system):
    system.file("vpnpt", TEXT)
    system.program("uci", "echo \"config 0 'ipsec'\"")
    assert uci.read_config(str(system.etc)) == ("config 0 'ipsec'\n", f"uci export {system.etc}/vpnpt")


def test_uci_refuses_the_file(system):
    system.file("vpnpt", TEXT)
    system.program("uci", "echo 'uci: Parse error' >&2; exit 1")
    assert uci.read_config(str(system.etc)) == (TEXT, f"{system.etc}/vpnpt")


def test_uci_gets_a_whole_path(system, monkeypatch):
    """It would take a relative one for a package's name."""
    system.file("vpnpt", TEXT)
    monkeypatch.chdir(system.etc.parent)
    system.program("uci", f"[ \"$2\" = '{system.etc}/vpnpt' ] && echo \"config 0 'ipsec'\"")
    assert uci.read_config("config")[1] == f"uci export {os.path.abspath('config')}/vpnpt"


# --- the devices ------------------------------------------------------------------------------------------------------------

FW4 = """[ "$1" = zone ] || exit 2
case "$2" in
lan) echo br-lan; echo br-guest;;
wan) echo eth1; echo pppoe-wan; echo eth1;;
empty) ;;
odd) echo 'wg*'; echo 'averyveryverylongname';;
*) exit 1;;
esac"""
FIREWALL = """
config defaults
config zone
    option name lan
    list network lan
    list network guest
config forwarding
    option src lan
    option dest wan
config zone
    option name 'wan'
    option masq 1
    option network 'wan wan6'
    list device tun7
config zone
    option name off
    option enabled 0
    list network lan
"""
NETWORK = """
config device
    option name br-lan
    option type bridge
config interface 'lan'
    option device br-lan
config interface 'guest'
    option type bridge
    option ifname 'eth0.3 eth0.4'
config interface 'wan'
    option device eth1
    option proto pppoe
config interface 'wan6'
    option device @wan
    option proto dhcpv6
config interface 'loop'
    option device @loop
"""


def test_explicit_devices_ask_nobody(system):
    system.program("fw4", "echo wrong")
    assert system.devices(lan_device=("a", "b"), wan_device=("c",)) == (Devices(lan=("a", "b"), wan=("c",)), [])


NAMED = {"lan_zone": ("lan",), "wan_zone": ("wan",)}


def test_fw4(system):
    system.program("fw4", FW4)
    assert system.devices(**NAMED) == (Devices(lan=("br-lan", "br-guest"), wan=("eth1", "pppoe-wan")), [])
    system.file("firewall", FIREWALL)
    assert system.devices() == (Devices(lan=("br-lan", "br-guest"), wan=("eth1", "pppoe-wan")), [])


def test_one_side_explicit(system):
    system.program("fw4", FW4)
    assert system.devices(lan_zone=("lan",), wan_device=("x",)) == (Devices(lan=("br-lan", "br-guest"), wan=("x",)), [])


@pytest.mark.parametrize("fw4", [None, "exit 1", "exit 0", "kill $$"])
def test_uci_where_fw4_can_not_say(system, fw4):
    if fw4:
        system.program("fw4", fw4)
    system.file("firewall", FIREWALL)
    system.file("network", NETWORK)
    assert system.devices() == (Devices(lan=("br-lan", "br-guest"), wan=("pppoe-wan", "tun7")), [])


@pytest.mark.parametrize(("interface", "devices"), [
    ("option proto wireguard", ("x",)), ("option proto 3g\noption device /dev/ttyUSB0", ("3g-x",)),
    ("option proto dslite", ("ds-x",)), ("option ifname 'eth0.1 eth0.2'", ("eth0.1", "eth0.2")), ("list device eth0", ("eth0",))])
def test_device_names_of_protocols(system, interface, devices):
    system.file("firewall", "config zone\noption name wan\nlist network x\n")
    system.file("network", f"config interface x\n{interface}\n")
    assert system.devices(lan_device=("a",), wan_zone=("wan",)) == (Devices(lan=("a",), wan=devices), [])


def nothing(side, zones):
    return (f"error: section 'global' option '{side}_device': no network device found for zone {zones}; name the {side.upper()} "
            f"devices: uci add_list vpnpt.global.{side}_device=NAME; uci commit vpnpt")


@pytest.mark.parametrize("zone", ["empty", "loop"])
def test_a_side_without_devices(system, zone):
    system.program("fw4", FW4)
    system.file("firewall", FIREWALL + "config zone\noption name loop\nlist network loop\nconfig zone\noption name empty\n")
    system.file("network", NETWORK)
    assert system.devices(lan_zone=(zone,)) == (Devices(lan=(), wan=("eth1", "pppoe-wan")), [nothing("lan", f"'{zone}'")])


def test_nothing_at_all(system):
    assert system.devices(lan_zone=("lan", "guest")) == (
        Devices(lan=(), wan=()), [nothing("lan", "'lan', 'guest'"), NO_ZONES.format("wan", "WAN")])


NO_ZONES = ("error: section 'global' option '{0}_device': no network device found: there are no firewall zones; name the {1} devices: uci "
            "add_list vpnpt.global.{0}_device=NAME; uci commit vpnpt")


def test_files_that_are_no_uci(system):
    system.file("firewall", "<html>\n" * 50)
    system.file("network", "config interface 'lan\n")
    assert system.devices() == (Devices(lan=(), wan=()), [NO_ZONES.format("lan", "LAN"), NO_ZONES.format("wan", "WAN")])


def test_one_zone_of_two_without_devices(system):
    system.program("fw4", FW4)
    system.file("firewall", FIREWALL + "config zone\noption name empty\n")
    assert system.devices(lan_zone=("lan", "empty")) == (Devices(lan=("br-lan", "br-guest"), wan=("eth1", "pppoe-wan")), [
        "warning: section 'global' option 'lan_zone' value 'empty': no network device found for this zone; correct its name, or name "
        "its devices in lan_device; left out"])


def test_names_that_are_not_devices(system):
    system.program("fw4", FW4)
    assert system.devices(lan_zone=("odd", "lan"), wan_zone=("wan",))[1] == [
        "warning: section 'global' option 'lan_zone' value 'odd': device 'averyveryverylongname' of this zone: longer than 15 "
        "characters; name the devices in lan_device; left out",
        "warning: section 'global' option 'lan_zone' value 'odd': no network device found for this zone; correct its name, or name its "
        "devices in lan_device; left out"]


def test_a_device_on_both_sides(system):
    system.program("fw4", FW4)
    assert system.devices(wan_zone=("wan", "lan"), lan_device=("eth1", "lan0"))[1] == [
        "error: section 'global' option 'wan_device' value 'eth1': is on the LAN and on the WAN side; set lan_device and wan_device, or "
        "lan_zone and wan_zone, so that they have no device in common"]


# --- which zones are which side ---------------------------------------------------------------------------------------------

def zone(name, device="", *more):
    """A zone; without a device that of its name."""
    return f"config zone\n option name '{name}'\n list device '{device or name}'\n" + "".join(f" option {option}\n" for option in more)


def forward(source, target, *more):
    return f"config forwarding\n option src '{source}'\n option dest '{target}'\n" + "".join(f" option {option}\n" for option in more)


MASQ = "masq 1"
HOME = zone("lan") + zone("wan", "", MASQ)
RULE = "config rule\n option src guest\n option dest wan\n option target ACCEPT\n"
NAT = "config nat\n option src wan2\n option target SNAT\n option snat_ip 203.0.113.9\n"


@pytest.mark.parametrize(("firewall", "lan", "wan"), [
    pytest.param(HOME + forward("lan", "wan"), "lan", "wan", id="stock"),
    pytest.param(zone("HOME", "h") + zone("uplink", "u", "masq yes") + forward("HOME", "uplink"), "h", "u", id="any name"),
    pytest.param(HOME + zone("guest") + forward("lan", "wan") + forward("guest", "wan"), "lan guest", "wan", id="guests"),
    pytest.param(HOME + zone("iot") + forward("lan", "wan") + forward("lan", "iot"), "lan", "wan", id="a zone that may not go out"),
    pytest.param(HOME + zone("guest") + forward("lan", "wan") + forward("guest", "wan", "enabled 0"), "lan", "wan", id="forwarding off"),
    pytest.param(HOME + zone("guest") + forward("lan", "wan") + forward("guest", "wan", "family ipv6"), "lan", "wan", id="IPv6 only"),
    pytest.param(HOME + zone("guest") + forward("lan", "wan") + forward("guest", "wan", "enabled perhaps"), "lan", "wan", id="no boolean"),
    pytest.param(HOME + zone("guest", "", "enabled 0") + forward("*", "wan"), "lan", "wan", id="zone off"),
    pytest.param(HOME + zone("guest") + forward("*", "wan"), "lan guest", "wan", id="from anywhere"),
    pytest.param(HOME + zone("wan2", "", MASQ) + forward("lan", "*"), "lan", "wan wan2", id="to anywhere"),
    pytest.param("config defaults\n option forward ACCEPT\n" + HOME, "lan", "wan", id="policy"),
    pytest.param(HOME + zone("vpn", "", MASQ) + forward("lan", "wan") + forward("lan", "vpn"), "lan", "wan vpn", id="a VPN's zone"),
    pytest.param(HOME + zone("vpn", "", MASQ) + forward("lan", "vpn") + forward("lan", "wan") + forward("vpn", "wan"), "lan", "wan vpn",
                 id="both is WAN"),
    pytest.param(HOME + zone("vpn", "", MASQ) + forward("lan", "wan") + forward("vpn", "wan"), "lan vpn", "wan",
                 id="masquerades for nobody"),
    pytest.param(HOME + zone("wan2") + NAT + forward("lan", "wan") + forward("lan", "wan2"), "lan", "wan wan2", id="SNAT by a section"),
    pytest.param(HOME + zone("wan2") + NAT + " option dest_ip 192.0.2.1\n" + forward("lan", "wan") + forward("lan", "wan2"), "lan", "wan",
                 id="SNAT for one destination"),
    pytest.param(HOME + NAT.replace("wan2", "lan") + forward("lan", "wan") + forward("wan", "lan"), "lan", "wan", id="SNAT into the LAN"),
    pytest.param(zone("lan") + zone("wan", "", MASQ, "masq_src '192.168.9.0/24'") + forward("lan", "wan"), "lan", "wan", id="masq_src"),
    pytest.param(HOME + zone("v6", "", "masq6 1") + forward("lan", "wan") + forward("lan", "v6"), "lan", "wan", id="masq6"),
    pytest.param(HOME + zone("guest") + forward("lan", "wan") + RULE + " option proto 'esp udp'\n", "lan guest", "wan", id="by a rule"),
    pytest.param(HOME + zone("guest") + forward("lan", "wan") + RULE + " option proto tcp\n", "lan", "wan", id="a rule for TCP"),
    pytest.param("config zone\n option name lan\n list network lan\n option masq 1\n" + zone("wan", "", MASQ) + zone("wg")
                 + forward("lan", "wan") + forward("wg", "lan"), "br-lan", "wan", id="masquerading into the LAN"),
    pytest.param(HOME + zone("ppp", "ppp+", MASQ) + forward("lan", "wan") + forward("lan", "ppp"), "lan", "wan ppp0 ppp1", id="ppp+"),
    pytest.param(HOME + zone("one", "lan") + forward("lan", "wan") + forward("one", "wan"), "lan", "wan", id="a device in two zones"),
])
def test_which_zones_are_found(system, firewall, lan, wan):
    system.existing = ("lan", "wan", "ppp0", "ppp1")
    system.file("firewall", firewall)
    system.file("network", "config interface lan\n option proto static\n option device br-lan\n")
    devices, said = system.devices()
    assert (" ".join(devices.lan), " ".join(devices.wan), said) == (lan, wan, [])


def test_what_was_found_and_why(system):
    system.file("firewall", HOME + zone("guest") + zone("vpn", "", MASQ) + zone("iot") + forward("lan", "wan") + forward("guest", "wan")
                + forward("lan", "vpn"))
    assert system.found() == [
        "LAN: zone lan (lan), forwarded to wan, vpn", "LAN: zone guest (guest), forwarded to wan",
        "WAN: zone wan (wan), masquerades for lan, guest", "WAN: zone vpn (vpn), masquerades for lan",
        "left out: zone iot (iot), not forwarded to a WAN zone"]
    assert system.found(lan_zone=("lan",), wan_zone=("wan",)) == [
        "LAN: zone lan (lan), named in lan_zone", "WAN: zone wan (wan), named in wan_zone",
        "left out: zone guest (guest), not among those that are named",
        "left out: zone vpn (vpn), masquerades for lan, but is not among those that are named",
        "left out: zone iot (iot), not forwarded to a WAN zone"]


def test_a_zone_whose_device_comes_late_stops_nobody(system):
    system.file("firewall", HOME + zone("usb", "usb+", MASQ) + forward("lan", "wan") + forward("lan", "usb"))
    assert system.devices() == (Devices(lan=("lan",), wan=("wan",)), [])
    assert "WAN: zone usb (no device yet), masquerades for lan" in system.found()
    system.existing = ("lan", "wan", "usb0")
    assert system.devices()[0].wan == ("wan", "usb0")


def test_a_device_of_both_sides_is_wan(system):
    system.file("firewall", zone("lan", "eth0") + zone("guest") + zone("wan", "eth0", MASQ) + forward("lan", "wan")
                + forward("guest", "wan"))
    devices, said = system.devices()
    assert devices == Devices(lan=("guest",), wan=("eth0",)) and len(said) == 1
    assert said[0].startswith("warning: section 'global' option 'lan_device' value 'eth0': is a device of a LAN zone and of a WAN zone; ")


@pytest.mark.parametrize(("general", "said"), [
    ({"wan_zone": ("wan",)}, [
        "error: section 'global' option 'lan_device': no network device found: of the zones LAN, WAN none is forwarded to a WAN zone; name "
        "the LAN devices: uci add_list vpnpt.global.lan_device=NAME; uci commit vpnpt",
        "warning: section 'global' option 'wan_zone' value 'wan': there is no such zone; there are LAN, WAN: did you mean WAN?",
        nothing("wan", "'wan'")]),
    ({"lan_device": ("lan",)}, ["warning: section 'global' option 'lan_device' value 'lan': there is no such device; it is the name of an "
                                "interface, whose device is br-lan: did you mean br-lan?"]),
    ({"lan_device": ("LAN",)}, ["warning: section 'global' option 'lan_device' value 'LAN': there is no such device; it is the name of a "
                                "firewall zone: did you mean lan_zone?"]),
    ({"lan_device": ("br-lna",)}, [
        "warning: section 'global' option 'lan_device' value 'br-lna': there is no such device; there are br-lan, eth1: did you mean "
        "br-lan?; it counts as soon as it is there"]),
    ({"lan_device": ("br-lan",)}, []),
])
def test_words_instead_of_silence(system, general, said):
    system.existing = ("br-lan", "eth1")
    system.file("firewall", zone("LAN", "br-lan") + zone("WAN", "eth1", MASQ) + forward("LAN", "WAN"))
    system.file("network", "config interface lan\n option device br-lan\n")
    assert system.devices(**general)[1] == said


# --- what fw4 includes ------------------------------------------------------------------------------------------------------

OURS = f"config include\noption type nftables\noption position chain-post\noption chain forward\noption path {DROP_IN}\n"


@pytest.mark.parametrize(("firewall", "told"), [
    ("", False), ("config zone\n", False), ("config defaults\n", False), ("config defaults\noption auto_includes 1\n", False),
    ("config defaults\noption auto_includes 0\n", True), ("config defaults\noption auto_includes no\n", True),
    ("config defaults\noption auto_includes 0\n" + OURS, False),
    ("config defaults\noption auto_includes 0\n" + OURS + "option enabled 0\n", True),
    ("config defaults\noption auto_includes 0\n" + OURS.replace("forward", "input"), True)])
def test_fw4_is_told_to_include_nothing(system, firewall, told):
    if firewall:
        system.file("firewall", firewall)
    found = [str(diagnostic) for diagnostic in include_problems(config_dir=str(system.etc))]
    assert len(found) == told
    for text in found:
        assert text.startswith("warning: section 'firewall.@defaults[0]' option 'auto_includes' value '")
        assert "uci set firewall.@defaults[0].auto_includes=1; uci commit firewall; reload_config" in text and DROP_IN in text
