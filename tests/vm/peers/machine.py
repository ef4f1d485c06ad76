# SPDX-License-Identifier: GPL-2.0-or-later
"""A host of the lab on which real programs run: with files and processes of its own, so that it can be switched off."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.host import Host

DIRECTORY = Path("/tmp/vpnpt-peers")
# Where programs keep what there must be one of for each host. The machine's own directory is bound over it.
PRIVATE = ("/run", "/var/lib/ipsec/nss", "/etc/ppp", "/etc/swanctl")


class Machine:
    """Files are in `directory`; what a program NAME prints is in NAME.log there.

    Programs run in a mount and a process namespace of the machine; they may use every processor.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = host.name
        self.address = host.address
        self.directory = DIRECTORY / host.name
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._holder: subprocess.Popen[bytes] | None = None
        self.switch_on()

    def switch_on(self) -> None:
        """Makes the namespaces; nothing runs in them yet."""
        lines = []
        for path in PRIVATE:
            own = self.directory / path.strip("/").replace("/", "-")
            own.mkdir(exist_ok=True)
            lines.append(f"mkdir -p {path} && mount --bind {own} {path}")
        script = " && ".join([*lines, "mount -t proc proc /proc", "echo ready", "exec sleep infinity"])
        self._holder = self.host.spawn("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, anywhere=True,
                                       stdout=subprocess.PIPE, cwd="/")
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{self.name}: no namespaces of its own")

    def switch_off(self) -> None:
        """Power failure: every process is killed, and what the kernel held for them is gone."""
        if self._holder is None:
            return
        self._holder.kill()
        self._holder.communicate()
        self._holder = None
        for process in self._processes:
            process.wait()
        self._processes.clear()
        self.host.run("ip", "xfrm", "state", "flush", check=False)
        self.host.run("ip", "xfrm", "policy", "flush", check=False)
        for path in PRIVATE:
            if path == "/run":
                shutil.rmtree(self.directory / path.strip("/"), ignore_errors=True)

    def _inside(self, *args: str) -> list[str]:
        assert self._holder is not None
        namespaces = f"/proc/{self._holder.pid}/ns"
        return ["nsenter", f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children", "--", *args]

    def run(self, *args: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end. Raises RuntimeError with its messages when it fails."""
        return self.host.run(*self._inside(*args), text=text, check=check)

    def start(self, name: str, *args: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a program that stays."""
        with (self.directory / f"{name}.log").open("ab") as log:
            process = self.host.spawn(*self._inside(*args), anywhere=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                                      env={**os.environ, **environment})
        self._processes.append(process)
        return process

    def begin(self, *args: str) -> subprocess.Popen[str]:
        """Starts a program whose output is wanted, by `communicate()`."""
        return self.host.spawn(*self._inside(*args), anywhere=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")

    def processes(self, name: str) -> list[int]:
        """Process IDs, as the lab sees them, of the programs of this name that run here."""
        assert self._holder is not None
        own = os.stat(f"/proc/{self._holder.pid}/ns/pid_for_children").st_ino
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns/pid").st_ino == own and (entry / "comm").read_text().strip() == name:
                    found.append(int(entry.name))
        return found

    def kill(self, name: str, number: int = signal.SIGTERM) -> None:
        """Sends a signal to every program of this name that runs here."""
        for pid in self.processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def write(self, path: str, text: str) -> str:
        """Writes a file: a relative path is in the machine's directory, one of PRIVATE where its programs see it. Returns its path."""
        place = self.directory / path
        for private in PRIVATE:
            if path.startswith(private + "/"):
                place = self.directory / private.strip("/").replace("/", "-") / path[len(private) + 1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o600)
        return str(place) if not path.startswith("/") else path

    def address_on_lo(self, address: str) -> None:
        """An address behind this machine, for the inside of a tunnel."""
        self.host.run("ip", "addr", "replace", f"{address}/32", "dev", "lo")

    def log(self, name: str) -> str:
        """What a program has printed so far."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self, lines: int = 25) -> str:
        """The last lines of every program's output."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            last = path.read_text(errors="replace").splitlines()[-lines:]
            parts += [f"--- {self.name}: {path.stem}", *last]
        return "\n".join(parts)

    def close(self) -> None:
        """Ends everything, for good."""
        self.switch_off()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.directory)
