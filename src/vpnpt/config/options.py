# SPDX-License-Identifier: GPL-2.0-or-later
"""Every option of the configuration: one row each, in one table, the only place where its name, type, default and range stand.

From it come the parser's fields and defaults (compile.py), and with the sentences of texts.py `vpnpt help OPTION`, the option tables of
the documentation and the JSON schema; LuCI's options.js is checked against it by a test.
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
    """

    __slots__ = ("name", "kind", "default", "many", "choices", "low", "high", "unit", "field", "closed")
    DEFAULTS = {"many": False, "choices": (), "low": 0, "high": 0, "unit": "", "field": "", "closed": ""}
    name: str
    kind: str
    default: Any
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


def _bool(name: str, default: bool) -> Option:
    return Option(name=name, kind="bool", default=default)


def _number(name: str, default: int, low: int, high: int, unit: str = "") -> Option:
    return Option(name=name, kind="int", default=default, low=low, high=high, unit=unit)


def _choice(name: str, default: str, choices: tuple[str, ...], closed: str = "") -> Option:
    return Option(name=name, kind="choice", default=default, choices=choices, closed=closed)


def _list(name: str, kind: str) -> Option:
    return Option(name=name, kind=kind, default=(), many=True)


def _ports(name: str, default: int) -> Option:
    return Option(name=name, kind="port", default=(default,), many=True, low=1, high=65535, field="ports")


def _path(name: str, endings: tuple[str, ...]) -> Option:
    return Option(name=name, kind="path", default="", choices=endings)


def _common(enabled: bool) -> tuple[Option, ...]:
    """What every protocol has."""
    return (
        _bool("enabled", enabled),
        _choice("when_disabled", "", ("block", "ignore"), closed="block"),
        _list("allow_src", "source"),
        _list("deny_src", "source"),
    )


OPTIONS: dict[str, tuple[Option, ...]] = {
    "global": (
        _bool("enabled", True),
        _list("lan_zone", "zone"),
        _list("wan_zone", "zone"),
        _list("lan_device", "device"),
        _list("wan_device", "device"),
        _choice("when_disabled", "block", ("block", "ignore")),
        _number("zone_base", 20480, 1, MAX_ZONE),
        _number("zone_count", 40960, 1, MAX_ZONE),
        _number("max_clients", 4096, 1, MAX_ZONE, "clients"),
        _number("max_keys", 65536, 64, 1048576, "keys"),
        _number("client_timeout", 86400, 2, 2592000, "seconds"),
        _number("key_timeout", 28800, 2, 2592000, "seconds"),
        _number("pending_timeout", 10, 1, 120, "seconds"),
        _number("fast_timeout", 300, 1, 86400, "seconds"),
        _choice("log_level", "info", ("error", "warning", "info", "debug")),
        _number("unused_days", 30, 0, 3650, "days"),
        _choice("on_drift", "repair", ("repair", "alert")),
        _path("history", ()),
        _path("metrics_file", (".prom",)),
        _number("metrics_interval", 60, 10, 86400, "seconds"),
    ),
    "pptp": (*_common(False), _ports("port", 1723)),
    "l2tp": (*_common(True), _ports("port", 1701)),
    "ipsec": (
        *_common(True),
        _ports("natt_port", 4500),
        _bool("multi_client", True),
        _bool("preserve_ike_port", True),
        _choice("esp_offload", "auto", ("auto", "1", "0")),
        _choice("ipv6_inbound", "open", ("open", "closed"), closed="closed"),
    ),
    "openvpn": (*_common(True), _ports("port", 1194)),
    "wireguard": (*_common(True), _ports("port", 51820)),
}


def defaults(section: str) -> dict[str, Any]:
    """The fields of a section of which nothing is written."""
    return {option.target: option.default for option in OPTIONS[section]}
