# SPDX-License-Identifier: GPL-2.0-or-later
"""What all peers are put through, one phase after the other on one router: each gives a row of the table."""
from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.vm.peers import table
from tests.vm.peers.site import Answers, Bursts, Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.vm.peers.peer import Peer
    from tests.vm.peers.site import Ping
    from tests.vm.peers.wire import Crossing

STOCK_PATIENCE = 12.0
"""Seconds: what a stock router does not let come up never comes up; others have up to Peer.patience."""
REKEYED_WITHIN = 20.0
TRANSFER = 20
"""Seconds, if nothing else is wished."""
SEVERAL = 3
"""With more clients only how they begin, and behind vpnpt their rekeys."""


@dataclass
class Row:
    """One phase: client to what became of its pings. note: what else there is to say. seconds: how long it took.

    wire: client to what became of its ESP packets, None where that can't be told.
    """

    what: str
    cells: dict[str, Answers]
    note: str = ""
    seconds: float = 0.0
    wire: dict[str, Crossing] | None = None


@dataclass
class Run:
    """A peer on a router, phase by phase: with `only`, the first one and those whose name contains it.

    alone: only the first client, which shows what the programs lose by themselves. transfer_seconds: how long each transfer takes.
    """

    site: Site
    peer: Peer
    say: Callable[[str], None]
    rows: list[Row]
    alone: bool
    only: str = ""
    transfer_seconds: int = TRANSFER
    _note: str = ""

    @property
    def numbers(self) -> list[int]:
        """The clients that take part."""
        return [0] if self.alone else list(range(len(self.site.clients)))

    def do(self, what: str, action: Callable[[], dict[str, Answers]]) -> None:
        """Runs a phase and keeps its row."""
        if self.rows and self.only not in what:
            return
        started = time.monotonic()
        self._note = ""
        self.site.wire.begin()
        cells = action()
        row = Row(what, cells, self._note.strip(), time.monotonic() - started, self.site.wire.end())
        self.rows.append(row)
        self.say(f"{what:28} " + " ".join(f"{name} {cell}" for name, cell in row.cells.items())
                 + f"  {row.note} ({row.seconds:.0f} s; {table.router(shown(row))})")

    # building blocks

    def connect(self, numbers: list[int]) -> None:
        """Connects these at once, and waits until all are up."""
        for number in numbers:
            self.peer.connect(number)
        patience = STOCK_PATIENCE if self.site.stock and not self.alone else self.peer.patience
        self.site.wait(lambda: all(self.peer.up(number) for number in numbers), patience, 0.3)
        if missing := [self.site.clients[number].name for number in numbers if not self.peer.up(number)]:
            self._note += f"not up: {' '.join(missing)} "

    def ask(self, count: int, back: bool = False) -> dict[str, Ping]:
        """Starts pings of all clients, or of the server to all."""
        ping = self.peer.ping_back if back else self.peer.ping
        return {self.site.clients[number].name: ping(number, count) for number in self.numbers} | self.peer.more_pings(count, back)

    # phases

    def at_once(self) -> dict[str, Answers]:
        """All begin at the same moment, and ask at once."""
        self.connect(self.numbers)
        return answers(self.ask(20))

    def server_asks(self) -> dict[str, Answers]:
        """The server asks each client."""
        return answers(self.ask(20, back=True))

    def rekey(self, by: str) -> dict[str, Answers]:
        """One side replaces all keys of the data while pings pass."""
        before = {number: self.peer.keys(number) for number in self.numbers}
        pings = self.ask(80)
        for number in self.numbers:
            self.peer.rekey(number, by)
        self.site.wait(lambda: all(self.peer.keys(number) - before[number] for number in self.numbers), REKEYED_WITHIN, 0.3)
        if missing := [self.site.clients[number].name for number in self.numbers if not self.peer.keys(number) - before[number]]:
            self._note += f"no new keys: {' '.join(missing)} "
        return answers(pings)

    def rekey_ike(self, by: str) -> dict[str, Answers]:
        """One side replaces the keys of IKE itself, and then those of the data, while pings pass."""
        before = {number: self.peer.ike_keys(number) for number in self.numbers}
        pings = self.ask(40)
        for number in self.numbers:
            self.peer.rekey_ike(number, by)
        self.site.wait(lambda: all(self.peer.ike_keys(number) - before[number] for number in self.numbers), REKEYED_WITHIN, 0.3)
        if missing := [self.site.clients[number].name for number in self.numbers if not self.peer.ike_keys(number) - before[number]]:
            self._note += f"no new IKE SA: {' '.join(missing)} "
        return together(answers(pings), self.rekey(by))

    def forgotten(self) -> dict[str, Answers]:
        """The router has forgotten every flow, as after hours of silence; the server rekeys, and is the first to send."""
        self.site.lab.router.conntrack_flush()
        before = {number: self.peer.keys(number) for number in self.numbers}
        for number in self.numbers:
            self.peer.rekey(number, "server")
        self.site.wait(lambda: all(self.peer.keys(number) - before[number] for number in self.numbers), REKEYED_WITHIN, 0.3)
        # The router's own associations are not asked: what comes in first for them the firewall drops, with us or without.
        return answers({self.site.clients[number].name: self.peer.ping_back(number, 20) for number in self.numbers})

    def after(self) -> dict[str, Answers]:
        """With the new keys alone."""
        return answers(self.ask(20))

    def people(self) -> dict[str, Answers]:
        """Each client asks now and then, as people do: nothing is in step."""
        asks = {self.site.clients[number]: Bursts(self.site.clients[number], self.peer.inside(number), self.peer.target(number),
                                                  random.Random(number)) for number in self.numbers}
        return answers({machine.name: asking for machine, asking in asks.items()})

    def transfer(self) -> dict[str, Answers]:
        """iperf3 of all clients at once; a cell is whether data came, the note how much a second."""
        servers, clients = [], []
        for number in self.numbers:
            servers.append(self.site.server.begin("iperf3", "-s", "-1", "-p", str(5201 + number)))
        self.site.wait(lambda: all(f":{5201 + number} " in self.site.server.host.run("ss", "-Hltn").stdout for number in self.numbers), 20)
        for number in self.numbers:
            clients.append(self.site.clients[number].begin(
                "iperf3", "-J", "-c", self.peer.target(number), "-B", self.peer.inside(number), "-p", str(5201 + number),
                "-t", str(self.transfer_seconds), "--connect-timeout", "4000"))
        cells, speeds = {}, []
        for number, client in zip(self.numbers, clients, strict=True):
            output, _ = client.communicate()
            try:
                speed = json.loads(output)["end"]["sum_received"]["bits_per_second"]
            except (KeyError, ValueError):
                speed = 0.0
            cells[self.site.clients[number].name] = Answers(int(speed > 0), 1)
            speeds.append(f"{speed / 1e6:.1f}")
        self.site.server.kill("iperf3")
        for server in servers:
            server.communicate()
        self._note += f"{' '.join(speeds)} Mbit/s"
        return cells

    def reload(self) -> dict[str, Answers]:
        """The firewall is loaded anew, again and again, while pings pass."""
        pings, loads = self.ask(60), 0
        while any(ping.running() for ping in pings.values()):
            self.site.lab.router.fw4_reload()
            loads += 1
        self._note += f"{loads} reloads"
        return answers(pings)

    def crash(self) -> dict[str, Answers]:
        """The second client loses its power, comes back and connects; the others ask on."""
        gone = self.numbers[1]
        machine = self.site.clients[gone]
        others = [number for number in self.numbers if number != gone]
        pings = {self.site.clients[number].name: self.peer.ping(number, 60) for number in others}
        machine.switch_off()
        machine.switch_on()
        self.peer.prepare(gone)
        self.connect([gone])
        cells = answers(pings)
        cells[machine.name] = self.peer.ping(gone, 20).answers()
        return dict(sorted(cells.items()))

    def reconnect(self, change: Callable[[], None]) -> dict[str, Answers]:
        """All disconnect, the router changes, all connect again at once; half of the packets each way."""
        for number in self.numbers:
            self.peer.disconnect(number)
        change()
        self.site.wire.begin()  # what was sent to an address that is gone nobody can deliver
        self.connect(self.numbers)
        return together(answers(self.ask(20)), answers(self.ask(20, back=True)))

    def renumber(self) -> None:
        """The provider gives the router another address, and netifd's triggers have the daemon reload."""
        self.site.lab.router.change_wan_address("203.0.113.77")
        if not self.site.stock:
            self.site.lab.router.vpnpt("reload")
        self.peer.renumbered()

    def offload(self) -> None:
        """The user switches software flow offload on."""
        self.site.lab.router.fw4_configure(offload=True)
        self.site.lab.router.fw4_reload()

    def dead_daemon(self) -> dict[str, Answers]:
        """vpnptd is killed (on stock: nothing happens); tunnels go on, and so do new keys where there is IKE."""
        self.site.lab.router.kill_vpnpt(9)
        return self.rekey("client") if self.peer.can_rekey else self.after()


def shown(row: Row) -> dict[str, Any]:
    """A row for the JSON."""
    wire = None if row.wire is None else {name: [one.sent, one.lost, one.copies, round(one.until, 1), round(one.lasted, 1)]
                                          for name, one in row.wire.items()}
    return {"cells": {name: [cell.answered, cell.sent] for name, cell in row.cells.items()}, "note": row.note,
            "seconds": round(row.seconds, 1), "wire": wire}


def answers(pings: dict[str, Ping]) -> dict[str, Answers]:
    """What became of them."""
    return {name: ping.answers() for name, ping in pings.items()}


def together(first: dict[str, Answers], second: dict[str, Answers]) -> dict[str, Answers]:
    """The sums."""
    return {name: Answers(first[name].answered + second[name].answered, first[name].sent + second[name].sent) for name in first}


def run(test: Run, short: bool = False) -> None:
    """All phases, added to `test.rows` as they go. short: only how it begins, and a rekey."""
    site, peer, alone = test.site, test.peer, test.alone
    peer.serve()
    for number in test.numbers:
        peer.prepare(number)
    test.do("all begin at once", test.at_once)
    test.do("the server asks", test.server_asks)
    if site.stock and len(test.numbers) > SEVERAL:
        return
    if peer.plain and not short and not alone and len(test.numbers) <= SEVERAL:
        test.do("people ask", test.people)
    for by in peer.can_rekey:
        test.do(f"the {by} rekeys", partial(test.rekey, by))
        if not short:
            test.do("  and after it", test.after)
        elif by == "client":
            break
    if not short and peer.rekeys_ike:
        for by in peer.can_rekey:
            test.do(f"the {by} rekeys IKE, too", partial(test.rekey_ike, by))
    if not short and peer.plain and len(test.numbers) <= SEVERAL:
        test.do("idle, the server rekeys", test.forgotten)
    if short or len(test.numbers) > SEVERAL:
        return
    if peer.transfers:
        test.do("transfers (iperf3)", test.transfer)
    if alone:
        return
    test.do("fw4 reloads", test.reload)
    test.do("c2 crashes, comes back", test.crash)
    test.do("another WAN address", lambda: test.reconnect(test.renumber))
    test.do("flow offload on", lambda: test.reconnect(test.offload))
    test.do("vpnptd is killed", test.dead_daemon)
