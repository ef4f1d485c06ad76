# SPDX-License-Identifier: GPL-2.0-or-later
"""The first packet of a contended key: how long it takes to a client that the kernel copies to, and to one that the daemon must reach."""
from __future__ import annotations

import os
import statistics
import struct
import time

from tests.lab.topology import Lab

CLIENTS = 12
"""More than the kernel copies to, so that the last ones depend on the daemon."""


def measure(keys: int) -> dict[str, list[float]]:
    """Milliseconds from sending to arrival, for each of `keys` unknown SPIs: 'kernel' and 'daemon'."""
    found: dict[str, list[float]] = {"kernel": [], "daemon": []}
    with Lab(clients=CLIENTS, servers=1, router="vpnpt", config="config 1 'ipsec'\n", ipv6=False) as lab:
        os.sched_setaffinity(0, {0})
        server = lab.servers[0]
        for number, client in enumerate(lab.clients):
            client.protocol(50).send(struct.pack(">II", 0x1000 + number, 1) + bytes(64), server.address)
            lab.barrier(client, server)
        for number in range(keys):
            # Who waits is to be known: the clients' outbound SPIs stay unanswered.
            for index, client in enumerate(lab.clients):
                client.protocol(50).send(struct.pack(">II", 0x1000 + index, number + 2) + bytes(64), server.address)
            lab.pump.run_for(0.005)
            spi = 0x20000000 + number * 7919
            near, far = lab.clients[0], lab.clients[-1]
            marks = len(near.packets), len(far.packets)
            began = time.monotonic()
            server.protocol(50).send(struct.pack(">II", spi, 2) + bytes(64), lab.router.wan_address)
            for name, host, mark in (("kernel", near, marks[0]), ("daemon", far, marks[1])):
                packet = host.wait_for(lambda packet, spi=spi: packet.proto == 50 and packet.spi == spi, 2.0, mark)
                if packet is not None:
                    found[name].append((packet.time - began) * 1000)
    return found


def table(found: dict[str, list[float]]) -> list[str]:
    """Lines: who delivers, median and 99th percentile in milliseconds, how many of how many arrived."""
    lines = [f"{'first packet of a contended key, ms':38} {'median':>7} {'99 %':>7}  delivered"]
    most = max(len(values) for values in found.values())
    for name, values in found.items():
        ordered = sorted(values)
        lines.append(f"{'copied by the kernel' if name == 'kernel' else 'sent on by the daemon (9th client and up)':38} "
                     f"{statistics.median(ordered):7.2f} {ordered[int(len(ordered) * 0.99) - 1]:7.2f}  {len(values)} of {most}")
    return lines
