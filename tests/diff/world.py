# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's network with the features of a plan.

                                                   203.0.113.2 (a second address of wan)
    c1..c4 ── br-lan ─────┐                        203.0.113.50 (routed to the router, on no device)
    one of them may be:   │
      on br-lan2 ─────────┼── router ──── wan ──── isp ── s1..s3
      on br-guest ────────┤          └─── wan2 ─────┘
      a NAT router, with h1, h2 behind it

Features, each {kind: ...}:
    network     who, device (br-lan2, br-guest), zone (lan, guest, work): a client in another network; guest and work may only go out
    nat         who: this client is a router with NAT, and h1 and h2 are behind it
    snat        who, to, ports (''), one_to_one (false): the firewall's own SNAT for one client, before masquerading
    masquerade  how: 'random' or 'fully-random'
    forward     proto (udp, esp), port, at, to, to_port: a port forward from outside
    open        the router takes IKE and ESP from outside
    uplink2     zone (wan, vpn), nat (true): what wan2 is; vpn is a zone of its own, which masquerades or (nat: false) is routed
    policy      who: these clients' packets are marked at mangle and leave by wan2; the step `policy` changes it
"""
from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from tests.diff.plan import ROUTED_ADDRESS, SECOND_ADDRESS, b_port
from tests.lab import fw4, scenario
from tests.lab.host import Host
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from tests.diff.plan import Flow, Plan

GATEWAYS = {"br-lan": "192.168.1.1", "br-lan2": "192.168.2.1", "br-guest": "192.168.3.1"}
BEHIND = "10.9.0.1"
MARK, TABLE = "0x00020000", "102"
GATEWAY2 = "203.0.114.254"

# As any such router: what nobody behind it has asked for, and no program of its own listens for, leaves no trace in its conntrack.
BEHIND_NAT = """table ip nat {{
	chain post {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth0" masquerade
	}}
	chain in {{
		type filter hook input priority filter; policy accept;
{drops}
	}}
}}
"""
ZONE = """config zone
	option name '{name}'
{networks}	option input '{inward}'
	option output 'ACCEPT'
	option forward '{inward}'
{masq}
"""
INTERFACE = """config interface '{name}'
	option device '{device}'
	option proto 'static'

"""


class World(Lab):
    """A lab for one plan on one router."""

    def __init__(self, plan: Plan, router: str) -> None:
        self.features: list[dict[str, Any]] = plan["features"]
        self.flows: dict[str, Flow] = plan["flows"]
        self.behind: list[Host] = []
        self.networks = {f["who"]: f for f in self.features if f["kind"] == "network"}
        uplink = next((f for f in self.features if f["kind"] == "uplink2"), {})
        self.second_zone, self.second_nat = uplink.get("zone", "wan"), uplink.get("nat", True)
        self.policies = [f for f in self.features if f["kind"] == "policy"]
        lab = plan["lab"]
        super().__init__(lab["clients"], lab["servers"], router, scenario.uci(plan["config"]), ipv6=False,
                         uplinks=lab.get("uplinks", 1), ipsec_rules=lab.get("ipsec_rules", False))
        self._ipsec_rules, self._uplinks = lab.get("ipsec_rules", False), lab.get("uplinks", 1)

    @property
    def hosts(self) -> list[Host]:
        """Every host, the router and those behind another router included."""
        return [*super().hosts, *self.behind]

    def device(self, name: str) -> str:
        """The router's device behind which a client is."""
        return str(self.networks.get(name, {}).get("device", "br-lan"))

    def _start_router(self) -> None:
        self._networks()
        for feature in self.features:
            if feature["kind"] == "nat":
                self._nat_router(self.host(feature["who"]))
        self._addresses()
        if self._uplinks > 1 and not self.second_nat:
            self.isp.run("ip", "-batch", "-", text="".join(f"route add 192.168.{n}.0/24 via 203.0.114.1\n" for n in (1, 2, 3)))
        self._firewall_files()
        self._uci()
        super()._start_router()
        if self.policies:
            self.router.run("ip", "route", "add", "default", "via", GATEWAY2, "dev", "wan2", "table", TABLE)
            self.router.run("ip", "rule", "add", "fwmark", f"{MARK}/0x00ff0000", "lookup", TABLE, "pref", "1000")
            self.router.nft(f"table inet pbr {{ set marked {{ type ipv4_addr; }}\nchain prerouting {{ type filter hook prerouting priority "
                            f"mangle; policy accept;\nip saddr @marked meta mark set {MARK}\n}}\n}}\n")
            for feature in self.policies:
                for name in feature["who"]:
                    self.mark(name, True)

    def mark(self, name: str, on: bool) -> None:
        """A policy for a client begins or ends."""
        verb = "add" if on else "delete"
        self.router.run("nft", f"{verb} element inet pbr marked {{ {self.host(name).address} }}", check=False)

    def readdress(self, name: str, address: str) -> None:
        """A client gets another address of its network."""
        host = self.host(name)
        host.run("ip", "-batch", "-", text=f"addr del {host.address}/24 dev eth0\naddr add {address}/24 dev eth0\n"
                 f"route replace default via {GATEWAYS[self.device(name)]}\n")
        host.address = address
        if any(feature["kind"] == "nat" and feature["who"] == name for feature in self.features):
            # The kernel does so in its own time: a packet that is faster would go by the old flow, on one router and not on the other.
            host.run("conntrack", "-F")

    # building

    def _networks(self) -> None:
        devices = {f["device"] for f in self.networks.values()}
        lines = [line for device in sorted(devices) for line in (
            f"link add {device} type bridge mcast_snooping 0", f"addr add {GATEWAYS[device]}/24 dev {device}", f"link set {device} up")]
        for name, feature in self.networks.items():
            lines.append(f"link set lan{name[1:]} master {feature['device']}")
        if lines:
            self.router.run("ip", "-batch", "-", text="\n".join(lines))
        for name, feature in self.networks.items():
            self.readdress(name, f"{GATEWAYS[feature['device']][:-1]}{100 + int(name[1:])}")

    def _unserved(self, name: str) -> list[str]:
        """What no program of this host listens for, as nft matches."""
        own = [flow for flow in self.flows.values() if name in (flow["a"], flow["b"])]
        ports = {flow["a_port"] if flow["a"] == name else b_port(flow) for flow in own if flow["kind"] != "esp"}
        udp = f"udp dport != {{ {', '.join(map(str, sorted(ports)))} }}" if ports else "meta l4proto udp"
        return [udp] if any(flow["kind"] == "esp" for flow in own) else [udp, "meta l4proto esp"]

    def _nat_router(self, client: Host) -> None:
        self._forwarding(client)
        names = ("h1", "h2")
        subprocess.run(["ip", "-batch", "-"], input="".join(f"netns add {name}\n" for name in names), text=True, check=True)
        links = "".join(f"link add {name} up master br0 type veth peer name eth0 netns {name}\n" for name in names)
        bridge = f"link add br0 type bridge mcast_snooping 0\naddr add {BEHIND}/24 dev br0\n"
        client.run("ip", "-batch", "-", text=f"{bridge}{links}link set br0 up\n")
        client.run("nft", "-f", "-", text=BEHIND_NAT.format(drops="\n".join(
            f"\t\tiifname \"eth0\" ct state new {what} drop" for what in self._unserved(client.name))))
        for number, name in enumerate(names):
            host = Host(name, self.pump, f"10.9.0.{101 + number}")
            self.behind.append(host)
            self._prepare(host)
            self._leaf(host, 24, BEHIND, "")

    def _addresses(self) -> None:
        used = {str(f.get("to")) for f in self.features if f["kind"] == "snat"} | {str(f.get("at")) for f in self.features}
        if SECOND_ADDRESS in used:
            self.router.run("ip", "addr", "add", f"{SECOND_ADDRESS}/24", "dev", "wan")
        if ROUTED_ADDRESS in used:
            self.isp.run("ip", "route", "add", f"{ROUTED_ADDRESS}/32", "via", "203.0.113.1")

    def _zones(self) -> dict[str, list[str]]:
        zones: dict[str, list[str]] = {"lan": ["br-lan"], "wan": ["wan"]}
        for feature in self.networks.values():
            devices = zones.setdefault(feature["zone"], [])
            if feature["device"] not in devices:
                devices.append(feature["device"])
        if self._uplinks > 1:
            zones.setdefault(self.second_zone, []).append("wan2")
        return zones

    def _firewall_files(self) -> None:
        zones = self._zones()
        text = fw4.body(tuple(zones["lan"]), tuple(zones["wan"]), f"{self.router.run_dir}/fw4/*.nft", self._ipsec_rules)
        outside = [*zones["wan"], *zones.get("vpn", [])]
        into: dict[str, list[str]] = {}
        for zone in ("guest", "work"):
            if zone in zones:
                into.setdefault("forward", []).append(f'iifname {{ {_names(zones[zone])} }} jump forward_{zone}')
                text += f"\n\tchain forward_{zone} {{\n\t\toifname {{ {_names(outside)} }} accept\n\t\tjump handle_reject\n\t}}\n"
        if "vpn" in zones:
            into.setdefault("forward_lan", []).append('oifname "wan2" accept')
            if self.second_nat:
                into.setdefault("srcnat", []).append('oifname "wan2" meta nfproto ipv4 masquerade')
        for feature in self.features:
            for chain, rule in self._rules(feature):
                into.setdefault(chain, []).append(rule)
            if feature["kind"] == "masquerade":
                text = text.replace("meta nfproto ipv4 masquerade", f"meta nfproto ipv4 masquerade {feature['how']}")
        for chain, rules in into.items():
            text = _insert(text, chain, rules)
        (self.router.directory / "reload.nft").write_text(fw4.transaction(text, restart=False))
        (self.router.directory / "restart.nft").write_text(fw4.transaction(text, restart=True))
        cases = "".join(f"      {zone}) printf '%s\\n' {' '.join(devices)} ;;\n" for zone, devices in zones.items())
        script = fw4.SCRIPT.replace('      lan) echo "LAN" ;;\n      wan) echo "WAN" ;;\n', cases)
        script = script.replace("GUEST", "").replace("DIR", str(self.router.directory))
        (self.router.directory / "bin" / "fw4").write_text(script)

    def _rules(self, feature: dict[str, Any]) -> list[tuple[str, str]]:
        kind = feature["kind"]
        if kind == "snat":
            who, to = self.host(feature["who"]).address, feature["to"]
            ports = f":{feature['ports']}" if feature.get("ports") else ""
            rules = [("srcnat", f'oifname "wan" ip saddr {who} {"meta l4proto udp " if ports else ""}snat ip to {to}{ports}')]
            if feature.get("one_to_one"):
                rules += [("dstnat", f'iifname "wan" ip daddr {to} dnat ip to {who}'), ("forward_wan", "ct status dnat accept")]
            return rules
        if kind == "forward":
            match = "meta l4proto esp" if feature["proto"] == "esp" else f"udp dport {feature['port']}"
            port = f":{feature['to_port']}" if feature["proto"] == "udp" else ""
            return [("dstnat", f'iifname "wan" ip daddr {feature["at"]} {match} dnat ip to {self.host(feature["to"]).address}{port}'),
                    ("forward_wan", "ct status dnat accept")]
        if kind == "open":
            return [("input_wan", "udp dport { 500, 4500 } accept"), ("input_wan", "meta l4proto esp accept")]
        return []

    def _uci(self) -> None:
        """The packages firewall and network that say the same."""
        zones, outside = self._zones(), ("wan", "vpn")
        text = "config defaults\n\toption input 'REJECT'\n\toption output 'ACCEPT'\n\toption forward 'REJECT'\n\n"
        network = INTERFACE.format(name="loopback", device="lo")
        for zone, devices in zones.items():
            masq = zone == "wan" or (zone == "vpn" and self.second_nat)
            text += ZONE.format(name=zone, networks="".join(f"\tlist network '{_interface(name)}'\n" for name in devices),
                                inward="ACCEPT" if zone == "lan" else "REJECT", masq="\toption masq '1'\n" * masq)
            network += "".join(INTERFACE.format(name=_interface(name), device=name) for name in devices)
        for zone in zones:
            for dest in outside if zone not in outside else ():
                if dest in zones:
                    text += f"config forwarding\n\toption src '{zone}'\n\toption dest '{dest}'\n\n"
        (self.router.config_dir / "firewall").write_text(text)
        (self.router.config_dir / "network").write_text(network)


def _interface(device: str) -> str:
    return device.removeprefix("br-")


def _names(devices: list[str]) -> str:
    return ", ".join(f'"{device}"' for device in devices)


def _insert(text: str, chain: str, rules: list[str]) -> str:
    """Rules at the beginning of a chain, but in `forward` behind what handles established flows."""
    lines, out, inside = text.split("\n"), list[str](), False
    added = [f"\t\t{rule}" for rule in dict.fromkeys(rules)]
    place = "ct state vmap" if chain == "forward" else "type " if chain in ("dstnat", "srcnat") else ""
    for line in lines:
        out.append(line)
        if line == f"\tchain {chain} {{":
            inside = True
            if place:
                continue
        if inside and (not place or line.strip().startswith(place)):
            out += added
            inside = False
    assert not inside and len(out) == len(lines) + len(added), f"no chain {chain}"
    return "\n".join(out)
