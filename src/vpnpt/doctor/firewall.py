# SPDX-License-Identifier: GPL-2.0-or-later
"""What others' rules do to VPNs: stop them, give them another helper, send them elsewhere. The very rule is named. Pure."""
from __future__ import annotations

from ..model import PROTOCOLS
from .codes import FORWARDS, RULES, SETTINGS, ZONES
from .facts import finding
from .said import say
from .walk import Packet, Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding
    from .said import Said
    from .walk import Hit, Rule

TABLE = "vpnpt"
FW4 = "!fw4: "
DROPIN = "vpnpt: a server speaks first"
TCP, UDP, ICMP, GRE, ESP, ICMP6 = 6, 17, 1, 47, 50, 58
ROUTER_PORTS = {("udp", 500): "ipsec", ("udp", 4500): "ipsec", ("udp", 1701): "l2tp", ("tcp", 1723): "pptp"}
"""Ports whose owner matters: OpenVPN and WireGuard cross NAT from any port."""


def findings(facts: Facts) -> Iterator[Finding]:
    """All that these facts say."""
    if facts.config is None or facts.devices is None or not facts.config.general.enabled:
        return
    walker = Walker(facts.rules, skip=TABLE)
    yield from _blocking(facts, walker)
    yield from _icmp(facts, walker)
    yield from _helpers(facts, walker)
    yield from _notrack(facts, walker)
    yield from _forwards(facts, walker)
    yield from _rest(facts, walker)
    yield from _router(facts)


def kinds(facts: Facts, protocol: str) -> list[tuple[str, int, int]]:
    """What a protocol's packets are: (name, IP protocol, port)."""
    assert facts.config is not None
    ports = facts.config.protocols[protocol].ports
    if protocol == "ipsec":
        return [("IKE (UDP 500)", UDP, 500), *((f"NAT traversal (UDP {port})", UDP, port) for port in ports), ("ESP", ESP, 0)]
    if protocol == "pptp":
        return [*((f"PPTP (TCP {port})", TCP, port) for port in ports), ("GRE", GRE, 0)]
    if protocol == "l2tp":
        return [(f"L2TP (UDP {port})", UDP, port) for port in ports]
    if protocol == "openvpn":
        return [(f"OpenVPN ({name} {port})", proto, port) for port in ports for name, proto in (("UDP", UDP), ("TCP", TCP))]
    return [(f"WireGuard (UDP {port})", UDP, port) for port in ports]


def named(facts: Facts, rule: Rule) -> tuple[Said, str]:
    """What a user knows a rule by, and where it is: `rule 'No-VPN' (firewall.@rule[3])`, `table inet fw4, chain forward, handle 7`."""
    if rule.comment.startswith(FW4):
        name = rule.comment[len(FW4):]
        for section in facts.firewall:
            option = section.options.get("name")
            if section.type in ("rule", "redirect") and option is not None and option.values[-1] == name:
                return say(f"{section.type}-uci", name=name, section=section.label), rule.place
        return say("rule-fw4", name=name), rule.place
    return say("rule-comment", name=rule.comment) if rule.comment else say("rule-in", table=f"{rule.family} {rule.table}"), rule.place


def _link(rule: Rule, link: str) -> str:
    return link if rule.table == "fw4" else ""


def ways(facts: Facts) -> list[tuple[str, str]]:
    """Pairs of a LAN and a WAN device, the first few."""
    assert facts.devices is not None
    return [(lan, wan) for lan in facts.devices.lan for wan in facts.devices.wan][:8]


def _blocking(facts: Facts, walker: Walker) -> Iterator[Finding]:
    stopped: dict[str, tuple[Rule, bool, list[str | Said]]] = {}
    absent = tuple(device for device in (*facts.devices.lan, *facts.devices.wan) if device in facts.absent) if facts.devices else ()
    for protocol in (name for name in PROTOCOLS if facts.helps(name)):
        for kind, proto, port in kinds(facts, protocol):
            for lan, wan in ways(facts):
                for family in (4, 6) if facts.lan6 and protocol != "pptp" else (4,):
                    for hit in _stops(walker, Packet(iif=lan, oif=wan, proto=proto, dport=port, family=family)):
                        # What stops whatever nothing has let pass is one finding, wherever it stands.
                        what = stopped.setdefault(hit.rule.place if hit.meant else "", (hit.rule, hit.sure, []))[2]
                        said = kind if family == 4 or kind in what else say("over-ipv6", kind=kind)
                        if said not in what:
                            what.append(said)
    for place, (rule, sure, what) in stopped.items():
        name, where = named(facts, rule)
        if not place:
            yield finding("FIREWALL_BLOCKS", say("blocks-all", kinds=tuple(what)), say("blocks-all-seen", rule=name, where=where),
                          say("blocks-absent-do", devices=absent) if absent else say("blocks-all-do"),
                          link=SETTINGS if absent else _link(rule, ZONES))
            continue
        seen = where if rule.packets is None else say("rule-met", where=where, packets=rule.packets)
        yield finding("FIREWALL_BLOCKS", say("blocks" if sure else "blocks-maybe", rule=name, kinds=tuple(what)), seen,
                      link=_link(rule, RULES))


def _stops(walker: Walker, out: Packet) -> list[Hit]:
    """What stops a client's packet, or its answer."""
    return [*walker.stops(out), *walker.stops(reply(out))]


def reply(out: Packet) -> Packet:
    """The answer to a client's packet."""
    return out.replace(iif=out.oif, oif=out.iif, sport=out.dport, dport=0, state="established", direction="reply", src=out.dst, dst=out.src)


def _icmp(facts: Facts, walker: Walker) -> Iterator[Finding]:
    said = set()
    for lan, wan in ways(facts):
        for family, proto, kind in ((4, ICMP, "destination-unreachable"), (6, ICMP6, "packet-too-big")):
            packet = Packet(iif=wan, oif=lan, family=family, proto=proto, icmp=kind, state="related", direction="reply")
            for hit in walker.stops(packet):
                name, place = named(facts, hit.rule)
                if place not in said:
                    said.add(place)
                    yield finding("ICMP_BLOCKED", say("icmp-blocked", rule=name, kind=kind), place, link=_link(hit.rule, RULES))


def _helpers(facts: Facts, walker: Walker) -> Iterator[Finding]:
    if not facts.helps("pptp") or facts.config is None:
        return
    for port in facts.config.protocols["pptp"].ports:
        for lan, wan in ways(facts)[:1]:
            for rule in walker.matching(Packet(iif=lan, oif=wan, proto=TCP, dport=port), "ct helper"):
                given = next(part["ct helper"] for part in rule.expr if "ct helper" in part)
                kind = walker.helpers.get((rule.family, rule.table, given), given) if isinstance(given, str) else ""
                name, place = named(facts, rule)
                if kind == "pptp":
                    yield finding("PPTP_HELPER_DOUBLED", say("helper-doubled", rule=name), place)
                else:
                    yield finding("PPTP_HELPER_OVERRIDDEN", say("helper-overridden", rule=name, helper=kind), place)


def _notrack(facts: Facts, walker: Walker) -> Iterator[Finding]:
    found: dict[str, tuple[Rule, list[str]]] = {}
    for protocol in (name for name in PROTOCOLS if facts.helps(name)):
        for kind, proto, port in kinds(facts, protocol):
            for lan, _ in ways(facts):
                for rule in walker.matching(Packet(iif=lan, proto=proto, dport=port), "notrack"):
                    what = found.setdefault(rule.place, (rule, []))[1]
                    if kind not in what:
                        what.append(kind)
    for place, (rule, what) in found.items():
        name, _ = named(facts, rule)
        yield finding("NOTRACK", say("notrack", rule=name, kinds=tuple(what)), place)


def _forwards(facts: Facts, walker: Walker) -> Iterator[Finding]:
    found: dict[str, tuple[Rule, list[str]]] = {}
    for protocol in ("pptp", "l2tp", "ipsec"):
        for kind, proto, port in kinds(facts, protocol) if facts.helps(protocol) else ():
            for _, wan in ways(facts):
                packet = Packet(iif=wan, proto=proto, dport=port)
                for rule in (*walker.matching(packet, "dnat"), *walker.matching(packet, "redirect")):
                    what = found.setdefault(rule.place, (rule, []))[1]
                    if kind not in what:
                        what.append(kind)
    for place, (rule, what) in found.items():
        name, _ = named(facts, rule)
        target = next((part["dnat"].get("addr") for part in rule.expr if isinstance(part.get("dnat"), dict)), "")
        yield finding("PORT_FORWARD", say("port-forward", rule=name, kinds=tuple(what), target=target or say("the-router")), place,
                      link=_link(rule, FORWARDS))


def _rest(facts: Facts, walker: Walker) -> Iterator[Finding]:
    assert facts.config is not None
    chains = [key for key, chain in walker.chains.items() if key[:2] == ("inet", "fw4") and chain.get("hook") == "forward"]
    wanted = facts.in_place and facts.config.shares_servers
    if chains and wanted and not any(rule.comment == DROPIN for rule in walker.all_rules()):
        yield finding("FW4_RULES_MISSING", say("fw4-missing"), say("fw4-missing-seen", comment=DROPIN))
    if walker.flowtables and facts.helps("l2tp"):
        yield finding("FLOW_OFFLOAD", say("flow-offload"), say("flow-offload-seen", tables=tuple(walker.flowtables)))
    masks = [rule for rule in walker.all_rules() if any("masquerade" in part for part in rule.expr)
             and any(_says_ipv6(part) for part in rule.expr)]
    for rule in masks[:1]:
        yield finding("IPV6_NAT", say("ipv6-nat"), rule.place, link=_link(rule, ZONES))


def _says_ipv6(part: dict[str, object]) -> bool:
    match = part.get("match")
    return isinstance(match, dict) and match.get("left") == {"meta": {"key": "nfproto"}} and match.get("right") == "ipv6" \
        and match.get("op") == "=="


def _router(facts: Facts) -> Iterator[Finding]:
    for listener in facts.listeners:
        protocol = ROUTER_PORTS.get((listener.proto, listener.port))
        if protocol is not None and facts.helps(protocol):
            who = listener.program or say("a-program")
            yield finding("ROUTER_VPN", say("router-vpn", port=f"{listener.proto.upper()} {listener.port}", who=who),
                          say("router-vpn-seen", who=who))
