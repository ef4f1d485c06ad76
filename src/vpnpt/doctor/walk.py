# SPDX-License-Identifier: GPL-2.0-or-later
"""What a ruleset does with a packet that we imagine: rules as `nft -j` lists them, judged in three values. Pure.

A match is true, false, or open, where it asks for what we have not imagined (an address, a mark, the time). What stands behind an open
match may happen; that counts only where the rule itself speaks of the VPN (its port, its IP protocol).
"""
from __future__ import annotations

import socket

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "l2tp": 115, "sctp": 132,
             "comp": 108, "dccp": 33, "udplite": 136}
PORTLESS = (47, 50, 51, 115)
DEPTH = 16
"""How deep jumps may go, as in the kernel (NFT_JUMP_STACK_SIZE)."""


class Packet(Record):
    """A packet that we imagine. iif, oif: devices, oif '' before routing. state: ct state. family: 4 or 6. icmp: its type's name, or ''.

    src, dst: addresses as the forward chain sees them, '' if any.
    """

    __slots__ = ("iif", "oif", "family", "proto", "sport", "dport", "state", "direction", "icmp", "src", "dst")
    DEFAULTS = {"oif": "", "family": 4, "sport": 0, "dport": 0, "state": "new", "direction": "original", "icmp": "", "src": "", "dst": ""}
    iif: str
    oif: str
    family: int
    proto: int
    sport: int
    dport: int
    state: str
    direction: str
    icmp: str
    src: str
    dst: str


class Rule(Record):
    """A rule and where it stands; handle 0: a chain's policy. packets: of its counter, None without one."""

    __slots__ = ("family", "table", "chain", "handle", "comment", "packets", "expr")
    family: str
    table: str
    chain: str
    handle: int
    comment: str
    packets: int | None
    expr: list[dict[str, Any]]

    @property
    def place(self) -> str:
        """`table inet fw4, chain forward, handle 7`."""
        where = f"table {self.family} {self.table}, chain {self.chain}"
        return f"{where}, handle {self.handle}" if self.handle else f"{where}, its policy"


class Hit(Record):
    """A rule that stops a packet. sure: it stops all such packets; else only those that also match what is open.

    meant: the rule speaks of such packets; else it stops whatever nothing else has let pass.
    """

    __slots__ = ("rule", "sure", "meant")
    rule: Rule
    sure: bool
    meant: bool


class Walker:
    """A ruleset: `objects` of `nft -j list`, tables called `skip` left out."""

    def __init__(self, objects: Iterable[Mapping[str, Any]], skip: str = "") -> None:
        self.chains: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.rules: dict[tuple[str, str, str], list[Rule]] = {}
        self.helpers: dict[tuple[str, str, str], str] = {}
        self.flowtables: list[str] = []
        for item in objects:
            kind, content = _first(item)
            if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in ("family", "table")) \
                    or (skip and content["table"] == skip):
                continue
            family, table, name = content["family"], content["table"], str(content.get("name", ""))
            if kind == "chain":
                self.chains[family, table, name] = content
            elif kind == "rule":
                self.rules.setdefault((family, table, str(content.get("chain", ""))), []).append(_rule(content))
            elif kind == "ct helper":
                self.helpers[family, table, name] = str(content.get("type", ""))
            elif kind == "flowtable":
                self.flowtables.append(f"{family} {table} {name}")

    def all_rules(self) -> Iterable[Rule]:
        """Every rule."""
        for rules in self.rules.values():
            yield from rules

    def stops(self, packet: Packet, hooks: Sequence[str] = ("ingress", "prerouting", "forward", "postrouting")) -> list[Hit]:
        """What stops this packet on its way: at most one that is sure, then it is the last; others may."""
        found: list[Hit] = []
        for hook in hooks:
            # Where it leaves is known only after routing.
            late = hook in ("forward", "postrouting")
            # What comes back has the router's address until then.
            way = _Way(packet if late else packet.replace(oif="", dst="" if packet.direction == "reply" else packet.dst), found)
            for key, chain in self._base_chains(hook, way.packet):
                way.doubt = False
                verdict, cause = self._walk(key, way, [], sure=True)
                if verdict == "end" and chain.get("policy") == "drop" and not way.doubt:
                    verdict, cause = "drop", Rule(family=key[0], table=key[1], chain=key[2], handle=0, comment="", packets=None, expr=[])
                if verdict == "drop" and cause is not None:
                    return [*found, Hit(rule=cause, sure=True, meant=_specific(cause, way.packet))]
        return found

    def matching(self, packet: Packet, statement: str) -> list[Rule]:
        """The rules with this statement (`dnat`, `notrack`, `ct helper`) that such a packet may reach and that speak of it."""
        return [rule for rule in self.all_rules() if any(statement in part for part in rule.expr)
                and _matches(rule, packet) is not False and _specific(rule, packet)]

    def _base_chains(self, hook: str, packet: Packet) -> list[tuple[tuple[str, str, str], dict[str, Any]]]:
        families = ("inet", "ip" if packet.family == 4 else "ip6", "netdev")
        found = [(key, chain) for key, chain in self.chains.items() if chain.get("hook") == hook and key[0] in families
                 and packet.iif in _devices(chain)]
        return sorted(found, key=lambda item: item[1]["prio"] if isinstance(item[1].get("prio"), int) else 0)

    def _walk(self, key: tuple[str, str, str], way: _Way, stack: list[Rule], *, sure: bool) -> tuple[str, Rule | None]:
        """How a chain ends for the packet: accept, drop (and the rule to name) or end. sure: does it come here?

        A drop that is not sure is put down in `way.found`, and the walk goes on as if it had not been.
        """
        for rule in self.rules.get(key, ()) if len(stack) < DEPTH else ():
            match = _matches(rule, way.packet)
            verdict, target = _verdict(rule, way.packet) if match is not False else ("", "")
            here, inner = sure and match is True, [*stack, rule]
            cause: Rule | None = _cause(inner, way.packet)
            if verdict in ("jump", "goto"):
                jumped, (verdict, cause) = verdict, self._walk((key[0], key[1], target), way, inner, sure=here)
                if verdict == "end" and jumped == "goto":
                    verdict = "return"
            if verdict == "drop" and here and not way.doubt:
                return "drop", cause
            if verdict == "drop" and cause is not None and _specific(cause, way.packet):
                if all(hit.rule != cause for hit in way.found):
                    way.found.append(Hit(rule=cause, sure=False, meant=True))
            elif verdict == "accept":
                if here:
                    return "accept", None
                way.doubt = True
            elif verdict == "return":
                if match is True:
                    return "end", None
                sure = False
        return "end", None


class _Way:
    """A packet on its way through a base chain. doubt: it may have been accepted by a rule that asked for what is open."""

    def __init__(self, packet: Packet, found: list[Hit]) -> None:
        self.packet, self.found, self.doubt = packet, found, False


def _first(part: Any) -> tuple[str, Any]:
    """The name and the content of an object of one entry, as nft writes everything; ('', None) for anything else."""
    return next(((str(name), content) for name, content in part.items()), ("", None)) if isinstance(part, dict) else ("", None)


def _rule(content: Mapping[str, Any]) -> Rule:
    """A rule; what stands in it that nft does not write today makes it one that does nothing."""
    expr = content.get("expr")
    parts = [part for part in expr if isinstance(part, dict)] if isinstance(expr, list) else []
    if isinstance(expr, list) and len(parts) < len(expr):
        parts = []
    counters = [part["counter"] for part in parts if isinstance(part.get("counter"), dict)]
    packets = counters[0].get("packets") if counters else None
    return Rule(family=content["family"], table=content["table"], chain=str(content.get("chain", "")), handle=content.get("handle", 0),
                comment=str(content.get("comment") or ""), packets=packets if isinstance(packets, int) else None, expr=parts)


def _devices(chain: Mapping[str, Any]) -> _Any | list[str]:
    """The devices that a chain is for."""
    device = chain.get("dev")
    return _Any() if device is None else [device] if isinstance(device, str) else device if isinstance(device, list) else []


class _Any:
    """Contains everything."""

    def __contains__(self, item: object) -> bool:
        return True


def _cause(stack: list[Rule], packet: Packet) -> Rule:
    """Whom to name: of the rules that led here the innermost that speaks of this traffic, else the last."""
    for rule in reversed(stack):
        if _specific(rule, packet):
            return rule
    return stack[-1]


def _verdict(rule: Rule, packet: Packet) -> tuple[str, str]:
    for part in rule.expr:
        name, content = _first(part)
        if name in ("accept", "return"):
            return name, ""
        if name in ("drop", "reject"):
            return "drop", ""
        if name in ("jump", "goto"):
            return name, str(content.get("target", "")) if isinstance(content, dict) else ""
        if name == "vmap" and isinstance(content, dict):
            chosen = _chosen(content, packet)
            if chosen is not None:
                return _verdict(Rule(**{**rule.as_dict(), "expr": [chosen]}), packet)
            if _value(content.get("key"), packet) is None and _drops(content):
                return "drop", ""
        if name in ("dnat", "redirect", "snat", "masquerade", "queue"):
            return "accept", ""
    return "", ""


def _pairs(vmap: Mapping[str, Any]) -> list[list[Any]]:
    data = vmap.get("data")
    pairs = data.get("set") if isinstance(data, dict) else None
    return [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2] if isinstance(pairs, list) else []


def _drops(vmap: Mapping[str, Any]) -> bool:
    return any(_first(verdict)[0] == "drop" for _, verdict in _pairs(vmap))


def _chosen(vmap: Mapping[str, Any], packet: Packet) -> dict[str, Any] | None:
    value = _value(vmap.get("key"), packet)
    if value is None:
        return None
    for key, verdict in _pairs(vmap):
        if _among(value, key):
            return verdict if isinstance(verdict, dict) else None
    return None


def _matches(rule: Rule, packet: Packet) -> bool | None:
    """Whether all of a rule's matches hold; None: it depends on what we have not imagined."""
    result: bool | None = True
    for part in rule.expr:
        name, content = _first(part)
        if name == "match":
            one = _match(content, packet)
        elif name in ("limit", "quota", "xt", "ct count", "meter"):
            one = None
        elif name == "vmap":
            one = None if not isinstance(content, dict) or _value(content.get("key"), packet) is None else True
        else:
            continue
        if one is False:
            return False
        result = result if one else None
    return result


def _match(match: Any, packet: Packet) -> bool | None:
    if not isinstance(match, dict):
        return None
    left, right, op = match.get("left"), match.get("right"), str(match.get("op", "=="))
    if _excluded(left, packet):
        return False
    value = _value(left, packet)
    if value is None:
        return None
    among = _among(value, right)
    if among is None:
        return None
    if op in ("==", "in"):
        return among
    if op == "!=":
        return not among
    if isinstance(value, int) and isinstance(right, int):
        return {"<": value < right, ">": value > right, "<=": value <= right, ">=": value >= right}.get(op)
    return None


def _excluded(left: Any, packet: Packet) -> bool:
    """Does the match imply a protocol that this packet is not?"""
    masked = left.get("&") if isinstance(left, dict) else None
    if isinstance(masked, list) and masked:
        left = masked[0]
    payload = left.get("payload") if isinstance(left, dict) else None
    if not isinstance(payload, dict) or "protocol" not in payload:
        return False
    protocol = str(payload["protocol"])
    if protocol in ("ip", "ip6"):
        return bool(packet.family != (4 if protocol == "ip" else 6))
    return bool(protocol in PROTOCOLS and PROTOCOLS[protocol] != packet.proto)


def _value(left: Any, packet: Packet) -> int | str | None:
    """What the packet has where a match looks; None for what is not imagined."""
    if not isinstance(left, dict):
        return None
    if isinstance(left.get("meta"), dict):
        key = str(left["meta"].get("key"))
        known: dict[str, int | str] = {
            "iifname": packet.iif, "iif": packet.iif, "oifname": packet.oif, "oif": packet.oif, "l4proto": packet.proto,
            "nfproto": "ipv4" if packet.family == 4 else "ipv6", "protocol": "ip" if packet.family == 4 else "ip6"}
        return known.get(key)
    if isinstance(left.get("ct"), dict):
        return {"state": packet.state, "direction": packet.direction}.get(str(left["ct"].get("key")))
    payload = left.get("payload")
    if isinstance(payload, dict):
        field = payload.get("field")
        if field in ("protocol", "nexthdr"):
            return packet.proto
        if field in ("dport", "sport") and packet.proto in (6, 17):
            return packet.dport if field == "dport" else packet.sport or None
        if field == "type" and packet.icmp:
            return packet.icmp
        if field in ("saddr", "daddr") and payload.get("protocol") in ("ip", "ip6"):
            return (packet.src if field == "saddr" else packet.dst) or None
    return None


def _among(value: int | str, right: Any) -> bool | None:
    """Is the value what the right side says, or one of those? None for a named set, whose elements were not read."""
    if isinstance(right, dict):
        if "set" in right:
            members = right["set"]
            found = [_among(value, member) for member in (members if isinstance(members, list) else [members])]
            return True if True in found else None if None in found else False
        if "prefix" in right:
            prefix = right["prefix"]
            return _within(value, prefix.get("addr"), prefix.get("len")) if isinstance(prefix, dict) else None
        if "range" in right:
            ends = right["range"]
            numbers = isinstance(value, int) and isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int) for end in ends)
            return ends[0] <= value <= ends[1] if numbers else None
        return _among(value, right["elem"].get("val")) if isinstance(right.get("elem"), dict) else None
    if isinstance(right, list):
        return True in [_among(value, member) for member in right]
    if isinstance(right, str):
        if right.startswith("@"):
            return None
        if isinstance(value, int):
            return value == PROTOCOLS.get(right, -1)
        return value.startswith(right[:-1]) if right.endswith("*") else value == right
    return bool(value == right)


def _within(value: int | str, network: Any, length: Any) -> bool | None:
    """Is an address in this network? None for what are no two of one family."""
    try:
        family = socket.AF_INET6 if ":" in str(network) else socket.AF_INET
        one, other = (int.from_bytes(socket.inet_pton(family, str(text)), "big") for text in (value, network))
        shift = (32 if family == socket.AF_INET else 128) - int(length)
    except (OSError, ValueError, TypeError):
        return None
    return one >> shift == other >> shift


def _specific(rule: Rule, packet: Packet) -> bool:
    """Does the rule speak of this kind of traffic: of its port, or of an IP protocol that only VPNs have?"""
    for part in rule.expr:
        match = part.get("match")
        left = match.get("left") if isinstance(match, dict) else None
        if not isinstance(left, dict) or not isinstance(match, dict) or match.get("op") not in ("==", "in"):
            continue
        inside = left.get("payload", left.get("meta"))
        field = inside.get("field", inside.get("key")) if isinstance(inside, dict) else None
        named = field in ("dport", "sport") or (field in ("protocol", "nexthdr", "l4proto") and packet.proto in PORTLESS) \
            or (field == "type" and bool(packet.icmp)) or (field in ("saddr", "daddr") and bool(packet.src))
        if named and _match(match, packet):
            return True
    return False
