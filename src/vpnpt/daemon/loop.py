# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnptd: wiring only. Sockets and signals into one loop, from there into the service."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import sys
import time

from .. import TOOLS_MISSING, __version__
from ..kernel.netfilter import DRAIN, Netlink, NetlinkError, Overrun, has_flowtable
from ..model import Said
from ..ruleset import notices
from ..wire.nftables import decode_change
from . import safe_file
from .api import answer
from .apply import Service
from .backlog import Notices
from .context import Context
from .control import SOCKET, ControlServer
from .instance import begin, end_with_jail
from .log import Log, addresses
from .meanwhile import Meanwhile
from .sessions_feed import SessionsFeed
from .ubus import Ubus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..kernel.netfilter import NflogSocket
    from ..wire.nflog import LogPacket
    from .instance import Instance
    from .pending import Pending

RUN_DIR = "/var/run/vpnpt"
READY = "ready"
"""In the run directory: a file that is there while a configuration is in force."""
HOUSEKEEPING = 600.0
"""Seconds between two looks for clients that have gone, while any IPsec client is known."""
NFTABLES_GROUP = 7
REFUSED_PAUSE = 0.05
"""Seconds of rest after the system has refused something."""
BY_SIGNAL = Said("a signal (reload_config, LuCI, or a change of network or firewall)")
USAGE = """usage: vpnptd [--config-dir DIR] [--run-dir DIR] [--state-dir DIR] [--foreground]

  --config-dir DIR  where the UCI file `vpnpt` is (default /etc/config)
  --run-dir DIR     for the control socket and what fw4 includes (default /var/run/vpnpt)
  --state-dir DIR   for what is to survive a reboot, written once a day at most (default: the same)
  --foreground      log to standard error instead of the system log
"""


class Daemon:
    """The loop: what is due when, and what is read by whom."""

    def __init__(self, config_dir: str | None, run_dir: str, state_dir: str, instance: Instance, *, syslog: bool) -> None:
        self.run_dir, self._instance = run_dir, instance
        self.log, self.selector = Log(syslog=syslog), selectors.EpollSelector()
        end_with_jail(self.selector)
        self.service = Service(config_dir, run_dir, self.log, state_dir)
        self.due: dict[str, float] = {}
        self.running = True
        self.asked = self.metrics_file = self._trouble = self._no_metrics = self._how = ""
        self.meanwhile = Meanwhile(self.selector, self.due, self._turn)
        self._unheard: list[NflogSocket] = []  # until the first configuration is in force, or was found not to be one
        self.remember_not_before = 0.0
        self._signals()
        self.changes = Netlink([NFTABLES_GROUP], receive_buffer=1 << 20)
        self.selector.register(self.changes, selectors.EVENT_READ, self._on_changes)
        self.service.watch.catch_up = self._read_changes
        self.logs = Notices(self.service.tracker.hush)
        self._open_log(notices.GROUP, notices.HEADERS)
        self._open_log(notices.GROUP_WHOLE, 0xFFFF)
        self._open_log(notices.GROUP_SPILLED, 0xFFFF)
        self.feed = SessionsFeed(self.service, self.log, lambda event: self.ubus.event("vpnpt.session", event), self._at)
        self.context = Context(self.service, self.reload, self.log, self.selector, self.feed)
        self.control: ControlServer | None = None
        self._open_files()
        self.ubus = Ubus(self.selector, self.log, lambda request: self._on_request(request, "ubus"),
                         lambda seconds: self._at("ubus", seconds))
        self.log.listener = lambda severity, code, text: self.ubus.event("vpnpt.alert", {"severity": severity, "code": code, "text": text})

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then the kernel is as if we had never been."""
        self.meanwhile.start()
        self.ubus.connect()
        self.reload(Said("start"))
        while self._unheard:
            self.selector.register(self._unheard.pop(), selectors.EVENT_READ, self._on_notices)
        while self.running:
            self._turn(self._wait())
            self._guarded(lambda: self.meanwhile.settle(self._on_request))
            self.log.sum_up()
        self.meanwhile.stop()
        if self.context.watches is not None:
            self.context.watches.close()
        if self.context.counting is not None:
            self.context.counting.write()
        if self.context.offload is not None:
            self.context.offload.stop()
        self.service.stop()
        self._forget_metrics()
        self.ubus.close()
        if self.control is not None:
            self.control.close()
        with contextlib.suppress(OSError):
            safe_file.remove(os.path.join(self.run_dir, READY))

    def _turn(self, wait: float | None = 0) -> bool:
        """Deals with what is ready and what is due. False: we are to end."""
        for key, _ in self.selector.select(wait):
            turns = self.meanwhile.turns
            self._guarded(key.data)
            if turns != self.meanwhile.turns:
                break  # there were turns within this one: what else was ready has been dealt with
        self._guarded(self._do_due)
        return self.running

    def _guarded(self, do: Callable[[], object]) -> None:
        """What the system refuses (descriptors, memory, space) ends one turn and not the daemon; it is said once for each cause."""
        try:
            do()
        except (OSError, MemoryError) as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._trouble:
                self._trouble = trouble
                self.log.error("TROUBLE", "the system refuses what is needed, and is asked again: {problem}", problem=trouble)
            time.sleep(REFUSED_PAUSE)  # what is refused may stay ready: no busy loop

    def reload(self, how: str = "") -> bool:
        """Puts the configuration in force; where the network is not ready yet, tries again by itself. how: who asks for it."""
        if self.meanwhile.going:
            self._how = how
            self._at("again", 0)
            return False
        done = self.service.apply(how or self.asked)
        self._apply_offload()  # it may take a moment, too
        if done:
            self.due.pop("apply", None)
            self._listen()  # before anybody counts on us: flows are counted only if that was asked for when they began
            try:
                safe_file.replace(os.path.join(self.run_dir, READY), b"")
            except OSError as error:
                self.log.warning("READY", "{path} can't be written: {problem}", path=f"{self.run_dir}/{READY}", problem=error.strerror)
            if self.service.helper_missing:
                self._at("helper", 10)
            self._at("remember", 0.5)
            if self.service.include.failed:
                self._at("files", 10)
            self._write_metrics()
            self._count()
        elif self.service.ruleset is None:
            self._at("apply", 10)
        return done

    def _apply_offload(self) -> None:
        """ESP's short way, where it is wanted, or was by a daemon that was killed, and its package is there."""
        if self.context.offload is None:
            if self.service.no_short_way() and not self.service.short_way_left():
                return
            try:
                from .offload import Offload
            except ImportError:
                return
            self.context.offload = Offload(self.service, self.feed, self.selector, lambda seconds: self._at("offload", seconds))
        self.context.offload.apply()

    def _wait(self) -> float | None:
        """Seconds until something is due; None: until something comes."""
        deadlines = list(self.due.values())
        if (summary := self.log.next_deadline()) is not None:
            deadlines.append(summary)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _at(self, what: str, seconds: float) -> None:
        """Due in so many seconds, or earlier if it was to be earlier."""
        when = time.monotonic() + seconds
        self.due[what] = min(when, self.due.get(what, when))

    def _do_due(self) -> None:
        now = time.monotonic()
        simple = {"notices": self._on_notices, "sessions": self._listen, "metrics": self._write_metrics, "throughput": self._count,
                  "ubus": self.ubus.connect, "flowtable": self._look_for_flowtable, "files": self._open_files}
        for what in [what for what, when in self.due.items() if when <= now and self.meanwhile.may(what)]:
            if self.due.pop(what, None) is None:
                continue  # done while one before it waited for a program
            if what in simple:
                simple[what]()
            elif what == "restore":
                if not self.service.restore():
                    self._at("restore", 2)
            elif what == "drift":
                if not self.service.check_drift():
                    self._at("drift", self.service.watch.pause() or 2)
            elif what in ("remember", "remember_again"):
                self._remember()
            elif what == "tracker":
                self.service.tracker.tick()
                self._schedule_tracker()
            elif what == "housekeeping":
                self.service.tracker.housekeep()
                self._schedule_tracker()
            elif what == "offload" and self.context.offload is not None:
                self.context.offload.tick()
            elif what == "apply":
                self.reload(Said("the network or the firewall is ready"))
            elif what == "again":
                self.reload(self._how)
            elif what == "helper":
                self.service.check_helper()
                if self.service.helper_missing:
                    self._at("helper", 10)

    def _listen(self) -> None:
        """Conntrack's events, of the protocols that are configured now."""
        if self.feed.events is not None:
            self.selector.unregister(self.feed.events)
        self.feed.listen()
        if self.feed.events is not None:
            self.selector.register(self.feed.events, selectors.EVENT_READ, self._on_flows)

    def _on_flows(self) -> None:
        if not self.feed.on_ready() and self.feed.events is not None:
            self.selector.unregister(self.feed.events)
            self.feed.close()

    def _write_metrics(self) -> None:
        """If the user wants a file, now and again and again; one that is not wanted any more goes."""
        general = self.service.config.general if self.service.config is not None else None
        wanted = general.metrics_file if general is not None else ""
        self._forget_metrics(wanted)
        self.due.pop("metrics", None)
        if general is None or not wanted:
            return
        try:
            from . import exporter, tools  # most routers never need it
            exporter.write(wanted, tools.metrics(self.context))
            self.metrics_file, self._no_metrics = wanted, ""
        except ImportError:
            self.log.warning("METRICS", "{path} is not written (vpnpt.global.metrics_file): {problem}", path=wanted, problem=TOOLS_MISSING)
            return
        except (OSError, NetlinkError) as error:
            if self._no_metrics != str(error.strerror):
                problem = self._no_metrics = str(error.strerror)
                self.log.warning("METRICS", "{path} can't be written: {problem} (vpnpt.global.metrics_file)", path=wanted, problem=problem)
        self._at("metrics", general.metrics_interval)

    def _count(self) -> None:
        """What passed since the last time, for LuCI's graphs."""
        with contextlib.suppress(ImportError):  # without vpnpt-tools
            from .tools import count

            self._at("throughput", count(self.context))

    def _forget_metrics(self, wanted: str = "") -> None:
        """Figures of a daemon that has ended would look like those of one that runs."""
        if self.metrics_file not in ("", wanted):
            with contextlib.suppress(OSError):
                safe_file.remove(self.metrics_file)
            self.metrics_file = ""

    def _remember(self) -> None:
        """Copying large maps may not take more than a twentieth of our time."""
        began = time.monotonic()
        self.service.remember()
        ended = time.monotonic()
        self.remember_not_before = ended + 20 * (ended - began)

    def _open_files(self) -> None:
        """What others reach us by, and what fw4 includes: where there was no room, again later."""
        try:
            self._instance.write()
            self.control = self.control or ControlServer(os.path.join(self.run_dir, SOCKET), self.selector,
                                                         lambda request: self._on_request(request, "vpnpt"))
            if self.service.include.again():
                return
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            if not self._trouble:
                self._trouble = Said("{folder} is full: `vpnpt` reaches us when there is room", folder=self.run_dir)
                self.log.error("TROUBLE", self._trouble)
        self._at("files", 10)

    def _signals(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.selector.register(reader, selectors.EVENT_READ, lambda: self._on_signals(os.read(reader, 64)))

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.running = False
        elif signal.SIGHUP in numbers:
            self.reload(BY_SIGNAL)

    def _open_log(self, group: int, snaplen: int) -> None:
        try:
            log = self.logs.open(group, snaplen)
        except OSError as error:
            self.log.warning("NFLOG", "no notices from the kernel: {problem} (is kmod-nfnetlink-log installed, or does another program "
                                      "use group {group}?)", problem=error.strerror, group=group)
            self.service.notices = False
            return
        self._unheard.append(log)

    def _on_changes(self) -> bool:
        """Reads a portion of nftables' notifications. False: there is none."""
        messages = self.changes.receive()
        if any(isinstance(message, Overrun) for message in messages):
            # As long as its queue is not empty, the kernel drops more without a word (netlink_overrun()): first that, then a look.
            for _ in range(DRAIN):
                if not self.changes.receive():
                    break
            self._look_at_tables()
            self._at("flowtable", 0)
            return False
        for message in messages:
            change = decode_change(message) if not isinstance(message, Overrun) else None
            if change is not None and self.context.offload is not None and self.context.offload.on_change(change):
                continue
            if change is not None and self.service.watch.on_change(change):
                self._look_at_tables()
            if change is not None and change.what == "flowtable":
                self._at("flowtable", 0)
        return bool(messages)

    def _read_changes(self) -> None:
        for _ in range(DRAIN):
            if not self._on_changes():
                break

    def _look_at_tables(self) -> None:
        self._at("restore", 0)
        self._at("drift", 0)

    def _look_for_flowtable(self) -> None:
        offload = has_flowtable(self.service.netlink)
        if offload != self.service.offload:
            if not self.service.follow_offload(offload=offload):
                self._at("apply", 0.5)
            self._apply_offload()

    def _on_notices(self) -> None:
        """What the log groups have. Order matters: the engine is to know who had finished an exchange when a packet came, and no more."""
        found, more = self.logs.receive()
        if more:
            self._at("notices", 0)
        self._handle_notices(found)
        self._schedule_tracker()

    def _handle_notices(self, found: list[LogPacket | Overrun]) -> None:
        batch = []
        for notice in found:
            if isinstance(notice, Overrun):
                self.log.warning("OVERRUN", "notices of the kernel were lost: what it knows is read again")
                self.service.tracker.overrun()
                self._at("remember", 0.2)
            elif notice.prefix.startswith(notices.REFUSED):
                self._on_refusal(notice)
            elif notice.prefix == notices.AH:
                self.log.warning("AH", "{addresses}: AH can't pass NAT, which changes what it protects (RFC 3715 2.1): use ESP, or "
                                       "NAT traversal", addresses=addresses(notice.payload))
            elif notice.prefix == notices.FULL:
                self.log.error("FULL", "{addresses}: refused, max_clients are being served (vpnpt.global.max_clients)",
                               addresses=addresses(notice.payload))
            else:
                batch.append(notice)
        if batch:
            self.service.tracker.on_notices(batch)
            self.feed.on_notices(batch)
            # At once, for what was learned, and once more for what follows from it without a notice of its own.
            self._at("remember", max(0.02, self.remember_not_before - time.monotonic()))
            self.due["remember_again"] = time.monotonic() + 3

    def _schedule_tracker(self) -> None:
        deadline = self.service.tracker.next_deadline()
        self.due.pop("tracker", None)
        if deadline is not None:
            self.due["tracker"] = deadline
        if self.service.tracker.engine.servers:
            self.due.setdefault("housekeeping", time.monotonic() + HOUSEKEEPING)

    def _on_refusal(self, notice: LogPacket) -> None:
        _, name, reason = (notice.prefix.split() + ["", ""])[:3]
        self.log.info("REFUSED", "{protocol}: {addresses}: {why} (vpnpt.{protocol})", protocol=name, addresses=addresses(notice.payload),
                      why=notices.WHY.get(reason, reason))

    def _on_request(self, request: dict[str, Any], way: str) -> dict[str, Any] | Pending:
        """way: how the request came. What it changes is told to have come by it."""
        waits = self.meanwhile.postpone(request, way)
        if waits is not None:
            return waits
        words = [str(request[name]) for name in ("method", "client", "protocol") if request.get(name)]
        self.asked = " ".join([way, *words])[:100]
        try:
            return answer(self.context, request)
        finally:
            self.asked = ""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 after SIGTERM, 1 if another instance runs or the kernel refuses us, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options: dict[str, str] = {}
    foreground = False
    while arguments:
        word, equals, value = arguments.pop(0).partition("=")
        if word == "--foreground":
            foreground = True
        elif word in ("--config-dir", "--run-dir", "--state-dir") and (equals or arguments):
            options[word] = value if equals else arguments.pop(0)
        elif word == "--version":
            print(f"vpnptd {__version__}")
            return 0
        elif word in ("-h", "--help"):
            print(USAGE, end="")
            return 0
        else:
            print(USAGE, end="", file=sys.stderr)
            return 2
    run_dir, state_dir = options.get("--run-dir", RUN_DIR), options.get("--state-dir", "")
    instance = begin(run_dir, state_dir)
    if instance is None:
        return 1
    run_dir, state_dir = os.path.realpath(run_dir), state_dir and os.path.realpath(state_dir)
    with contextlib.suppress(OSError):  # of one that was killed
        safe_file.remove(os.path.join(run_dir, READY))
    try:
        daemon = Daemon(options.get("--config-dir"), run_dir, state_dir, instance, syslog=not foreground)
    except PermissionError:
        print("vpnptd: not permitted: run it as root (it needs CAP_NET_ADMIN)", file=sys.stderr)
        return 1
    except IsADirectoryError as error:  # at the control socket's path
        print(f"vpnptd: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    daemon.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
