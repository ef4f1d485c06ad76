# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.attack.slowpath [--packets N] [--rounds N]`: what a packet costs on the slow path, beside a stock router.

Streams of ESP with sequence number 1, of SPIs that nobody answers, of unknown cookies; from inside and from outside. A figure is the
processor time of the sender, in whose context the kernel forwards (no queue between namespaces), for the first and the last thousand
packets of a stream: where they differ, dead elements pile up. A measurement, not a test.
"""
from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

from tests.attack.forge import WAN, blast, esp, flood_from_lan, ike, stage, udp
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

PART = 1000


def streams(lab: Lab) -> dict[str, Callable[[int], bytes]]:
    """Each stream's nth packet. Those of c1 and s1 belong to a tunnel that is up; c2 has made none."""
    client, other, server = lab.clients[0].address, lab.clients[1].address, lab.servers[0].address
    out = next(packet.spi for packet in reversed(lab.servers[0].packets) if packet.spi)
    back = next(packet.spi for packet in reversed(lab.clients[0].packets) if packet.spi)
    return {"out, established": lambda n: esp(client, server, out, 1000 + n),
            "out, sequence number 1": lambda n: esp(client, server, out, 1),
            "out, one unanswered SPI": lambda n: esp(other, server, 0x6A000001, n + 2),
            "out, a new SPI each": lambda n: esp(other, server, 0x6B000000 + n, 1),
            "out, a new cookie each": lambda n: udp(other, server, 500, 500, ike(0x6C00000000000000 + n)),
            "back, established": lambda n: esp(server, WAN, back, 1000 + n),
            "back, sequence number 1": lambda n: esp(server, WAN, back, 1),
            "back, one unknown SPI": lambda n: esp(server, WAN, 0x6D000001, n + 2),
            "back, a new SPI each": lambda n: esp(server, WAN, 0x6E000000 + n, 1),
            "back, a new cookie each": lambda n: udp(server, WAN, 500, 500, ike(0x6F00000000000000 + n))}


def measure(mode: str, count: int) -> dict[str, tuple[float, float]]:
    """Microseconds a packet of each stream: its first thousand, its last."""
    found = {}
    with Lab(2, 1, mode, "config 1 ipsec\n", ipv6=False) as lab:
        users = stage(lab)
        users.do_up("c1")
        users.do_traffic("c1")
        made = streams(lab)
        for host in (*lab.clients, *lab.servers):
            host.quiet()
        for name, make in made.items():
            figures = []
            for part in range(count // PART):
                packets = [make(part * PART + n) for n in range(PART)]
                began = time.process_time()
                if name.startswith("out"):
                    flood_from_lan(lab, lab.clients[0], packets)
                else:
                    blast(lab.isp, packets, lab.router, "wan")
                figures.append((time.process_time() - began) * 1e6 / PART)
            found[name] = figures[0], figures[-1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="the cost of the slow path, beside a stock router")
    parser.add_argument("--packets", type=int, default=10_000, help="of each stream, in thousands")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, tuple[float, float]]]] = {"stock": [], "vpnpt": []}
    for _ in range(arguments.rounds):
        for mode, found in rounds.items():
            found.append(measure(mode, arguments.packets))
    print(f"{'microseconds a packet':26} {'stock':>7} {'first 1000':>11} {'last 1000':>10} {'last/stock':>11} {'last/first':>11}")
    for name in rounds["stock"][0]:
        stock = median(one[name][1] for one in rounds["stock"])
        first, last = (median(one[name][at] for one in rounds["vpnpt"]) for at in (0, 1))
        print(f"{name:26} {stock:7.1f} {first:11.1f} {last:10.1f} {last / stock:11.2f} {last / first:11.2f}")


if __name__ == "__main__":
    main()
