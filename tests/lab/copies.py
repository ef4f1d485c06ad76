# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.lab.copies`: how long packets go to others as well, after several clients of one server have come up at once.

Each way to make keys by each of people's doings (people.py), several times, in shuffled order. A line a run: copies, second by second, and
when the last one was made, by the clock that is drawn up. Exit status 1 if a packet was lost or went to a wrong client only, or if there
was a copy after `--settled`.
"""
from __future__ import annotations

import argparse
import itertools
import sys
from random import Random

from tests.lab import scenario
from tests.lab.people import People
from tests.lab.sandbox import SandboxError, enter_sandbox
from tests.lab.topology import Lab
from tests.lab.verbs import Stage

KEYS, DOINGS = ("ipsec", "manual"), ("bursts", "rates", "onsets", "uploads")


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="copies", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--clients", type=int, default=3, help="of the one server, 2 to 20")
    parser.add_argument("--runs", type=int, default=10, help="of each kind, each with a seed of its own")
    parser.add_argument("--seconds", type=int, default=12, help="of a run")
    parser.add_argument("--settled", type=int, default=4, help="seconds after which nothing is copied any more")
    parser.add_argument("--slower", type=float, default=1.7, help="'rates': how many times slower each transfer is than the one before")
    parser.add_argument("--only", default="", help="runs whose name (keys doing) contains this")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the runs, and the first one's")
    return parser.parse_args(arguments)


def run(keys: str, doing: str, clients: int, seconds: int, seed: int, slower: float) -> tuple[list[int], int]:
    """How many copies in each second; how many packets were lost or went to a wrong client only."""
    with Lab(clients, 1, "vpnpt", scenario.uci({"ipsec": 1}), ipv6=False) as lab:
        stage, names = Stage(lab, {}, {}, scenario.uci), [client.name for client in lab.clients]
        stage.do_up(names, kind=keys, together=True)
        people, copies = People(stage, names, seed), []
        people.begin(doing, slower)
        for second in range(seconds):
            mark = lab.ledger.mark()
            people.go_on_until(second + 1)
            copies.append(lab.ledger.tally(mark).copies)
        everything = lab.ledger.tally(kind="esp")
        return copies, everything.wrong + everything.lost


def main(arguments: list[str] | None = None) -> int:
    chosen = options(arguments)
    try:
        enter_sandbox()
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 2
    runs = [(keys, doing, seed) for keys, doing, seed in itertools.product(KEYS, DOINGS, range(chosen.seed, chosen.seed + chosen.runs))
            if chosen.only in f"{keys} {doing}"]
    Random(chosen.seed).shuffle(runs)
    late = bad = 0
    for keys, doing, seed in runs:
        copies, missing = run(keys, doing, chosen.clients, chosen.seconds, seed, chosen.slower)
        after, last = sum(copies[chosen.settled:]), max((second + 1 for second, count in enumerate(copies) if count), default=0)
        print(f"{keys:6} {doing:6} seed {seed:3}: copies {' '.join(map(str, copies))}; the last in second {last}"
              + (f"; {missing} LOST OR WRONG" if missing else ""), flush=True)
        late, bad = late + bool(after), bad + bool(missing)
    print(f"{len(runs)} runs of {chosen.clients} clients: {late} with a copy after {chosen.settled} s, {bad} with a packet lost or wrong")
    return bool(late or bad)


if __name__ == "__main__":
    sys.exit(main())
