# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels of manual keys that send as fast as a test wants: what wakes the short way of established ESP."""
from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from tests.lab.packets import PROTO_ESP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.topology import Lab

OUT, BACK = 0x1000, 0x2000
"""SPIs of the first tunnel; the next has the next."""
PATIENCE = 60.0
"""Seconds, far more than anything here takes on an idle machine."""
ALL = [20, 20, 20, 20]
"""Of two tunnels nothing is lost: what `delivered` returns."""


class Flows:
    """Client n talks with server n. sequence: the last number that was sent."""

    def __init__(self, lab: Lab, ask: Callable[[str], dict[str, Any]] | None = None) -> None:
        """The router is ready. ask: what vpnpt answers to a method without arguments, where it has no control socket of the lab's."""
        self.lab, self.router = lab, lab.router
        self._ask = ask or (lambda method: self.router.ask(method=method))
        self.pairs = list(zip(lab.clients, lab.servers, strict=False))
        self.sequence = 0
        self.unchanged = False
        self.begin()

    def begin(self) -> None:
        """Sessions are made known before the daemon begins to look: its next sample or look is not up to ten seconds away."""
        for _ in range(3):
            self.send()
            self.lab.pump.run_for(0.1)
        self._ask("reload")

    def send(self, count: int = 1, size: int = 80) -> None:
        """So many packets each way of each tunnel."""
        for _ in range(count):
            self.sequence += 1
            for number, (client, server) in enumerate(self.pairs):
                client.protocol(PROTO_ESP).send(struct.pack(">II", OUT + number, self.sequence) + bytes(size), server.address)
                server.protocol(PROTO_ESP).send(struct.pack(">II", BACK + number, self.sequence) + bytes(size), self.router.wan_address)

    def delivered(self, count: int = 20) -> list[int]:
        """How many of so many packets came: out and back of each tunnel."""
        self.lab.pump.run_for(0.1)  # what is on the way
        hosts = [host for client, server in self.pairs for host in (server, client)]
        marks = [len(host.packets) for host in hosts]
        for _ in range(count):
            self.send()
            self.lab.pump.run_for(0.002)
        self.lab.pump.run_for(0.2)
        return [len(host.received(lambda packet: packet.proto == PROTO_ESP, mark)) for host, mark in zip(hosts, marks, strict=True)]

    def state(self) -> dict[str, Any]:
        return dict(self._ask("status")["esp_offload"])

    def until(self, condition: Callable[[], bool], *, silent: bool = False) -> bool:
        """Lets traffic flow until the condition holds."""
        rounds = 0

        def busy() -> bool:
            nonlocal rounds
            rounds += 1
            if not silent:
                self.send(3)
            return rounds % 10 == 0 and condition()

        return self.router.wait_until(busy, PATIENCE)

    def on(self, keys: int | None = None) -> bool:
        """Waits until the short way is taken by all keys."""
        return self.until(lambda: self.state()["keys"] == (2 * len(self.pairs) if keys is None else keys))

    def short(self) -> int:
        """Packets that the elements have counted; 0 where the table is gone."""
        listed = self.router.run("nft", "list", "table", "netdev", "vpnpt", check=False).stdout
        return sum(map(int, re.findall(r"counter packets (\d+)", listed)))

    def tables(self) -> str:
        return self.router.run("nft", "list", "tables").stdout
