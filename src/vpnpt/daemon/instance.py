# SPDX-License-Identifier: GPL-2.0-or-later
"""One daemon for each run directory: its PID file is locked as long as it lives. A file system that is full keeps it from writing there,
and not from running."""
from __future__ import annotations

import errno
import fcntl
import os
import selectors
import stat
import sys

from . import safe_file

FILE = "vpnptd.pid"
JAILED = "VPNPT_JAIL" in os.environ
"""By the init script: ujail started us, with few capabilities."""


class Instance:
    """`lock`, then `write`. Both raise OSError."""

    def __init__(self, run_dir: str) -> None:
        self._path = os.path.join(run_dir, FILE)
        self._file = -1

    def lock(self) -> bool:
        """Makes the directory and the file. False: another daemon has it."""
        if self._file >= 0:
            return True
        safe_file.own(os.path.dirname(self._path))
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | safe_file.PLAIN, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", self._path)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError:
            os.close(file)
            raise
        self._file = file
        return True

    def write(self) -> None:
        """Our number."""
        if self.lock():
            os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)


def begin(run_dir: str, state_dir: str) -> Instance | None:
    """Makes both directories and locks; state_dir: '' for none. None: we may not run, and it was said why."""
    instance = Instance(run_dir)
    for do in (instance.lock, lambda: safe_file.own(state_dir) if state_dir else None):
        try:
            if do() is False:
                print(f"vpnptd: another instance runs with --run-dir {run_dir}", file=sys.stderr)
                return None
        except OSError as error:
            print(f"vpnptd: {error.filename or run_dir}: {error.strerror}", file=sys.stderr)
            if error.errno != errno.ENOSPC:
                return None
    return instance


def end_with_jail(selector: selectors.BaseSelector) -> None:
    """Up to OpenWrt 25.12 what ujail runs outlives it if it is killed (procd's jail/jail.c). We don't: as if we had been killed, so that
    what is in the kernel stays for the next daemon, which this one's lock would keep from starting."""
    if JAILED:
        jail = os.getppid()
        if jail == 1:
            os._exit(1)
        selector.register(os.pidfd_open(jail), selectors.EVENT_READ, lambda: os._exit(1))
