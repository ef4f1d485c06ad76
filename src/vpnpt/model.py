# SPDX-License-Identifier: GPL-2.0-or-later
"""Value types: what a configuration means once it has been read, and what is wrong with it.

Imports nothing of ours. Records are immutable by convention: use `replace()`, never assign to a field.
"""
from __future__ import annotations

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Self

    Behaviour = Literal["help", "block", "ignore"]
    Severity = Literal["error", "warning"]

# The fixed order in which protocols are compiled, shown and documented.
PROTOCOLS = ("pptp", "l2tp", "ipsec", "openvpn", "wireguard")


class Source(Record):
    """Who may use a protocol: an address, a subnet or an Ethernet address on the LAN side.

    kind: 'ipv4', 'ipv6' or 'mac'. text: normalised (host bits zero, lower case), ready for nftables.
    """

    __slots__ = ("kind", "text")
    kind: Literal["ipv4", "ipv6", "mac"]
    text: str


class Global(Record):
    """The section `config vpnpt 'global'`. Timeouts are in seconds; config/options.py gives ranges and defaults.

    zone_base, zone_count: conntrack zones given to LAN clients, zone_base .. zone_base + zone_count - 1, within 1..65535.
    max_clients, max_keys: how many elements the kernel's client maps and key maps may hold.
    client_timeout, key_timeout: how long a silent client, or a silent key (SPI, cookie, tunnel ID), is remembered.
    pending_timeout: how long a client that has announced a new key waits for the first packet with it.
    fast_timeout: how long an in-kernel fast path entry lives before the slow path renews the rest.
    unused_days: after how many days without use the doctor names a protocol that is on; 0 for never.
    history, metrics_file: paths, '' for none; metrics_interval: seconds.
    """

    __slots__ = ("enabled", "lan_zone", "wan_zone", "lan_device", "wan_device", "when_disabled", "zone_base", "zone_count",
                 "max_clients", "max_keys", "client_timeout", "key_timeout", "pending_timeout", "fast_timeout", "log_level",
                 "unused_days", "on_drift", "history", "metrics_file", "metrics_interval")
    enabled: bool
    lan_zone: tuple[str, ...]
    wan_zone: tuple[str, ...]
    lan_device: tuple[str, ...]
    wan_device: tuple[str, ...]
    when_disabled: Literal["block", "ignore"]
    zone_base: int
    zone_count: int
    max_clients: int
    max_keys: int
    client_timeout: int
    key_timeout: int
    pending_timeout: int
    fast_timeout: int
    log_level: Literal["error", "warning", "info", "debug"]
    unused_days: int
    on_drift: Literal["repair", "alert"]
    history: str
    metrics_file: str
    metrics_interval: int


class Protocol(Record):
    """A section `config protocol NAME`.

    ports: pptp TCP, l2tp UDP, ipsec the UDP ports of NAT-T (option natt_port; IKE itself is always 500), openvpn TCP and UDP,
    wireguard UDP. when_disabled: '' means that the global one counts. allow_src: empty means everybody on the LAN. deny_src: who may
    not use it, whatever allow_src says.
    multi_client, preserve_ike_port, esp_offload, ipv6_inbound: of ipsec alone (RFC 6092 section 3.2.4: a CPE lets AH, ESP and IKE in).
    """

    __slots__ = ("name", "enabled", "when_disabled", "ports", "allow_src", "deny_src", "multi_client", "preserve_ike_port",
                 "esp_offload", "ipv6_inbound")
    DEFAULTS = {"multi_client": False, "preserve_ike_port": False, "esp_offload": "0", "ipv6_inbound": "open"}
    name: str
    enabled: bool
    when_disabled: Literal["", "block", "ignore"]
    ports: tuple[int, ...]
    allow_src: tuple[Source, ...]
    deny_src: tuple[Source, ...]
    multi_client: bool
    preserve_ike_port: bool
    esp_offload: Literal["auto", "1", "0"]
    ipv6_inbound: Literal["open", "closed"]


class Config(Record):
    """A whole, valid configuration. protocols holds every name of PROTOCOLS, in that order."""

    __slots__ = ("general", "protocols")
    general: Global
    protocols: dict[str, Protocol]

    def __hash__(self) -> int:
        return hash((self.general, tuple(self.protocols.values())))

    def behaviour(self, name: str) -> Behaviour:
        """What happens to this protocol's packets. Raises KeyError for a name that is not in PROTOCOLS.

        'help' for openvpn and wireguard means: recognised, never touched (they cross NAT by themselves).
        """
        protocol = self.protocols[name]
        if protocol.enabled:
            return "help"
        return protocol.when_disabled or self.general.when_disabled

    @property
    def shares_servers(self) -> bool:
        """Does this configuration put IPsec clients into zones?"""
        return self.general.enabled and self.behaviour("ipsec") == "help" and self.protocols["ipsec"].multi_client


class FoundZone(Record):
    """A firewall zone, on which side it is, and why. side: 'lan', 'wan', or '' for neither. devices: kernel names, without repetition."""

    __slots__ = ("zone", "side", "reason", "devices")
    zone: str
    side: Literal["lan", "wan", ""]
    reason: str
    devices: tuple[str, ...]

    def __str__(self) -> str:
        """In a line, such as `LAN: zone guest (br-guest), forwarded to wan`."""
        return f"{self.side.upper() or 'left out'}: zone {self.zone} ({' '.join(self.devices) or 'no device yet'}), {self.reason}"


class Devices(Record):
    """The network devices of each side, resolved: kernel names, no duplicates, in configuration order.

    lan: the inside, where clients are. found: the zones that were looked at, () where both sides' devices are named.
    """

    __slots__ = ("lan", "wan", "found")
    DEFAULTS = {"found": ()}
    lan: tuple[str, ...]
    wan: tuple[str, ...]
    found: tuple[FoundZone, ...]


class Said(str):
    """A sentence, or a part of one, that knows what it was made of: the terminal shows it as it is, LuCI in the reader's language.

    code: the sentence in English, with {name} where a value stands; LuCI's catalogues have it by these very words. values: by name:
    text, numbers, other sentences, tuples of these.
    """

    __slots__ = ("code", "values")
    code: str
    values: dict[str, Any]

    def __new__(cls, code: str, /, **values: Any) -> Self:
        said = super().__new__(cls, code.format(**values))
        said.code, said.values = code, values
        return said


def plain(value: Any) -> Any:
    """As JSON carries it: a sentence as {"code": ..., "values": {...}}, a tuple as a list."""
    if isinstance(value, Said):
        return {"code": value.code, "values": {name: plain(inner) for name, inner in value.values.items()}}
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    return value.shown() if isinstance(value, Diagnostic) else value


def joined(one: Said, other: Said) -> Said:
    """Two sentences as one."""
    return Said("{one}; {other}", one=one, other=other)


class Diagnostic(Record):
    """One thing that is wrong with a configuration. An error stops its use, after a warning it goes on.

    line: 1-based, 0 when unknown. section: the section's name, or '@type[index]' if it has none. value: None when it is not
    about a value. message: what is wrong. remedy: what is valid, what to do, what is used instead.
    """

    __slots__ = ("severity", "file", "line", "section", "option", "value", "message", "remedy")
    DEFAULTS = {"file": "", "line": 0, "section": "", "option": "", "value": None, "remedy": ""}
    severity: Severity
    file: str
    line: int
    section: str
    option: str
    value: str | None
    message: Said
    remedy: Said | Literal[""]

    def shown(self) -> dict[str, Any]:
        """The fields, sentences as codes with values; `value` as it is shown."""
        value = None if self.value is None else quoted(self.value)
        return {name: plain(item) for name, item in self.as_dict().items()} | {"value": value}

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        subject = []
        if self.section:
            subject.append(f"section {quoted(self.section)}")
        if self.option:
            subject.append(f"option {quoted(self.option)}")
        if self.value is not None:
            subject.append(f"value {quoted(self.value)}")
        parts = [self.severity, place, " ".join(subject), self.message]
        text = ": ".join(part for part in parts if part)
        return f"{text}; {self.remedy}" if self.remedy else text


def number(word: str) -> int | None:
    """A decimal number of at most 18 digits without a sign, else None: int() refuses digits of other kinds, and more than 4,300 of them."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 18 else None


def quoted(text: str, limit: int = 60) -> str:
    """User text for a one-line message: in single quotes, control characters and undecodable bytes escaped, cut at `limit`."""
    shown = text if len(text) <= limit else text[:limit - 3] + "..."
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown) + "'"
