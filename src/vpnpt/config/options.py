# SPDX-License-Identifier: GPL-2.0-or-later
"""Every option of the configuration: one row each, in one table, the only place where its name, type, default, range and meaning stand.

From it come the parser's fields and defaults (compile.py), `vpnpt help OPTION` (texts.py), the option tables of the documentation and
the JSON schema; LuCI's options.js is checked against it by a test.
"""
from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_ZONE = 65535  # ct zones are 16 bit (struct nf_conntrack_zone); 0 is everybody else's


class Option(Record):
    """One option of a section type.

    kind: 'bool', 'int', 'choice', 'zone', 'device', 'port', 'path' (its choices are endings) or 'source' (address, subnet, MAC).
    default: what counts without it; for a list a tuple. many: a list of `kind`.
    field: the name in the model, if it is another one. low, high: the range of a number, in `unit`.
    closed: what counts instead of an invalid value where that is not the default: the choice that refuses.
    meaning: a sentence for the user.
    """

    __slots__ = ("name", "kind", "default", "meaning", "many", "choices", "low", "high", "unit", "field", "closed")
    DEFAULTS = {"many": False, "choices": (), "low": 0, "high": 0, "unit": "", "field": "", "closed": ""}
    name: str
    kind: str
    default: Any
    meaning: str
    many: bool
    choices: tuple[str, ...]
    low: int
    high: int
    unit: str
    field: str
    closed: str

    @property
    def target(self) -> str:
        """The field of Global or Protocol that holds its value."""
        return self.field or self.name


def _bool(name: str, default: bool, meaning: str) -> Option:
    return Option(name=name, kind="bool", default=default, meaning=meaning)


def _number(name: str, default: int, low: int, high: int, unit: str, meaning: str) -> Option:
    return Option(name=name, kind="int", default=default, low=low, high=high, unit=unit, meaning=meaning)


def _choice(name: str, default: str, choices: tuple[str, ...], meaning: str, closed: str = "") -> Option:
    return Option(name=name, kind="choice", default=default, choices=choices, meaning=meaning, closed=closed)


def _list(name: str, kind: str, meaning: str) -> Option:
    return Option(name=name, kind=kind, default=(), many=True, meaning=meaning)


def _ports(name: str, default: int, meaning: str) -> Option:
    return Option(name=name, kind="port", default=(default,), many=True, low=1, high=65535, field="ports", meaning=meaning)


def _path(name: str, endings: tuple[str, ...], meaning: str) -> Option:
    return Option(name=name, kind="path", default="", choices=endings, meaning=meaning)


def _common(enabled: bool, meaning: str) -> tuple[Option, ...]:
    """What every protocol has."""
    return (
        _bool("enabled", enabled, meaning),
        _choice("when_disabled", "", ("block", "ignore"),
                "What happens to this protocol when it is not enabled; without it the global when_disabled counts.", closed="block"),
        _list("allow_src", "source", "LAN addresses, subnets or MACs that alone may use this protocol; without it, all."),
        _list("deny_src", "source", "LAN addresses, subnets or MACs that may not use this protocol, whatever allow_src says."),
    )


OPTIONS: dict[str, tuple[Option, ...]] = {
    "global": (
        _bool("enabled", True, "Whether VPN passthrough runs at all."),
        _list("lan_zone", "zone", "Firewall zones that alone are the inside; without it, every zone that is forwarded to a WAN zone."),
        _list("wan_zone", "zone",
              "Firewall zones that alone are the WAN side; without it, every zone that masquerades for one that is forwarded to it."),
        _list("lan_device", "device", "Network devices of the inside, instead of zones."),
        _list("wan_device", "device", "Network devices of the WAN side, instead of zones."),
        _choice("when_disabled", "block", ("block", "ignore"),
                "What becomes of a protocol that is not enabled: block drops it between LAN and WAN, ignore lets it be."),
        _number("zone_base", 20480, 1, MAX_ZONE, "", "The first conntrack zone that may be given to a LAN client."),
        _number("zone_count", 40960, 1, MAX_ZONE, "", "How many conntrack zones are set aside for LAN clients."),
        _number("max_clients", 4096, 1, MAX_ZONE, "clients", "How many LAN clients are known at once, at most zone_count."),
        _number("max_keys", 65536, 64, 1048576, "keys",
                "How many keys (SPIs, cookies, tunnel IDs) each map of the kernel may hold."),
        _number("client_timeout", 86400, 2, 2592000, "seconds", "How long a silent LAN client keeps its zone, at least key_timeout."),
        _number("key_timeout", 28800, 2, 2592000, "seconds", "How long a silent tunnel's key is remembered."),
        _number("pending_timeout", 10, 1, 120, "seconds", "How long an announced tunnel may wait for its first answer."),
        _number("fast_timeout", 300, 1, 86400, "seconds",
                "How long an entry of the kernel's fast path lives before it is renewed, at most half of key_timeout."),
        _choice("log_level", "info", ("error", "warning", "info", "debug"),
                "The least important messages that go to the system log."),
        _number("unused_days", 30, 0, 3650, "days",
                "After how many days without use the doctor names a protocol that is on; 0: never."),
        _choice("on_drift", "repair", ("repair", "alert"),
                "What to do when others change the rules in our tables: repair puts them back, alert only says so. Tables that were "
                "deleted come back in any case."),
        _path("history", (), "A file that keeps the history of changes over a reboot; without it the history is in RAM."),
        _path("metrics_file", (".prom",),
              "A file for Prometheus' textfile collector, on OpenWrt `/var/prometheus/vpnpt.prom`; without it none is written."),
        _number("metrics_interval", 60, 10, 86400, "seconds", "How often metrics_file is written."),
    ),
    "pptp": (
        *_common(False, "Let PPTP clients through. Its encryption is broken (MS-CHAPv2): use it where nothing else is left."),
        _ports("port", 1723, "TCP ports of PPTP's control connection."),
    ),
    "l2tp": (
        *_common(True, "Let L2TP clients through, several of them to one server."),
        _ports("port", 1701, "UDP ports of L2TP servers."),
    ),
    "ipsec": (
        *_common(True, "Let IPsec clients (IKE, ESP, NAT-T) through, several of them to one server."),
        _ports("natt_port", 4500, "UDP ports of NAT traversal; IKE itself is always UDP 500."),
        _bool("multi_client", True, "Let several clients use ESP to the same server at once."),
        _bool("preserve_ike_port", True, "Keep source port 500 of IKE for every client; some servers refuse another one."),
        _choice("esp_offload", "auto", ("auto", "1", "0"),
                "Established ESP past the firewall, faster; auto: where flow_offloading is on."),
        _choice("ipv6_inbound", "open", ("open", "closed"),
                "Whether IPsec may come in from the WAN to IPv6 hosts of the LAN; RFC 6092, REC-22 to 24, asks for open.",
                closed="closed"),
    ),
    "openvpn": (
        *_common(True, "Recognise OpenVPN. It crosses NAT by itself and is never touched unless it is blocked."),
        _ports("port", 1194, "TCP and UDP ports of OpenVPN servers."),
    ),
    "wireguard": (
        *_common(True, "Recognise WireGuard. It crosses NAT by itself and is never touched unless it is blocked."),
        _ports("port", 51820, "UDP ports of WireGuard servers."),
    ),
}


def defaults(section: str) -> dict[str, Any]:
    """The fields of a section of which nothing is written."""
    return {option.target: option.default for option in OPTIONS[section]}
