# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor knows of a router, and what it says. Pure."""
from __future__ import annotations

from ..model import plain
from ..record import Record
from .codes import CODES
from .said import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..config.ucitext import SectionText
    from ..model import Config, Devices, Diagnostic, Said
    from ..wire.conntrack import Flow
    from .codes import Severity


class Finding(Record):
    """One thing that is wrong, or worth knowing. text: a sentence. evidence: what was seen. link: a path in LuCI, or ''."""

    __slots__ = ("code", "severity", "text", "evidence", "remedy", "link")
    code: str
    severity: Severity
    text: Said | str
    evidence: Said | Diagnostic | str
    remedy: Said | str
    link: str

    def shown(self) -> dict[str, Any]:
        """The fields in English, and (`said`) as codes with values."""
        told = {"text": self.text, "evidence": self.evidence, "remedy": self.remedy}
        said = {name: plain(item) for name, item in told.items()}
        return {**self.as_dict(), **{name: str(item) for name, item in told.items()}, "said": said}


def finding(code: str, text: Said | str, evidence: Said | Diagnostic | str, remedy: Said | str = "", severity: Severity | None = None,
            link: str | None = None) -> Finding:
    """A finding with what its code says of severity, remedy and link. Raises KeyError for an unknown code."""
    known = CODES[code]
    return Finding(code=code, severity=severity or known.severity, text=text, evidence=evidence, remedy=remedy or say(f"do-{code}"),
                   link=known.link if link is None else link)


class Uplink(Record):
    """A WAN device. addresses: IPv4, as text. mtu: bytes, 0 if there is no such device. up: it exists and is up."""

    __slots__ = ("device", "addresses", "mtu", "up")
    device: str
    addresses: tuple[str, ...]
    mtu: int
    up: bool


class IcmpError(Record):
    """ICMP "destination unreachable" from outside. sender: who says so; server, proto, port: about what; code: RFC 792; mtu: RFC 1191."""

    __slots__ = ("sender", "server", "proto", "port", "code", "mtu")
    DEFAULTS = {"port": 0, "mtu": 0}
    sender: bytes
    server: bytes
    proto: int
    port: int
    code: int
    mtu: int


class Attempt(Record):
    """A connection that was ended by the only answer it got (TCP reset). ago: seconds."""

    __slots__ = ("protocol", "client", "server", "proto", "port", "ago")
    protocol: str
    client: bytes
    server: bytes
    proto: int
    port: int
    ago: int


class Listener(Record):
    """A socket of the router's own. proto: tcp or udp. program: its name, '' if the kernel itself or nobody known."""

    __slots__ = ("proto", "port", "program")
    proto: str
    port: int
    program: str


class LeftOut(Record):
    """A host inside whose IPsec has no zone. device: by which it comes, '' if not known."""

    __slots__ = ("client", "server", "device")
    client: bytes
    server: bytes
    device: str


class Missing(Record):
    """What the kernel lacks. packages: that bring it."""

    __slots__ = ("feature", "needed_for", "package")
    feature: str
    needed_for: str
    package: str


class Facts(Record):
    """Everything. now: seconds of the epoch. Addresses are bytes unless said otherwise.

    rules: objects of `nft -j`, without our own tables. firewall: the UCI package. flows: (protocol, conntrack entry) of LAN clients, and of
    those that ended of late without an answer.
    fill: collection to (elements, size). usage: protocol to when it was last used, or first counted (seconds of the epoch).
    refused: (protocol, client) that we refused lately, the last one first.
    ike1: (client, server) pairs that speak IKEv1. heard: pairs for which ESP has come,
    by our maps: conntrack does not see copies. left_out: hosts that have no zone. hosts: LAN neighbours.
    lan6: public IPv6 addresses of the LAN side. default_devices: by which IPv4 goes out; ("",) if not known.
    syn_timeout: seconds that conntrack gives a TCP connection which was not answered. absent: configured devices that do not exist.
    short_way: where it is wanted, the package that it lacks, and what forbids it on this router.
    """

    __slots__ = ("now", "config", "devices", "problem", "diagnostics", "in_place", "helper_missing", "notices", "counters", "fill",
                 "rules", "firewall", "release", "kernel", "missing", "uplinks", "default_devices", "default_route6", "lan6",
                 "listeners", "hosts", "flows", "errors", "attempts", "refused", "ike1", "heard", "conntrack", "usage",
                 "drift", "syn_timeout", "absent", "short_way", "left_out")
    DEFAULTS = {
        "config": None, "devices": None, "problem": "", "diagnostics": (), "in_place": True, "helper_missing": False, "notices": True,
        "counters": {}, "fill": {}, "rules": (), "firewall": (), "release": "", "kernel": "", "missing": (), "uplinks": (),
        "default_devices": ("",), "default_route6": True, "lan6": (), "listeners": (), "hosts": 0, "flows": (),
        "errors": (), "attempts": (), "refused": (), "ike1": frozenset(), "heard": frozenset(), "conntrack": (0, 0), "usage": {},
        "drift": "", "syn_timeout": 120, "absent": frozenset(), "short_way": ("", ()), "left_out": ()}
    now: int
    config: Config | None
    devices: Devices | None
    problem: str
    diagnostics: tuple[Diagnostic, ...]
    in_place: bool
    helper_missing: bool
    notices: bool
    counters: dict[str, tuple[int, int]]
    fill: dict[str, tuple[int, int]]
    rules: tuple[dict[str, Any], ...]
    firewall: tuple[SectionText, ...]
    release: str
    kernel: str
    missing: tuple[Missing, ...]
    uplinks: tuple[Uplink, ...]
    default_devices: tuple[str, ...]
    default_route6: bool
    lan6: tuple[str, ...]
    listeners: tuple[Listener, ...]
    hosts: int
    flows: tuple[tuple[str, Flow], ...]
    errors: tuple[IcmpError, ...]
    attempts: tuple[Attempt, ...]
    refused: tuple[tuple[str, bytes], ...]
    ike1: frozenset[tuple[bytes, bytes]]
    heard: frozenset[tuple[bytes, bytes]]
    conntrack: tuple[int, int]
    usage: dict[str, int]
    drift: str
    syn_timeout: int
    absent: frozenset[str]
    short_way: tuple[str, tuple[str, ...]]
    left_out: tuple[LeftOut, ...]

    def helps(self, protocol: str) -> bool:
        """Is vpnpt on, and this protocol to pass?"""
        return self.config is not None and self.config.general.enabled and self.config.behaviour(protocol) == "help"
