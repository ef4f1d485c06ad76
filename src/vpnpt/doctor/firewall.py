# SPDX-License-Identifier: GPL-2.0-or-later
"""What others' rules do to VPNs: stop them, give them another helper, send them elsewhere. The very rule is named. Pure."""
from __future__ import annotations

from ..model import PROTOCOLS
from .codes import FORWARDS, RULES, ZONES
from .facts import finding
from .walk import Packet, Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding
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


def named(facts: Facts, rule: Rule) -> tuple[str, str]:
    """What a user knows a rule by, and where it is: `rule 'No-VPN' (firewall.@rule[3])`, `table inet fw4, chain forward, handle 7`."""
    if rule.comment.startswith(FW4):
        name = rule.comment[len(FW4):]
        for section in facts.firewall:
            option = section.options.get("name")
            if section.type in ("rule", "redirect") and option is not None and option.values[-1] == name:
                return f"{section.type} '{name}' (firewall.{section.label})", rule.place
        return f"the firewall's rule '{name}'", rule.place
    return f"rule '{rule.comment}'" if rule.comment else f"a rule in {rule.family} {rule.table}", rule.place


def capital(name: str) -> str:
    """As it begins a sentence."""
    return name[0].upper() + name[1:]


def _link(rule: Rule, link: str) -> str:
    return link if rule.table == "fw4" else ""


def ways(facts: Facts) -> list[tuple[str, str]]:
    """Pairs of a LAN and a WAN device, the first few."""
    assert facts.devices is not None
    return [(lan, wan) for lan in facts.devices.lan for wan in facts.devices.wan][:8]


def _blocking(facts: Facts, walker: Walker) -> Iterator[Finding]:
    stopped: dict[str, tuple[Rule, bool, list[str]]] = {}
    for protocol in (name for name in PROTOCOLS if facts.helps(name)):
        for kind, proto, port in kinds(facts, protocol):
            for lan, wan in ways(facts):
                for family in (4, 6) if facts.lan6 and protocol != "pptp" else (4,):
                    for hit in _stops(walker, Packet(iif=lan, oif=wan, proto=proto, dport=port, family=family)):
                        # What stops whatever nothing has let pass is one finding, wherever it stands.
                        what = stopped.setdefault(hit.rule.place if hit.meant else "", (hit.rule, hit.sure, []))[2]
                        said = kind if family == 4 or kind in what else f"{kind} over IPv6"
                        if said not in what:
                            what.append(said)
    for place, (rule, sure, what) in stopped.items():
        name, where = named(facts, rule)
        if not place:
            yield finding("FIREWALL_BLOCKS", f"The firewall lets no {', '.join(what)} pass between LAN and WAN: nothing accepts it.",
                          f"it ends at {name} ({where})", "Allow forwarding from the zone lan to the zone wan.", link=_link(rule, ZONES))
            continue
        counted = "" if rule.packets is None else f"; it has met {rule.packets} packets"
        how = "stops" if sure else "stops, under conditions,"
        yield finding("FIREWALL_BLOCKS", f"{capital(name)} {how} {', '.join(what)} between LAN and WAN.", f"{where}{counted}",
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
                    yield finding("ICMP_BLOCKED", f"{capital(name)} stops ICMP {kind}, which tells how long packets may be.",
                                  place, link=_link(hit.rule, RULES))


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
                    yield finding("PPTP_HELPER_DOUBLED", f"{capital(name)} attaches the PPTP helper too.", place)
                else:
                    yield finding("PPTP_HELPER_OVERRIDDEN", f"{capital(name)} gives PPTP's connections the helper {kind}.", place)


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
        yield finding("NOTRACK", f"{capital(name)} takes {', '.join(what)} out of connection tracking.", place)


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
        target = next((part["dnat"].get("addr") for part in rule.expr if isinstance(part.get("dnat"), dict)), "") or "the router itself"
        yield finding("PORT_FORWARD", f"{capital(name)} takes {', '.join(what)} from outside to {target}.", place,
                      link=_link(rule, FORWARDS))


def _rest(facts: Facts, walker: Walker) -> Iterator[Finding]:
    assert facts.config is not None
    chains = [key for key, chain in walker.chains.items() if key[:2] == ("inet", "fw4") and chain.get("hook") == "forward"]
    wanted = facts.in_place and facts.helps("ipsec") and facts.config.protocols["ipsec"].multi_client
    if chains and wanted and not any(rule.comment == DROPIN for rule in walker.all_rules()):
        yield finding("FW4_RULES_MISSING", "The firewall's forward chain lacks vpnpt's lines.",
                      f"no rule there with the comment '{DROPIN}'")
    if walker.flowtables and facts.helps("l2tp"):
        yield finding("FLOW_OFFLOAD", "Flow offloading is on; IPsec is kept out of it, L2TP is not.",
                      f"flow table {', '.join(walker.flowtables)}")
    masks = [rule for rule in walker.all_rules() if any("masquerade" in part for part in rule.expr)
             and any(_says_ipv6(part) for part in rule.expr)]
    for rule in masks[:1]:
        yield finding("IPV6_NAT", "IPv6 is translated on its way out.", rule.place, link=_link(rule, ZONES))


def _says_ipv6(part: dict[str, object]) -> bool:
    match = part.get("match")
    return isinstance(match, dict) and match.get("left") == {"meta": {"key": "nfproto"}} and match.get("right") == "ipv6" \
        and match.get("op") == "=="


def _router(facts: Facts) -> Iterator[Finding]:
    for listener in facts.listeners:
        protocol = ROUTER_PORTS.get((listener.proto, listener.port))
        if protocol is not None and facts.helps(protocol):
            who = listener.program or "a program"
            yield finding("ROUTER_VPN", f"The router itself has a VPN on {listener.proto.upper()} {listener.port} ({who}).",
                          f"{who} listens there")
