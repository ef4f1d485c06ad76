# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan from a seed: a network, a few conversations in it, and what gets in their way, in an order by chance."""
from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.diff.plan import ROUTED_ADDRESS, SECOND_ADDRESS, SECOND_WAN_ADDRESS, WAN

if TYPE_CHECKING:
    from tests.diff.plan import Flow, Plan, Step

UDP_KINDS = ("wg", "quic", "openvpn", "random")
UDP_PORTS = (500, 500, 500, 4500, 1701, 51820, 1194, 443)
L2TP_SETUP = (("a", "sccrq", 0, 0), ("b", "sccrp", 0, 1), ("a", "scccn", 1, 1), ("a", "icrq", 2, 1), ("b", "icrp", 1, 3),
              ("a", "iccn", 3, 2))
EVENTS = (*4 * ("forget",), "readdress", "fw4", "fw4", "reload", "kill", *3 * ("policy",), "knock", "knock")


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    return _Generator(seed).plan()


class _Generator:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.flows: dict[str, Flow] = {}
        self.features: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {"ipsec": 1, "l2tp": 1, "pptp": 1}
        self.lab = {"clients": self.chance.choice((1, 2, 2, 3, 3, 4)), "servers": self.chance.choice((1, 1, 1, 2, 3)),
                    "uplinks": self.chance.choice((1, 1, 2)), "ipsec_rules": self.chance.random() < 0.5}
        self.clients = [f"c{n}" for n in range(1, self.lab["clients"] + 1)]
        self.servers = [f"s{n}" for n in range(1, self.lab["servers"] + 1)]
        self.marked: set[str] = set()
        self.taken: set[tuple[str, int]] = set()
        self.programs: dict[tuple[str, int], str] = {}
        self.ephemeral = 40000
        self.forwards: list[dict[str, Any]] = []

    def plan(self) -> Plan:
        """Everything."""
        self._network()
        sessions = [session for _ in range(self.chance.choice((2, 3, 3, 4, 5, 6))) if (session := self._session())]
        steps = self._merge(sessions)
        self._disturb(steps)
        self._errors(steps)
        for number, step in enumerate(steps, 1):
            step["n"] = number
        return {"seed": self.seed, "lab": self.lab, "config": self.config, "features": self.features, "flows": self.flows, "steps": steps}

    def _likely(self, probability: float) -> bool:
        return self.chance.random() < probability

    # the network

    def _network(self) -> None:
        chance, clients = self.chance, self.clients
        free = list(clients)
        if self._likely(0.4):
            who = chance.choice(free)
            device, zone = chance.choice((("br-lan2", "lan"), ("br-lan2", "work"), ("br-guest", "guest"), ("br-guest", "guest")))
            self.features.append({"kind": "network", "who": who, "device": device, "zone": zone})
            if device == "br-lan2" and zone == "lan" and self._likely(0.4):
                self.config["global"] = {"lan_device": "br-lan"}
        if len(clients) >= 2 and clients[1] not in {f.get("who") for f in self.features} and self._likely(0.2):
            self.features.append({"kind": "nat", "who": "c2"})
            self.clients = [name for name in clients if name != "c2"] + ["h1", "h2"]
        if self._likely(0.3):
            to = chance.choice((ROUTED_ADDRESS, ROUTED_ADDRESS, SECOND_ADDRESS))
            one = self._likely(0.4)
            ports = "" if one or self._likely(0.7) else "20000-29999"
            who = chance.choice(clients)
            self.features.append({"kind": "snat", "who": who, "to": to, "ports": ports, "one_to_one": one})
            if one:
                self.forwards += [{"to": who, "at": to, "port": 500, "to_port": 500}, {"to": who, "at": to, "port": 4500, "to_port": 4500}]
        if self._likely(0.1):
            self.features.append({"kind": "masquerade", "how": chance.choice(("random", "fully-random"))})
        if self.lab["uplinks"] == 2:
            self._second_uplink()
        if self._likely(0.35):
            self._forward()
        if self._likely(0.35):
            self.features.append({"kind": "open"})
            self.forwards += [{"to": "router", "at": WAN, "port": port, "to_port": port} for port in (500, 4500)]

    def _second_uplink(self) -> None:
        chance = self.chance
        zone = chance.choice(("wan", "wan", "vpn"))
        uplink = {"kind": "uplink2", "zone": zone, "nat": zone == "wan" or self._likely(0.7)}
        self.features.append(uplink)
        if self._likely(0.25):
            self.config.setdefault("global", {})["wan_device"] = "wan"
        if self._likely(0.7):
            names = [name for name in self.lab_clients() if self._likely(0.5)]
            self.marked = set(names)
            self.features.append({"kind": "policy", "who": names})

    def lab_clients(self) -> list[str]:
        """The clients that hang on the router itself."""
        return [f"c{n}" for n in range(1, self.lab["clients"] + 1)]

    def _forward(self) -> None:
        chance = self.chance
        to = chance.choice(self.lab_clients())
        at = chance.choice((WAN, WAN, WAN, SECOND_ADDRESS, ROUTED_ADDRESS))
        for port in (500, 4500):
            outer = port if self._likely(0.7) else port + 5000
            self.features.append({"kind": "forward", "proto": "udp", "at": at, "port": outer, "to": to, "to_port": port})
            self.forwards.append({"to": to, "at": at, "port": outer, "to_port": port})
        if self._likely(0.5):
            self.features.append({"kind": "forward", "proto": "esp", "at": at, "to": to})

    # conversations

    def _session(self) -> list[Step]:
        kind = self.chance.choice(("ike", "ike", "ike", "ike", "esp", "udp", "udp", "l2tp", "dns", "forward", "forward", "router"))
        return list(getattr(self, f"_session_{kind}")())

    def _name(self, letter: str) -> str:
        return f"{letter}{sum(name.startswith(letter) for name in self.flows) + 1}"

    def _port(self, host: str, kind: str, *wanted: int) -> int:
        """One of the ports wanted that no flow of the host has, and no program of another kind; else another."""
        for port in wanted:
            if port and (host, port) not in self.taken and self._is(host, port, kind):
                self.taken.add((host, port))
                return port
        self.ephemeral += 1
        return self.ephemeral

    def _is(self, host: str, port: int, kind: str) -> bool:
        """May a program of this kind have the port? A port of a host has one."""
        return self.programs.setdefault((host, port), kind) == kind

    def _session_ike(self, a: str = "", b: str = "", at: str = "", ports: tuple[int, int] = (500, 500)) -> list[Step]:
        chance = self.chance
        a, b = a or chance.choice(self.clients), b or chance.choice(self.servers)
        name, version = self._name("i"), chance.choice((1, 2, 2, 2))
        a_port = self._port(a, "ike", 500 if self._likely(0.85) else 0)
        natt = self._likely(0.3)
        flow: Flow = {"kind": "ike", "a": a, "b": b, "a_port": a_port, "to_port": ports[0], "b_port": ports[1]}
        flow |= {"at": at} if at else {}
        flow |= {"version": 1} if version == 1 else {}
        if self._likely(0.05):
            flow["cookie"] = "same"
        self.flows[name] = flow
        steps = self._exchange(name, "init", 0)
        if version == 1 and self._likely(0.7):
            steps += self._exchange(name, "init2", 0)
        data, talk = "", name
        if natt and ports == (500, 500):
            talk = self._name("n")
            a4500 = self._port(a, "ike", 4500 if a_port == 500 else 0)
            self.flows[talk] = {**flow, "a_port": a4500, "to_port": 4500, "b_port": 4500, "natt": True, "of": name}
        steps += self._exchange(talk, "auth", 1)
        if not natt and self._likely(0.85):
            data = self._name("e")
            self.flows[data] = {"kind": "esp", "a": a, "b": b, "of": name, **({"at": at} if at else {})}
            if self._likely(0.05):
                self.flows[data]["spi"] = "same"
            if version == 1:
                steps += self._exchange(talk, "child", 1)
        ids, gen = {"a": 2, "b": 0}, 0
        for _ in range(chance.randrange(6)):
            what = chance.choice(("esp", "esp", "esp", "info", "info", "child", "again"))
            if what == "esp" and data:
                steps += self._esp_turns(data, gen)
            elif what == "info":
                by = chance.choice("ab")
                steps += self._exchange(talk, "info", ids[by], by)
                ids[by] += 1
            elif what == "child":
                by = chance.choice("ab")
                steps += self._exchange(talk, "child", ids[by], by)
                ids[by] += 1
                gen += 1
                if data:
                    steps += self._esp_turns(data, gen)
            elif what == "again" and talk == name:
                # a new IKE SA from scratch, or (b) the peer's own
                by = chance.choice("aab")
                generation = max([step.get("gen", 0) for step in steps if step.get("flow") == name], default=0) + 1
                for number, first in enumerate(("init", "auth")):
                    steps += self._exchange(name, first, number, by, gen=generation, start=by)
        return steps

    def _exchange(self, flow: str, what: str, number: int, by: str = "a", **more: Any) -> list[Step]:
        request = {"do": "send", "flow": flow, "by": by, "what": what, "id": number, **more}
        answer = {**request, "by": "b" if by == "a" else "a", "answer": True}
        return [request] * (2 if self._likely(0.1) else 1) + [answer] * (2 if self._likely(0.05) else 1)

    def _esp_turns(self, flow: str, gen: int) -> list[Step]:
        turns = self.chance.choice(("ab", "ab", "ba", "aabb", "b", "abab", "bab"))
        return [{"do": "send", "flow": flow, "by": by, "gen": gen} for by in turns]

    def _session_esp(self) -> list[Step]:
        name = self._name("m")
        self.flows[name] = {"kind": "esp", "a": self.chance.choice(self.clients), "b": self.chance.choice(self.servers)}
        return [step for _ in range(self.chance.randrange(1, 4)) for step in self._esp_turns(name, 0)]

    def _session_udp(self) -> list[Step]:
        chance = self.chance
        a, b, name, kind = chance.choice(self.clients), chance.choice(self.servers), self._name("u"), chance.choice(UDP_KINDS)
        port = chance.choice(UDP_PORTS)
        a_port = self._port(a, kind, port if self._likely(0.5) else chance.choice((500, 4500, 0)))
        self.flows[name] = {"kind": kind, "a": a, "b": b, "a_port": a_port, "to_port": port}
        return self._talk(name, chance.randrange(1, 5))

    def _talk(self, name: str, rounds: int) -> list[Step]:
        steps: list[Step] = [{"do": "send", "flow": name, "by": by, "what": what} for by, what in (("a", "hello"), ("b", "answer"))]
        for _ in range(rounds):
            steps += [{"do": "send", "flow": name, "by": by, "what": "data"} for by in self.chance.choice(("ab", "ba", "aab", "bb", "b"))]
        return steps

    def _session_dns(self) -> list[Step]:
        steps: list[Step] = []
        a, b = self.chance.choice(self.clients), self.chance.choice(self.servers)
        for _ in range(self.chance.randrange(1, 4)):
            name = self._name("d")
            a_port = self._port(a, "dns", self.chance.choice((0, 0, 500, 1701)))
            self.flows[name] = {"kind": "dns", "a": a, "b": b, "a_port": a_port, "to_port": 53}
            steps += [{"do": "send", "flow": name, "by": "a"}, {"do": "send", "flow": name, "by": "b"}]
        return steps

    def _session_l2tp(self) -> list[Step]:
        chance = self.chance
        a, b, name = chance.choice(self.clients), chance.choice(self.servers), self._name("l")
        a_port = self._port(a, "l2tp", chance.choice((1701, 1701, 1701, 0)))
        self.flows[name] = {"kind": "l2tp", "a": a, "b": b, "a_port": a_port, "to_port": 1701}
        steps: list[Step] = [{"do": "send", "flow": name, "by": by, "what": what, "ns": ns, "nr": nr} for by, what, ns, nr in L2TP_SETUP]
        for _ in range(chance.randrange(3)):
            steps += [{"do": "send", "flow": name, "by": by, "what": "data"} for by in chance.choice(("ab", "ba", "b"))]
        return steps

    def _session_forward(self) -> list[Step]:
        """Somebody outside calls what the firewall lets in."""
        if not self.forwards:
            return self._session_ike()
        forward, a = self.chance.choice(self.forwards), self.chance.choice(self.servers)
        to, port, inner = forward["to"], forward["port"], forward["to_port"]
        if inner == 500 and self._likely(0.7):
            return self._session_ike(a, to, forward["at"], (port, inner)) if self._is(to, inner, "ike") else []
        name, kind = self._name("f"), self.chance.choice(("ike", *UDP_KINDS))
        if not self._is(to, inner, kind):
            return []
        self.flows[name] = {"kind": kind, "a": a, "b": to, "at": forward["at"],
                            "a_port": self._port(a, kind, self.chance.choice((500, 4500, 0))), "to_port": port, "b_port": inner}
        if self.flows[name]["kind"] == "ike":
            return self._exchange(name, "init", 0) + self._exchange(name, "auth", 1) + self._exchange(name, "info", 0, "b")
        return self._talk(name, self.chance.randrange(1, 4))

    def _session_router(self) -> list[Step]:
        """The router's own programs."""
        what, b = self.chance.choice(("ike", "ike", "udp", "esp")), self.chance.choice(self.servers)
        if what == "ike":
            return self._session_ike("router", b)
        if what == "esp":
            name = self._name("m")
            self.flows[name] = {"kind": "esp", "a": "router", "b": b}
            return self._esp_turns(name, 0)
        name, port, kind = self._name("u"), self.chance.choice(UDP_PORTS), self.chance.choice(UDP_KINDS)
        self.flows[name] = {"kind": kind, "a": "router", "b": b,
                            "a_port": self._port("router", kind, self.chance.choice((port, 500, 0, 0))), "to_port": port}
        return self._talk(name, self.chance.randrange(1, 4))

    # the order, and what gets in the way

    def _merge(self, sessions: list[list[Step]]) -> list[Step]:
        """One after the other, or interleaved; each keeps its own order."""
        waiting = [[dict(step) for step in session] for session in sessions]
        steps: list[Step] = []
        sticky = self.chance.choice((0.0, 0.6, 0.9, 0.97))
        current = waiting[0]
        while any(waiting):
            if not current or not self._likely(sticky):
                current = self.chance.choice([session for session in waiting if session])
            steps.append(current.pop(0))
        return steps

    def _disturb(self, steps: list[Step]) -> None:
        for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3))):
            place = self.chance.randrange(1, len(steps) + 1)
            event = self._event(self.chance.choice(EVENTS))
            if event:
                steps[place:place] = event
        for place in reversed([place for place, step in enumerate(steps) if step["do"] == "kill"]):
            if self._likely(0.5):
                steps.insert(self.chance.randrange(place + 1, len(steps) + 1), {"do": "start"})

    def _errors(self, steps: list[Step]) -> None:
        """Now and then somebody says that a packet was on the way for too long."""
        for place in range(len(steps), 0, -1):
            step = steps[place - 1]
            flow = self.flows.get(step.get("flow", ""))
            if flow and "router" not in (flow["a"], flow["b"]) and self._likely(0.1):
                steps.insert(place, {"do": "error", "flow": step["flow"], "by": "b" if step["by"] == "a" else "a"})

    def _event(self, kind: str) -> list[Step]:
        chance = self.chance
        if kind == "forget":
            return [{"do": "forget", "what": chance.choice(("all", "udp", "esp", chance.choice(self.lab_clients())))}]
        if kind == "readdress":
            who = chance.choice(self.lab_clients())
            device = next((f["device"] for f in self.features if f["kind"] == "network" and f["who"] == who), "br-lan")
            network = {"br-lan": 1, "br-lan2": 2, "br-guest": 3}[device]
            return [{"do": "readdress", "who": who, "to": f"192.168.{network}.{150 + int(who[1:])}"}]
        if kind == "fw4":
            return [{"do": "fw4", "what": chance.choice(("reload", "restart"))}]
        if kind == "policy":
            return self._policy_event()
        if kind == "knock":
            at = chance.choice((WAN, WAN, SECOND_WAN_ADDRESS)) if self.lab["uplinks"] == 2 else WAN
            port = chance.choice([500, 500, 4500, 1701, *(flow["a_port"] for flow in self.flows.values() if "a_port" in flow)])
            return [{"do": "knock", "from": chance.choice(self.servers), "from_port": chance.choice((500, 4500, 1701, 53, 33333)), "at": at,
                     "port": port}]
        return [{"do": kind}]

    def _policy_event(self) -> list[Step]:
        if not any(f["kind"] == "policy" for f in self.features):
            return []
        who = self.chance.choice(self.lab_clients())
        on = who not in self.marked
        (self.marked.add if on else self.marked.discard)(who)
        forget: list[Step] = [{"do": "forget", "what": self.chance.choice(("all", who))}] if self._likely(0.6) else []
        return [{"do": "policy", "who": who, "on": on}, *forget]
