"""Forwarded packets a second through the router, stock and vpnpt in turn, as medians and ratios."""
from __future__ import annotations

import os
import random
import socket
import statistics
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import sandbox
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from tests.lab.host import Host

HERE = Path(__file__).parent
CONFIG = "config 1 'ipsec'\nconfig 1 'l2tp'\nconfig 1 'pptp'\n"
PAYLOAD = 200
COOKIE = b"benchIKE"
KINDS = ("esp out", "esp in", "ike out", "udp", "tcp")


def build_sender(directory: str) -> str:
    """Compiles blast.c. Raises CalledProcessError or FileNotFoundError where there is no compiler."""
    program = os.path.join(directory, "blast")
    subprocess.run(["cc", "-O2", "-o", program, str(HERE / "blast.c")], check=True)
    return program


def measure(rounds: int, seconds: float, say: object = print) -> dict[tuple[str, str], list[float]]:
    """Packets a second by (kind, router), one figure for each round; the order within a round is shuffled."""
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        program = build_sender(directory)
        for number in range(rounds):
            order = ["stock", "vpnpt"]
            random.Random(number).shuffle(order)
            for router in order:
                with Lab(clients=1, servers=1, router=router, config=CONFIG, ipv6=False) as lab:
                    os.sched_setaffinity(0, range(os.cpu_count() or 1))
                    _establish(lab)
                    for kind in KINDS:
                        rate = _blast(lab, program, directory, kind, seconds)
                        found.setdefault((kind, router), []).append(rate)
            if callable(say):
                say(f"  round {number + 1} of {rounds}")
    return found


def table(found: dict[tuple[str, str], list[float]]) -> list[str]:
    """Lines: kind, medians, ratio with the range of the rounds' own ratios."""
    lines = [f"{'packets/s':10} {'stock':>9} {'vpnpt':>9} {'ratio':>7}   rounds"]
    for kind in KINDS:
        stock, ours = found[kind, "stock"], found[kind, "vpnpt"]
        ratios = [b / a for a, b in zip(stock, ours, strict=True)]
        lines.append(f"{kind:10} {statistics.median(stock):9.0f} {statistics.median(ours):9.0f} {statistics.median(ratios):7.3f}"
                     f"   {min(ratios):.2f}–{max(ratios):.2f}")
    return lines


def _establish(lab: Lab) -> None:
    """Brings the tunnel's keys into the fast path, then closes what listens: reception shall cost nothing."""
    client, server = lab.clients[0], lab.servers[0]
    ike = COOKIE + bytes(8) + struct.pack(">BBBBII", 1, 0x10, 2, 0, 0, 28)
    mine, theirs = client.udp(500), server.udp(500)
    mine.send(ike, server.address, 500)
    lab.barrier(client, server)
    theirs.send(ike, lab.router.wan_address, 500)
    for number in range(1, 4):
        client.protocol(50).send(struct.pack(">II", 0x1000, number) + bytes(32), server.address)
        lab.barrier(client, server)
        server.protocol(50).send(struct.pack(">II", 0x2000, number) + bytes(32), lab.router.wan_address)
        lab.barrier(client, server)
    for host in (client, server):
        host.quiet()


def _packet(lab: Lab, kind: str) -> tuple[Host, Host, bytes]:
    client, server = lab.clients[0], lab.servers[0]
    if kind == "esp in":
        return server, client, _ipv4(server.address, lab.router.wan_address, 50, struct.pack(">II", 0x2000, 9))
    body = {"esp out": (50, struct.pack(">II", 0x1000, 9)),
            "ike out": (17, struct.pack(">HHHH", 500, 500, PAYLOAD, 0) + COOKIE + bytes(8) + struct.pack(">BBBBII", 1, 0x10, 5, 0, 1, 28)),
            "udp": (17, struct.pack(">HHHH", 7777, 7777, PAYLOAD, 0)),
            "tcp": (6, struct.pack(">HHIIBBHHH", 7777, 80, 1, 0, 0x50, 2, 4096, 0, 0))}[kind]
    return client, server, _ipv4(client.address, server.address, *body)


def _ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    payload = payload.ljust(PAYLOAD, b"\0")
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, socket.inet_aton(source),
                       socket.inet_aton(destination)) + payload


def _blast(lab: Lab, program: str, directory: str, kind: str, seconds: float) -> float:
    sender, receiver, packet = _packet(lab, kind)
    path = os.path.join(directory, "packets")
    Path(path).write_bytes(struct.pack(">H", len(packet)) + packet)
    sender.run(program, "0.1", path)
    before = _received(receiver)
    nanoseconds = int(sender.run(program, str(seconds), path).stdout.split()[1])
    return (_received(receiver) - before) * 1e9 / nanoseconds


def _received(host: Host) -> int:
    """Packets that came in on the host's device."""
    with sandbox.inside(host.namespace), open("/proc/net/dev", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.strip().partition(":")
            if name == "eth0":
                return int(rest.split()[1])
    raise LookupError(f"{host.name} has no eth0")
