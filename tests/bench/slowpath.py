# SPDX-License-Identifier: GPL-2.0-or-later
"""What a packet costs of which every one takes the slow path, beside a stock router: at most three times as much, however many come.

Streams that a client, a server or anybody in a server's name can send for ever: ESP of sequence number 1, of an SPI that nobody answers, of
SPIs that nobody knows, an IKE exchange that creates SAs. Measured as tests/bench/throughput.py does, in one run, with our tables asleep
and awake in turn. The first slices of a stream are compared with the last ones: where they differ, something piles up in a table.
"""
from __future__ import annotations

import os
import random
import statistics
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from tests.bench.crowd import CLIENTS, SERVERS, Crowd
from tests.bench.throughput import ROUTERS, Figures, bench, blast, quartiles, ratios, switch, write_packets

if TYPE_CHECKING:
    from tests.lab.topology import Lab

GOAL = 3.0
SPI, SEQUENCE, EXCHANGE = 20, 24, 46
"""Where a packet without IP options has ESP's two fields, and IKE's exchange type in UDP."""
QUICK_MODE = 32
MADE_UP = 8192
STREAMS = ("esp out, sequence number 1", "esp in, sequence number 1",
           "esp out, an SPI that nobody answers", "esp in, SPIs that nobody knows",
           "ike out, an exchange that creates SAs", "ike in, an exchange that creates SAs")
COPIED = "esp in, copied to two clients"
"""For comparison, without a goal: each packet is sent twice, until it is known whose it is."""


def packets(crowd: Crowd, stream: str) -> list[bytes]:
    """What is sent in turn: one packet of each client, or many of one server."""
    kind = stream.partition(",")[0]
    if stream == "esp in, SPIs that nobody knows":
        one = crowd.packets(kind)[0]
        return [one[:SPI] + struct.pack(">I", 0x6D000000 + number) + one[SEQUENCE:] for number in range(MADE_UP)]
    if stream == COPIED:
        return [_changed(stream, packet) for packet in crowd.packets(kind)[:1]]
    return [_changed(stream, packet) for packet in crowd.packets(kind)]


def contend(lab: Lab) -> None:
    """What the daemon writes of an SPI that the first two clients of the crowd may own."""
    key = f"{IPv4Address(SERVERS)} . {0x6A000000:#x}"
    shared = "".join(f"add element ip vpnpt {name} {{ {key} }}\n" for name in ("fanned", "listed"))
    lab.router.nft(shared + "".join(f"add element ip vpnpt fan{n} {{ {key} : {IPv4Address(CLIENTS + n)} }}\n" for n in range(2)))


def _changed(stream: str, packet: bytes) -> bytes:
    if stream.startswith("ike"):
        return packet[:EXCHANGE] + bytes((QUICK_MODE,)) + packet[EXCHANGE + 1:]
    if stream.endswith("sequence number 1"):
        return packet[:SEQUENCE] + struct.pack(">I", 1) + packet[SEQUENCE + 4:]
    return packet[:SPI] + b"\x6a" + packet[SPI + 1:]  # each client's other bytes stay


def measure(clients: int, rounds: int, seconds: float) -> Figures:
    """Nanoseconds of CPU for each packet by (stream, router), one figure a round, in order of time."""
    found: Figures = {}
    with bench(clients) as (lab, crowd, directory, program):
        contend(lab)
        for stream in (*STREAMS, *((COPIED,) if clients > 1 else ())):
            path = os.path.join(directory, "packets")
            write_packets(path, packets(crowd, stream))
            for number in range(rounds):
                for router in random.Random(number).sample(ROUTERS, len(ROUTERS)):
                    switch(lab, router)
                    found.setdefault((stream, router), []).append(blast(*crowd.sender(stream.partition(",")[0]), program, path, seconds))
    return found


def table(clients: int, found: Figures) -> list[str]:
    """Lines: a stream's cost on both routers, their ratio with its quartiles, and the last third of its rounds over the first."""
    lines = [f"{f'every packet on the slow path, {clients} clients':40} {'stock':>8} {'vpnpt':>8}   times  quartiles  last/first    goal"]
    for stream in dict.fromkeys(name for name, _ in found):
        stock, ours = (found[stream, router] for router in ROUTERS)
        low, middle, high = (1 / value for value in reversed(quartiles(ratios(found, stream))))
        third = max(1, len(ours) // 3)
        grown = statistics.median(ours[-third:]) / statistics.median(ours[:third])
        goal = "" if stream == COPIED else f"{GOAL:.1f}{'' if middle <= GOAL else ' missed'}"
        figures = f"{statistics.median(stock):5.0f} ns {statistics.median(ours):5.0f} ns"
        lines.append(f"{stream:40} {figures}   {middle:5.2f}  {low:.2f}–{high:.2f}  "
                     f"{grown:10.2f}    {goal}".rstrip())
    return lines
