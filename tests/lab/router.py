# SPDX-License-Identifier: GPL-2.0-or-later
"""The router of the lab: fw4-like firewall, conntrack, and the real daemon when vpnpt is under test."""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import fw4
from tests.lab.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from tests.lab.pump import Pump

SOURCE = Path(__file__).resolve().parents[2] / "src"
PYTHON = os.environ.get("VPNPT_PYTHON", sys.executable)
"""The router's interpreter, which need not be that of the tests: tests/vm/matrix/musl makes another."""
READY_TIMEOUT = 60.0
SLOWER = float(os.environ.get("VPNPT_SLOWER", "1"))  # an emulated machine sets it


class Router(Host):
    """A host that forwards. directory: a place for its files, which vanishes with the lab.

    lan_device, wan_device: of its zones lan and wan; further_wans: more of the zone wan; guest: the device of a zone of that name.
    run_dir, config_dir: those of the daemon. log: what the daemon wrote to stderr.
    """

    def __init__(self, name: str, pump: Pump, directory: Path, lan_device: str, wan_device: str, wan_address: str,
                 ipsec_rules: bool = False, offload: bool = False, further_wans: tuple[str, ...] = (), guest: str = "",
                 **addresses: str) -> None:
        super().__init__(name, pump, **addresses)
        self.directory = directory
        self.lan_device = lan_device
        self.wan_device = wan_device
        self.wan_address = wan_address
        self.wan_devices = (wan_device, *further_wans)
        self.guest = guest
        self.config_dir = directory / "config"
        self.run_dir = directory / "run"
        self.log = directory / "vpnptd.log"
        self.daemon: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        for path in (self.config_dir, self.run_dir / "fw4", directory / "bin"):
            path.mkdir(parents=True)
        self.fw4_configure(ipsec_rules, offload)
        (self.config_dir / "firewall").write_text(fw4.uci((lan_device,), self.wan_devices, guest))
        script = directory / "bin" / "fw4"
        script.write_text(fw4.script((lan_device,), self.wan_devices, str(directory), guest))
        script.chmod(0o755)

    def bridge_calls_firewall(self, *, yes: bool) -> bool:
        """Whether bridges hand packets to the firewall: by Linux's default, not on OpenWrt. False: they can't (no br_netfilter)."""
        try:
            self.sysctl("net/bridge/bridge-nf-call-iptables", int(yes))
        except FileNotFoundError:
            return False
        return True

    # firewall

    def nft(self, text: str) -> str:
        """Loads a ruleset text and returns what nft printed. Raises RuntimeError with nft's messages."""
        return self.run("nft", "-f", "-", text=text).stdout

    def fw4_configure(self, ipsec_rules: bool = False, offload: bool = False) -> None:
        """Writes the firewall's ruleset; it counts from the next start, reload or restart on."""
        text = fw4.body((self.lan_device,), self.wan_devices, f"{self.run_dir}/fw4/*.nft", ipsec_rules, offload, self.guest)
        (self.directory / "reload.nft").write_text(fw4.transaction(text, restart=False))
        (self.directory / "restart.nft").write_text(fw4.transaction(text, restart=True))

    def fw4_reload(self) -> None:
        """Like `fw4 reload`: one transaction, only `table inet fw4`."""
        self.run("nft", "-f", f"{self.directory}/reload.nft")

    def fw4_restart(self) -> None:
        """Like `fw4 restart`: the table is deleted and made anew."""
        self.run("nft", "-f", f"{self.directory}/restart.nft")

    def fw4_flush(self) -> None:
        """Like `fw4 flush` and a start after it: every table of every program is gone."""
        self.run("nft", "flush", "ruleset")
        self.fw4_restart()

    # connection tracking

    def conntrack_list(self, *filters: str) -> list[str]:
        """The entries, one a line, as the program conntrack prints them."""
        return self.run("conntrack", "-L", "-o", "extended", *filters, check=False).stdout.splitlines()

    def conntrack_delete(self, *filters: str) -> None:
        """Deletes what the filters select, as if it had timed out; nothing found is fine."""
        self.run("conntrack", "-D", *filters, check=False)

    def conntrack_flush(self) -> None:
        """Forgets every connection of both families."""
        self.run("conntrack", "-F")

    def change_wan_address(self, address: str) -> None:
        """The provider gives another address of the same network; the old one goes first, as with DHCP and PPP.

        The other way round the new one would be a secondary address, which goes with the old one.
        """
        self.run("ip", "addr", "del", f"{self.wan_address}/24", "dev", self.wan_device)
        self.run("ip", "addr", "add", f"{address}/24", "dev", self.wan_device)
        self.run("ip", "route", "replace", "default", "via", "203.0.113.254")
        self.wan_address = address

    # the daemon

    def start_vpnpt(self, config: str, environment: dict[str, str] | None = None, wrapper: Sequence[str] = (),
                    program: Sequence[str] = (PYTHON, "-m", "vpnpt.daemon")) -> None:
        """Starts vpnptd with this UCI text and waits until its rules are in place. wrapper: a command that runs it. program: itself.

        Raises RuntimeError with its log when it ends or does not get ready.
        """
        self.write_config(config)
        self._environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
                             **(environment or {})}
        ready = self.run_dir / "ready"
        ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.daemon = self.spawn(*wrapper, *program, "--config-dir", str(self.config_dir), "--run-dir", str(self.run_dir),
                                     "--foreground", env=self._environment, stdout=log, stderr=log, anywhere=True)
        daemon = self.daemon
        if not self.wait_until(lambda: ready.exists() or daemon.poll() is not None, READY_TIMEOUT) or daemon.poll() is not None:
            status = daemon.poll()
            how = "is not ready" if status is None else f"ended with status {status}"
            raise RuntimeError(f"vpnptd {how}:\n{self.log_text()}")

    def wait_until(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Polls a condition that no socket announces (a file, a process) while the lab goes on. timeout: a computer's seconds."""
        def tick() -> None:
            if not done:
                self.pump.after(0.005, tick)

        done = False
        tick()
        done = self.pump.run(condition, timeout * SLOWER)
        return done

    def write_config(self, config: str) -> None:
        """Replaces /etc/config/vpnpt; the daemon learns of it by `vpnpt('reload')`."""
        (self.config_dir / "vpnpt").write_text(config)

    def vpnpt(self, *args: str, check: bool = True) -> str:
        """Runs the command line program and returns what it printed."""
        with_dirs = ["--run-dir", str(self.run_dir)]
        environment = [f"{key}={self._environment[key]}" for key in ("PYTHONPATH", "PATH")]
        return self.run("env", *environment, PYTHON, "-m", "vpnpt.cli", *args, *with_dirs, check=check).stdout

    def ask(self, **request: str) -> dict[str, Any]:
        """What the daemon answers on its control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(60)
            sock.connect(str(self.run_dir / "control"))
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as answer:
                return json.loads(answer.readline())

    def kill_vpnpt(self, number: int = signal.SIGTERM) -> None:
        """Ends the daemon with a signal and waits until it is gone."""
        if self.daemon:
            self.daemon.send_signal(number)
            self.daemon.wait(10)
            self.daemon = None

    def log_text(self) -> str:
        """What the daemon has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def close(self) -> None:
        """Ends the daemon, then everything a host has."""
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        super().close()
