# SPDX-License-Identifier: GPL-2.0-or-later
"""What forwarding a packet costs the processor, with our tables asleep (a stock router) and awake, in turn.

One kernel, one set of connections, one process on one processor: our tables are put to sleep (nftables' flag `dormant`, which takes their
hooks away) and woken between slices of some milliseconds. On veth devices all that becomes of a packet is done in its sender's own time,
so the sender's CPU time is what the packet costs, whatever else the machine does; packets a second are its inverse, on one processor.
"""
from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.crowd import KINDS, Crowd
from tests.lab import sandbox
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.host import Host

HERE = Path(__file__).parent
CONFIG = "config 1 'ipsec'\nconfig 1 'l2tp'\nconfig 1 'pptp'\n"
ROUTERS = ("stock", "vpnpt")
ALL = (*ROUTERS, "short")
"""Without our tables, with them, and with the short way of established ESP as well."""
LOST = 0.01
"""The part of the packets that may get lost before a figure means nothing."""
Figures = dict[tuple[str, str], list[float]]


def build_sender(directory: str) -> str:
    """Compiles blast.c. Raises CalledProcessError or FileNotFoundError where there is no compiler."""
    program = os.path.join(directory, "blast")
    subprocess.run(["cc", "-O2", "-o", program, str(HERE / "blast.c")], check=True)
    return program


@contextlib.contextmanager
def bench(clients: int) -> Iterator[tuple[Lab, Crowd, str, str]]:
    """A router with a crowd of clients whose flows are established without our tables and with them; a directory, and the sender in it."""
    with tempfile.TemporaryDirectory() as directory, Lab(clients=1, servers=1, router="vpnpt", config=CONFIG, ipv6=False) as lab:
        program = build_sender(directory)
        # It would wake our tables again, and its own work would be counted as that of some packets.
        lab.router.kill_vpnpt(signal.SIGKILL)
        crowd = Crowd(lab, clients)
        for router in ROUTERS:
            switch(lab, router)
            crowd.establish()
        yield lab, crowd, directory, program


def write_packets(path: str, packets: list[bytes]) -> None:
    """As the sender reads them: each behind its length."""
    Path(path).write_bytes(b"".join(struct.pack(">H", len(packet)) + packet for packet in packets))


def measure(clients: int, rounds: int, seconds: float, say: Callable[[str], None] = print) -> Figures:
    """Nanoseconds of CPU for each packet by (kind, router), one figure a round; the order within a round is shuffled.

    seconds: of CPU time for each slice. Raises RuntimeError when packets do not arrive.
    """
    found: Figures = {}
    with bench(clients) as (lab, crowd, directory, program):
        if crowd.zoned() != clients:
            raise RuntimeError(f"{crowd.zoned()} of {clients} clients have a zone: of the others the slow path would be measured")
        lab.router.nft(crowd.short_way())
        files = {kind: os.path.join(directory, kind) for kind in KINDS}
        for kind, path in files.items():
            write_packets(path, crowd.packets(kind))
        for number in range(rounds):
            for router in random.Random(number).sample(ALL, len(ALL)):
                switch(lab, router)
                for kind in KINDS:
                    cost = blast(*crowd.sender(kind), program, files[kind], seconds)
                    found.setdefault((kind, router), []).append(cost)
            if number % 10 == 9:
                say(f"  {clients} clients: round {number + 1} of {rounds}")
    return found


def ratios(found: Figures, kind: str, router: str = "vpnpt") -> list[float]:
    """Packets a second with vpnpt (router: with the short way) over those without, round by round, in order of size."""
    return sorted(stock / ours for stock, ours in zip(found[kind, "stock"], found[kind, router], strict=True))


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower, median, upper."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def switch(lab: Lab, router: str) -> None:
    """Our tables' hooks there or not, with all that the maps hold."""
    for family, awake in (("ip", router != "stock"), ("netdev", router == "short")):
        lab.router.run("nft", f"add table {family} vpnpt {'' if awake else '{ flags dormant; }'}")


def blast(sender: Host, receiver: Host, program: str, path: str, seconds: float) -> float:
    before = _received(receiver)
    sent, _, used = map(int, sender.run(program, str(seconds), path).stdout.split())
    if sent - (_received(receiver) - before) > sent * LOST:
        raise RuntimeError(f"{Path(path).name}: of {sent} packets {_received(receiver) - before} arrived")
    return used / sent


def _received(host: Host) -> int:
    """Packets that came in on the host's device."""
    with sandbox.inside(host.namespace), open("/proc/net/dev", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.strip().partition(":")
            if name == "eth0":
                return int(rest.split()[1])
    raise LookupError(f"{host.name} has no eth0")
