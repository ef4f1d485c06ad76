# SPDX-License-Identifier: GPL-2.0-or-later
"""Work in a child process: whatever becomes of it, there is an answer, and the loop goes on."""
from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vpnpt import TOOLS_MISSING
from vpnpt.daemon import child
from vpnpt.daemon.child import Aside
from vpnpt.daemon.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable


def wait(selector: selectors.BaseSelector, pending: Pending) -> dict[str, Any]:
    """Turns the loop until the answer is there."""
    found: list[dict[str, Any]] = []
    pending.then(found.append)
    limit = time.monotonic() + 20
    while not found and time.monotonic() < limit:
        for key, _ in selector.select(1):
            key.data()
    (answer,) = found
    return answer


def children() -> set[int]:
    """Of this process, those that have ended and were not reaped among them."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just gone
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def run(task: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    before = children()
    with selectors.DefaultSelector() as selector:
        answer = wait(selector, Aside(selector).run(task))
        assert not selector.get_map()
    assert children() <= before, "it was reaped"
    return answer


def test_an_answer() -> None:
    assert run(lambda: {"pid": os.getpid()})["pid"] != os.getpid()
    assert run(lambda: {"long": "x" * 1_000_000}) == {"long": "x" * 1_000_000}


def die() -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def leave() -> dict[str, Any]:
    raise SystemExit(3)


@pytest.mark.parametrize("task", [die, leave, lambda: {"no": object()}], ids=["killed", "left", "no JSON"])
def test_a_child_that_ends_without_an_answer(task: Callable[[], dict[str, Any]]) -> None:
    assert "without an answer" in run(task)["error"]


def test_an_exception_is_told() -> None:
    def fail() -> dict[str, Any]:
        raise LookupError("nothing there")
    assert run(fail) == {"error": "LookupError: nothing there"}


def test_a_package_that_has_gone_is_told() -> None:
    def fail() -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'vpnpt.gather'")
    assert run(fail) == {"error": TOOLS_MISSING}


def test_too_long_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MOST", 1000)
    assert "error" in run(lambda: {"long": "x" * 200_000})


def test_a_child_that_hangs_is_ended_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LIMIT", 1)

    def hang() -> dict[str, Any]:
        time.sleep(60)
        return {}
    assert "error" in run(hang)


def test_it_holds_none_of_our_descriptors_and_heeds_no_signal_of_ours(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as lock:
        def look() -> dict[str, Any]:
            open_ = sorted(int(name) for name in os.listdir("/proc/self/fd"))
            return {"lock": lock.fileno() in open_, "open": len(open_), "handler": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL}
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            # 0 to 2, the pipe, and the directory that lists them
            assert run(look) == {"lock": False, "open": 5, "handler": True}
        finally:
            signal.signal(signal.SIGTERM, before)


def test_who_asks_meanwhile_gets_the_same(tmp_path: Path) -> None:
    go = tmp_path / "go"

    def task() -> dict[str, Any]:
        while not go.exists():
            time.sleep(0.01)
        return {"pid": os.getpid()}
    with selectors.DefaultSelector() as selector:
        one = Aside(selector)
        first, second = one.run(task), one.run(task)
        assert first is second
        go.touch()
        pid = wait(selector, first)["pid"]
        assert wait(selector, second)["pid"] == pid
        assert wait(selector, one.run(task))["pid"] != pid, "later comes a new one"
