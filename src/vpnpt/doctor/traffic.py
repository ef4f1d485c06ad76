# SPDX-License-Identifier: GPL-2.0-or-later
"""What the traffic shows: who gets no answer, who is refused, who asks for what can't be. From connection tracking alone. Pure."""
from __future__ import annotations

import socket

from ..model import PROTOCOLS
from ..record import Record
from ..wire.conntrack import AH, ESP, GRE, SEEN_REPLY, TCP, UDP
from .facts import finding
from .said import say, several

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wire.conntrack import Flow
    from .facts import Facts, Finding, IcmpError
    from .said import Said

NAMES = dict(zip(PROTOCOLS, ("PPTP", "L2TP", "IPsec", "OpenVPN", "WireGuard"), strict=True))
TOO_BIG = 4
REASONS = (0, 1, 2, 3, 9, 10, 13)
"""Codes of ICMP destination unreachable (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1)."""
LONG = 1400
"""Bytes, on average: such packets were fragments."""
MANY_CLIENTS, MOST_OF_THE_LAN = 5, 2 / 3
TIMES = 2
"""Packets without an answer that count: one may just have been sent."""
CONNECTING = 3
"""Seconds after which a TCP connection should have had an answer."""


class Kind(Record):
    """A way of talking: the finding's code when it goes unanswered, and its name."""

    __slots__ = ("finding", "name")
    finding: str
    name: str


IKE, NATT = Kind(finding="IKE_UNANSWERED", name="IKE (UDP 500)"), Kind(finding="NATT_UNANSWERED", name="IPsec in UDP (port 4500)")
PLAIN, CALLS = Kind(finding="ESP_UNANSWERED", name="ESP"), Kind(finding="GRE_UNANSWERED", name="PPTP's GRE")
BY_PROTOCOL = {"l2tp": Kind(finding="L2TP_UNANSWERED", name="L2TP over UDP"),
               "pptp": Kind(finding="PPTP_UNANSWERED", name="PPTP (TCP 1723)"),
               "openvpn": Kind(finding="OPENVPN_UNANSWERED", name="OpenVPN"),
               "wireguard": Kind(finding="WIREGUARD_UNANSWERED", name="WireGuard")}


def findings(facts: Facts) -> Iterator[Finding]:
    """All that these facts say."""
    flows = [(protocol, flow) for protocol, flow in facts.flows if facts.helps(protocol)]
    yield from _unanswered(facts, flows)
    yield from _refusals(facts, flows)
    yield from _conflict(flows)
    yield from _limits(facts, flows)
    yield from _lengths(facts)
    yield from _advice(facts, flows)


def kind_of(protocol: str, proto: int, port: int | None) -> Kind | None:
    """What a flow of a protocol is, None for what is not judged (AH, L2TPv3 over IP)."""
    if protocol == "ipsec":
        return PLAIN if proto == ESP else IKE if (proto, port) == (UDP, 500) else NATT if proto in (UDP, TCP) else None
    if proto == GRE:
        return CALLS
    return BY_PROTOCOL.get(protocol) if proto in (TCP, UDP) else None


def answered(flow: Flow) -> bool:
    """Has anything come back?"""
    return bool(flow.status & SEEN_REPLY)


def text(address: bytes) -> str:
    """An address as people write it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def reason(code: int) -> Said:
    """What a code of ICMP destination unreachable means."""
    return say(f"icmp-{code}") if code in REASONS else say("icmp-other", code=code)


def _sent(flow: Flow, facts: Facts) -> int:
    """How often it was tried, as far as is known: a repeated SYN is not counted, but its time goes on (nf_conntrack_tcp_packet())."""
    if flow.orig.proto == TCP:
        return TIMES if flow.timeout_s is None or facts.syn_timeout - flow.timeout_s >= CONNECTING else 1
    return flow.packets[0] if flow.packets is not None else TIMES


def _unanswered(facts: Facts, flows: list[tuple[str, Flow]]) -> Iterator[Finding]:
    """By kind: the pairs whose flows all went without an answer, and who gets one."""
    asked: dict[str, list[tuple[bytes, bytes, Flow]]] = {}
    heard: dict[str, set[tuple[bytes, bytes]]] = {}
    kinds: dict[str, Kind] = {}
    for protocol, flow in flows:
        kind = kind_of(protocol, flow.orig.proto, flow.orig.dport)
        if kind is None:
            continue
        kinds[kind.finding] = kind
        if answered(flow) or (kind == PLAIN and (flow.orig.src, flow.orig.dst) in facts.heard):
            heard.setdefault(kind.finding, set()).add((flow.orig.src, flow.orig.dst))
        elif _sent(flow, facts) >= TIMES:
            asked.setdefault(kind.finding, []).append((flow.orig.src, flow.orig.dst, flow))
    ike = heard.get(IKE.finding, set()) | heard.get(NATT.finding, set())
    for code, all_silent in asked.items():
        served = heard.get(code, set())
        silent = [item for item in all_silent if item[:2] not in served and not _explained(facts, item[2])]
        if code == PLAIN.finding:
            # A tunnel that carries one way only is no fault, but one whose IKE is answered should have an answer some time.
            silent = [item for item in silent if item[:2] in ike or item[2].packets is None or _sent(item[2], facts) > TIMES]
        if not silent:
            continue
        if code in (IKE.finding, NATT.finding) and all(_long(flow) for _, _, flow in silent) and {item[:2] for item in silent} & ike:
            yield finding("FRAGMENTS_LOST", say("fragments-lost", kind=kinds[code].name, servers=_servers(silent)),
                          say("fragments-lost-seen", octets=_octets(silent[0][2])))
            continue
        others = {server for _, server in served} - {server for _, server, _ in silent}
        where = "others-answer" if others else \
            "same-answers" if {server for _, server in served} & {server for _, server, _ in silent} else \
            "none-answers"
        one = len({server for _, server, _ in silent}) == 1
        counted = [flow.packets[0] for _, _, flow in silent if flow.packets is not None]
        seen = {"silent": len(silent), "all": len(silent) + len(served)}
        yield finding(code, say("unanswered-one" if one else "unanswered", kind=kinds[code].name, servers=_servers(silent),
                                clients=several(text(client) for client, _, _ in silent), where=say(where)),
                      say("unanswered-seen-counted", sent=sum(counted), **seen) if counted else say("unanswered-seen", **seen))


def _servers(silent: list[tuple[bytes, bytes, Flow]]) -> Said | tuple[str, ...]:
    return several(text(server) for _, server, _ in silent)


def _octets(flow: Flow) -> int:
    return flow.octets[0] // flow.packets[0] if flow.octets is not None and flow.packets is not None and flow.packets[0] else 0


def _long(flow: Flow) -> bool:
    return _octets(flow) > LONG


def _explained(facts: Facts, flow: Flow) -> bool:
    """Has an ICMP error told why this flow gets no answer?"""
    return any(_about(error, flow) for error in facts.errors)


def _about(error: IcmpError, flow: Flow) -> bool:
    return error.code != TOO_BIG and (error.server, error.proto) == (flow.orig.dst, flow.orig.proto) \
        and (flow.orig.proto not in (TCP, UDP) or error.port == flow.orig.dport)


def _refusals(facts: Facts, flows: list[tuple[str, Flow]]) -> Iterator[Finding]:
    """What comes back is an error: the way is open."""
    said = set()
    for protocol, flow in flows:
        kind = kind_of(protocol, flow.orig.proto, flow.orig.dport)
        error = next((error for error in facts.errors if _about(error, flow)), None)
        if kind is None or error is None or answered(flow) or (kind.finding, error.server) in said:
            continue
        said.add((kind.finding, error.server))
        told = {"kind": kind.name, "server": text(error.server), "reason": reason(error.code)}
        yield finding("SERVER_REFUSES",
                      say("refused", **told) if error.sender == error.server else say("refused-way", sender=text(error.sender), **told),
                      say("refused-seen", code=error.code, sender=text(error.sender)))
    for attempt in facts.attempts:
        kind = kind_of(attempt.protocol, attempt.proto, attempt.port)
        if kind is None or (kind.finding, attempt.server) in said or not facts.helps(attempt.protocol):
            continue
        said.add((kind.finding, attempt.server))
        yield finding("SERVER_REFUSES", say("reset", kind=kind.name, server=text(attempt.server)),
                      say("reset-seen", client=text(attempt.client), ago=attempt.ago))


def _conflict(flows: list[tuple[str, Flow]]) -> Iterator[Finding]:
    ways: dict[tuple[bytes, bytes], set[int]] = {}
    alive = set()
    for protocol, flow in flows:
        if protocol == "ipsec" and (flow.orig.proto == ESP or (flow.orig.proto == UDP and flow.orig.dport != 500)):
            pair = (flow.orig.src, flow.orig.dst)
            ways.setdefault(pair, set()).add(flow.orig.proto)
            if answered(flow):
                alive.add(pair)
    for (client, server), protos in ways.items():
        if len(protos) > 1 and (client, server) in alive:
            yield finding("NATT_CONFLICT", say("conflict", client=text(client), server=text(server)), say("conflict-seen"))


def _limits(facts: Facts, flows: list[tuple[str, Flow]]) -> Iterator[Finding]:
    calls: dict[tuple[bytes, bytes], list[Flow]] = {}
    for _, flow in flows:
        if flow.orig.proto == GRE:
            calls.setdefault((flow.orig.src, flow.orig.dst), []).append(flow)
    for (client, server), own in calls.items():
        controls = [flow for protocol, flow in flows if protocol == "pptp" and flow.orig.proto == TCP
                    and (flow.orig.src, flow.orig.dst) == (client, server)]
        if any(answered(flow) for flow in own) and any(not answered(flow) for flow in own) and len(own) > len(controls) > 0:
            yield finding("PPTP_ONE_CALL", say("one-call", client=text(client), server=text(server)),
                          say("one-call-seen", calls=len(own), controls=len(controls)))
    sharing: dict[bytes, set[bytes]] = {}
    for protocol, flow in flows:
        if protocol == "ipsec" and flow.orig.proto == UDP and flow.orig.dport != 500 and (flow.orig.src, flow.orig.dst) in facts.ike1:
            sharing.setdefault(flow.orig.dst, set()).add(flow.orig.src)
    for server, clients in sharing.items():
        if len(clients) > 1:
            yield finding("L2TP_IPSEC_SHARED", say("l2tp-shared", clients=several(sorted(map(text, clients))), server=text(server)),
                          say("l2tp-shared-seen"))
    headers = facts.counters.get("ipsec_ah", (0, 0))[0]
    users = several(text(flow.orig.src) for protocol, flow in flows if flow.orig.proto == AH)
    if headers or users:
        yield finding("AH_OVER_NAT", say("ah", clients=users or say("a-client")), say("ah-seen", flows=headers))


def _lengths(facts: Facts) -> Iterator[Finding]:
    said = set()
    for error in facts.errors:
        if error.code == TOO_BIG and error.server not in said and error.proto in (TCP, UDP, GRE, ESP):
            said.add(error.server)
            server = text(error.server)
            yield finding("PATH_MTU",
                          say("path-mtu", server=server, mtu=error.mtu) if error.mtu else say("path-mtu-unknown", server=server),
                          say("path-mtu-seen", sender=text(error.sender)),
                          say("path-mtu-do", mtu=max(576, error.mtu - 80)) if error.mtu else "")


def _advice(facts: Facts, flows: list[tuple[str, Flow]]) -> Iterator[Finding]:
    plain = [(flow.orig.src, flow.orig.dst) for protocol, flow in flows if protocol == "l2tp" and answered(flow)]
    if plain:
        yield finding("WEAK_L2TP", say("weak-l2tp", clients=several(text(client) for client, _ in plain),
                                       servers=several(text(server) for _, server in plain)), say("weak-l2tp-seen"))
    users: dict[bytes, set[bytes]] = {}
    for protocol, flow in flows:
        if answered(flow) and protocol in ("ipsec", "openvpn", "wireguard"):
            users.setdefault(flow.orig.dst, set()).add(flow.orig.src)
    for server, clients in users.items():
        if len(clients) >= MANY_CLIENTS and len(clients) >= MOST_OF_THE_LAN * facts.hosts:
            lan = max(facts.hosts, len(clients))
            yield finding("USE_ROUTER_CLIENT", say("router-client", clients=len(clients), hosts=lan, server=text(server)),
                          say("router-client-seen"))
    for name in PROTOCOLS:
        refused = {reason: facts.counters.get(f"{name}_{reason}", (0, 0))[0] for reason in ("blocked", "source", "denied")}
        if any(refused.values()):
            who = list(dict.fromkeys(client for protocol, client in facts.refused if protocol == name))
            what = {"protocol": NAMES[name], "clients": several(map(text, who)) if who else say("some-clients")}
            case = "blocked-off" if refused["blocked"] else "blocked-list"
            yield finding("PROTOCOL_BLOCKED", say(case, **what), say("blocked-seen", flows=sum(refused.values())),
                          say(f"{case}-do", protocol=NAMES[name], section=name))
