# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the short way away when the daemon ends, however it ends, or stands still.

Only the daemon knows when a route, an MTU or an address has changed; without it the short way might lead nowhere. So a child, forked off
when the table is loaded, waits at a pipe for the daemon's heartbeat. At the pipe's end, or after PATIENCE without one, it deletes the
tables: within milliseconds of the daemon's death, or seconds of its standing still, every packet takes the long way.
"""
from __future__ import annotations

import contextlib
import os
import select
import signal

from ..kernel.netfilter import Netlink, NetlinkError
from ..ruleset.offload import SEEN, WAYS_MAX, name
from ..ruleset.text import TABLE
from ..wire import netlink as nl
from ..wire import nftables as nft

PATIENCE = 3.0
"""Seconds without a heartbeat."""
_DELETE_TABLE, _QUIT = 2, b"q"


class Guard:
    """At most one child. Raises OSError where it can't be started."""

    def __init__(self) -> None:
        self._pid = 0
        self._writer = -1

    def start(self) -> None:
        """Starts the child unless there is one."""
        if self._pid:
            return
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            _child(reader)
        os.close(reader)
        self._pid, self._writer = pid, writer

    def beat(self) -> bool:
        """The daemon lives. False: the child does not (it may have taken the table away)."""
        if not self._pid:
            return False
        try:
            os.write(self._writer, b".")
        except BlockingIOError:
            return True  # it has enough to read
        except OSError:
            self._reap()
            return False
        return True

    def stop(self) -> None:
        """Ends the child, which does nothing more."""
        if self._pid:
            with contextlib.suppress(OSError):
                os.write(self._writer, _QUIT)
            self._reap()

    def _reap(self) -> None:
        os.close(self._writer)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._pid, self._writer = 0, -1


def remove(sock: Netlink) -> None:
    """Deletes the tables of the short way. The elements first: what they counted is told to who listens."""
    for number in range(WAYS_MAX):
        _try(sock, nft.request(nft.DELSETELEM, 0, nft.NETDEV, nl.text(nft.LIST_TABLE, TABLE), nl.text(nft.LIST_SET, name(number))))
    for family, table in ((nft.NETDEV, TABLE), (nft.IPV4, SEEN)):
        _try(sock, nft.request(_DELETE_TABLE, 0, family, nl.text(nft.TABLE_NAME, table)))


def _try(sock: Netlink, request: bytes) -> None:
    with contextlib.suppress(NetlinkError):
        sock.transaction([request])


def _child(reader: int) -> None:
    """Never returns. Nothing of the daemon's stays open here: its lock and its sockets end with it."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the daemon's, which says itself when all is done
        os.closerange(0, reader)
        os.closerange(reader + 1, 4096)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        while poll.poll(PATIENCE * 1000):
            heard = os.read(reader, 4096)
            if heard.endswith(_QUIT):
                os._exit(0)
            if not heard:
                break
        with Netlink() as sock:
            remove(sock)
    finally:
        os._exit(0)
