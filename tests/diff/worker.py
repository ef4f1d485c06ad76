# SPDX-License-Identifier: GPL-2.0-or-later
"""One router's plays, in a process (and so in namespaces) of its own. Questions and answers are JSON, a line each."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.diff.plan import Plan
    from tests.diff.verdict import Notes

ROOT = Path(__file__).parents[2]
PATIENCE = 2.5
"""Seconds that ours has for what stock has delivered."""


class Worker:
    """A process that plays plans on one router ('stock' or 'vpnpt'), one after the other."""

    def __init__(self, router: str) -> None:
        self.router = router
        self._process = subprocess.Popen([sys.executable, "-m", "tests.diff.worker", router], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, cwd=ROOT)
        self._thread = ThreadPoolExecutor(1)

    def play(self, plan: Plan, expected: Iterable[int] = (), patience: float = PATIENCE) -> Future[dict[str, Any]]:
        """Starts a play. Its answer: notes (verdict.Notes), error ('' or what went wrong), log (the daemon's, where there is an error)."""
        return self._thread.submit(self._ask, {"plan": plan, "expected": sorted(expected), "patience": patience})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.router} worker has ended")
        answer = json.loads(line)
        answer["notes"] = {int(number): note for number, note in answer["notes"].items()}
        return dict(answer)

    def close(self) -> None:
        """Ends it, and with it its namespaces."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._process.kill()
        self._process.wait()


class Pair:
    """Both routers."""

    def __init__(self) -> None:
        self.stock, self.ours = Worker("stock"), Worker("vpnpt")

    def play(self, plan: Plan, patience: float = PATIENCE) -> tuple[Notes, Notes, str]:
        """A plan on both: their notes, and an error or ''."""
        return self.after_stock(plan, self.stock.play(plan).result(), patience)

    def after_stock(self, plan: Plan, stock: dict[str, Any], patience: float = PATIENCE) -> tuple[Notes, Notes, str]:
        """On ours, with what stock made of it."""
        if stock["error"]:
            return stock["notes"], {}, f"stock: {stock['error']}"
        expected = [number for number, note in stock["notes"].items() if note["got"]]
        ours = self.ours.play(plan, expected, patience).result()
        return stock["notes"], ours["notes"], f"vpnpt: {ours['error']}" if ours["error"] else ""

    def close(self) -> None:
        """Ends both."""
        self.stock.close()
        self.ours.close()


def main() -> None:
    """The worker's own side."""
    from tests.diff.play import Player
    from tests.diff.world import World

    router = sys.argv[1]
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[0 if router == "stock" else -1]})
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {"notes": {}, "error": "", "seconds": 0.0}
        began = time.monotonic()
        player = None
        try:
            with World(request["plan"], router) as world:
                player = Player(world, request["plan"], set(request["expected"]), request["patience"])
                answer["notes"] = player.play()
        except Exception as error:  # whatever it is, the other plans go on, and this one is reported
            answer["error"] = f"{type(error).__name__}: {error}"
            answer["notes"] = {number: note.export() for number, note in player.notes.items()} if player else {}
        answer["seconds"] = round(time.monotonic() - began, 2)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
