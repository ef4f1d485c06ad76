# SPDX-License-Identifier: GPL-2.0-or-later
"""What the short way of established ESP gains, and what it could gain at most: the router's own part of a packet's cost.

    c1 ── br-lan router wan ── isp      out: c1 sends, isp drops at its device; in: isp sends, c1 drops

throughput.py counts two more hosts with the router, as its figures are to be those of a whole way. Here the sender is the router's
neighbour, and what it costs until a packet reaches the router (`before`: dropped at the router's ingress) is taken off. `bare` is a netdev
rule that rewrites the address and forwards, without a look at anything: no rule that tells packets apart can be faster.
"""
from __future__ import annotations

import os
import random
import signal
import statistics
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.crowd import CLIENTS, DROP, Crowd
from tests.bench.throughput import CONFIG, build_sender
from tests.lab.topology import Lab
from vpnpt.ruleset.text import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.host import Host

WAYS = ("esp out", "esp in")
STATES = ("stock", "vpnpt", "short", "bare", "before")
EACH = 20e-6
"""Seconds of a slice for each client, at least: else most packets would be the one a second of each SPI that takes the long way."""
CEILING = """table netdev NAME {{
	chain inside {{
		type filter hook ingress device "{lan}" priority 10; policy accept;
		ip protocol esp {out}
	}}
	chain outside {{
		type filter hook ingress device "{wan}" priority 10; policy accept;
		ip protocol esp {back}
	}}
}}
"""
Figures = dict[tuple[str, str], list[float]]


def measure(clients: int, rounds: int, seconds: float, say: Callable[[str], None] = print) -> Figures:
    """Nanoseconds of CPU for each packet by (way, state), one figure a round. Raises RuntimeError when packets do not arrive."""
    found: Figures = {}
    with tempfile.TemporaryDirectory() as directory, Lab(clients=1, servers=1, router="vpnpt", config=CONFIG, ipv6=False) as lab:
        program, router = build_sender(directory), lab.router
        router.kill_vpnpt(signal.SIGKILL)
        crowd = Crowd(lab, clients)
        devices = {"lan": router.lan_device, "wan": router.wan_devices[0]}
        router.nft(crowd.short_way() + CEILING.replace("NAME", "before").format(**devices, out="drop", back="drop") +
                   CEILING.replace("NAME", "bare").format(
                       **devices, out=f'ip saddr set {crowd.wan} fwd ip to {lab.isp.address} device "{devices["wan"]}"',
                       back=f'ip daddr set {_first()} fwd ip to ip daddr device "{devices["lan"]}"'))
        for state in ("stock", "vpnpt"):
            _switch(lab, state)
            crowd.establish()
        if crowd.zoned() != clients:
            raise RuntimeError(f"{crowd.zoned()} of {clients} clients have a zone: of the others the slow path would be measured")
        lab.isp.run("nft", "-f", "-", text=DROP)
        files = {way: os.path.join(directory, way) for way in WAYS}
        for way, path in files.items():
            Path(path).write_bytes(b"".join(struct.pack(">H", len(packet)) + packet for packet in crowd.packets(way)))
        for number in range(rounds):
            for state in random.Random(number).sample(STATES, len(STATES)):
                _switch(lab, state)
                for way in WAYS:
                    sender = crowd.client if way == "esp out" else lab.isp
                    found.setdefault((way, state), []).append(_blast(sender, program, files[way], max(seconds, EACH * clients)))
            if number % 10 == 9:
                say(f"  {clients} clients, short way: round {number + 1} of {rounds}")
    return found


def text(found: Figures, clients: int) -> str:
    """A table: the cost of a packet in ns (lower quartile: what else runs only adds to it), and packets a second beside stock, with what is
    spent before the router and without."""
    lines = [f"{clients} clients              ns  whole  router's own part"]
    for way in WAYS:
        cost = {state: statistics.quantiles(found[way, state], n=4, method="inclusive")[0] for state in STATES}
        for state in STATES:
            line = f"{way:8} {state:8} {cost[state]:10.0f}  {cost['stock'] / cost[state]:5.3f}"
            if state != "before":
                line += f"  {(cost['stock'] - cost['before']) / (cost[state] - cost['before']):5.2f}"
            lines.append(line)
    return "\n".join(lines)


def _first() -> str:
    return ".".join(map(str, CLIENTS.to_bytes(4, "big")))


def _switch(lab: Lab, state: str) -> None:
    for family, table, awake in (("ip", TABLE, state != "stock"), ("netdev", TABLE, state == "short"), ("netdev", "bare", state == "bare"),
                                 ("netdev", "before", state == "before")):
        lab.router.run("nft", f"add table {family} {table} {'' if awake else '{ flags dormant; }'}")


def _blast(sender: Host, program: str, path: str, seconds: float) -> float:
    sent, _, used = map(int, sender.run(program, str(seconds), path).stdout.split())
    return used / sent
