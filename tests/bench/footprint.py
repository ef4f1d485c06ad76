# SPDX-License-Identifier: GPL-2.0-or-later
"""What vpnpt takes: flash, memory of the daemon and of the kernel, time to start, to reload and to come back after `nft flush ruleset`."""
from __future__ import annotations

import lzma
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buildroot import ipk
from buildroot.recipe import RECIPES, read
from tests.attack.forge import blackhole, esp, flood_from_lan, ike, random_cookies, udp, usage
from tests.bench.crowd import Crowd
from tests.bench.throughput import CONFIG
from tests.lab import sandbox
from tests.lab.topology import Lab
from vpnpt.config.compile import compile_config
from vpnpt.kernel.backup import Mirror
from vpnpt.kernel.netfilter import Netlink
from vpnpt.model import Devices
from vpnpt.ruleset import compile_ruleset

if TYPE_CHECKING:
    from collections.abc import Callable

SESSIONS = (0, 100, 1000)
CROWD = 4000
SCANNED = 4000
TIMES = 5
KB, MB = 1 / 1024, 1 / 1024 ** 2


class Row(NamedTuple):
    """A figure. note: what it is beside, or how it was got."""

    what: str
    value: float
    unit: str
    note: str = ""


def measure(say: Callable[[str], None] = print) -> list[Row]:
    """All of it. Raises RuntimeError when the daemon does not do what it is to do."""
    with tempfile.TemporaryDirectory() as directory:
        shipped = read("vpnpt", Path(directory) / "recipe").root / "usr/lib/vpnpt"
        program = [sys.executable, "-I", str(shipped / "main.py"), "daemon"]
        subprocess.run([*program, "--help"], check=True, stdout=subprocess.DEVNULL)  # what compiles stays larger (files/usr/sbin/vpnptd)
        rows = flash(Path(directory))
        for part in (start, memory, scan, crowd):
            say(f"  {part.__name__}")
            rows += part(program)
    return rows


# --- flash ---------------------------------------------------------------------------------------------------------------------------


def flash(work: Path) -> list[Row]:
    """Our packages, and what of Python the daemon has loaded."""
    rows = []
    for name in RECIPES:
        recipe = read(name, work / "flash" / name)
        files = sum(path.stat().st_size for path in recipe.root.rglob("*") if path.is_file())
        rows.append(Row(f"{recipe.name}: the package", len(ipk.build(recipe, 0)) * KB, "KB", f"{files * KB:.0f} KB unpacked"))
    program = "import sys, vpnpt.daemon; print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                            env={**os.environ, "PYTHONPATH": str(Path("src").resolve())}).stdout.split()
    python = [Path(name) for name in loaded if "/vpnpt/" not in name and "site-packages" not in name]
    content = b"".join(path.read_bytes() for path in [*python, Path(sys.executable).resolve()])
    rows.append(Row("Python, what the daemon loads of it", len(lzma.compress(content)) * KB, "KB, xz",
                    f"the interpreter and {len(python)} modules of this machine's; python3-light has more, other packages are shared"))
    return rows


# --- the daemon ----------------------------------------------------------------------------------------------------------------------


def start(program: list[str]) -> list[Row]:
    """From the start of the process to rules in place, with what is compiled of the sources found (as from the second start on)."""
    bare = statistics.median(_seconds(lambda: subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)) for _ in range(TIMES))
    took = []
    with Lab(clients=1, servers=1, ipv6=False) as lab:
        for _ in range(TIMES + 1):
            took.append(_seconds(lambda: lab.router.start_vpnpt(CONFIG, program=program)))
            lab.router.kill_vpnpt(signal.SIGTERM)
    note = f"bare CPython starts and ends in {bare * 1000:.0f} ms"
    return [Row("start to rules in place", statistics.median(took[1:]) * 1000, "ms", note)]


def memory(program: list[str]) -> list[Row]:
    """Resident set of the daemon, with so many clients that use everything at once, each with its own server."""
    sleeper = subprocess.Popen([sys.executable, "-I", "-c", "import time; print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
    assert sleeper.stdout is not None
    sleeper.stdout.readline()
    bare = _resident(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    rows = [Row("bare CPython that does nothing", bare, "MB")]
    for sessions in SESSIONS:
        with Lab(clients=1, servers=1, ipv6=False) as lab:
            lab.router.start_vpnpt(CONFIG, program=program)
            if sessions:
                Crowd(lab, sessions).establish()
                lab.router.vpnpt("status")
                lab.pump.run_for(2)
            assert lab.router.daemon is not None
            resident = _resident(lab.router.daemon.pid)
        rows.append(Row(f"vpnptd, {sessions} clients" if sessions else "vpnptd at rest", resident, "MB", f"{resident / bare:.2f} of bare"))
    return rows


def scan(program: list[str]) -> list[Row]:
    """What the daemon does while a host of the LAN sends IKE and ESP to thousands of addresses."""
    with Lab(clients=1, servers=1, ipv6=False) as lab:
        lab.router.start_vpnpt(CONFIG, program=program)
        assert lab.router.daemon is not None
        blackhole(lab, "198.18.0.0/15")
        source, number, daemon = lab.clients[0], random_cookies(1), lab.router.daemon.pid
        before, sender = usage(daemon), time.process_time()
        targets = [f"198.18.{n >> 8}.{n & 255}" for n in range(SCANNED)]
        flood_from_lan(lab, source, (packet for target in targets for packet in (
            udp(source.address, target, 500, 500, ike(number())), esp(source.address, target, number() & 0xFFFFFFFF))))
        lab.router.vpnpt("status")
        after, sent = usage(daemon), time.process_time() - sender
    note = f"CPU time of the daemon; the sender took {sent:.1f} s of its own, the daemon grew by {after[1] - before[1]:.1f} MB"
    return [Row(f"a scan of {SCANNED} addresses from the LAN", (after[0] - before[0]) * 1000, "ms", note)]


def crowd(program: list[str]) -> list[Row]:
    """With thousands of clients in the kernel's maps."""
    rows = []
    with Lab(clients=1, servers=1, ipv6=False) as lab:
        router = lab.router
        router.start_vpnpt(CONFIG, program=program)
        router.kill_vpnpt(signal.SIGKILL)
        Crowd(lab, CROWD).establish()
        note = f"{CROWD} clients"

        def timed(what: str, action: Callable[[], object], times: int = 1, more: str = "") -> None:
            rows.append(Row(what, statistics.median(_seconds(action) for _ in range(times)) * 1000, "ms", note + more))

        def reload() -> None:
            router.vpnpt("reload")

        timed("start of a new daemon beside the old tables", lambda: router.start_vpnpt(CONFIG, program=program))
        timed("reload, nothing changed", reload, TIMES, "; with the start of the program `vpnpt`")
        router.write_config(CONFIG.replace("config 1 'pptp'", "config 0 'pptp'"))
        timed("reload, other rules", reload)
        router.write_config(CONFIG + "config vpnpt 'global'\n\toption key_timeout 20000\n")
        timed("reload, other maps, all elements put back", reload)
        router.vpnpt("status")
        timed("back after every table was deleted", lambda: _flush(lab))
        router.write_config(CONFIG.replace("config 1 'ipsec'\n", "config 1 'ipsec'\n\tlist deny_src '10.77.0.0/16'\n"))
        timed("reload, IPsec of all is refused and cut", reload)
        router.kill_vpnpt(signal.SIGKILL)
        rows += _maps(lab)
    return rows


def _flush(lab: Lab) -> None:
    lab.router.fw4_flush()
    if not lab.router.wait_until(lambda: "ip vpnpt" in lab.router.run("nft", "list", "tables").stdout, 60):
        raise RuntimeError(f"the tables did not come back:\n{lab.router.log_text()}")


# --- the kernel ----------------------------------------------------------------------------------------------------------------------


def _maps(lab: Lab) -> list[Row]:
    """What the tables take in the kernel, empty and as they are: the median of several differences, as others use memory too."""
    config, _ = compile_config(CONFIG)
    assert config is not None
    ruleset = compile_ruleset(config, Devices(lan=(lab.router.lan_device,), wan=(lab.router.wan_device,)))
    with sandbox.inside(lab.router.namespace):
        mirror = Mirror(time.monotonic)
        mirror.refresh(Netlink(), ruleset)
    elements = mirror.elements()
    count = sum(map(len, elements.values()))
    rows = []
    for name, text in (("empty", ruleset.render()), (f"{CROWD} clients, {count} elements", ruleset.render(elements))):
        taken = []
        for _ in range(TIMES + 2):
            lab.router.nft("table ip vpnpt\ndelete table ip vpnpt\n")
            time.sleep(0.5)  # until the kernel has given back what it held, which nothing tells
            before = _kernel()
            lab.router.nft(text)
            taken.append(_kernel() - before)
        rows.append(Row(f"kernel memory of the tables, {name}", statistics.median(taken), "MB", "slabs that can't be reclaimed"))
    return rows


def _kernel() -> float:
    """MB."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M))
    return (int(found["SUnreclaim"]) + int(found["Percpu"]) + int(found["VmallocUsed"])) / 1024


def _resident(pid: int) -> float:
    """MB."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) / 1024


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began
