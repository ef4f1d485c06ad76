# SPDX-License-Identifier: GPL-2.0-or-later
"""Transfers to clients of one server that come through one link, whose capacity changes: nothing is decided wrongly.

What such a link does (a fair queue that lets a packet of each pass in turn, a radio that sends all that waits, pauses) makes packets of one
transfer come just when those of another do, for seconds. Some clients confirm what they get, others only receive (television).
"""
from __future__ import annotations

import heapq
from random import Random

import pytest

from vpnpt.spi.engine import Engine
from vpnpt.spi.messages import Assign, Exchange, Fan, Paired, SpiOut, SpiShared

S = b"\xcb\x00\x71\x01"
SECONDS = 20.0
COMES, SENDS = 0, 1


def offered(chance: Random, share: float) -> list[float]:
    """When the server sends to one client. share: seconds between packets that the link has room for."""
    kind, pace, when, found = chance.choice(("bulk", "bulk", "paced", "bursty")), share * chance.choice((0.8, 1.0, 1.0, 1.5)), 0.0, []
    while when < SECONDS:
        if kind == "bursty":
            for _ in range(chance.choice((1, 3, 8, 20))):
                found.append(when)
                when += share / 4
            when += chance.uniform(0.05, 0.5)
        else:
            found.append(when)
            when += pace * (chance.uniform(0.9, 1.1) if kind == "paced" else chance.uniform(0.3, 1.7))
    return found


def through_a_link(chance: Random, streams: list[list[float]], room: float) -> list[tuple[float, int]]:
    """When each packet comes, and for whom. room: seconds that one takes at full speed."""
    queues: list[list[float]] = [[] for _ in streams]
    waiting = sorted((when, number) for number, stream in enumerate(streams) for when in stream)
    kind, out, now, turn, speed, changes = chance.choice(("fair", "first come", "radio")), [], 0.0, 0, 1.0, 0.0
    heapq.heapify(waiting)
    while waiting or any(queues):
        if not any(queues):
            now = max(now, waiting[0][0])
        while waiting and waiting[0][0] <= now:
            when, number = heapq.heappop(waiting)
            queues[number].append(when)
        if now > changes:
            speed, changes = chance.choice((1, 1, 1, 3, 0.5)), now + chance.expovariate(1 / 1.5)
            now += chance.uniform(0.05, 0.6) if chance.random() < 0.2 else 0.0
        if kind == "radio":
            for number, queue in enumerate(queues):
                for _ in queue[:4]:
                    now += 0.0004
                    out.append((now, number))
                del queue[:4]
            now += room * speed * 4
            continue
        turn = next(number for number in range(turn + 1, turn + 1 + len(queues)) if queues[number % len(queues)]) % len(queues)
        number = turn if kind == "fair" else min((queue[0], number) for number, queue in enumerate(queues) if queue)[1]
        queues[number].pop(0)
        now += room * speed
        out.append((now, number))
    return out


def world(seed: int, silent: float) -> tuple[int, list[tuple[float, int, int]]]:
    """How many clients; when a packet comes for, or is sent by, which one. silent: the part of them that only receive."""
    chance = Random(seed)
    count, room, slow = chance.choice((2, 3, 4, 6)), chance.choice((0.004, 0.008, 0.015)), chance.choice((0.001, 0.004, 0.012))
    each = [0 if chance.random() < silent else chance.choice((1, 2, 2, 2, 3, 4)) for _ in range(count)]
    came = through_a_link(chance, [offered(chance, room * count) for _ in range(count)], room)
    events, passed = [(when, COMES, number) for when, number in came], [0] * count
    for when, number in came:
        passed[number] += 1
        if each[number] and passed[number] % each[number] == 0:
            events.append((when + chance.uniform(0.0005, slow), SENDS, number))
    return count, sorted(events)


def wrong(seed: int, *, ike: bool, silent: float) -> list[str]:
    """What is decided wrongly in this world. Of what is decided there are no notices."""
    count, events = world(seed, silent)
    clients = [bytes([192, 168, 1, 11 + number]) for number in range(count)]
    engine, found, decided, sequences = Engine(), [], set(), [[0, 1] for _ in clients]
    for client in clients:
        engine.handle(Paired(server=S, client=client), 100.0)
    for outbound in (True, False) if ike else ():
        for client in clients:
            engine.handle(Exchange(server=S, client=client, message=client * 3, outbound=outbound, auth=True, sure=True),
                          100.1 if outbound else 100.112)
    for number, client in enumerate(clients):
        engine.handle(SpiOut(server=S, client=client, spi=b"out%d" % number, sequence=1), 100.2)
    for when, way, number in events:
        if number in decided:
            continue
        sequences[number][way] += 1
        event = SpiShared(server=S, spi=b"in%02d" % number, sequence=sequences[number][way], waiting=frozenset(clients),
                          copied=frozenset(clients)) if way == COMES else \
            SpiOut(server=S, client=clients[number], spi=b"out%d" % number, sequence=sequences[number][way])
        for action in engine.handle(event, 101.0 + when):
            if isinstance(action, (Assign, Fan)):
                owner = int(action.spi[2:])
                if clients[owner] not in (action.clients if isinstance(action, Fan) else (action.client,)):
                    found.append(f"{action} after {when:.1f} s")
                elif isinstance(action, Assign):
                    decided.add(owner)
    return found


@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("seed", range(12))
def test_who_confirms_is_not_taken_for_another(seed: int, ike: bool) -> None:
    assert wrong(seed, ike=ike, silent=0.0) == []


@pytest.mark.parametrize("ike", [True, False], ids=["ike", "manual keys"])
@pytest.mark.parametrize("seed", [0, 1, 5, 30, 52, 101])
def test_who_only_receives_loses_nothing(seed: int, ike: bool) -> None:
    """Somebody else sends whenever its packets come: once he has sent several times, he is taken to send all the time."""
    assert wrong(seed, ike=ike, silent=0.4) == []
