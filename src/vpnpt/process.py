# SPDX-License-Identifier: GPL-2.0-or-later
"""Running other programs. Made of posix_spawn, pipes and poll: the subprocess module costs 2.3 MB of a router's memory."""
from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    class Meanwhile(Protocol):
        """What goes on while a program runs."""

        def fileno(self) -> int:
            """Readable when `turn` has something to do."""

        def next_deadline(self) -> float | None:
            """When `turn` has something to do at the latest, as time.monotonic() has it."""

        def turn(self) -> bool:
            """Does what is to be done. False: the program is not waited for any longer."""

MISSING = 127  # no such program; the status that a shell gives
NOT_RUNNABLE = 126  # there is one, but it can't be executed
TIMED_OUT = 124  # as timeout(1) says it
MOST = 64 << 20  # bytes of what a program says; of more, the rest is thrown away
CHUNK = 65536  # a pipe's usual capacity (pipe(7))
DRAIN_READS = 16
GRACE = 0.5
"""Seconds for which a program runs before anything else goes on meanwhile: most have ended by then."""

meanwhile: Meanwhile | None = None
"""The daemon's loop, which goes on while a program runs: every program may hang. None in any other process, its children too."""


class Result(Record):
    """How a program ended. status: its exit status, -N if signal N ended it, or one of the constants above."""

    __slots__ = ("status", "stdout", "stderr")
    status: int
    stdout: bytes
    stderr: bytes


def run(argv: Sequence[str], input: bytes = b"", timeout: float = 10.0, env: Mapping[str, str] | None = None, *,
        alone: bool = False) -> Result:
    """Run a program to its end and collect its output. Never raises for what the program does, nor if it does not exist.

    argv[0] is looked up in PATH. timeout: seconds; then its whole process group is killed, and the status is TIMED_OUT. A
    process that the program leaves behind in the background does not delay the return, even if it holds the pipes open.
    alone: nothing else goes on meanwhile.
    """
    fds = _Descriptors()
    child = None
    try:
        try:
            child_in, to_child = fds.pipe()
            from_out, child_out = fds.pipe()
            from_err, child_err = fds.pipe()
        except OSError as error:  # no descriptors left
            return Result(status=NOT_RUNNABLE, stdout=b"", stderr=f"{argv[0]}: {error.strerror}\n".encode())
        actions = [(os.POSIX_SPAWN_DUP2, child_in, 0), (os.POSIX_SPAWN_DUP2, child_out, 1), (os.POSIX_SPAWN_DUP2, child_err, 2)]
        try:
            # Python ignores two signals and the daemon may block others: the child must not inherit that.
            pid = os.posix_spawnp(argv[0], list(argv), os.environ if env is None else env, file_actions=actions, setpgroup=0,
                                  setsigmask=(), setsigdef=(signal.SIGPIPE, signal.SIGXFSZ))
        except OSError as error:
            status = MISSING if isinstance(error, FileNotFoundError) else NOT_RUNNABLE
            return Result(status=status, stdout=b"", stderr=f"{argv[0]}: {error.strerror}\n".encode())
        child = _Child(pid)
        fds.close(child_in, child_out, child_err)
        try:
            pidfd = fds.add(os.pidfd_open(pid))
        except OSError as error:
            child.end()
            return Result(status=NOT_RUNNABLE, stdout=b"", stderr=f"{argv[0]}: {error.strerror}\n".encode())
        talk = _Talk(fds, to_child, from_out, from_err, input)
        in_time = talk.until_exit(pidfd, time.monotonic() + timeout, None if alone else meanwhile)
        status, stderr = child.end(), bytes(talk.heard[from_err])
        if not in_time:
            status, stderr = TIMED_OUT, stderr + f"{argv[0]}: killed after {timeout:g} seconds\n".encode()
        return Result(status=status, stdout=bytes(talk.heard[from_out]), stderr=stderr)
    finally:
        if child is not None:
            child.end()
        fds.close(*fds.open)


class _Descriptors:
    """The descriptors that are ours to close, each exactly once."""

    def __init__(self) -> None:
        self.open: set[int] = set()

    def add(self, fd: int) -> int:
        self.open.add(fd)
        return fd

    def pipe(self) -> tuple[int, int]:
        ours, theirs = os.pipe()
        return self.add(ours), self.add(theirs)

    def close(self, *fds: int) -> None:
        for fd in fds:
            self.open.remove(fd)
            os.close(fd)


class _Child:
    """A started process: ended and reaped once."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None

    def end(self) -> int:
        """Reap it; kill it, and its group, first if it still runs."""
        if self.status is None:
            try:
                done, status = os.waitpid(self.pid, os.WNOHANG)
                if not done:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(self.pid, signal.SIGKILL)
                    status = os.waitpid(self.pid, 0)[1]
                self.status = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                self.status = 255  # another SIGCHLD handler reaped it: its status is lost
        return self.status


class _Talk:
    """The three pipes, served together, so that neither side blocks on a full one for ever."""

    def __init__(self, fds: _Descriptors, to_child: int, from_out: int, from_err: int, input: bytes) -> None:
        self.fds = fds
        self.to_child = to_child
        self.left = memoryview(input)
        self.heard = {from_out: bytearray(), from_err: bytearray()}
        self.poll = select.poll()
        for fd in self.heard:
            os.set_blocking(fd, False)
            self.poll.register(fd, select.POLLIN)
        os.set_blocking(to_child, False)
        self.poll.register(to_child, select.POLLOUT)
        if not input:
            self.hang_up()

    def until_exit(self, pidfd: int, deadline: float, other: Meanwhile | None) -> bool:
        """Serve the pipes until the process has ended. False if it had not by the deadline (a monotonic time), or is not to be waited for.

        other: what goes on meanwhile.
        """
        self.poll.register(pidfd, select.POLLIN)
        begins = time.monotonic() + GRACE
        going = False
        while True:
            now = time.monotonic()
            if other is not None and not going and now >= begins:
                going = True
                self.poll.register(other.fileno(), select.POLLIN)
            due = begins if other is not None and not going else other.next_deadline() if other is not None else None
            ready = self.poll.poll(max(0.0, min(deadline, deadline if due is None else due) - now) * 1000)
            for fd, _ in ready:
                if fd == self.to_child:
                    self.write()
                elif fd in self.heard and not self.read(fd):
                    self.poll.unregister(fd)
            if any(fd == pidfd for fd, _ in ready):
                self.drain()
                return True
            if going and other is not None and not other.turn():
                return False
            if time.monotonic() >= deadline:
                return False

    def drain(self) -> None:
        """Reads what an ended process left in the pipes. Bounded, as a process in the background may go on to write."""
        for fd in self.heard:
            for _ in range(DRAIN_READS):
                if not self.read(fd):
                    break

    def read(self, fd: int) -> bool:
        """Read what is there. False if nothing is, or at the end of the file."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if len(self.heard[fd]) < MOST:
            self.heard[fd] += data
        return bool(data)

    def write(self) -> None:
        try:
            self.left = self.left[os.write(self.to_child, self.left[:CHUNK]):]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.left = self.left[:0]  # the program closed its standard input
        if not self.left:
            self.hang_up()

    def hang_up(self) -> None:
        self.poll.unregister(self.to_child)
        self.fds.close(self.to_child)
