# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan: plain data, so that it can be cut down, printed as YAML and replayed.

    seed      chooses the bytes of the packets
    lab       clients, servers, uplinks (1, 2), ipsec_rules: see tests.lab.topology.Lab
    config    vpnpt's configuration, {section: boolean | {option: value}}
    features  what the network has besides, a list of {kind: ..., ...}: see world.py
    flows     name: {kind, a, b, ...}: two programs that talk, see below
    steps     what happens, one after the other: see play.py

A flow's `a` speaks first, to the address `at` (default: b's own). UDP flows have a_port and to_port (where `a` sends to) and b_port
(where b listens, default to_port). kind: ike, wg, quic, openvpn, random, dns, l2tp or esp. natt: IKE behind a non-ESP marker.
of: the IKE flow that an ESP flow, or the NAT-T part of an IKE flow, belongs to; without it ESP has manual keys.
"""
from __future__ import annotations

from typing import Any

import yaml

Plan = dict[str, Any]
Flow = dict[str, Any]
Step = dict[str, Any]

WAN, SECOND_ADDRESS, ROUTED_ADDRESS = "203.0.113.1", "203.0.113.2", "203.0.113.50"
SECOND_WAN_ADDRESS = "203.0.114.1"
INSIDE = ("c", "h")
"""What the names of the hosts inside begin with: clients, and hosts behind a client that is a router itself."""


def is_inside(host: str) -> bool:
    """Whether a host is behind the router."""
    return host.startswith(INSIDE)


def b_port(flow: Flow) -> int:
    """Where b's program listens."""
    return int(flow.get("b_port", flow.get("to_port", 0)))


def dump(plan: Plan) -> str:
    """The YAML text of a plan: a line per flow and step."""
    lines = [f"seed: {plan['seed']}", f"lab: {_line(plan['lab'])}", f"config: {_line(plan['config'])}"]
    for name in ("features", "steps"):
        lines += [f"{name}:" if plan[name] else f"{name}: []"] + [f"- {_line(item)}" for item in plan[name]]
    lines += ["flows:" if plan["flows"] else "flows: {}"] + [f"  {name}: {_line(flow)}" for name, flow in plan["flows"].items()]
    return "\n".join(lines) + "\n"


def load(text: str) -> Plan:
    """A plan from its YAML text."""
    found: Plan = yaml.safe_load(text)
    return found


def _line(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=10000, sort_keys=False)).strip()
