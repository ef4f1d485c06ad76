# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text -> Config and what is wrong with it. The option tables below are the whole truth about the configuration:

the compiler, the documentation and the schema are made from them. A bad value is named and its default used; an unknown
section or option is named and left out; only what leaves nothing sane to do (see `compile_config`) is an error.
"""
from __future__ import annotations

from . import ucitext
from .model import PROTOCOLS, Config, Diagnostic, Global, Protocol, Record, Source, quoted
from .values import FALSE_WORDS, PARSERS, TRUE_WORDS, BadValue, boolean, has_host_bits, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .model import Severity
    from .ucitext import OptionText, SectionText

MAX_ZONE = 65535  # ct zones are 16 bit (struct nf_conntrack_zone); 0 is everybody else's


class Option(Record):
    """One option of a section type.

    kind: 'bool', 'int', 'choice', 'zone', 'device', 'port', 'path' (its choices are endings) or 'source' (address, subnet, MAC).
    many: a list of those.
    field: the name in the model, if it is another one. low, high: the range of a number, in `unit`.
    """

    __slots__ = ("name", "kind", "default", "help", "many", "choices", "low", "high", "unit", "field")
    DEFAULTS = {"many": False, "choices": (), "low": 0, "high": 0, "unit": "", "field": ""}
    name: str
    kind: str
    default: Any
    help: str
    many: bool
    choices: tuple[str, ...]
    low: int
    high: int
    unit: str
    field: str


def _number(name: str, default: int, low: int, high: int, unit: str, text: str) -> Option:
    return Option(name=name, kind="int", default=default, low=low, high=high, unit=unit, help=text)


def _list(name: str, kind: str, default: tuple[str, ...], text: str) -> Option:
    return Option(name=name, kind=kind, default=default, many=True, help=text)


def _ports(name: str, default: int, text: str) -> Option:
    return Option(name=name, kind="port", default=(default,), many=True, low=1, high=65535, field="ports", help=text)


def _common(enabled: bool, text: str) -> tuple[Option, ...]:
    return (
        Option(name="enabled", kind="bool", default=enabled, help=text),
        Option(name="when_disabled", kind="choice", default="", choices=("block", "ignore"),
               help="What happens to this protocol when it is not enabled; without it the global when_disabled counts."),
        _list("allow_src", "source", (), "LAN addresses, subnets or MACs that alone may use this protocol; without it, all."),
        _list("deny_src", "source", (), "LAN addresses, subnets or MACs that may not use this protocol, whatever allow_src says."),
    )


OPTIONS: dict[str, tuple[Option, ...]] = {
    "global": (
        Option(name="enabled", kind="bool", default=True, help="Whether VPN passthrough runs at all."),
        _list("lan_zone", "zone", ("lan",), "Firewall zones whose devices are the LAN side."),
        _list("wan_zone", "zone", ("wan",), "Firewall zones whose devices are the WAN side."),
        _list("lan_device", "device", (), "Network devices of the LAN side; they replace lan_zone."),
        _list("wan_device", "device", (), "Network devices of the WAN side; they replace wan_zone."),
        Option(name="when_disabled", kind="choice", default="block", choices=("block", "ignore"),
               help="What becomes of a protocol that is not enabled: block drops it between LAN and WAN, ignore lets it be."),
        _number("zone_base", 20480, 1, MAX_ZONE, "", "The first conntrack zone that may be given to a LAN client."),
        _number("zone_count", 40960, 1, MAX_ZONE, "", "How many conntrack zones are set aside for LAN clients."),
        _number("max_clients", 4096, 1, MAX_ZONE, "clients", "How many LAN clients are known at once, at most zone_count."),
        _number("max_keys", 65536, 64, 1048576, "keys",
                "How many keys (SPIs, cookies, tunnel IDs) each map of the kernel may hold."),
        _number("client_timeout", 86400, 2, 2592000, "seconds",
                "How long a silent LAN client keeps its zone, at least key_timeout."),
        _number("key_timeout", 28800, 2, 2592000, "seconds", "How long a silent tunnel's key is remembered."),
        _number("pending_timeout", 10, 1, 120, "seconds", "How long an announced tunnel may wait for its first answer."),
        _number("fast_timeout", 300, 1, 86400, "seconds",
                "How long an entry of the kernel's fast path lives before it is renewed, at most half of key_timeout."),
        Option(name="log_level", kind="choice", default="info", choices=("error", "warning", "info", "debug"),
               help="The least important messages that go to the system log."),
        _number("unused_days", 30, 0, 3650, "days", "After how many days without use the doctor names a protocol that is on; 0: never."),
        Option(name="on_drift", kind="choice", default="repair", choices=("repair", "alert"),
               help="What to do when others change the rules in our tables: repair puts them back, alert only says so. Tables that "
                    "were deleted come back in any case."),
        Option(name="history", kind="path", default="",
               help="A file that keeps the history of changes over a reboot; without it the history is in RAM."),
        Option(name="metrics_file", kind="path", default="", choices=(".prom",),
               help="A file for Prometheus' textfile collector, on OpenWrt `/var/prometheus/vpnpt.prom`; without it none is written."),
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
        Option(name="multi_client", kind="bool", default=True, help="Let several clients use ESP to the same server at once."),
        Option(name="preserve_ike_port", kind="bool", default=True,
               help="Keep source port 500 of IKE for every client; some servers refuse another one."),
        Option(name="ipv6_inbound", kind="choice", default="open", choices=("open", "closed"),
               help="Whether IPsec may come in from the WAN to IPv6 hosts of the LAN; RFC 6092, REC-22 to 24, asks for open."),
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


def default_config() -> Config:
    """The configuration of a fresh install."""
    protocols = {name: Protocol(name=name, **_defaults(name)) for name in PROTOCOLS}
    return Config(general=Global(**_defaults("global")), protocols=protocols)


def _defaults(section: str) -> dict[str, Any]:
    return {option.field or option.name: option.default for option in OPTIONS[section]}


def compile_config(text: str, file: str = "vpnpt") -> tuple[Config | None, list[Diagnostic]]:
    """Read, verify and complete a configuration. `file` names it in the diagnostics. Never raises, whatever the text.

    Errors, with no Config: text that can't be told apart (a quote without end, binary data, too many bad lines); one zone or
    device on both sides; an allow_src of which nothing is valid, since leaving it out would open what it was to close.
    """
    document = ucitext.parse(text, file)
    compiler = _Compiler(file, list(document.diagnostics))
    if document.package not in ("", "vpnpt"):
        compiler.add("warning", None, f"holds package {quoted(document.package)}", "this file should hold package 'vpnpt'")
    chosen = compiler.choose_sections(document.sections)
    general = Global(**compiler.values("global", chosen.get("global")))
    protocols = {name: Protocol(name=name, **compiler.values(name, chosen.get(name))) for name in PROTOCOLS}
    general = compiler.settle(general, chosen.get("global"))
    diagnostics = sorted(compiler.diagnostics, key=lambda diagnostic: diagnostic.line)
    if any(diagnostic.severity == "error" for diagnostic in diagnostics):
        return None, diagnostics
    return Config(general=general, protocols=protocols), diagnostics


class _Compiler:
    """Collects diagnostics while sections become values."""

    def __init__(self, file: str, diagnostics: list[Diagnostic]) -> None:
        self.file = file
        self.diagnostics = diagnostics

    def add(self, severity: Severity, section: SectionText | None, message: str, remedy: str, *,
            option: OptionText | None = None, value: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(
            severity=severity, file=self.file, line=option.line if option else section.line if section else 0,
            section=section.label if section else "", option=option.name if option else "", value=value, message=message,
            remedy=remedy))

    # --- which section is what -------------------------------------------------------------------------------------------

    def choose_sections(self, sections: list[SectionText]) -> dict[str, SectionText]:
        """The sections that count, by 'global' or the protocol's name. Every other one is named."""
        chosen = {section.name: section for section in sections if section.name in OPTIONS}
        for section in sections:
            if section.name in OPTIONS:
                self.check_type(section)
            elif section.type == "vpnpt" and not section.name and "global" not in chosen:
                chosen["global"] = section
            elif section.type == "vpnpt":
                self.add("warning", section, "there is one global section only, named 'global'",
                         f"move its options to {self.place(chosen)}; it is left out")
            elif section.type == "protocol" or boolean(section.type) is not None:
                self.unknown_name(section)
            else:
                self.add("warning", section, f"unknown section type {quoted(section.type)}",
                         guess(section.type, ("vpnpt", "protocol")))
        return chosen

    def place(self, chosen: dict[str, SectionText]) -> str:
        section = chosen.get("global")
        return f"the one in line {section.line}" if section else "\"config vpnpt 'global'\""

    def check_type(self, section: SectionText) -> None:
        right = "vpnpt" if section.name == "global" else "protocol"
        if section.type != right and boolean(section.type) is None:
            self.add("warning", section, f"type {quoted(section.type)} says neither on nor off",
                     f"valid: {right}, or {', '.join(TRUE_WORDS)}, {', '.join(FALSE_WORDS)}; taken as {right!r}")

    def unknown_name(self, section: SectionText) -> None:
        if section.name:
            self.add("warning", section, "unknown protocol", guess(section.name, PROTOCOLS))
        else:
            self.add("warning", section, "a protocol's section must have its name",
                     f"write \"config {section.type} 'ipsec'\" or another of {', '.join(PROTOCOLS)}; it is left out")

    # --- options -> values -----------------------------------------------------------------------------------------------

    def values(self, kind: str, section: SectionText | None) -> dict[str, Any]:
        """Every field of a section, from what is written or else from the table; unknown options are named."""
        fields = _defaults(kind)
        if section is None:
            return fields
        table = {option.name: option for option in OPTIONS[kind]}
        for text in section.options.values():
            option = table.get(text.name)
            if option is None:
                self.add("warning", section, "unknown option", guess(text.name, table), option=text)
            else:
                fields[option.field or option.name] = (self.many if option.many else self.single)(section, text, option)
        shorthand = boolean(section.type)
        if shorthand is not None:
            text_enabled = section.options.get("enabled")
            if text_enabled and fields["enabled"] != shorthand:
                self.add("warning", section, f"contradicts the section's type {quoted(section.type)}",
                         f"remove one of them; the type wins: {'enabled' if shorthand else 'not enabled'}",
                         option=text_enabled, value=text_enabled.values[-1])
            fields["enabled"] = shorthand
        return fields

    def single(self, section: SectionText, text: OptionText, option: Option) -> Any:
        if len(text.values) > 1:
            self.add("warning", section, "takes one value, not a list", f"write one 'option' line; {using(option)}", option=text)
            return option.default
        if not text.values[0]:
            return option.default
        try:
            return PARSERS[option.kind](text.values[0], option)
        except BadValue as problem:
            self.add("warning", section, problem.args[0], f"{problem.args[1]}; {using(option)}",
                     option=text, value=text.values[0])
            return option.default

    def many(self, section: SectionText, text: OptionText, option: Option) -> tuple[Any, ...]:
        """The valid entries. `option x 'a b'` is taken as a list too, as fw4 takes it."""
        words = [word for value in text.values for word in value.split()]
        found: list[Any] = []
        alone = len(words) == 1 and option.kind != "source"
        for word in words:
            try:
                value = PARSERS[option.kind](word, option)
            except BadValue as problem:
                self.add("warning", section, problem.args[0],
                         f"{problem.args[1]}; {using(option) if alone else 'this entry is left out'}", option=text, value=word)
                continue
            if value in found:
                self.add("warning", section, "is in the list already", "remove it", option=text, value=word)
            else:
                found.append(value)
            if isinstance(value, Source) and has_host_bits(word, value):
                self.add("warning", section, "is a host within a subnet", f"write one of them; using {value.text!r}",
                         option=text, value=word)
        if words and not found and option.kind == "source":
            self.add("error", section, "not one entry is valid", "correct the list; without it everybody would be let through",
                     option=text)
        elif words and not found and not alone:
            self.add("warning", section, "not one entry is valid", using(option), option=text)
        return tuple(found) or option.default

    # --- options against each other --------------------------------------------------------------------------------------

    def settle(self, general: Global, section: SectionText | None) -> Global:
        """Bring options that depend on each other into line. What is written wins over a default, which follows in silence."""
        written = section.options if section else {}
        self.both_sides(general.lan_zone, general.wan_zone, section, "zone")
        self.both_sides(general.lan_device, general.wan_device, section, "device")
        last = general.zone_base + general.zone_count - 1
        if last > MAX_ZONE:
            default = Global()
            self.complain(section, written.get("zone_count") or written.get("zone_base"), f"zones up to {last} do not exist",
                          f"zone_base + zone_count must be at most {MAX_ZONE + 1}; using zone_base {default.zone_base} and "
                          f"zone_count {default.zone_count}")
            general = general.replace(zone_base=default.zone_base, zone_count=default.zone_count)
        if general.max_clients > general.zone_count:
            self.complain(section, written.get("max_clients"), f"more than zone_count ({general.zone_count})",
                          f"every client needs a zone; using {general.zone_count}")
            general = general.replace(max_clients=general.zone_count)
        if general.client_timeout < general.key_timeout:
            if "key_timeout" in written:
                self.complain(section, written.get("client_timeout"), f"less than key_timeout ({general.key_timeout})",
                              f"a client must be remembered as long as its keys; using {general.key_timeout}")
                general = general.replace(client_timeout=general.key_timeout)
            else:
                general = general.replace(key_timeout=general.client_timeout)
        if general.fast_timeout > general.key_timeout // 2:
            self.complain(section, written.get("fast_timeout"), f"more than half of key_timeout ({general.key_timeout})",
                          f"keys must be renewed before they are forgotten; using {general.key_timeout // 2}")
            general = general.replace(fast_timeout=general.key_timeout // 2)
        if general.history and general.history == general.metrics_file:
            self.complain(section, written.get("history"), "is metrics_file as well", "name another file; using none")
            general = general.replace(history="")
        return general

    def complain(self, section: SectionText | None, text: OptionText | None, message: str, remedy: str) -> None:
        if text is not None:
            self.add("warning", section, message, remedy, option=text, value=text.values[-1])

    def both_sides(self, lan: tuple[str, ...], wan: tuple[str, ...], section: SectionText | None, what: str) -> None:
        written = section.options if section else {}
        for name in lan:
            if name in wan:
                text = written.get(f"wan_{what}") or written.get(f"lan_{what}")
                self.add("error", section, f"is in lan_{what} and in wan_{what}", f"a {what} is on one side only: take it out of "
                         "one of the two lists", option=text, value=name)


def using(option: Option) -> str:
    """How a remedy says that the default takes effect."""
    if option.kind == "bool":
        return f"using {int(option.default)}"
    if option.many:
        return "using " + (" ".join(map(str, option.default)) or "none")
    if option.default == "":
        return "using none" if option.kind == "path" else f"using the global {option.name}"
    return f"using {option.default!r}"


def guess(word: str, names: Iterable[str]) -> str:
    """The remedy for an unknown name: the one that was probably meant, else all that are valid."""
    meant = nearest(word, names)
    return "left out; " + (f"did you mean {quoted(meant)}?" if meant else f"valid: {', '.join(names)}")
