# SPDX-License-Identifier: GPL-2.0-or-later
"""Running real programs: nothing deadlocks, leaks or stays behind."""
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from vpnpt import process
from vpnpt.process import Result, run

BIG = bytes(range(256)) * 20_000  # 5 MB, many times what a pipe holds


@pytest.fixture(autouse=True)
def no_leaks():
    before = held()
    yield
    assert held() == before


def held():
    """The open descriptors and the children, zombies included, of this process."""
    children = [path.read_text() for path in sorted(Path("/proc/self/task").glob("*/children"))]
    return sorted(os.listdir("/proc/self/fd")), children


def test_status_and_both_outputs():
    assert run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == Result(status=3, stdout=b"out\n", stderr=b"err\n")


def test_large_input_and_output():
    assert run(["cat"], BIG) == Result(status=0, stdout=BIG, stderr=b"")


def test_large_output_on_both_at_once():
    code = "import os\nfor _ in range(50):\n os.write(1, b'o' * 60000); os.write(2, b'e' * 60000)"
    assert run([sys.executable, "-c", code]) == Result(status=0, stdout=b"o" * 3_000_000, stderr=b"e" * 3_000_000)


def test_input_that_nobody_reads():
    assert run(["true"], BIG).status == 0


def test_output_closed_before_the_end():
    assert run(["sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 4"]).status == 4


def test_missing_program():
    assert run(["no-such-program"]) == Result(
        status=process.MISSING, stdout=b"", stderr=b"no-such-program: No such file or directory\n")


def test_program_that_can_not_run(tmp_path):
    (tmp_path / "file").write_text("x")
    assert run([str(tmp_path / "file")]).status == process.NOT_RUNNABLE


def test_killed_by_a_signal():
    assert run(["sh", "-c", "kill -9 $$"]).status == -signal.SIGKILL


def test_timeout_kills_the_whole_group(tmp_path):
    pids = tmp_path / "pids"
    result = run(["sh", "-c", f"sleep 600 & echo $! > {pids}; echo here; wait"], timeout=2)
    assert result == Result(status=process.TIMED_OUT, stdout=b"here\n", stderr=b"sh: killed after 2 seconds\n")
    deadline = time.monotonic() + 30
    while (state := state_of(pids.read_text().strip())) not in ("", "Z"):  # whoever adopts it may take a moment to reap it
        assert time.monotonic() < deadline, state


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][0]
    except FileNotFoundError:
        return ""


def test_timeout_while_it_writes_for_ever():
    result = run(["sh", "-c", "while :; do echo x; done"], timeout=0.3)
    assert result.status == process.TIMED_OUT
    assert set(result.stdout) == set(b"x\n")


def test_what_stays_in_the_background_does_not_delay():
    result = run(["sh", "-c", "sleep 60 & echo $!"])
    os.kill(int(result.stdout), signal.SIGKILL)  # it is still there: nobody waited for its end
    assert result.status == 0


def test_environment():
    assert run(["sh", "-c", "echo $A"], env={"A": "b", "PATH": os.environ["PATH"]}).stdout == b"b\n"


def test_interrupted_by_signals():
    """A signal handler that returns interrupts nothing; one that raises ends the child as well."""
    previous = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        assert run(["sh", "-c", "sleep 0.2; echo done"]).stdout == b"done\n"
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, _raise)
        with pytest.raises(Stop):  # the child sends the signal when it has its input: by then it is being served
            run(["sh", "-c", f"read x; kill -ALRM {os.getpid()}; sleep 60"], input=b"go\n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class Stop(Exception):
    """Raised by a signal handler."""


def _raise(*_):
    raise Stop


def test_signals_are_not_handed_down():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        status = run(["cat", "/proc/self/status"]).stdout.decode().split()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    blocked, ignored = (int(status[status.index(field) + 1], 16) for field in ("SigBlk:", "SigIgn:"))
    assert blocked == 0
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
