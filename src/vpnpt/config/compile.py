# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text -> Config and what is wrong with it. The option tables below are the whole truth about the configuration:

the compiler, the documentation and the schema are made from them. A bad value is named and its default used; an unknown
section or option is named and left out; only what leaves nothing sane to do (see `compile_config`) is an error.
"""
from __future__ import annotations

from ..model import PROTOCOLS, Config, Diagnostic, Global, Protocol, Source, quoted
from ..record import Record
from . import ucitext
from .values import FALSE_WORDS, PARSERS, TRUE_WORDS, BadValue, boolean, has_host_bits, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..model import Severity
    from .ucitext import OptionText, SectionText

MAX_ZONE = 65535  # ct zones are 16 bit (struct nf_conntrack_zone); 0 is everybody else's


class Option(Record):
    """One option of a section type; what it means, cli_options.py says.

    kind: 'bool', 'int', 'choice', 'zone', 'device', 'port', 'path' (its choices are endings) or 'source' (address, subnet, MAC).
    many: a list of those.
    field: the name in the model, if it is another one. low, high: the range of a number, in `unit`.
    """

    __slots__ = ("name", "kind", "default", "many", "choices", "low", "high", "unit", "field")
    DEFAULTS = {"many": False, "choices": (), "low": 0, "high": 0, "unit": "", "field": ""}
    name: str
    kind: str
    default: Any
    many: bool
    choices: tuple[str, ...]
    low: int
    high: int
    unit: str
    field: str


def _number(name: str, default: int, low: int, high: int, unit: str) -> Option:
    return Option(name=name, kind="int", default=default, low=low, high=high, unit=unit)


def _list(name: str, kind: str, default: tuple[str, ...]) -> Option:
    return Option(name=name, kind=kind, default=default, many=True)


def _ports(name: str, default: int) -> Option:
    return Option(name=name, kind="port", default=(default,), many=True, low=1, high=65535, field="ports")


def _common(enabled: bool) -> tuple[Option, ...]:
    return (
        Option(name="enabled", kind="bool", default=enabled),
        Option(name="when_disabled", kind="choice", default="", choices=("block", "ignore")),
        _list("allow_src", "source", ()),
        _list("deny_src", "source", ()),
    )


OPTIONS: dict[str, tuple[Option, ...]] = {
    "global": (
        Option(name="enabled", kind="bool", default=True),
        _list("lan_zone", "zone", ("lan",)),
        _list("wan_zone", "zone", ("wan",)),
        _list("lan_device", "device", ()),
        _list("wan_device", "device", ()),
        Option(name="when_disabled", kind="choice", default="block", choices=("block", "ignore")),
        _number("zone_base", 20480, 1, MAX_ZONE, ""),
        _number("zone_count", 40960, 1, MAX_ZONE, ""),
        _number("max_clients", 4096, 1, MAX_ZONE, "clients"),
        _number("max_keys", 65536, 64, 1048576, "keys"),
        _number("client_timeout", 86400, 2, 2592000, "seconds"),
        _number("key_timeout", 28800, 2, 2592000, "seconds"),
        _number("pending_timeout", 10, 1, 120, "seconds"),
        _number("fast_timeout", 300, 1, 86400, "seconds"),
        Option(name="log_level", kind="choice", default="info", choices=("error", "warning", "info", "debug")),
        _number("unused_days", 30, 0, 3650, "days"),
        Option(name="on_drift", kind="choice", default="repair", choices=("repair", "alert")),
        Option(name="history", kind="path", default=""),
        Option(name="metrics_file", kind="path", default="", choices=(".prom",)),
        _number("metrics_interval", 60, 10, 86400, "seconds"),
    ),
    "pptp": (
        *_common(False),
        _ports("port", 1723),
    ),
    "l2tp": (
        *_common(True),
        _ports("port", 1701),
    ),
    "ipsec": (
        *_common(True),
        _ports("natt_port", 4500),  # IKE itself is always UDP 500
        Option(name="multi_client", kind="bool", default=True),
        Option(name="preserve_ike_port", kind="bool", default=True),
        Option(name="ipv6_inbound", kind="choice", default="open", choices=("open", "closed")),
    ),
    "openvpn": (
        *_common(True),
        _ports("port", 1194),
    ),
    "wireguard": (
        *_common(True),
        _ports("port", 51820),
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
