# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed, when, and by what means: the history, and what two states of the configuration, the firewall and the network differ in.

Pure. A state is {what: {name: value}}, all of it text; names and values are those that a user would write or see.
"""
from __future__ import annotations

import json
from collections import deque

from ..config.options import OPTIONS
from ..config.values import boolean
from ..model import Said, Source, number, plain
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ..config.ucitext import SectionText
    from ..model import Config, Devices

    State = dict[str, dict[str, str]]

KINDS = ("configuration", "rules", "firewall", "network", "service")
LIMIT = 200
"""Changes that are remembered."""
TEXT_LIMIT = 400
SAID_LIMIT = 4 * TEXT_LIMIT
"""Characters of JSON."""
AT_ONCE = 20
"""Changes of one kind at once that are listed one by one; beyond, they are counted."""
VPN_PROTOCOLS = frozenset(("esp", "ah", "gre", "50", "51", "47", "115", "l2tp"))


_ACTIVE = {ord(char): f"\\u{ord(char):04x}" for char in "$`'!&|;<>()*?~#%\x7f"}


class Change(Record):
    """One change. time: seconds of the epoch. what: one of KINDS. how: by what means, '' if unknown.

    said: `how` and `text` by name as codes with values, those that are sentences.
    """

    __slots__ = ("time", "what", "how", "text", "said")
    DEFAULTS = {"said": {}}
    time: int
    what: str
    how: str
    text: str
    said: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.time, self.text))

    def shown(self) -> dict[str, Any]:
        """The fields; `said` where there is any."""
        return {name: value for name, value in self.as_dict().items() if value != {}}

    def line(self) -> str:
        """For the file that survives a reboot: one JSON object, one line."""
        return _packed(self.shown())


def parse_line(line: str) -> Change | State | None:
    """Reads a line of that file: a change or a state; None for anything else (a line that a power cut has broken)."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if set(data) == {"state"} and _is_state(data["state"]):
        return {what: dict(items) for what, items in data["state"].items()}
    said = data.pop("said", {})
    if set(data) != {"time", "what", "how", "text"} or data["what"] not in KINDS or type(data["time"]) is not int:
        return None
    if not all(isinstance(data[name], str) and len(data[name]) <= TEXT_LIMIT for name in ("how", "text")):
        return None
    return Change(**data, said=said if isinstance(said, dict) and len(json.dumps(said)) <= SAID_LIMIT else {})


def state_line(state: State) -> str:
    """A state for the same file, so that what changes while the daemon does not run is found."""
    return _packed({"state": state})


def _packed(data: object) -> str:
    """JSON, with every character that means something to a shell, cron or a template written as \\uXXXX.

    The text holds what users chose. Wherever the file ends up, nobody's option value may become a command.
    """
    text = json.dumps(data, separators=(",", ":")).replace("\\\\", "\\u005c").replace('\\"', "\\u0022")
    # Outside of strings JSON has none of these.
    return text.translate(_ACTIVE) + "\n"


def _is_state(data: object) -> bool:
    return isinstance(data, dict) and all(
        isinstance(items, dict) and all(isinstance(value, str) for value in items.values()) for items in data.values())


class History:
    """The last LIMIT changes, and the state that the next one is compared with (None: nothing is known yet). count: grows with each."""

    def __init__(self) -> None:
        self.changes: deque[Change] = deque(maxlen=LIMIT)
        self.state: State | None = None
        self.count = 0

    def load(self, lines: Iterable[str]) -> None:
        """Takes over what an earlier daemon wrote, oldest first."""
        for line in lines:
            entry = parse_line(line)
            if isinstance(entry, Change):
                self.changes.append(entry)
            elif entry is not None:
                self.state = entry

    def lines(self) -> list[str]:
        """The whole history and the state as text, for a new file."""
        return [*(change.line() for change in self.changes), *([state_line(self.state)] if self.state is not None else [])]

    def add(self, time: float, what: str, how: str, text: str) -> Change:
        """Adds a change."""
        said = {name: plain(part) for name, part in (("text", text), ("how", how)) if isinstance(part, Said) and len(part) <= TEXT_LIMIT}
        text = str(text) if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT - 3] + "..."
        change = Change(time=int(time), what=what, how=how[:TEXT_LIMIT], text=text, said=said)
        self.changes.append(change)
        self.count += 1
        return change

    def compare(self, time: float, how: str, state: State) -> list[Change]:
        """Adds what differs from the last state, which `state` replaces; the first state adds nothing."""
        old, self.state = self.state, state
        if old is None:
            return []
        return [self.add(time, what, how, text) for what in KINDS if what in state and what in old
                for text in differences(old[what], state[what])]

    def answer(self) -> list[dict[str, Any]]:
        """For the method `changes`: newest first."""
        return [change.shown() for change in reversed(self.changes)]


NONE = Said("(none)")
WORDS: dict[str, Callable[[str], Said]] = {
    "LAN devices": lambda _rest: Said("LAN devices"),
    "WAN devices": lambda _rest: Said("WAN devices"),
    "WAN address of ": lambda rest: Said("WAN address of {device}", device=rest),
    "firewall zone ": lambda rest: Said("firewall zone {name}", name=rest),
    "firewall forwarding ": lambda rest: Said("firewall forwarding {source} to {target}", source=rest.partition(" to ")[0],
                                              target=rest.partition(" to ")[2]),
    "firewall rule ": lambda rest: Said("firewall rule {name}", name=rest),
    "firewall redirect ": lambda rest: Said("firewall redirect {name}", name=rest),
    "firewall ": lambda rest: Said("firewall {name}", name=rest),
}
"""Names of a state that are words, by their beginnings; an option's name is the same in every language."""


def called(name: str) -> str:
    """A name of a state, as a sentence if it is one."""
    return next((made(name[len(start):]) for start, made in WORDS.items() if name.startswith(start)), name)


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[Said]:
    """A sentence for each name whose value is another, `NAME: OLD -> NEW`; many at once are counted."""
    found = [Said("{name}: {old} -> {new}", name=called(name), old=_shown_value(old, name), new=_shown_value(new, name))
             for name in sorted(set(old) | set(new)) if old.get(name) != new.get(name)]
    return found if len(found) <= AT_ONCE else [*found[:AT_ONCE - 1], Said("and {count} more", count=len(found) - AT_ONCE + 1)]


def _shown_value(state: Mapping[str, str], name: str) -> str:
    value = state.get(name, NONE)
    return NONE if value == NONE else value


def configuration(config: Config) -> dict[str, str]:
    """Every option by its UCI name, `vpnpt.ipsec.enabled`, with the value in force, be it written or the default."""
    found = {}
    for section, options in OPTIONS.items():
        record = config.general if section == "global" else config.protocols[section]
        for option in options:
            found[f"vpnpt.{section}.{option.name}"] = _text(getattr(record, option.field or option.name))
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return " ".join(item.text if isinstance(item, Source) else str(item) for item in value) or "(none)"
    return str(value) if value != "" else "(none)"


def network(devices: Devices, addresses: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The devices of both sides, and the WAN side's addresses by device."""
    found = {"LAN devices": " ".join(devices.lan), "WAN devices": " ".join(devices.wan)}
    for name in devices.wan:
        found[f"WAN address of {name}"] = " ".join(addresses.get(name, ())) or "(none)"
    return found


def firewall(sections: Iterable[SectionText], ports: frozenset[str]) -> dict[str, str]:
    """What of the UCI package firewall bears on VPNs: zones, forwardings, flow offload, and rules and redirects about VPN protocols.

    ports: those of VPNs, as text. A section that is switched off (`enabled 0`) is as if it were not there.
    """
    found: dict[str, str] = {}
    for section in sections:
        if section.type == "defaults":
            for name in ("flow_offloading", "flow_offloading_hw", "forward", "input"):
                if name in section.options:
                    found[f"firewall {name}"] = _joined(section, name)
            continue
        if boolean(_joined(section, "enabled")) is False:
            continue
        if section.type == "zone":
            found[f"firewall zone {_joined(section, 'name')}"] = _shown(section, ("name",))
        elif section.type == "forwarding":
            name = f"firewall forwarding {_joined(section, 'src')} to {_joined(section, 'dest')}"
            found[name] = _shown(section, ("src", "dest")) or "yes"
        elif section.type in ("rule", "redirect") and _about_vpns(section, ports):
            found[f"firewall {section.type} {_joined(section, 'name') or section.label}"] = _shown(section, ("name",))
    return dict(list(found.items())[:LIMIT])


def _about_vpns(section: SectionText, ports: frozenset[str]) -> bool:
    protocols = {word.lower() for word in _joined(section, "proto").split()}
    if protocols & VPN_PROTOCOLS:
        return True
    if protocols & {"icmp", "igmp", "icmpv6"}:
        return False
    written = [word for name in ("dest_port", "src_dport", "src_port") for word in _joined(section, name).split()]
    return any(_covers(word, port) for word in written for port in ports)


def _covers(word: str, port: str) -> bool:
    first, _, last = word.lstrip("!").replace(":", "-").partition("-")
    low, high = number(first), number(last)
    return first == port or (low is not None and high is not None and low <= int(port) <= high)


def _joined(section: SectionText, name: str) -> str:
    option = section.options.get(name)
    return " ".join(option.values) if option else ""


def _shown(section: SectionText, without: tuple[str, ...]) -> str:
    shown = [f"{name} {_joined(section, name)}" for name in sorted(section.options) if name not in (*without, "enabled")]
    return ", ".join(shown)[:TEXT_LIMIT]
