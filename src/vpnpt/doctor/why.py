# SPDX-License-Identifier: GPL-2.0-or-later
"""Why one client's VPN does not connect: from what of it passed where, and from what the doctor knows of this router. Pure.

Causes are tried in the order in which a packet meets them: never came, refused or stopped here, no way out, lost on the way, refused or
not answered by the server. The first that fits is the answer; where nothing fits, that is said.
"""
from __future__ import annotations

from ..model import plain
from ..record import Record
from ..sessions.classify import allowed, is_in
from . import firewall, network, traffic
from .codes import FIREWALL, INTERFACES, PACKAGES, RULES, SETTINGS, ZONES
from .said import Said, say
from .traffic import NAMES
from .walk import Packet, Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .facts import Facts
    from .passage import Passage

CONTROL = ("IKE", "NAT-T", "NAT-T/TCP", "PPTP")
"""Kinds by which two ends agree before data of another kind flows."""
MORE = ("CGNAT", "DOUBLE_NAT", "MTU_LOW", "ICMP_BLOCKED", "NOTRACK", "PORT_FORWARD", "ROUTER_VPN", "PPTP_ONE_CALL", "AH_OVER_NAT",
        "L2TP_IPSEC_SHARED", "IPV6_BROKEN", "CLIENTS_FULL", "RULES_MISSING", "CONFIG", "KERNEL_FEATURE")
"""Findings that may bear on one client, and are told beside the cause."""


class Case(Record):
    """What is asked. client: its address; server: b'' for any. mac: the client's, '' if unknown. since: seconds of the epoch.

    passages: what was seen. attempts: packets of this client that vpnpt refused lately, by protocol.
    """

    __slots__ = ("client", "server", "mac", "since", "passages", "attempts")
    DEFAULTS = {"mac": "", "attempts": {}}
    client: bytes
    server: bytes
    mac: str
    since: int
    passages: tuple[Passage, ...]
    attempts: dict[str, int]


class Verdict(Record):
    """The answer. cause: works, agree, nothing, lost, silent, or one of the doctor's codes. place: where the cause is (fine, here, way,
    server, client).

    text: one sentence on the cause. evidence: what was seen. remedy: one. action: what we can do ourselves, {} if nothing: `do` (enable,
    unblock, trust), `protocol`, `client`. link: a page of LuCI, or ''.
    """

    __slots__ = ("cause", "place", "text", "evidence", "remedy", "action", "link")
    DEFAULTS = {"remedy": "", "action": {}, "link": ""}
    cause: str
    place: str
    text: Said
    evidence: tuple[Said | str, ...]
    remedy: Said | str
    action: dict[str, str]
    link: str

    def shown(self) -> dict[str, Any]:
        """In English, and as codes with values."""
        return {"code": self.cause, "place": self.place, "text": str(self.text), "evidence": [str(item) for item in self.evidence],
                "remedy": str(self.remedy), "action": self.action, "link": self.link,
                "said": {"text": plain(self.text), "evidence": plain(self.evidence), "remedy": plain(self.remedy)}}


def judge(facts: Facts, case: Case) -> dict[str, Any]:
    """The verdict, and beside it (`more`) what else the doctor found that may bear on this client."""
    mine = narrowed(facts, case)
    verdict = next(_causes(mine, facts, case))
    found = [item for module in (network, traffic) for item in module.findings(mine)]
    more = [item.shown() for item in found if item.code in MORE and item.code != verdict.cause]
    return {**verdict.shown(), "more": more}


def narrowed(facts: Facts, case: Case) -> Facts:
    """The facts of this client alone."""
    def about(client: bytes, server: bytes) -> bool:
        return client == case.client and case.server in (b"", server)

    servers = {one.server for one in case.passages}
    return facts.replace(
        flows=tuple((protocol, flow) for protocol, flow in facts.flows if about(flow.orig.src, flow.orig.dst)),
        attempts=tuple(one for one in facts.attempts if about(one.client, one.server)),
        errors=tuple(one for one in facts.errors if traffic.text(one.server) in servers),
        ike1=frozenset(pair for pair in facts.ike1 if about(*pair)), heard=frozenset(pair for pair in facts.heard if about(*pair)))


def _causes(mine: Facts, facts: Facts, case: Case) -> Iterator[Verdict]:
    who = traffic.text(case.client)
    tried = [one for one in case.passages if one.asked]
    if not tried:
        yield from _not_tried(mine, case, who)
        return
    for cause in (_refused, _stopped, _no_way_out, _too_long, _conflict, _works, _helper, _refusals, _data_lost, _fragments, _silent):
        yield from cause(mine, facts, case, who, tried)
    best = max(tried, key=lambda one: (one.delivered, one.asked))
    yield Verdict(cause="agree", place="server", text=say("why-agree", server=best.server, client=who, kind=best.name),
                  evidence=_seen(tried), remedy=say("why-do-agree"))


def _seen(passages: list[Passage]) -> tuple[Said | str, ...]:
    return tuple(say("why-seen", kind=one.name, server=one.server, asked=one.asked, left=one.left, came=max(one.came, one.delivered),
                     delivered=one.delivered) for one in passages)


def _not_tried(mine: Facts, case: Case, who: str) -> Iterator[Verdict]:
    watched = (say("why-seen-nothing", seconds=max(0, mine.now - case.since)),)
    if _is_cut_off(mine):
        yield _wan_down(watched)
    text = say("why-nothing-to", client=who, server=traffic.text(case.server)) if case.server else say("why-nothing", client=who)
    yield Verdict(cause="nothing", place="client", text=text, evidence=watched, remedy=say("why-do-nothing"))


def _refused(mine: Facts, _facts: Facts, case: Case, who: str, tried: list[Passage]) -> Iterator[Verdict]:
    """By us: it is switched off, or the client is not one of those who may."""
    config = mine.config
    if config is None or not config.general.enabled:
        return
    for one in tried:
        if not one.protocol or one.left:
            continue
        name, protocol = NAMES[one.protocol], config.protocols[one.protocol]
        behaviour = config.behaviour(one.protocol)
        seen = (*_seen([one]), *((say("why-seen-refused", attempts=case.attempts[one.protocol], protocol=one.protocol),)
                                 if one.protocol in case.attempts else ()))
        common = {"cause": "PROTOCOL_BLOCKED", "place": "here", "evidence": seen, "link": SETTINGS}
        if behaviour == "block":
            yield Verdict(**common, text=say("why-off", protocol=name), remedy=say("why-do-on", protocol=name, section=one.protocol),
                          action={"do": "enable", "protocol": one.protocol, "client": who})
        elif behaviour == "help" and not allowed(protocol, case.client, case.mac or None):
            denied = [source for source in protocol.deny_src if is_in(source, case.client, case.mac or None)]
            if not denied:
                yield Verdict(**common, text=say("why-untrusted", protocol=name, client=who), remedy=say("why-do-trust", protocol=name),
                              action={"do": "trust", "protocol": one.protocol, "client": who})
            elif len(denied) == 1 and "/" not in denied[0].text:
                yield Verdict(**common, text=say("why-denied", protocol=name, client=who), remedy=say("why-do-unblock"),
                              action={"do": "unblock", "protocol": one.protocol, "client": denied[0].text})
            else:
                yield Verdict(**common, text=say("why-denied", protocol=name, client=who),
                              remedy=say("why-do-sources", protocol=one.protocol, source=denied[0].text))


def _stopped(mine: Facts, _facts: Facts, case: Case, who: str, tried: list[Passage]) -> Iterator[Verdict]:
    """By a rule of somebody else: on the way out, or on the way back."""
    stuck = [(one, one.asked > 1 and not one.left) for one in tried if (one.asked > 1 and not one.left) or (one.came and not one.delivered)]
    if not stuck:
        return
    if _is_cut_off(mine):
        yield _wan_down(_seen(tried))
        return
    for one, out in stuck:
        for device, wan, hit in _hits(mine, case, one, out=out):
            name, where = firewall.named(mine, hit.rule)
            if not hit.meant:
                yield Verdict(cause="FIREWALL_BLOCKS", place="here", text=say("why-no-forward", device=device, out=wan),
                              evidence=(*_seen([one]), where), remedy=say("why-do-forward"), link=ZONES)
            told = where if hit.rule.packets is None else say("why-seen-rule", where=where, packets=hit.rule.packets)
            yield Verdict(cause="FIREWALL_BLOCKS", place="here", remedy=say("why-do-rule"), evidence=(*_seen([one]), told),
                          text=say("why-rule" if hit.sure else "why-rule-maybe", rule=name, kind=one.name, client=who),
                          link=RULES if hit.rule.table == "fw4" else "")
        text = say("why-lost", kind=one.name, client=who) if out else say("why-lost-back", server=one.server, kind=one.name, client=who)
        yield Verdict(cause="lost", place="here", text=text, evidence=_seen([one]), remedy=say("why-do-lost"), link=FIREWALL)


def _hits(mine: Facts, case: Case, one: Passage, *, out: bool) -> Iterator[tuple[str, str, Any]]:
    """Rules that stop it: those that are sure, then those that have met packets, then those that may."""
    if mine.config is None or mine.devices is None:
        return
    walker = Walker(mine.rules, skip=firewall.TABLE)
    found = []
    family = 4 if len(case.client) == 4 else 6
    for lan, wan in firewall.ways(mine):
        packet = Packet(iif=lan, oif=wan, proto=one.proto, dport=one.port, family=family, src=traffic.text(case.client), dst=one.server)
        if not out:
            packet = firewall.reply(packet)
        found += [(lan if out else wan, wan if out else lan, hit) for hit in walker.stops(packet)]
    found.sort(key=lambda item: (not item[2].sure, not item[2].rule.packets))
    yield from found


def _is_cut_off(mine: Facts) -> bool:
    return any(item.code == "WAN_DOWN" for item in network.findings(mine))


def _wan_down(evidence: tuple[Said | str, ...]) -> Verdict:
    return Verdict(cause="WAN_DOWN", place="here", text=say("why-wan"), evidence=evidence, remedy=say("why-do-wan"), link=INTERFACES)


def _no_way_out(mine: Facts, _facts: Facts, _case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    if _is_cut_off(mine) and not any(one.delivered for one in tried):
        yield _wan_down(_seen(tried))


def _too_long(mine: Facts, _facts: Facts, _case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    for error in mine.errors:
        one = next((one for one in tried if one.server == traffic.text(error.server) and one.proto == error.proto), None)
        if error.code != traffic.TOO_BIG or one is None:
            continue
        text = say("why-mtu", server=one.server, mtu=error.mtu) if error.mtu else say("why-mtu-unknown", server=one.server)
        yield Verdict(cause="PATH_MTU", place="way", text=text,
                      evidence=(say("why-seen-too-big", sender=traffic.text(error.sender)), *_seen([one])),
                      remedy=say("why-do-mtu", mtu=max(576, error.mtu - 80) if error.mtu else 1280))


def _conflict(mine: Facts, _facts: Facts, _case: Case, who: str, tried: list[Passage]) -> Iterator[Verdict]:
    """Both ways of carrying ESP at once, by what passes now."""
    for server in {one.server for one in tried if one.kind == "ESP"}:
        natt = [one for one in tried if one.server == server and one.kind == "NAT-T"]
        esp = [one for one in tried if one.server == server and one.kind == "ESP"]
        if natt and esp[0].asked > 1:
            yield Verdict(cause="NATT_CONFLICT", place="client", text=say("why-conflict", client=who, server=server),
                          evidence=_seen([*natt, *esp]), remedy=say("why-do-conflict"))


def _works(_mine: Facts, _facts: Facts, _case: Case, who: str, tried: list[Passage]) -> Iterator[Verdict]:
    for one in sorted(tried, key=lambda one: -one.delivered):
        if one.works():
            yield Verdict(cause="works", place="fine", text=say("why-works", client=who, server=one.server, kind=one.name),
                          evidence=_seen([one]))


def _helper(mine: Facts, _facts: Facts, _case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    if mine.helper_missing and any(one.protocol == "pptp" for one in tried):
        yield Verdict(cause="PPTP_HELPER_MISSING", place="here", text=say("why-helper"), evidence=_seen(tried), remedy=say("why-do-helper"),
                      link=PACKAGES)


def _refusals(mine: Facts, _facts: Facts, case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    for one in tried:
        if one.delivered and one.proto != 6:
            continue
        for error in mine.errors:
            if error.code != traffic.TOO_BIG and traffic.text(error.server) == one.server and error.proto == one.proto \
                    and (not one.port or error.port == one.port):
                sender = traffic.text(error.sender)
                reason = traffic.reason(error.code)
                yield Verdict(cause="SERVER_REFUSES", place="server" if error.sender == error.server else "way",
                              text=say("why-refuses", server=one.server, kind=one.name, who=sender, reason=reason),
                              evidence=(say("why-seen-icmp", sender=sender, code=error.code), *_seen([one])),
                              remedy=say("why-do-refuses"))
        for attempt in mine.attempts:
            if traffic.text(attempt.server) == one.server and attempt.port == one.port and attempt.ago <= mine.now - case.since + 1:
                yield Verdict(cause="SERVER_REFUSES", place="server", text=say("why-reset", server=one.server, kind=one.name),
                              evidence=_seen([one]), remedy=say("why-do-refuses"))


def _data_lost(mine: Facts, _facts: Facts, _case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    """The two ends have agreed, and what carries data does not come back."""
    for one in tried:
        if one.kind not in ("ESP", "GRE", "AH") or one.delivered or not one.left:
            continue
        control = next((other for other in tried if other.server == one.server and other.kind in CONTROL and other.delivered), None)
        if control is None:
            continue
        before = next((item for item in network.findings(mine) if item.code in ("DOUBLE_NAT", "CGNAT")), None)
        values = {"server": one.server, "control": control.name, "kind": one.name}
        if before is not None:
            where = "why-data-nat" if before.code == "DOUBLE_NAT" else "why-data-cgnat"
            yield Verdict(cause=before.code, place="way", text=say(where, **values), evidence=(*_seen([control, one]), before.evidence),
                          remedy=say("why-do-data-nat"), link=INTERFACES)
            continue
        code = "GRE_UNANSWERED" if one.kind == "GRE" else "ESP_UNANSWERED"
        yield Verdict(cause=code, place="way", text=say("why-data", **values), evidence=_seen([control, one]),
                      remedy=say("why-do-gre") if one.kind == "GRE" else say("why-do-data", kind=one.name))


def _fragments(mine: Facts, _facts: Facts, _case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    if any(item.code == "FRAGMENTS_LOST" for item in traffic.findings(mine)):
        silent = next((one for one in tried if not one.delivered), tried[0])
        yield Verdict(cause="FRAGMENTS_LOST", place="way", text=say("why-fragments", server=silent.server), evidence=_seen(tried),
                      remedy=say("why-do-fragments"))


def _silent(mine: Facts, facts: Facts, _case: Case, _who: str, tried: list[Passage]) -> Iterator[Verdict]:
    heard = {one.server for one in tried if one.delivered}
    for one in tried:
        if one.delivered or one.server in heard or not one.left:
            continue
        kind = traffic.kind_of(one.protocol, one.proto, one.port) if one.protocol else None
        others = any(traffic.answered(flow) and traffic.text(flow.orig.dst) == one.server and (flow.orig.proto, flow.orig.dport or 0) ==
                     (one.proto, one.port) for _, flow in facts.flows)
        before = next((uplink for uplink in facts.uplinks for address in uplink.addresses
                       if network.within(address, (*network.PRIVATE, *network.SHARED))), None)
        remedy = say("why-do-silent-nat", address=before.addresses[0], kind=one.name) if before is not None and not others else \
            say("why-do-silent", kind=one.name)
        yield Verdict(cause=kind.finding if kind is not None else "silent", place="server" if others else "way",
                      text=say("why-silent", server=one.server, kind=one.name), remedy=remedy,
                      evidence=(*_seen([one]), *((say("why-seen-others"),) if others else ())))
