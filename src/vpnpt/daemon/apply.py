# SPDX-License-Identifier: GPL-2.0-or-later
"""The control plane: one configuration in force, the kernel's tables kept as it says, whatever others do to them.

read → verify → render → one transaction. What can't be compiled or loaded leaves in place what runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import reduce

from .. import __version__, process
from ..config.compile import compile_config
from ..kernel import nft
from ..kernel.backup import Mirror
from ..kernel.netfilter import (
    Netlink,
    NetlinkError,
    counters,
    delete_tables,
    dump_conntrack,
    has_flowtable,
    list_chains,
    table_exists,
)
from ..kernel.nft import NftError
from ..kernel.restore import Restorer
from ..model import Said, joined
from ..router import uci
from ..router.addresses import local_addresses
from ..router.devices import include_problems, resolve_devices
from ..ruleset import FAMILIES, TABLE, Ruleset, compile_ruleset, forward_rules
from ..wire.conntrack import ESP, UDP
from ..wire.nftables import FAMILIES as FAMILY_NAMES
from ..wire.nftables import NETDEV
from . import remembered
from .cutting import Cutter
from .fw4 import Include
from .in_force import InForce
from .spi_driver import Tracker
from .status import snapshot
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..model import Config, Devices, Diagnostic
    from ..wire.nftables import Element
    from .history import Changes
    from .log import Log
    from .usage import Usage

_NUMBERS = {name: number for number, name in FAMILY_NAMES.items()}
MODULES = {"pptp": ("nf_nat_pptp",), "ipsec": ("nfnetlink_log",), "l2tp": ("nfnetlink_log",)}
"""Kernel modules that nothing loads by itself when the ruleset is loaded, by the protocol that needs them."""


EXPECT_MAX = "/proc/sys/net/netfilter/nf_conntrack_expect_max"
EXPECTATIONS = 4096


class Service:
    """Holds what is in force: `config`, `devices`, `ruleset`; `problem` says why the last attempt to change it failed, or is ''."""

    def __init__(self, config_dir: str | None, run_dir: str, log: Log, state_dir: str = "") -> None:
        self.config_dir, self.run_dir, self.log = config_dir, run_dir, log
        self.usage: Usage | None = None
        with contextlib.suppress(ImportError):  # without vpnpt-tools nobody asks when a protocol was used
            from .usage import Usage
            self.usage = Usage(state_dir or run_dir)
        self.in_force = InForce(state_dir or run_dir, log)
        self.last_since = 0  # since when the last good configuration was in force, if it is in force now in the place of the file
        self.notices = True  # do the kernel's reach us?
        self.config: Config | None = None
        self.devices: Devices | None = None
        self.ruleset: Ruleset | None = None
        self.problem = ""
        self.diagnostics: list[Diagnostic] = []
        self.helper_missing = self.offload = False
        self.helper = True  # may the ruleset in force name the PPTP helper?
        self.started = time.time()
        self.seed = remembered.zone_seed(run_dir)
        self._local: set[bytes] = set()
        self.mirror = Mirror(time.monotonic)
        self.netlink = Netlink()
        self._restorer = Restorer(self.netlink)
        self.port = self.netlink.port  # by which our own requests are known in notifications
        self.tracker = Tracker(self.netlink, log, time.monotonic)
        self.cutter = Cutter(self.netlink, log, self.tracker)
        self.include = Include(run_dir, log)
        self.watch = Watch(self.netlink, log)
        self.history = _history(log, run_dir)
        self.watch.changed = lambda by, text: self._add("rules", by, text)

    def apply(self, how: str = "") -> bool:
        """Reads the configuration and puts it in force. False: nothing has changed, `problem` and the log say why.

        how: by what means this was asked for, for the history.
        """
        try:
            text, source = uci.read_config(self.config_dir)
        except (uci.ConfigMissing, OSError) as error:
            problem = Said("{problem}", problem=error.args[0] if isinstance(error, uci.ConfigMissing) else str(error))
            return self._fail("CONFIG", problem) if self.ruleset is not None else self._last(how, problem)
        config, diagnostics = compile_config(text, source)
        if config is None:
            return self._refuse(diagnostics) if self.ruleset is not None else self._last(how, _errors(diagnostics), diagnostics)
        if not self._put(config, diagnostics, how):
            return False
        self.last_since = 0
        if not any(item.severity == "error" for item in diagnostics):
            self.in_force.keep(text)
        return True

    def _last(self, how: str, problem: str, diagnostics: list[Diagnostic] | None = None) -> bool:
        """At a start with a configuration that can't be used: the last one that could. What it blocks stays blocked."""
        self._report(diagnostics or [])
        known = self.in_force.read()
        config = compile_config(known[0], self.in_force.path)[0] if known is not None else None
        if known is None or config is None:
            return self._fail("CONFIG", problem)
        if not self._put(config, list(diagnostics or []), how):
            return False
        self.last_since = known[1]
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(known[1]))
        return not self._fail("CONFIG", Said(
            "{problem} (in force instead: the last configuration without an error, of {since})", problem=problem, since=since))

    def _put(self, config: Config, diagnostics: list[Diagnostic], how: str) -> bool:
        """Puts a configuration in force."""
        devices, found = resolve_devices(config, config_dir=self.config_dir)
        diagnostics += found
        if config.general.enabled and any(item.severity == "error" for item in found):
            return self._refuse(diagnostics)
        if forward_rules(config, devices):
            diagnostics += include_problems(config_dir=self.config_dir)
        self.log.level = config.general.log_level
        self._report(diagnostics)
        self._load_modules(config)
        try:
            self.offload, self.helper = has_flowtable(self.netlink), self._helper(config)
            ruleset = self._compiled(config, devices)
            self._load(ruleset, config)
        except NftError as error:
            return self._fail("RULESET", Said("the kernel refused the ruleset, the old one stays: {problem}", problem=str(error)))
        first = self.ruleset is None
        self.config, self.devices, self.ruleset, self.problem = config, devices, ruleset, ""
        self.watch.seal(ruleset)
        if self.history is not None:
            self.history.note(config, devices, self.config_dir, how, first=first)
        self.tracker.pending_timeout = float(config.general.pending_timeout)
        if config.shares_servers:
            self.tracker.resync()
            local = local_addresses()
            if local != self._local:
                self.tracker.renumbered(local)
                self._local = local
        self.tracker.l2tp.resync()
        self.cutter.run(config, devices, offload=self.offload)
        self.include.write(forward_rules(config, devices))
        self.log.info("APPLIED", self.summary())
        return True

    def follow_offload(self, *, offload: bool) -> bool:
        """Flow offload was switched on or off: the same configuration with other rules, at once. False: that failed, apply everything.

        Until then the flow table may take the IKE of several clients for one flow, and give one's answers to another.
        """
        if self.config is None or self.devices is None or self.ruleset is None:
            return False
        self.offload = offload
        ruleset = self._compiled(self.config, self.devices)
        try:
            self._load(ruleset, self.config)
        except (NftError, NetlinkError):
            return False
        self.ruleset = ruleset
        self.watch.seal(ruleset)
        self.cutter.run(self.config, self.devices, offload=self.offload)
        return True

    def restore(self) -> bool:
        """Puts the tables back, with all the kernel had learned, if they are gone. False: that failed, try again."""
        if self.ruleset is None or self.in_place():
            return True
        try:
            self._restorer.replace(self.ruleset, self.mirror.elements())
        except NftError as error:
            return self._fail("RESTORE", Said("the tables are gone and could not be put back: {problem}", problem=str(error)))
        self.problem = ""
        self.cutter.again()
        self._loaded()
        self.log.warning("RESTORED", "the tables were deleted by somebody else, and are back with what they knew")
        self._add("rules", self.watch.taken(), Said("our tables were deleted, and are back with what they knew"))
        return True

    def check_drift(self) -> bool:
        """Looks whether others have changed our tables, and puts that right, or says so. False: not yet, look again."""
        if self.ruleset is None or self.config is None:
            return True
        try:
            found, by = self.watch.look()
            if not self.in_place():
                return self.restore()
            if not found:
                self.watch.drift = ""
                return True
            text, repair = reduce(joined, found), self.config.general.on_drift == "repair"
            if text == self.watch.drift and not repair:
                return True  # said already
            self.watch.drift = text
            if repair and self.watch.pause():
                self.watch.by(by)
                return False
            if repair:
                if self.watch.remade():
                    self._restorer.replace(self.ruleset, self.mirror.elements())
                else:
                    self._load(self.ruleset, self.config)
                self.problem = ""
                self._loaded()
                self.watch.repaired()
        except (NetlinkError, NftError) as error:
            return self._fail("DRIFT", Said("others have changed our tables, which could not be put right: {problem}", problem=str(error)))
        outcome = Said("put back as they were") if repair else Said("left alone (vpnpt.global.on_drift)")
        who = Said("{what}, by {process}", what=text, process=by) if by else text
        self.log.warning("DRIFT", "others have changed our tables: {what}", what=joined(who, outcome))
        self._add("rules", by, joined(text, outcome))
        return True

    def _loaded(self) -> None:
        """After our tables have come back."""
        assert self.ruleset is not None
        self.watch.seal(self.ruleset)
        self.tracker.resync()
        self.tracker.l2tp.resync()

    def no_short_way(self) -> str:
        """Why established ESP is to take no short way; '' where it is to."""
        if self.config is None or not self.config.shares_servers:
            return "IPsec is not helped"
        wanted = self.config.protocols["ipsec"].esp_offload
        return "switched off" if wanted == "0" else "" if wanted == "1" or self.offload else "flow offloading is off"

    def short_way_left(self) -> bool:
        """Is its table in the kernel, of a daemon that was killed?"""
        try:
            return table_exists(self.netlink, NETDEV, TABLE)
        except NetlinkError:  # a kernel without this family
            return False

    def in_place(self) -> bool:
        """Are all tables of the ruleset in the kernel?"""
        if self.ruleset is None:
            return False
        try:
            return all(table_exists(self.netlink, _NUMBERS[family], TABLE) for family in self.ruleset.tables)
        except NetlinkError:
            return False

    def remember(self) -> None:
        """Renews the copy of what the kernel has learned."""
        if self.ruleset is not None and self.in_place():
            self.mirror.refresh(self.netlink, self.ruleset)

    def _add(self, what: str, how: str, text: str) -> None:
        """Into the history, if there is one."""
        if self.history is not None:
            self.history.add(what, how, text)

    def stop(self) -> None:
        """Removes everything from the kernel and from fw4."""
        if self.ruleset is not None:
            self._add("service", "", Said("vpnpt {version} has stopped", version=__version__))
            self.remember()
            try:
                remembered.save(remembered.path_in(self.run_dir), self.mirror.elements(), self.ruleset)
            except OSError as error:
                self.log.warning("STATE", "what is known of live tunnels can't be kept for the next start: {problem}",
                                 problem=error.strerror)
        self.ruleset = None
        with contextlib.suppress(NetlinkError):
            delete_tables(self.netlink, TABLE)
        self.include.remove()

    def check_helper(self) -> None:
        """Applies again if the PPTP helper was missing and has come since."""
        with contextlib.suppress(NftError):
            if self.helper_missing and nft.helper_available("pptp"):
                self.log.info("HELPER", "nf_conntrack_pptp is there now")
                self.apply()

    def used(self, protocol: str) -> None:
        """It is in use now."""
        if self.usage is not None:
            self.usage.used(protocol)

    def summary(self) -> Said:
        """What is in force, in a line."""
        assert self.config is not None and self.devices is not None
        if not self.config.general.enabled:
            return Said("disabled")
        does = ", ".join(f"{name} {self.config.behaviour(name)}" for name in self.config.protocols)
        return Said("{does}; LAN {lan}; WAN {wan}", does=does, lan=" ".join(self.devices.lan), wan=" ".join(self.devices.wan))

    def snapshot(self) -> dict[str, Any]:
        """The whole state in one shape (status.py)."""
        self.remember()
        return snapshot(config=self.config, devices=self.devices, started=self.started, pid=os.getpid(), in_place=self.in_place(),
                        problem=self.problem, diagnostics=self.diagnostics, helper_missing=self.helper_missing,
                        counters=self._counters(), count=self.mirror.count, last_since=self.last_since)

    def _counters(self) -> dict[str, tuple[int, int]]:
        """Those of the ruleset in force; older ones may still be in the kernel."""
        if self.ruleset is None:
            return {}
        names = {name for table in self.ruleset.tables.values() for name in table.counters}
        with contextlib.suppress(NetlinkError):
            return {name: value for name, value in counters(self.netlink, TABLE).items() if name in names}
        return {}

    def _load(self, ruleset: Ruleset, config: Config) -> None:
        """Changes only the rules where the maps can stay, else everything, and puts back what the old maps held.

        Tables found at our start may be another version's, with other sizes, which an old kernel would keep silently: they are replaced.
        """
        chains = [(family, chain) for family in FAMILIES for chain in list_chains(self.netlink, _NUMBERS[family], TABLE)]
        there = {family for family, _ in chains}  # a table that was deleted a moment ago would come back empty
        if there >= set(ruleset.tables) and self.ruleset is not None and self.ruleset.declarations() == ruleset.declarations():
            try:
                nft.load(nft.update(ruleset, chains))
                return
            except NftError as error:  # somebody has changed our tables: then all is replaced
                if error.hangs:
                    raise
        if self.ruleset is None:
            self.mirror.adopt(remembered.load(remembered.path_in(self.run_dir), ruleset))
        self.mirror.refresh(self.netlink, ruleset)
        elements = self.mirror.elements()
        if "ip" not in there and config.shares_servers:
            self._add_flows(elements, config)
        try:
            self._restorer.replace(ruleset, elements)
        except NftError as error:
            if not elements or error.hangs:
                raise
            # Rather rules that know nothing yet than none.
            nft.load(nft.replacement(ruleset))
            self.log.warning("RESTORE", "what was known of live tunnels could not be put back")

    def _add_flows(self, elements: dict[tuple[str, str], list[Element]], config: Config) -> None:
        """What conntrack knows of clients in our zones and the maps do not."""
        try:
            flows = [*dump_conntrack(self.netlink, proto=ESP), *dump_conntrack(self.netlink, proto=UDP, dport=500)]
        except NetlinkError:
            return  # no kmod-nf-conntrack-netlink: the next packets tell
        count = remembered.add_flows(elements, flows, config)
        if count:
            self.log.info("RESTORED", "{count} pairs of clients and servers that conntrack knew", count=count)

    def _compiled(self, config: Config, devices: Devices) -> Ruleset:
        """For the flow table and the PPTP helper that there are."""
        if self.offload:
            self._make_room()
        return compile_ruleset(config, devices, helper=self.helper, offload=self.offload, seed=self.seed)

    def _load_modules(self, config: Config) -> None:
        for name, modules in MODULES.items():
            if config.general.enabled and config.behaviour(name) == "help":
                for module in modules:
                    process.run(["modprobe", "-q", module])

    def _make_room(self) -> None:
        """For the expectations that keep flows out of the flow table: a packet whose expectation finds no room is dropped."""
        with contextlib.suppress(OSError, ValueError):  # not ours to change in a namespace that is not the first
            with open(EXPECT_MAX, encoding="ascii") as file:
                room = int(file.read())
            if room < EXPECTATIONS:
                with open(EXPECT_MAX, "w", encoding="ascii") as file:
                    file.write(str(EXPECTATIONS))

    def _helper(self, config: Config) -> bool:
        wanted = config.general.enabled and config.behaviour("pptp") == "help"
        self.helper_missing = wanted and not nft.helper_available("pptp")
        if self.helper_missing:
            self.log.warning("HELPER", "the kernel has no PPTP helper: install kmod-nf-nathelper-pptp "
                                       "(before OpenWrt 25.12.5: kmod-nf-nathelper-extra); until then PPTP does not pass")
        return not self.helper_missing

    def _refuse(self, diagnostics: list[Diagnostic]) -> bool:
        self._report(diagnostics)
        return self._fail("CONFIG", _errors(diagnostics), logged=True)

    def _report(self, diagnostics: list[Diagnostic]) -> None:
        if self.problem and list(map(str, diagnostics)) == list(map(str, self.diagnostics)):
            return  # tried again by itself: said already
        self.diagnostics = diagnostics
        for item in diagnostics:
            self.log.write(item.severity, "CONFIG", item.replace(severity=""))

    def _fail(self, code: str, problem: str, *, logged: bool = False) -> bool:
        said, self.problem = problem == self.problem, problem
        if not logged and not said:
            self.log.error(code, problem)
        return False


def _history(log: Log, run_dir: str) -> Changes | None:
    """None without vpnpt-tools."""
    with contextlib.suppress(ImportError):
        from .history import Changes
        return Changes(log, run_dir)
    return None


def _errors(diagnostics: Iterable[Diagnostic]) -> Said:
    """What the errors among them say: there is one at least."""
    return reduce(joined, (Said("{problem}", problem=item) for item in diagnostics if item.severity == "error"))
