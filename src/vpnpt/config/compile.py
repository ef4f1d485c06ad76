# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text -> Config and what is wrong with it, by the table of options.py.

A bad value is named and its default used; an unknown section or option is named and left out. It fails closed, section by section:
what was meant to restrict a protocol and can't be read restricts it wholly, and takes nothing from the other sections.
"""
from __future__ import annotations

from ..model import PROTOCOLS, Config, Diagnostic, Global, Protocol, Said, Source, joined, quoted
from . import ucitext
from .options import MAX_ZONE, OPTIONS, Option, defaults
from .ports import Ports, apart
from .values import FALSE_WORDS, PARSERS, TRUE_WORDS, BadValue, boolean, has_host_bits, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..model import Severity
    from .ucitext import OptionText, SectionText

__all__ = ["OPTIONS", "Option", "compile_config"]

CLOSED = Said("nobody may use this protocol until then")
ONE_SIDE = {
    "zone": Said("a zone is on one side only: take it out of one of the two lists; until then it is on the WAN side"),
    "device": Said("a device is on one side only: take it out of one of the two lists; until then it is on the WAN side")}


def compile_config(text: str, file: str = "vpnpt") -> tuple[Config | None, list[Diagnostic]]:
    """Read, verify and complete a configuration. `file` names it in the diagnostics. Never raises, whatever the text.

    None only for a text that can't be told apart (a quote without end, binary data, too many bad lines). With any other error
    there is a Config in which nothing is open that was to be closed:

    * a protocol of which can't be read whether it is on: it is blocked for everybody;
    * allow_src or deny_src of which nothing is valid: the protocol is blocked for everybody;
    * some entries of deny_src are not valid: the others hold;
    * a port list of which nothing is valid: its default; where the protocol is restricted to some, it is blocked for everybody;
    * one port in two protocols: it stays with one of them (ports.py);
    * zones or devices of which nothing is valid: as if none were named; one that is on both sides: it is WAN.
    """
    document = ucitext.parse(text, file)
    if any(diagnostic.severity == "error" for diagnostic in document.diagnostics):
        return None, document.diagnostics
    compiler = _Compiler(file, list(document.diagnostics))
    if document.package not in ("", "vpnpt"):
        compiler.add("warning", None, Said("holds package {name}", name=quoted(document.package)),
                     Said("this file should hold package 'vpnpt'"))
    chosen = compiler.choose_sections(document.sections)
    general = compiler.settle(Global(**compiler.values("global", chosen.get("global"))), chosen.get("global"))
    protocols = {name: Protocol(name=name, **compiler.values(name, chosen.get(name))) for name in PROTOCOLS}
    config = compiler.ports_apart(Config(general=general, protocols=protocols), chosen)
    return config, sorted(compiler.diagnostics, key=lambda diagnostic: diagnostic.line)


class _Compiler:
    """Collects diagnostics while sections become values."""

    def __init__(self, file: str, diagnostics: list[Diagnostic]) -> None:
        self.file = file
        self.diagnostics = diagnostics

    def add(self, severity: Severity, section: SectionText | None, message: Said, remedy: Said, *,
            option: OptionText | None = None, value: str | None = None, line: int = 0) -> None:
        self.diagnostics.append(Diagnostic(
            severity=severity, file=self.file, line=line or (option.line if option else section.line if section else 0),
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
                self.add("warning", section, Said("there is one global section only, named 'global'"),
                         Said("move its options to {place}; it is left out", place=self.place(chosen)))
            elif section.type == "protocol" or boolean(section.type) is not None:
                self.unknown_name(section)
            else:
                self.add("warning", section, Said("unknown section type {kind}", kind=quoted(section.type)),
                         guess(section.type, ("vpnpt", "protocol")))
        return chosen

    def place(self, chosen: dict[str, SectionText]) -> str:
        section = chosen.get("global")
        return Said("the one in line {line}", line=section.line) if section else "\"config vpnpt 'global'\""

    def check_type(self, section: SectionText) -> None:
        right = "vpnpt" if section.name == "global" else "protocol"
        if section.type != right and boolean(section.type) is None:
            unclear = right == "protocol" and not says(section)
            self.add("error" if unclear else "warning", section,
                     Said("type {kind} says neither on nor off", kind=quoted(section.type)),
                     joined(Said("valid: {kind}, or {words}", kind=right, words=", ".join(TRUE_WORDS + FALSE_WORDS)),
                            CLOSED if unclear else Said("taken as {kind}", kind=quoted(right))))

    def unknown_name(self, section: SectionText) -> None:
        if section.name:
            self.add("warning", section, Said("unknown protocol"), guess(section.name, PROTOCOLS))
        else:
            self.add("warning", section, Said("a protocol's section must have its name"),
                     Said("write \"config {kind} 'ipsec'\" or another of {names}; it is left out", kind=section.type,
                          names=", ".join(PROTOCOLS)))

    # --- options -> values -----------------------------------------------------------------------------------------------

    def values(self, kind: str, section: SectionText | None) -> dict[str, Any]:
        """Every field of a section, from what is written or else from the table; unknown options are named."""
        fields = defaults(kind)
        if section is None:
            return fields
        table = {option.name: option for option in OPTIONS[kind]}
        unusable: list[Option] = []
        for text in section.options.values():
            option = table.get(text.name)
            if option is None:
                self.add("warning", section, Said("unknown option"), guess(text.name, table), option=text)
            elif not option.many:
                fields[option.target] = self.single(section, text, option)
            else:
                found = self.many(section, text, option)
                fields[option.target] = found or option.default
                if not found:
                    unusable.append(option)
        shorthand = boolean(section.type)
        if shorthand is not None:
            text_enabled = section.options.get("enabled")
            if text_enabled and fields["enabled"] != shorthand:
                self.add("warning", section, Said("contradicts the section's type {kind}", kind=quoted(section.type)),
                         Said("remove one of them; the type wins: enabled") if shorthand
                         else Said("remove one of them; the type wins: not enabled"),
                         option=text_enabled, value=text_enabled.values[-1])
            fields["enabled"] = shorthand
        elif kind != "global" and not says(section):
            fields.update(enabled=False, when_disabled="block")
        self.fall_back(section, fields, unusable)
        return fields

    def fall_back(self, section: SectionText, fields: dict[str, Any], unusable: list[Option]) -> None:
        """What is in force instead of lists of which nothing is valid."""
        restricts = bool(fields.get("allow_src") or fields.get("deny_src")) or any(option.kind == "source" for option in unusable)
        closes = restricts and fields["enabled"]
        for option in unusable:
            instead = CLOSED if closes else using(option)
            self.add("error", section, Said("not one entry is valid"), joined(Said("correct the list"), instead),
                     option=section.options[option.name])
        if unusable and closes:
            fields.update(enabled=False, when_disabled="block")

    def single(self, section: SectionText, text: OptionText, option: Option) -> Any:
        instead = option.closed or option.default
        closes = option.name == "enabled" and section.name in PROTOCOLS and boolean(section.type) is None and not says(section)
        severity: Severity = "error" if closes else "warning"
        then = CLOSED if closes else using(option)
        if len(text.values) > 1:
            self.add(severity, section, Said("takes one value, not a list"), joined(Said("write one 'option' line"), then), option=text)
            return instead
        if not text.values[0]:
            return option.default
        try:
            return PARSERS[option.kind](text.values[0], option)
        except BadValue as problem:
            self.add(severity, section, problem.args[0], joined(problem.args[1], then), option=text, value=text.values[0])
            return instead

    def many(self, section: SectionText, text: OptionText, option: Option) -> tuple[Any, ...]:
        """The valid entries. `option x 'a b'` is taken as a list too, as fw4 takes it."""
        found: dict[Any, None] = {}
        for word, line in ((word, line) for value, line in zip(text.values, text.lines, strict=True) for word in value.split()):
            try:
                value = PARSERS[option.kind](word, option)
            except BadValue as problem:
                # Whoever it means is not refused.
                self.add("error" if option.name == "deny_src" else "warning", section, problem.args[0],
                         joined(problem.args[1], Said("this entry is left out")), option=text, value=word, line=line)
                continue
            if value in found:
                self.add("warning", section, Said("is in the list already"), Said("remove it"), option=text, value=word, line=line)
            else:
                found[value] = None
            if isinstance(value, Source) and has_host_bits(word, value):
                self.add("warning", section, Said("is a host within a subnet"),
                         joined(Said("write one of them"), Said("using {value}", value=quoted(value.text))),
                         option=text, value=word, line=line)
        return tuple(found)

    # --- options against each other --------------------------------------------------------------------------------------

    def settle(self, general: Global, section: SectionText | None) -> Global:
        """Bring options that depend on each other into line. What is written wins over a default, which follows in silence."""
        written = section.options if section else {}
        general = general.replace(lan_zone=self.inside_alone(general.lan_zone, general.wan_zone, section, "zone"),
                                  lan_device=self.inside_alone(general.lan_device, general.wan_device, section, "device"))
        last = general.zone_base + general.zone_count - 1
        if last > MAX_ZONE:
            usual = {name: value for name, value in defaults("global").items() if name in ("zone_base", "zone_count")}
            self.complain(section, written.get("zone_count") or written.get("zone_base"),
                          Said("zones up to {last} do not exist", last=last),
                          Said("zone_base + zone_count must be at most {most}; using zone_base {zone_base} and zone_count {zone_count}",
                               most=MAX_ZONE + 1, **usual))
            general = general.replace(**usual)
        if general.max_clients > general.zone_count:
            self.complain(section, written.get("max_clients"), Said("more than zone_count ({count})", count=general.zone_count),
                          Said("every client needs a zone; using {count}", count=general.zone_count))
            general = general.replace(max_clients=general.zone_count)
        if general.client_timeout < general.key_timeout:
            if "key_timeout" in written:
                self.complain(section, written.get("client_timeout"),
                              Said("less than key_timeout ({seconds})", seconds=general.key_timeout),
                              Said("a client must be remembered as long as its keys; using {seconds}", seconds=general.key_timeout))
                general = general.replace(client_timeout=general.key_timeout)
            else:
                general = general.replace(key_timeout=general.client_timeout)
        if general.fast_timeout > general.key_timeout // 2:
            self.complain(section, written.get("fast_timeout"),
                          Said("more than half of key_timeout ({seconds})", seconds=general.key_timeout),
                          Said("keys must be renewed before they are forgotten; using {seconds}", seconds=general.key_timeout // 2))
            general = general.replace(fast_timeout=general.key_timeout // 2)
        if general.history and general.history == general.metrics_file:
            self.complain(section, written.get("history"), Said("is metrics_file as well"),
                          joined(Said("name another file"), Said("using none")))
            general = general.replace(history="")
        return general

    def complain(self, section: SectionText | None, text: OptionText | None, message: Said, remedy: Said) -> None:
        if text is not None:
            self.add("warning", section, message, remedy, option=text, value=text.values[-1])

    def inside_alone(self, lan: tuple[str, ...], wan: tuple[str, ...], section: SectionText | None, what: str) -> tuple[str, ...]:
        """The LAN's names that are not WAN's as well."""
        written = section.options if section else {}
        for name in lan:
            if name in wan:
                text = written.get(f"wan_{what}") or written.get(f"lan_{what}")
                self.add("error", section, Said("is in lan_{what} and in wan_{what}", what=what), ONE_SIDE[what], option=text,
                         value=name)
        return tuple(name for name in lan if name not in wan)

    def ports_apart(self, config: Config, chosen: dict[str, SectionText]) -> Config:
        """Every port in one protocol alone."""
        written = {}
        for name, section in chosen.items():
            option = next((option for option in OPTIONS[name] if option.kind == "port"), None)
            text = section.options.get(option.name) if option else None
            if option and text:
                written[name] = Ports(section=section, text=text, default=option.default)
        ports, conflicts = apart(config, written)
        for loser, port, keeper in conflicts:
            own = written[loser]
            self.add("error", own.section, Said("is a port of {keeper} too", keeper=keeper),
                     Said("name it in {loser} or in {keeper}, not in both; until then it is {keeper}'s, and {loser} has {ports}",
                          loser=loser, keeper=keeper, ports=" ".join(map(str, ports[loser]))),
                     option=own.text, value=str(port), line=own.line(port))
        return config.replace(protocols={name: protocol.replace(ports=ports[name]) for name, protocol in config.protocols.items()})


def says(section: SectionText) -> bool:
    """Does a protocol's section that has no word for its type say whether it is on?"""
    words = [word for word in section.options["enabled"].values if word] if "enabled" in section.options else []
    return section.type == "protocol" if not words else len(words) == 1 and boolean(words[0]) is not None


def using(option: Option) -> Said:
    """How a remedy says what takes effect instead of a bad value."""
    if option.kind == "bool":
        return Said("using {value}", value=int(option.default))
    if option.many:
        return Said("using {value}", value=" ".join(map(str, option.default))) if option.default else Said("using all that are found")
    if option.kind == "path":
        return Said("using none")
    return Said("using {value}", value=repr(option.closed or option.default))


def guess(word: str, names: Iterable[str]) -> Said:
    """The remedy for an unknown name: the one that was probably meant, else all that are valid."""
    meant = nearest(word, names)
    return (Said("left out; did you mean {name}?", name=quoted(meant)) if meant
            else Said("left out; valid: {names}", names=", ".join(names)))
