# SPDX-License-Identifier: GPL-2.0-or-later
"""A router with OpenWrt's own programs: a root of its own, seen by nobody else, in the lab's router namespace.

    OPENWRT_ROOT   directories laid over each other, separated by colons, the first on top: together a root with sbin/procd,
                   sbin/ubusd, sbin/rpcd, sbin/uci, sbin/fw4, bin/opkg, etc/rc.common, Python and nft. An unpacked rootfs of
                   OpenWrt's with python3-light installed is one. Without it: this system's own root, if it has those programs.

Whatever happens in it is written to memory and is gone with it. netifd is wanted by test_network.py alone.
"""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildroot import ipk
from tests.lab.sandbox import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from tests.lab.topology import Lab

SLOWER = float(os.environ.get("VPNPT_SLOWER", "1"))
"""How much longer everything may take: tests/vm/run says so, where processors are emulated."""
PROGRAMS = ("procd", "ubusd", "rpcd", "uci", "fw4", "opkg", "jsonfilter", "reload_config", "nft", "python3")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# base, lower, and the init of the box: it reaps what procd's own children leave behind.
SETUP = r"""
set -e
mount --make-rprivate /
mkdir -p "$1"
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty ppp; do
  [ -e "/dev/$node" ] || continue
  : >"dev/$node"
  mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
for name in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${name%:*}" "dev/${name#*:}"; done
mount -t tmpfs tmpfs tmp
if [ -d run ] && [ ! -L run ]; then mount -t tmpfs tmpfs run; fi
mkdir -p tmp/run tmp/lock
if [ -d run ]; then mkdir -p run/lock; fi
exec chroot . /bin/sh -c 'mkdir -p /var/run/ubus /var/log /var/state; touch /tmp/.ready
  while :; do sleep 1; done'
"""
FIREWALL = """
config defaults
	option input 'REJECT'
	option output 'ACCEPT'
	option forward 'REJECT'

config zone
	option name 'lan'
	list device '{lan}'
	option input 'ACCEPT'
	option output 'ACCEPT'
	option forward 'ACCEPT'

config zone
	option name 'wan'
	list device '{wan}'
	option input 'REJECT'
	option output 'ACCEPT'
	option forward 'REJECT'
	option masq '1'

config forwarding
	option src 'lan'
	option dest 'wan'
"""


LOGD = """
import socket, sys
log = socket.socket(fileno=int(sys.argv[1]))
while True:
    print(log.recv(65536).decode('utf-8', 'replace').replace(chr(10), '|'), flush=True)
"""


def lower() -> str:
    """What the box's root is made of. Raises LookupError, with the reason, where OpenWrt's programs are not to be had."""
    given = os.environ.get("OPENWRT_ROOT", "/")
    directories = [Path(part) for part in given.split(":")]

    def there(program: str) -> bool:
        return any((root / place / program).exists() or (root / place / program).is_symlink()
                   for root in directories for place in ("usr/sbin", "usr/bin", "sbin", "bin"))

    missing = [program for program in PROGRAMS if not there(program)]
    if missing:
        raise LookupError(f"no {', '.join(missing)} in {given}: OPENWRT_ROOT can name a root that has them")
    return given


class Box:
    """The router. `sh` runs a command in it; `root` is its root, `written` what was written there; `read_log`: its system log."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.router.nft("flush ruleset")
        self._base = lab.directory / "openwrt"
        self._holder = lab.router.spawn("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-c", SETUP, "sh",
                                        str(self._base), lower())
        self._pid = self._wait_for_init()
        self.root = Path(f"/proc/{self._pid}/root")
        self.written = Path(f"/proc/{self._holder.pid}/root{self._base}/upper")
        self._pretends = False  # that packages of others are installed
        self._log = lab.directory / "openwrt.log"
        self._logd = self._start_logd()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._holder.kill()
        self._holder.wait()
        self._logd.kill()
        self._logd.wait()

    def _start_logd(self) -> subprocess.Popen[bytes]:
        """A process that reads all the time: with ten lines that nobody reads, whoever writes another one stands still."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog, self._log.open("wb") as file:
            syslog.bind(str(self.root / "dev/log"))
            return subprocess.Popen([sys.executable, "-c", LOGD, str(syslog.fileno())], stdout=file, pass_fds=[syslog.fileno()],
                                    preexec_fn=die_with_parent)

    def _wait_for_init(self) -> int:
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        limit = time.monotonic() + 10 * SLOWER
        while time.monotonic() < limit and self._holder.poll() is None:
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/root/tmp/.ready").exists():
                    return int(pid)
            time.sleep(0.01)
        raise RuntimeError(f"the box did not start (status {self._holder.poll()}); an overlay takes no directories inside each other, "
                           f"as / with any on its file system: {os.environ.get('OPENWRT_ROOT', '/')}")

    def start(self, network: str = "", started: Callable[[], None] = lambda: None) -> None:
        """ubusd, procd, rpcd and the firewall, as after a boot.

        network: /etc/config/network, by which netifd brings up the interfaces `lan` and `wan` of the zones; without it the zones name
        devices that the lab has brought up.
        started: what is to be done as soon as netifd runs.
        """
        names = {"lan": self.lab.router.lan_device, "wan": self.lab.router.wan_device}
        (self.root / "etc/config").mkdir(parents=True, exist_ok=True)
        firewall = FIREWALL.replace("list device '{lan}'", "list network 'lan'").replace("list device '{wan}'", "list network 'wan'")
        (self.root / "etc/config/firewall").write_text((firewall if network else FIREWALL).format(**names))
        self.start_ubusd()
        self.spawn("procd")
        self.until(lambda: "service" in self.sh("ubus list", check=False).split())
        self.spawn("rpcd")
        self.until(lambda: "session" in self.sh("ubus list", check=False).split())
        if network:
            (self.root / "etc/config/network").write_text(network)
            self.sh("/etc/init.d/network start")
            self.until(lambda: "network.interface.lan" in self.sh("ubus list", check=False).split())
            started()
            self.until(lambda: all(self.is_up(name) for name in ("lan", "wan")))
        self.sh("/etc/init.d/firewall enable; /etc/init.d/firewall start")
        self.sh("reload_config")

    def is_up(self, interface: str) -> bool:
        """Whether netifd says so."""
        known = self.sh(f"ubus call network.interface.{interface} status", check=False)
        return bool(known) and json.loads(known)["up"] is True

    def start_ubusd(self) -> None:
        """Until it answers."""
        self._ubusd = self.spawn("ubusd")
        self.until(lambda: self.sh("ubus list && echo up", check=False).endswith("up\n"))

    def stop_ubusd(self) -> None:
        """As if it had crashed."""
        self._ubusd.kill()
        self._ubusd.wait()
        self.sh("kill -9 $(pidof ubusd)", check=False)

    def spawn(self, *command: str) -> subprocess.Popen[Any]:
        """A program that goes on in the box."""
        return self.lab.router.spawn(*self._enter(), *command, env={"PATH": PATH, "HOME": "/tmp"}, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)

    def sh(self, command: str, check: bool = True, text: str = "") -> str:
        """What a command prints that reads `text`. Raises RuntimeError, with all it said, when it fails."""
        done = subprocess.run([*self._enter(), "/bin/sh", "-c", command], env={"PATH": PATH, "HOME": "/tmp"}, capture_output=True,
                              text=True, input=text, timeout=60 * SLOWER, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def status(self, command: str) -> int:
        """A command's exit status."""
        return subprocess.run([*self._enter(), "/bin/sh", "-c", command], env={"PATH": PATH, "HOME": "/tmp"}, timeout=60 * SLOWER,
                              check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._pid), "--mount", "--net", "--pid", "--ipc", "--root", "--wd"]

    def call(self, object_: str, method: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """A call on ubus."""
        found = json.loads(self.sh(f"ubus call {object_} {method} '{json.dumps(arguments or {})}'"))
        assert isinstance(found, dict)
        return found

    def until(self, condition: Callable[[], Any], timeout: float = 15.0) -> Any:
        """Polls until it holds, while the lab goes on. Raises TimeoutError."""
        limit = time.monotonic() + timeout * SLOWER
        while time.monotonic() < limit:
            found = condition()
            if found:
                return found
            self.lab.pump.run(lambda: False, 0.02)
        raise TimeoutError(f"not within {timeout} s; the log:\n" + "\n".join(self.read_log()))

    def read_log(self) -> list[str]:
        """The system log so far."""
        return self._log.read_text(errors="replace").splitlines()

    def tables(self) -> set[str]:
        """Those of nftables."""
        return set(self.sh("nft list tables").splitlines())

    def install(self, package: Path) -> str:
        """By opkg."""
        self.pretend(package)
        (self.root / "tmp" / package.name).write_bytes(package.read_bytes())
        return self.sh(f"opkg install /tmp/{package.name} 2>&1")

    def pretend(self, package: Path, *others: str) -> None:
        """Where the root is no whole OpenWrt, what a package depends on counts as installed, and others."""
        known = self.root / "usr/lib/opkg/status"
        if known.exists() and not self._pretends:
            return
        (self.root / "usr/lib/opkg/info").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/opkg.conf").write_text("dest root /\nlists_dir ext /tmp/opkg-lists\narch all 1\n")
        (self.root / "tmp/opkg-lists").mkdir(exist_ok=True)
        depends = next(line for line in ipk.read_control(package.read_bytes()).splitlines() if line.startswith("Depends: "))
        self._pretends = True
        there = known.read_text() if known.exists() else ""
        for name in (*depends.removeprefix("Depends: ").split(", "), *others):
            if f"Package: {name}\n" not in there:
                (self.root / f"usr/lib/opkg/info/{name}.list").touch()
                there += f"Package: {name}\nVersion: 1\nStatus: install ok installed\nArchitecture: all\n\n"
        known.write_text(there)

    def ready(self) -> bool:
        """Has the daemon put its configuration in force, and is it on ubus, which comes a moment later?"""
        return self.status("test -e /var/run/vpnpt/ready && ubus list vpnpt") == 0

    def call_silently(self, object_: str, method: str, arguments: dict[str, Any]) -> None:
        """A call that answers nothing but its status."""
        self.sh(f"ubus call {object_} {method} '{json.dumps(arguments)}'")
