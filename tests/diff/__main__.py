# SPDX-License-Identifier: GPL-2.0-or-later
"""The same made-up networks and traffic on a stock router and on vpnpt: what only stock delivers, and what only vpnpt lets in."""
from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.diff import generate, plan, shrink, verdict
from tests.diff.worker import Pair

if TYPE_CHECKING:
    from tests.diff.plan import Plan


class Run:
    """What was compared and found."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pair = Pair()
        self.plans = self.packets = self.delivered = 0
        self.sorts: Counter[str] = Counter()
        self.kept: Counter[tuple[str, str, str]] = Counter()
        self.bad: list[int] = []
        self.limits: Counter[str] = Counter()
        self.unsteady: list[int] = []
        self.began = time.monotonic()

    def one(self, made: Plan, stock: dict[str, object]) -> None:
        """Compares one plan, and makes it smaller where it shows something new."""
        notes, ours, error = self.pair.after_stock(made, stock)
        self.plans += 1
        self.packets += verdict.compared(notes, ours)
        self.delivered += sum(note["got"] for note in notes.values())
        if error.startswith("stock"):
            print(f"seed {made['seed']}: {error}", flush=True)
        found = [verdict.Find("error", "", "", 0, error)] if error else verdict.finds(made, notes, ours)
        self.limits.update({find.limit for find in found if find.limit})
        found = [find for find in found if not find.limit]
        if not found:
            return
        first = found[0]
        again = shrink.shows(self.pair, made, first.sort, 2 * shrink.PATIENCE)
        if not again:
            self.unsteady.append(made["seed"])
            print(f"seed {made['seed']}: not again: {first.kind}: {first.text}", flush=True)
            return
        self.bad.append(made["seed"])
        self.sorts[first.kind] += 1
        print(f"seed {made['seed']}: {len(found)} finds, first: {first.kind}: {first.text}", flush=True)
        self.kept[first.sort] += 1
        if self.options.shrink and self.kept[first.sort] <= self.options.each:
            small = shrink.smallest(made, lambda candidate: shrink.shows(self.pair, candidate, first.sort) is not None, first.number,
                                    self.options.shrink)
            text = plan.dump(small)
            told = shrink.shows(self.pair, small, first.sort)
            report = f"# {first.kind}: {told.text if told else first.text} (from seed {made['seed']})\n{text}"
            print(report, flush=True)
            if self.options.out:
                directory = Path(self.options.out)
                directory.mkdir(parents=True, exist_ok=True)
                (directory / f"{first.kind}-{first.flow or 'none'}-{first.by or 'none'}-{made['seed']}.yaml").write_text(report)

    def summary(self) -> str:
        """The figures."""
        minutes = (time.monotonic() - self.began) / 60
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.sorts.most_common())
        return (f"{self.plans} networks, {self.packets} packets compared ({self.delivered} that stock delivers) in {minutes:.1f} minutes; "
                f"{len(self.bad)} seeds worse than stock ({kinds or 'none'}): {self.bad}" +
                (f"; networks with a kind that docs/LIMITS.md tells of: "
                 f"{', '.join(f'{count} {name}' for name, count in self.limits.most_common())}" if self.limits else "") +
                (f"; seen once, not again: {self.unsteady}" if self.unsteady else ""))


def main() -> int:
    """Status 1 where ours differs for the worse."""
    parser = argparse.ArgumentParser(prog="python -m tests.diff", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1); one seed makes one network with its traffic")
    parser.add_argument("--count", type=int, default=0, help="how many seeds (default: until the minutes are over, or 100)")
    parser.add_argument("--minutes", type=float, default=0, help="for how long")
    parser.add_argument("--replay", metavar="FILE", action="append", default=[], help="play a plan's text instead of seeds")
    parser.add_argument("--shrink", type=float, default=90, metavar="SECONDS",
                        help="time to make one find smaller (default 90, 0: as it is)")
    parser.add_argument("--each", type=int, default=1, help="make so many finds of each sort (kind, flow, direction) smaller")
    parser.add_argument("--out", metavar="DIRECTORY", help="where to write the small plans")
    parser.add_argument("--show", action="store_true", help="print the plan of --seed and end")
    options = parser.parse_args()
    if options.show:
        print(plan.dump(generate.plan(options.seed)), end="")
        return 0
    run = Run(options)
    try:
        if options.replay:
            return _replay(run, options.replay)
        _seeds(run)
    except KeyboardInterrupt:
        pass
    finally:
        run.pair.close()
        if not options.replay:
            print(run.summary())
    return 1 if run.bad else 0


def _seeds(run: Run) -> None:
    """Stock plays the next plan while ours plays this one."""
    options = run.options
    count = options.count or (sys.maxsize if options.minutes else 100)
    over = run.began + options.minutes * 60 if options.minutes else float("inf")
    made = generate.plan(options.seed)
    stock = run.pair.stock.play(made)
    for seed in range(options.seed + 1, options.seed + count + 1):
        current, answer = made, stock.result()
        made = generate.plan(seed)
        stock = run.pair.stock.play(made)
        run.one(current, answer)
        if time.monotonic() >= over:
            break


def _replay(run: Run, files: list[str]) -> int:
    status = 0
    for file in files:
        made = plan.load(Path(file).read_text())
        stock, ours, error = run.pair.play(made)
        print(f"{file}:" + (f" {error}" if error else ""))
        for place, step in enumerate(made["steps"]):
            number = int(step.get("n", place))
            if number in stock:
                print(f"  {number}: {step}\n      stock {_told(stock[number])}")
                print(f"      vpnpt {_told(ours[number]) if number in ours else '-'}")
        found = verdict.finds(made, stock, ours)
        for find in found:
            print(f"  {find.kind}: {find.text}" + (f" (docs/LIMITS.md: {find.limit})" if find.limit else ""))
        status |= bool(found or error)
    return status


def _told(note: dict[str, object]) -> str:
    if not note["sent"]:
        return "not sent: its sender never heard from the other"
    return f"to {note['to']} {'got' if note['got'] else 'NOT GOT'} from {note['source']} hosts {note['hosts']} odd {note['odd']}"


if __name__ == "__main__":
    sys.exit(main())
