# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon knows, as Prometheus reads it (text format 0.0.4). Pure.

FAMILIES is the whole list; the dashboard in docs/ and its test go by it. Names and units follow Prometheus' "Metric and label
naming": a prefix, base units, `_total` for what only grows. There is no label with an address: a network with many clients would make
as many series, and they would tell more about people than a graph needs.
"""
from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Sample = tuple[dict[str, str], float]

STATES = ("negotiating", "up", "idle", "rekeying", "failing", "blocked")
BEHAVIOURS = ("help", "block", "ignore")
REFUSALS = ("blocked", "source", "denied", "stray", "unsolicited")
"""Counters of a protocol that count what did not pass."""


class Family(Record):
    """A metric. kind: counter or gauge. labels: their names, in order."""

    __slots__ = ("name", "kind", "help", "labels")
    DEFAULTS = {"labels": ()}
    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


def _family(name: str, text: str, *labels: str) -> Family:
    return Family(name=f"vpnpt_{name}", kind="counter" if name.endswith("_total") else "gauge", help=text, labels=labels)


FAMILIES = (
    _family("info", "Always 1; the labels tell the versions.", "version", "release"),
    _family("start_time_seconds", "When the daemon started, in seconds since 1970."),
    _family("process_cpu_seconds_total", "Processor time of the daemon, of the programs that it started as well."),
    _family("process_resident_memory_bytes", "Memory of the daemon."),
    _family("rules_in_place", "Whether the rules are in the kernel."),
    _family("rules_drift", "Whether others have changed our rules, and they are left so."),
    _family("configuration_problem", "Whether the last attempt to change the configuration failed."),
    _family("protocol_behaviour", "1 for what is done with a protocol: help, block or ignore.", "protocol", "behaviour"),
    _family("sessions", "VPN sessions now.", "protocol", "state"),
    _family("bytes_total", "Bytes of VPN sessions, as conntrack counts them; out is from client to server.", "protocol", "direction"),
    _family("packets_total", "Packets of VPN sessions, likewise.", "protocol", "direction"),
    _family("refused_packets_total", "Packets refused or not let through, since the tables were made.", "protocol", "reason"),
    _family("noted_packets_total", "Packets counted for another reason: AH, which NAT breaks; L2TP that the daemon delivered.",
            "protocol", "kind"),
    _family("clients", "LAN clients that have a conntrack zone."),
    _family("clients_limit", "How many can have one (max_clients)."),
    _family("clients_refused_packets_total", "Packets refused because all zones were in use."),
    _family("servers", "IPsec servers with clients."),
    _family("servers_contended", "Those with more than one client."),
    _family("learned_keys", "Keys that name a client: inbound SPIs, IKE cookies, L2TP tunnels.", "kind"),
    _family("learned_keys_limit", "How many of a kind can be kept (max_keys)."),
    _family("copied_packets_total", "Packets that went to every client that might have been meant."),
    _family("log_lines_total", "Lines that the daemon wrote or summed up.", "severity", "code"),
)


def render(shot: Mapping[str, Any], sessions: Iterable[Mapping[str, Any]], totals: Mapping[str, tuple[int, int, int, int]],
           written: Mapping[tuple[str, str], int], *, cpu: float, memory: int, limits: tuple[int, int]) -> str:
    """The text. shot: the answer to `status`; sessions: the live ones of the answer to `sessions`; totals: by protocol, packets and
    bytes out, packets and bytes in; written: log lines by severity and code; cpu: seconds; memory: bytes; limits: clients, keys."""
    protocols = shot["protocols"]
    states = {(name, state): 0 for name in protocols for state in STATES}
    for item in sessions:
        states[item["protocol"], item["state"]] = states.get((item["protocol"], item["state"]), 0) + 1
    values: dict[str, Iterable[Sample]] = {
        "info": [({"version": shot["version"], "release": shot.get("release", "")}, 1)],
        "start_time_seconds": _one(shot["since"]), "process_cpu_seconds_total": _one(cpu), "process_resident_memory_bytes": _one(memory),
        "rules_in_place": _one(shot["in_place"]), "rules_drift": _one(bool(shot.get("drift"))),
        "configuration_problem": _one(bool(shot["problem"])),
        "protocol_behaviour": [({"protocol": name, "behaviour": behaviour}, state["behaviour"] == behaviour)
                               for name, state in protocols.items() for behaviour in BEHAVIOURS],
        "sessions": [({"protocol": name, "state": state}, number) for (name, state), number in states.items()],
        "bytes_total": _ways(protocols, totals, 1), "packets_total": _ways(protocols, totals, 0),
        "refused_packets_total": [({"protocol": name, "reason": reason}, number) for name, state in protocols.items()
                                  for reason, number in state["counters"].items() if reason in REFUSALS],
        "noted_packets_total": [({"protocol": name, "kind": kind}, number) for name, state in protocols.items()
                                for kind, number in state["counters"].items() if kind not in REFUSALS],
        "clients": _one(shot["clients"]), "clients_limit": _one(limits[0]), "clients_refused_packets_total": _one(shot["clients_full"]),
        "servers": _one(shot["servers"]), "servers_contended": _one(shot["contended"]),
        "learned_keys": [({"kind": kind}, shot[field])
                         for kind, field in (("spi", "spis"), ("cookie", "cookies"), ("l2tp_tunnel", "l2tp_tunnels"))],
        "learned_keys_limit": _one(limits[1]), "copied_packets_total": _one(shot["copies"]),
        "log_lines_total": [({"severity": severity, "code": code}, number) for (severity, code), number in written.items()],
    }
    return "".join(_text(family, values[family.name.removeprefix("vpnpt_")]) for family in FAMILIES)


def _one(value: float) -> list[Sample]:
    return [({}, value)]


def _ways(protocols: Iterable[str], totals: Mapping[str, tuple[int, int, int, int]], place: int) -> list[Sample]:
    return [({"protocol": name, "direction": way}, totals.get(name, (0, 0, 0, 0))[place + 2 * number])
            for name in protocols for number, way in enumerate(("out", "in"))]


def _text(family: Family, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
    for labels, value in samples:
        assert tuple(labels) == family.labels, family.name
        inner = ",".join(f'{name}="{_escaped(text, quotes=True)}"' for name, text in labels.items())
        lines.append(f"{family.name}{f'{{{inner}}}' if inner else ''} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
