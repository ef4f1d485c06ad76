# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab with real programs in it: three clients, one server, and what is asked of them: pings, transfers, patience."""
from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.scenario import uci
from tests.lab.topology import Lab
from tests.vm.peers.machine import DIRECTORY, Machine
from tests.vm.peers.wire import Wire

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Callable
    from typing import Any, Self

CONFIG: dict[str, Any] = {"ipsec": 1, "pptp": 1, "l2tp": 1}
PING_EVERY = 0.05


@dataclass
class Answers:
    """How many were answered of how many sent."""

    answered: int = 0
    sent: int = 0

    def __str__(self) -> str:
        return f"{self.answered}/{self.sent}"

    @property
    def all(self) -> bool:
        """Nothing is missing."""
        return self.answered == self.sent > 0


class Ping:
    """A running ping. stop: let it end now."""

    def __init__(self, machine: Machine, source: str, target: str, count: int, patience: float = 1.0) -> None:
        self.count = count
        self.output = ""
        self._process: subprocess.Popen[str] = machine.begin(
            "ping", "-n", "-q", "-c", str(count), "-i", str(PING_EVERY), "-W", str(patience), "-I", source, target)

    def running(self) -> bool:
        """Whether it still asks."""
        return self._process.poll() is None

    def answers(self) -> Answers:
        """Waits for its end. What it could not even send counts as sent."""
        self.output, _ = self._process.communicate()
        return Answers(sum(int(found) for found in re.findall(r"packets transmitted, (\d+) received", self.output)), self.count)


class Bursts(Ping):
    """Pings as people ask: one to twenty at once, and a pause. `chance` draws them; it takes some 12 seconds and more."""

    SECONDS, SIZES, PAUSES, EVERY = 12.0, (1, 2, 3, 8, 20), (0.2, 1.0), 0.02

    def __init__(self, machine: Machine, source: str, target: str, chance: random.Random) -> None:
        bursts, left = [], self.SECONDS
        while left > 0:
            bursts.append((chance.choice(self.SIZES), chance.uniform(*self.PAUSES)))
            left -= bursts[-1][1] + bursts[-1][0] * self.EVERY
        self.count, self.output = sum(size for size, _ in bursts), ""
        self._process = machine.begin("sh", "-c", "; ".join(
            f"sleep {pause:.2f}; ping -n -q -c {size} -i {self.EVERY} -W 1 -I {source} {target}" for size, pause in bursts))


class Site:
    """One lab on one router ('stock' or 'vpnpt'); a context manager."""

    def __init__(self, router: str, clients: int = 3, config: dict[str, Any] | None = None) -> None:
        self.lab = Lab(clients, 1, router, uci(config or CONFIG), ipv6=False)
        self.stock = router == "stock"
        self.clients: list[Machine] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.lab)
            for host in self.lab.hosts:
                host.quiet()
            self.server = Machine(self.lab.servers[0])
            stack.callback(self.server.close)
            for host in self.lab.clients:
                machine = Machine(host)
                stack.callback(machine.close)
                self.clients.append(machine)
            self.wire = Wire(self, DIRECTORY)
            stack.callback(self.wire.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def add(self, machine: Machine) -> Machine:
        """Another machine that ends with the site."""
        self._stack.callback(machine.close)
        return machine

    def wait(self, condition: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
        """Asks again and again; whether it became true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.lab.pump.run_for(every)
        return True

    def need(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Raises RuntimeError with everybody's logs when it does not become true: without that nothing can be measured."""
        if not self.wait(condition, seconds):
            raise RuntimeError(f"not within {seconds:.0f} s: {what}\n{self.logs()}")

    def logs(self) -> str:
        """What the programs said last, and the daemon."""
        return "\n".join([self.server.logs(), *(client.logs() for client in self.clients), "--- vpnptd", self.lab.router.log_text()])

    def programs(self) -> list[Machine]:
        """Every machine."""
        return [self.server, *self.clients]
