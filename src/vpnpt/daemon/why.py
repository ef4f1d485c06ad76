# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpnpt why`: a watch over one client, with a time limit, that can be asked how far it is and ended. One at a time.

A child counts what passes (gather/passing.py) and writes a line of JSON whenever it has looked; when it ends, another child judges. Whoever
dies, the table with its counting rules goes: the child takes it away at its end and when nobody reads its lines, the daemon when the child
has ended.
"""
from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import time

from .. import TOOLS_MISSING
from ..kernel.netfilter import NetlinkError
from ..model import number
from ..router.names import Hosts
from ..sessions.table import packed_address, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .apply import Service
    from .child import Aside
    from .sessions_feed import SessionsFeed

SECONDS, LONGEST = 60, 300
"""How long a watch takes if nothing conclusive comes, and at most."""
LINE_MAX = 1 << 18


def _no(code: str, text: str) -> dict[str, Any]:
    """An error, and the code of its sentence for LuCI: doctor/texts.py is not read here, it is large."""
    return {"error": text, "said": {"code": f"why-ask-{code}", "values": {}}}


class Watches:
    """The watch that runs, or the last one. aside: runs the judgement; it must not be shared, or another answer may be taken for ours."""

    def __init__(self, service: Service, feed: SessionsFeed, aside: Aside, selector: selectors.BaseSelector) -> None:
        self._service, self._feed, self._aside, self._selector = service, feed, aside, selector
        self._serial = 0
        self._pid = self._reader = -1
        self._heard = bytearray()
        self._state: dict[str, Any] = {}
        self._case: tuple[bytes, bytes, int] = (b"", b"", 0)

    def handle(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Begins a watch over a client (and server), asks how far one is, or ends it."""
        watch, hosts = arguments.get("watch", ""), self._feed.hosts
        if watch:
            return self.cancel(watch) if arguments.get("cancel", "") in ("1", "true") else self.answer(watch)
        hosts.read()
        clients = hosts.find(arguments.get("client", "")) if isinstance(hosts, Hosts) else []
        if not clients:
            who = "whose VPN? give a client by its address, MAC or name"
            return _no("unknown", f"{who}; no such name is known") if arguments.get("client") else _no("who", who)
        server = packed_address(arguments.get("server", ""))
        if server is None and arguments.get("server"):
            return _no("server", "the server must be given by its address")
        if server is not None and len(server) != len(clients[0]):
            clients = [one for one in clients if len(one) == len(server)]
            if not clients:
                return _no("family", "client and server must both be IPv4, or both IPv6")
        seconds = number(arguments.get("seconds") or str(SECONDS)) or 0
        if not 1 <= seconds <= LONGEST:
            return {"error": f"seconds: a number from 1 to {LONGEST}"}
        return self.start(clients[0], server or b"", seconds)

    def start(self, client: bytes, server: bytes, seconds: float) -> dict[str, Any]:
        """Begins to watch; a watch of before ends without a word. The state, as `answer` gives it."""
        config = self._service.config
        if config is None:
            return _no("none", "no configuration is in force")
        self.close()
        self._serial += 1
        self._feed.hosts.read()
        self._case = (client, server, int(time.time()))
        self._state = {"watch": f"{os.getpid()}-{self._serial}", "state": "watching", "client": text_of(client),
                       "client_name": self._feed.hosts.name(client), "server": text_of(server) if server else "",
                       "left": int(seconds), "passages": []}
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._watch(writer, seconds)
        os.close(writer)
        os.set_blocking(reader, False)
        self._pid, self._reader, self._heard = pid, reader, bytearray()
        self._selector.register(reader, selectors.EVENT_READ, self._read)
        return self.answer(self._state["watch"])

    def answer(self, watch: str) -> dict[str, Any]:
        """How far it is. state: watching, judging, done (then there is a `verdict`), cancelled, failed (then `problem` says why)."""
        if watch != self._state.get("watch"):
            return _no("gone", "no such watch: another one has begun since, or the daemon has")
        return dict(self._state)

    def cancel(self, watch: str) -> dict[str, Any]:
        """Ends it; what was judged already stays."""
        if watch == self._state.get("watch") and self._state["state"] in ("watching", "judging"):
            self._state["state"] = "cancelled"
            self._end_child()
        return self.answer(watch)

    def close(self) -> None:
        """Nothing is watched any more."""
        if self._state:
            self.cancel(self._state["watch"])

    # the child that counts

    def _watch(self, writer: int, seconds: float) -> None:
        """Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.alarm(int(seconds) + 30)
            os.closerange(3, writer)
            os.closerange(writer + 1, 4096)
            self._count(writer, seconds)
            status = 0
        finally:
            os._exit(status)

    def _count(self, writer: int, seconds: float) -> None:
        def tell(found: dict[str, Any]) -> None:
            data = json.dumps(found).encode() + b"\n"
            while data:  # BrokenPipeError, if the daemon is gone: then the watch ends
                data = data[os.write(writer, data):]

        try:
            from ..gather import passing
        except ImportError:
            tell({"problem": TOOLS_MISSING})
            return
        client, server, _ = self._case
        assert self._service.config is not None
        try:
            passing.watch(self._service.config, client, server, seconds,
                          lambda passages, left: tell({"passages": passages, "left": int(left)}))
        except BrokenPipeError:
            return
        except Exception as error:
            tell({"problem": f"{type(error).__name__}: {error}"})

    def _read(self) -> None:
        try:
            data = os.read(self._reader, 65536)
        except BlockingIOError:
            return
        self._heard += data
        *lines, rest = bytes(self._heard).split(b"\n")
        self._heard = bytearray(rest[:LINE_MAX])
        for line in lines:
            with contextlib.suppress(ValueError):
                self._state.update(json.loads(line))
        if not data:
            self._end_child()
            self._judge()

    def _end_child(self) -> None:
        """Reaped; its table goes, if it could not take it away itself."""
        if self._pid < 0:
            return
        self._selector.unregister(self._reader)
        os.close(self._reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = self._reader = -1
        if status:
            with contextlib.suppress(ImportError):
                from ..gather import passing

                passing.remove()

    # the child that judges

    def _judge(self) -> None:
        if "problem" in self._state:
            self._state["state"] = "failed"
            return
        watch, (client, server, since), passages = self._state["watch"], self._case, self._state["passages"]
        self._state["state"], self._state["left"] = "judging", 0
        with contextlib.suppress(NetlinkError):
            self._feed.refresh()
            self._feed.learn()

        def task() -> dict[str, Any]:
            from ..gather import explain  # there: the child that counted had it

            return explain(self._service, self._feed, client, server, since, passages)

        def judged(found: dict[str, Any]) -> None:
            if self._state["watch"] == watch and self._state["state"] == "judging":
                self._state |= {"state": "failed", "problem": found["error"]} if "error" in found else {"state": "done", "verdict": found}

        self._aside.run(task).then(judged)
