# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text to a Config: what each way of writing means, and the whole message for each way of getting it wrong."""
from pathlib import Path

import pytest

from tests.config import default_config
from vpnpt.config.compile import compile_config
from vpnpt.config.ucitext import parse
from vpnpt.config.values import FALSE_WORDS, TRUE_WORDS, edit_distance, nearest
from vpnpt.model import PROTOCOLS, Protocol, Source

SHIPPED = Path(__file__).parents[2] / "files/etc/config/vpnpt"


def good(text):
    config, diagnostics = compile_config(text)
    assert [str(diagnostic) for diagnostic in diagnostics] == []
    return config


def general(**fields):
    """The global section with these fields and the defaults of all others."""
    return default_config().general.replace(**fields)


# --- what is right ----------------------------------------------------------------------------------------------------------

def test_nothing_means_the_defaults():
    config = good("")
    assert config == default_config()
    assert config.general == general()
    assert list(config.protocols) == list(PROTOCOLS)
    assert {name: config.behaviour(name) for name in PROTOCOLS} == {
        "pptp": "block", "l2tp": "help", "ipsec": "help", "openvpn": "help", "wireguard": "help"}
    assert {name: protocol.ports for name, protocol in config.protocols.items()} == {
        "pptp": (1723,), "l2tp": (1701,), "ipsec": (4500,), "openvpn": (1194,), "wireguard": (51820,)}


def test_the_shipped_file_is_the_defaults():
    assert good(SHIPPED.read_text()) == default_config()


def test_what_the_shipped_file_has_commented_out_is_right():
    """Each `#option` line can be uncommented, and those that are not an example say the default."""
    text = "\n".join(line.replace("\t#option", "\toption") for line in SHIPPED.read_text().splitlines())
    assert text.count("\toption") > SHIPPED.read_text().count("\toption")
    assert good(text) == default_config()
    lists = "\n".join(line.replace("\t#list", "\tlist") for line in SHIPPED.read_text().splitlines())
    config = good(lists)
    assert (config.general.lan_device, config.general.wan_device) == (("br-lan",), ("eth1",))
    assert config.protocols["ipsec"].allow_src == (Source(kind="ipv4", text="192.168.1.0/24"),)


@pytest.mark.parametrize("word", TRUE_WORDS + FALSE_WORDS)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.capitalize])
def test_the_type_of_a_section_switches_it(word, change):
    config = good(f"config {change(word)} 'pptp'\n\tlist port '1724'\nconfig {change(word)} 'ipsec'\nconfig {change(word)} 'global'\n")
    on = word in TRUE_WORDS
    assert [config.general.enabled, config.protocols["pptp"].enabled, config.protocols["ipsec"].enabled] == [on] * 3
    assert config.protocols["pptp"].ports == (1724,)


def test_the_two_commands():
    config = good("config 1 'ipsec'\nconfig 0 'pptp'\n")
    assert (config.behaviour("ipsec"), config.behaviour("pptp")) == ("help", "block")


@pytest.mark.parametrize(("overall", "own", "expected"), [
    ("", "", "block"), ("ignore", "", "ignore"), ("block", "ignore", "ignore"), ("ignore", "block", "block")])
def test_when_disabled(overall, own, expected):
    config = good(f"config vpnpt 'global'\n\toption when_disabled '{overall}'\n"
                  f"config protocol 'openvpn'\n\toption enabled 'no'\n\toption when_disabled '{own}'\n")
    assert config.behaviour("openvpn") == expected
    assert config.behaviour("ipsec") == "help"


def test_everything_set():
    config = good("""
config vpnpt
    option enabled off
    list lan_zone lan
    list lan_zone guest
    option wan_zone 'wan wwan'
    list lan_device br-lan.7
    option wan_device pppoe-wan
    option when_disabled ignore
    option zone_base 100
    option zone_count 1000
    option max_clients 500
    option max_keys 1024
    option client_timeout 600
    option key_timeout 60
    option pending_timeout 5
    option fast_timeout 30
    option log_level debug
config protocol 'ipsec'
    option enabled 1
    option when_disabled block
    list natt_port 4500
    list natt_port 10000
    list allow_src 192.168.1.77
    list allow_src 2001:DB8::/64
    list allow_src 00-00-5E-00-53-AF
    option multi_client 0
    option preserve_ike_port no
    option esp_offload 1
    option ipv6_inbound closed
""")
    assert config.general == general(
        enabled=False, lan_zone=("lan", "guest"), wan_zone=("wan", "wwan"), lan_device=("br-lan.7",), wan_device=("pppoe-wan",),
        when_disabled="ignore", zone_base=100, zone_count=1000, max_clients=500, max_keys=1024, client_timeout=600, key_timeout=60,
        pending_timeout=5, fast_timeout=30, log_level="debug")
    assert config.protocols["ipsec"] == Protocol(
        name="ipsec", deny_src=(), enabled=True, when_disabled="block", ports=(4500, 10000), multi_client=False, preserve_ike_port=False,
        esp_offload="1", ipv6_inbound="closed", allow_src=(
            Source(kind="ipv4", text="192.168.1.77"), Source(kind="ipv6", text="2001:db8::/64"),
            Source(kind="mac", text="00:00:5e:00:53:af")))


@pytest.mark.parametrize(("written", "fields"), [
    ("option key_timeout 200000", {"key_timeout": 200000, "client_timeout": 200000}),
    ("option client_timeout 3600", {"client_timeout": 3600, "key_timeout": 3600}),
    ("option key_timeout 60", {"key_timeout": 60, "fast_timeout": 30}),
    ("option zone_count 100", {"zone_count": 100, "max_clients": 100}),
    ("option zone_base 24576", {"zone_base": 24576}),
])
def test_a_default_follows_what_is_written(written, fields):
    assert good(f"config vpnpt 'global'\n{written}\n").general == general(**fields)


# --- what is wrong ----------------------------------------------------------------------------------------------------------

GLOBAL = "config vpnpt 'global'\n"
IPSEC = "config protocol 'ipsec'\n"
W, E = "warning: vpnpt:", "error: vpnpt:"
DEVICE = "valid: up to 15 printable characters without blanks, quotes, '/', ':' and '*'"
ADDRESS = "valid: an IPv4 or IPv6 address or subnet such as 192.168.1.0/24, or a MAC such as 00:00:5e:00:53:01"

LEFT_OUT = "; this entry is left out"
NONE_VALID = E + "2: section 'global' option '{}': not one entry is valid; correct the list; using all that are found"

WRONG = {
    "boolean": (GLOBAL + "option enabled maybe\n", [
        W + "2: section 'global' option 'enabled' value 'maybe': not a boolean; valid: 1, 0, on, off, true, false, yes, no, "
        "enabled, disabled; using 1"]),
    "choice": (IPSEC + "option ipv6_inbound maybe\n", [
        W + "2: section 'ipsec' option 'ipv6_inbound' value 'maybe': not a known choice; valid: open, closed; using 'closed'"]),
    "choice that inherits": (IPSEC + "option when_disabled drop\n", [
        W + "2: section 'ipsec' option 'when_disabled' value 'drop': not a known choice; valid: block, ignore; using 'block'"]),
    "number": (GLOBAL + "option max_keys 1e4\n", [
        W + "2: section 'global' option 'max_keys' value '1e4': not a whole number; valid: 64 to 1048576 keys; using 65536"]),
    "range": (GLOBAL + "option pending_timeout 0\n", [
        W + "2: section 'global' option 'pending_timeout' value '0': out of range; valid: 1 to 120 seconds; using 10"]),
    "digits that are not ASCII": (GLOBAL + "option fast_timeout '٣'\n", [
        W + "2: section 'global' option 'fast_timeout' value '٣': not a whole number; valid: 1 to 86400 seconds; using 300"]),
    "huge number": (GLOBAL + f"option fast_timeout {'9' * 5000}\n", [
        W + f"2: section 'global' option 'fast_timeout' value '{'9' * 57}...': not a whole number; valid: 1 to 86400 seconds; "
        "using 300"]),
    "control characters": (GLOBAL + "option log_level 'a\nb\x1b'\n", [
        W + "2: section 'global' option 'log_level' value 'a\\nb\\x1b': not a known choice; valid: error, warning, info, debug; "
        "using 'info'"]),
    "the only port": (IPSEC + "option natt_port 70000\n", [
        W + "2: section 'ipsec' option 'natt_port' value '70000': out of range; valid: 1 to 65535; this entry is left out",
        E + "2: section 'ipsec' option 'natt_port': not one entry is valid; correct the list; using 4500"]),
    "one port of two": (IPSEC + "list natt_port x\nlist natt_port 4501\n", [
        W + "2: section 'ipsec' option 'natt_port' value 'x': not a whole number; valid: 1 to 65535; this entry is left out"]),
    "all ports": (IPSEC + "option natt_port '0 x'\n", [
        W + "2: section 'ipsec' option 'natt_port' value '0': out of range; valid: 1 to 65535; this entry is left out",
        W + "2: section 'ipsec' option 'natt_port' value 'x': not a whole number; valid: 1 to 65535; this entry is left out",
        E + "2: section 'ipsec' option 'natt_port': not one entry is valid; correct the list; using 4500"]),
    "a port of a protocol that is for some": (IPSEC + "option allow_src 192.168.1.7\noption natt_port x\n", [
        W + "3: section 'ipsec' option 'natt_port' value 'x': not a whole number; valid: 1 to 65535; this entry is left out",
        E + "3: section 'ipsec' option 'natt_port': not one entry is valid; correct the list; nobody may use this protocol until then"]),
    "an empty list": (IPSEC + "list allow_src ''\n", [
        E + "2: section 'ipsec' option 'allow_src': not one entry is valid; correct the list; nobody may use this protocol until then"]),
    "entry twice": (IPSEC + "list natt_port 4501\nlist natt_port 4501\n", [
        W + "3: section 'ipsec' option 'natt_port' value '4501': is in the list already; remove it"]),
    "zone": (GLOBAL + "option lan_zone 'l\"an'\n", [
        W + "2: section 'global' option 'lan_zone' value 'l\"an': not the name of a firewall zone; valid: letters, digits, '_', '-' "
        "and '.'; this entry is left out", NONE_VALID.format("lan_zone")]),
    "device with a wildcard": (GLOBAL + "option lan_device 'eth*'\n", [
        W + "2: section 'global' option 'lan_device' value 'eth*': a wildcard is not accepted here, name each device, or its zone in "
        "lan_zone or wan_zone; " + DEVICE + LEFT_OUT, NONE_VALID.format("lan_device")]),
    "device with fw4's wildcard": (GLOBAL + "list wan_device 'ppp+'\nlist wan_device eth1\n", [
        W + "2: section 'global' option 'wan_device' value 'ppp+': a wildcard is not accepted here, name each device, or its zone in "
        "lan_zone or wan_zone; " + DEVICE + LEFT_OUT]),
    "device with a long name": (GLOBAL + "option lan_device abcdefghijklmnop\n", [
        W + "2: section 'global' option 'lan_device' value 'abcdefghijklmnop': longer than 15 characters; " + DEVICE
        + LEFT_OUT, NONE_VALID.format("lan_device")]),
    "device with a slash": (GLOBAL + "option lan_device 'a/b'\n", [
        W + "2: section 'global' option 'lan_device' value 'a/b': not the name of a network device; " + DEVICE
        + LEFT_OUT, NONE_VALID.format("lan_device")]),
    "host bits": (IPSEC + "option allow_src 192.168.1.7/24\n", [
        W + "2: section 'ipsec' option 'allow_src' value '192.168.1.7/24': is a host within a subnet; write one of them; using "
        "'192.168.1.0/24'"]),
    "one source of two": (IPSEC + "option allow_src 'router.lan 192.168.1.7'\n", [
        W + "2: section 'ipsec' option 'allow_src' value 'router.lan': not an address, a subnet or a MAC; " + ADDRESS
        + "; this entry is left out"]),
    "prefix length": (IPSEC + "option allow_src '10.0.0.0/33 192.168.1.7'\n", [
        W + "2: section 'ipsec' option 'allow_src' value '10.0.0.0/33': not a valid prefix length; valid: 0 to 32; this entry is "
        "left out"]),
    "a list where one value is wanted": (GLOBAL + "list log_level info\nlist log_level debug\n", [
        W + "3: section 'global' option 'log_level': takes one value, not a list; write one 'option' line; using 'info'"]),
    "option twice": (IPSEC + "option enabled 1\noption enabled 0\n", [
        W + "3: section 'ipsec' option 'enabled': already set in line 2; write it once; using '0'"]),
    "misspelt option": (IPSEC + "option multi_cleint 1\n", [
        W + "2: section 'ipsec' option 'multi_cleint': unknown option; left out; did you mean 'multi_client'?"]),
    "option of another section": ("config protocol 'openvpn'\noption natt_port 1\n", [
        W + "2: section 'openvpn' option 'natt_port': unknown option; left out; valid: enabled, when_disabled, allow_src, deny_src, port"]),
    "unknown section": ("config interface 'lan'\noption proto dhcp\n", [
        W + "1: section 'lan': unknown section type 'interface'; left out; valid: vpnpt, protocol"]),
    "misspelt section": ("config protocl\n", [
        W + "1: section '@protocl[0]': unknown section type 'protocl'; left out; did you mean 'protocol'?"]),
    "misspelt protocol": ("config protocol 'IPSEK'\n", [
        W + "1: section 'IPSEK': unknown protocol; left out; did you mean 'ipsec'?"]),
    "unknown protocol": ("config 1 'sstp'\n", [
        W + "1: section 'sstp': unknown protocol; left out; valid: pptp, l2tp, ipsec, openvpn, wireguard"]),
    "protocol without a name": ("config protocol\noption name ipsec\n", [
        W + "1: section '@protocol[0]': a protocol's section must have its name; write \"config protocol 'ipsec'\" or another of "
        "pptp, l2tp, ipsec, openvpn, wireguard; it is left out"]),
    "type that is no boolean": ("config 2 'ipsec'\n", [
        E + "1: section 'ipsec': type '2' says neither on nor off; valid: protocol, or 1, on, true, yes, enabled, 0, off, false, no, "
        "disabled; nobody may use this protocol until then"]),
    "type that is no boolean beside an option that is": ("config 2 'ipsec'\noption enabled 1\n", [
        W + "1: section 'ipsec': type '2' says neither on nor off; valid: protocol, or 1, on, true, yes, enabled, 0, off, false, no, "
        "disabled; taken as 'protocol'"]),
    "a protocol's boolean": (IPSEC + "option enabled flase\n", [
        E + "2: section 'ipsec' option 'enabled' value 'flase': not a boolean; valid: 1, 0, on, off, true, false, yes, no, "
        "enabled, disabled; nobody may use this protocol until then"]),
    "type against option": ("config 0 'ipsec'\noption enabled 1\n", [
        W + "2: section 'ipsec' option 'enabled' value '1': contradicts the section's type '0'; remove one of them; the type wins: "
        "not enabled"]),
    "second global section": (GLOBAL + "config vpnpt\n", [
        W + "2: section '@vpnpt[1]': there is one global section only, named 'global'; move its options to the one in line 1; it is "
        "left out"]),
    "global section by another name": ("config vpnpt 'main'\n", [
        W + "1: section 'main': there is one global section only, named 'global'; move its options to \"config vpnpt 'global'\"; it is "
        "left out"]),
    "package of another name": ("package network\n", [
        "warning: vpnpt: holds package 'network'; this file should hold package 'vpnpt'"]),
    "zones that do not exist": (GLOBAL + "option zone_base 60000\n", [
        W + "2: section 'global' option 'zone_base' value '60000': zones up to 100959 do not exist; zone_base + zone_count must be at "
        "most 65536; using zone_base 20480 and zone_count 40960"]),
    "more clients than zones": (GLOBAL + "option zone_count 9\noption max_clients 10\n", [
        W + "3: section 'global' option 'max_clients' value '10': more than zone_count (9); every client needs a zone; using 9"]),
    "clients forgotten before keys": (GLOBAL + "option client_timeout 700\noption key_timeout 800\n", [
        W + "2: section 'global' option 'client_timeout' value '700': less than key_timeout (800); a client must be remembered as "
        "long as its keys; using 800"]),
    "keys renewed too late": (GLOBAL + "option key_timeout 60\noption fast_timeout 31\n", [
        W + "3: section 'global' option 'fast_timeout' value '31': more than half of key_timeout (60); keys must be renewed before "
        "they are forgotten; using 30"]),
    "zone on both sides": (GLOBAL + "option lan_zone 'wan lan'\noption wan_zone wan\n", [
        E + "3: section 'global' option 'wan_zone' value 'wan': is in lan_zone and in wan_zone; a zone is on one side only: take it "
        "out of one of the two lists; until then it is on the WAN side"]),
    "device on both sides": (GLOBAL + "list lan_device a\nlist wan_device a\n", [
        E + "3: section 'global' option 'wan_device' value 'a': is in lan_device and in wan_device; a device is on one side only: "
        "take it out of one of the two lists; until then it is on the WAN side"]),
    "no valid source": (IPSEC + "option allow_src nobody\n", [
        W + "2: section 'ipsec' option 'allow_src' value 'nobody': not an address, a subnet or a MAC; " + ADDRESS
        + LEFT_OUT,
        E + "2: section 'ipsec' option 'allow_src': not one entry is valid; correct the list; nobody may use this protocol until then"]),
    "a list of several lines": (IPSEC + "list allow_src 192.168.1.7\nlist allow_src nobody\nlist allow_src 192.168.1.8\n", [
        W + "3: section 'ipsec' option 'allow_src' value 'nobody': not an address, a subnet or a MAC; " + ADDRESS + LEFT_OUT]),
    "one of those refused": (IPSEC + "list deny_src nobody\nlist deny_src 192.168.1.8\n", [
        E + "2: section 'ipsec' option 'deny_src' value 'nobody': not an address, a subnet or a MAC; " + ADDRESS + LEFT_OUT]),
    "all of those refused": (IPSEC + "list deny_src nobody\n", [
        E + "2: section 'ipsec' option 'deny_src' value 'nobody': not an address, a subnet or a MAC; " + ADDRESS + LEFT_OUT,
        E + "2: section 'ipsec' option 'deny_src': not one entry is valid; correct the list; nobody may use this protocol until then"]),
    "port of another protocol": ("config protocol 'openvpn'\nlist port 1194\nlist port 51820\n", [
        E + "3: section 'openvpn' option 'port' value '51820': is a port of wireguard too; name it in openvpn or in wireguard, not in "
        "both; until then it is wireguard's, and openvpn has 1194"]),
    "port of IKE": ("config protocol 'wireguard'\noption port 500\n", [
        E + "2: section 'wireguard' option 'port' value '500': is a port of ipsec too; name it in wireguard or in ipsec, not in both; "
        "until then it is ipsec's, and wireguard has 51820"]),
    "port that two protocols name": ("config protocol 'wireguard'\noption port 443\nconfig protocol 'openvpn'\nlist port 443\n", [
        E + "4: section 'openvpn' option 'port' value '443': is a port of wireguard too; name it in openvpn or in wireguard, not in "
        "both; until then it is wireguard's, and openvpn has 1194"]),
    "port that is blocked in one": ("config protocol 'wireguard'\noption port 443\nconfig 0 'openvpn'\nlist port 443\n", [
        E + "2: section 'wireguard' option 'port' value '443': is a port of openvpn too; name it in wireguard or in openvpn, not in "
        "both; until then it is openvpn's, and wireguard has 51820"]),
    "quote without end": (IPSEC + "option enabled '1\n", [
        E + "2: the quote ' that opens here has no end; close it; until then nothing after it can be read"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_says_what_is_wrong(case):
    text, expected = WRONG[case]
    config, diagnostics = compile_config(text)
    assert [str(diagnostic) for diagnostic in diagnostics] == expected
    assert (config is None) == (case == "quote without end")


@pytest.mark.parametrize("case", ["boolean", "number", "range", "the only port", "all ports", "zone",
                                  "device with a wildcard", "misspelt option", "unknown section", "misspelt protocol",
                                  "type that is no boolean beside an option that is", "zones that do not exist", "port of another protocol",
                                  "port of IKE"])
def test_goes_on_with_the_default(case):
    assert compile_config(WRONG[case][0])[0] == default_config()


@pytest.mark.parametrize("case", ["type that is no boolean", "a protocol's boolean"])
def test_a_switch_that_can_not_be_read_is_off(case):
    config = compile_config(WRONG[case][0])[0]
    assert config.behaviour("ipsec") == "block" and config.behaviour("l2tp") == default_config().behaviour("l2tp")


def test_goes_on_with_the_rest():
    config, diagnostics = compile_config(GLOBAL + "option enabled x\noption log_level error\nfoo\n" + IPSEC + "option enabled 0\n")
    assert len(diagnostics) == 2
    assert (config.general, config.behaviour("ipsec")) == (general(log_level="error"), "block")


def test_a_mended_value_counts():
    config, _ = compile_config(GLOBAL + "option client_timeout 700\noption key_timeout 800\noption fast_timeout 500\n")
    assert config.general == general(client_timeout=800, key_timeout=800, fast_timeout=400)


@pytest.mark.parametrize(("word", "kind", "text"), [
    ("192.168.1.7", "ipv4", "192.168.1.7"), ("192.168.1.7/32", "ipv4", "192.168.1.7"), ("10.0.0.0/255.0.0.0", "ipv4", "10.0.0.0/8"),
    ("0.0.0.0/0", "ipv4", "0.0.0.0/0"), ("2001:DB8:0::1", "ipv6", "2001:db8::1"), ("fe80::/10", "ipv6", "fe80::/10"),
    ("00:00:5E:00:53:01", "mac", "00:00:5e:00:53:01")])
def test_sources(word, kind, text):
    assert good(IPSEC + f"list allow_src '{word}'\n").protocols["ipsec"].allow_src == (Source(kind=kind, text=text),)


@pytest.mark.parametrize("word", ["1.2.3", "1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/255.0.255.0", "::1/129", "::/ffff::", "00:00:5e:00:53",
                                  "1.2.3.4-1.2.3.9", "é", "1.2.3.4/٣"])
def test_what_is_no_source(word):
    config, diagnostics = compile_config(IPSEC + f"list allow_src '{word}'\n")
    assert config.behaviour("ipsec") == "block"
    assert [diagnostic.severity for diagnostic in diagnostics] == ["warning", "error"]


# --- it fails closed --------------------------------------------------------------------------------------------------------

OTHERS = "config 0 'openvpn'\nconfig protocol 'l2tp'\n list allow_src 192.168.1.7\n"


@pytest.mark.parametrize("options", ["list allow_src nobody", "list allow_src ''", "list deny_src nobody", "list deny_src 1.2.3.4/99",
                                     "list allow_src 192.168.1.7\n list natt_port x", "list deny_src 192.168.1.7\n list natt_port 0"])
@pytest.mark.parametrize("when_disabled", ["block", "ignore"])
def test_a_list_of_which_nothing_is_usable_blocks_its_protocol(options, when_disabled):
    """And takes nothing from the others, whatever becomes of what is switched off."""
    text = f"{GLOBAL} option when_disabled {when_disabled}\n{OTHERS}"
    config, diagnostics = compile_config(f"{text}{IPSEC} {options}\n")
    assert config.behaviour("ipsec") == "block" and not config.shares_servers
    assert any(item.severity == "error" and "nobody may use this protocol" in item.remedy for item in diagnostics)
    without = good(text).protocols
    assert {name: protocol for name, protocol in config.protocols.items() if name != "ipsec"} == {
        name: protocol for name, protocol in without.items() if name != "ipsec"}


def test_what_is_off_and_left_alone_stays_so():
    """Nobody was refused there: an unusable list closes nothing that was open on purpose."""
    config, diagnostics = compile_config("config 0 'openvpn'\n option when_disabled ignore\n list allow_src nobody\n")
    assert config.behaviour("openvpn") == "ignore" and [item.severity for item in diagnostics] == ["warning", "error"]


def test_the_good_entries_of_a_list_hold():
    config, diagnostics = compile_config(IPSEC + "list deny_src nobody\nlist deny_src 192.168.1.8\n")
    assert config.protocols["ipsec"].deny_src == (Source(kind="ipv4", text="192.168.1.8"),)
    assert config.behaviour("ipsec") == "help" and [item.severity for item in diagnostics] == ["error"]


def test_a_bad_word_means_the_choice_that_refuses():
    config, _ = compile_config(f"{GLOBAL} option when_disabled ignore\nconfig 0 'openvpn'\n option when_disabled blok\n"
                               f"{IPSEC} option ipv6_inbound shut\n")
    assert config.behaviour("openvpn") == "block" and config.protocols["ipsec"].ipv6_inbound == "closed"


def test_what_is_on_both_sides_is_wan():
    config, _ = compile_config(GLOBAL + "list lan_zone lan\nlist lan_zone vpn\nlist wan_zone vpn\n")
    assert (config.general.lan_zone, config.general.wan_zone) == (("lan",), ("vpn",))


@pytest.mark.parametrize("text", [IPSEC + "option enabled '1\n", "config\0", "x\n" * 21])
def test_only_what_can_not_be_read_at_all_is_no_configuration(text):
    config, diagnostics = compile_config("config 0 'openvpn'\n" + text)
    assert config is None and [item.severity for item in diagnostics][-1] == "error"


def test_a_byte_order_mark():
    assert good("\ufeffconfig 0 'ipsec'\n").behaviour("ipsec") == "block"
    text = b"\xef\xbb\xbfconfig 0 'ipsec'\n\toption x 1\n".decode("utf-8", "surrogateescape")
    assert [item.line for item in compile_config(text)[1]] == [2]


# --- the rest --------------------------------------------------------------------------------------------------------------

def test_nearest():
    assert nearest("wireguird", PROTOCOLS) == "wireguard"
    assert nearest("IPsec", PROTOCOLS) == "ipsec"
    assert nearest("pttp", PROTOCOLS) == "pptp"
    assert nearest("gre", PROTOCOLS) == ""
    assert edit_distance("ab", "ba", 9) == 1


def test_section_order_does_not_matter():
    text = IPSEC + "option enabled 0\nconfig vpnpt\noption log_level error\n"
    reordered = "".join(f"config {section.type} '{section.name}'\n" + "".join(
        f"option {option.name} '{option.values[0]}'\n" for option in section.options.values())
        for section in reversed(parse(text).sections))
    assert good(text) == good(reordered)
