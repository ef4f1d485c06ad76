# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the configuration and the devices come from: a small `uci` and a small `fw4` in PATH, and UCI files."""
import os
import stat

import pytest

from vpnpt.config.compile import default_config
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

        def devices(self, **general):
            config = default_config()
            config = config.replace(general=config.general.replace(**general))
            devices, diagnostics = resolve_devices(config, config_dir=str(self.etc))
            return devices, [str(diagnostic) for diagnostic in diagnostics]

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
    with pytest.raises(OSError, match="Is a directory"):
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
config zone
    option name 'wan'
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


def test_fw4(system):
    system.program("fw4", FW4)
    assert system.devices() == (Devices(lan=("br-lan", "br-guest"), wan=("eth1", "pppoe-wan")), [])


def test_one_side_explicit(system):
    system.program("fw4", FW4)
    assert system.devices(wan_device=("x",)) == (Devices(lan=("br-lan", "br-guest"), wan=("x",)), [])


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
    assert system.devices(lan_device=("a",)) == (Devices(lan=("a",), wan=devices), [])


def nothing(side, zones):
    return (f"error: section 'global' option '{side}_device': no network device found for zone {zones}; name the {side.upper()} "
            f"devices: uci add_list vpnpt.global.{side}_device=NAME; uci commit vpnpt")


@pytest.mark.parametrize("zone", ["nosuch", "empty", "off", "loop"])
def test_a_side_without_devices(system, zone):
    system.program("fw4", FW4)
    system.file("firewall", FIREWALL + "config zone\noption name loop\nlist network loop\n")
    system.file("network", NETWORK)
    assert system.devices(lan_zone=(zone,)) == (Devices(lan=(), wan=("eth1", "pppoe-wan")), [nothing("lan", f"'{zone}'")])


def test_nothing_at_all(system):
    assert system.devices(lan_zone=("lan", "guest")) == (
        Devices(lan=(), wan=()), [nothing("lan", "'lan', 'guest'"), nothing("wan", "'wan'")])


def test_files_that_are_no_uci(system):
    system.file("firewall", "<html>\n" * 50)
    system.file("network", "config interface 'lan\n")
    assert system.devices() == (Devices(lan=(), wan=()), [nothing("lan", "'lan'"), nothing("wan", "'wan'")])


def test_one_zone_of_two_without_devices(system):
    system.program("fw4", FW4)
    assert system.devices(lan_zone=("lan", "nosuch")) == (Devices(lan=("br-lan", "br-guest"), wan=("eth1", "pppoe-wan")), [
        "warning: section 'global' option 'lan_zone' value 'nosuch': no network device found for this zone; correct its name, or name "
        "its devices in lan_device; left out"])


def test_names_that_are_not_devices(system):
    system.program("fw4", FW4)
    assert system.devices(lan_zone=("odd", "lan"))[1] == [
        "warning: section 'global' option 'lan_zone' value 'odd': device 'wg*' of this zone: a wildcard is not accepted here, name each "
        "device; name the devices in lan_device; left out",
        "warning: section 'global' option 'lan_zone' value 'odd': device 'averyveryverylongname' of this zone: longer than 15 "
        "characters; name the devices in lan_device; left out",
        "warning: section 'global' option 'lan_zone' value 'odd': no network device found for this zone; correct its name, or name its "
        "devices in lan_device; left out"]


def test_a_device_on_both_sides(system):
    system.program("fw4", FW4)
    assert system.devices(wan_zone=("wan", "lan"), lan_device=("eth1", "lan0"))[1] == [
        "error: section 'global' option 'wan_device' value 'eth1': is on the LAN and on the WAN side; set lan_device and wan_device, or "
        "lan_zone and wan_zone, so that they have no device in common"]


# --- what fw4 includes ------------------------------------------------------------------------------------------------------

OURS = f"config include\noption type nftables\noption position chain-pre\noption chain forward\noption path {DROP_IN}\n"


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
