# SPDX-License-Identifier: GPL-2.0-or-later
"""It does not fall, and it fails closed: a real daemon whose system refuses it what it needs."""
from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import selectors
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import router as lab_router
from tests.lab.topology import Lab
from vpnpt import process
from vpnpt.daemon import child
from vpnpt.kernel import nft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.router import Router

CONFIG = "config vpnpt 'global'\n list lan_device 'lan0'\n list wan_device 'wan0'\n"
BROKEN = CONFIG + "config 1 'l2tp\n"


@pytest.fixture
def router(sandbox: None) -> Iterator[Router]:
    """A router on which the daemon does not run yet."""
    with Lab(clients=0, servers=0, lan_device="lan0", wan_device="wan0", ipv6=False) as lab:
        yield lab.router


def l2tp(router: Router) -> str:
    found: dict[str, Any] = router.ask(method="status")["protocols"]
    return str(found["l2tp"]["behaviour"]) if found else ""


# --- fail closed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_blocked_is_blocked_after_a_restart_with_an_error(router: Router, number: int) -> None:
    router.start_vpnpt(CONFIG + "config 0 'l2tp'\n")
    assert l2tp(router) == "block" and "l2tp is blocked" in router.run("nft", "list", "ruleset").stdout
    kept = router.run_dir / "in-force"
    before = kept.stat().st_mtime_ns
    assert router.vpnpt("status"), "and exit status 0"
    router.ask(method="reload")
    assert kept.stat().st_mtime_ns == before, "written only when the file says something else"
    router.kill_vpnpt(number)
    router.start_vpnpt(BROKEN)
    assert l2tp(router) == "block" and "l2tp is blocked" in router.run("nft", "list", "ruleset").stdout
    shot = router.ask(method="status")
    assert shot["in_force"] == "last" and shot["in_force_since"] > 1_700_000_000
    assert "has no end" in shot["problem"] and "the last configuration without an error, of 20" in shot["problem"]
    with pytest.raises(RuntimeError):
        router.vpnpt("status")
    router.write_config(CONFIG)
    assert router.ask(method="reload")["applied"]
    assert l2tp(router) == "help" and router.ask(method="status")["in_force"] == "file" and router.vpnpt("status")
    router.write_config(BROKEN)
    assert not router.ask(method="reload")["applied"]
    assert router.ask(method="status")["in_force"] == "earlier" and kept.read_text().endswith(CONFIG)


# --- what the system refuses -----------------------------------------------------------------------------------------------


def test_no_descriptors(router: Router) -> None:
    """The control socket still answers those that are there, and all is well when descriptors come back."""
    router.start_vpnpt(CONFIG)
    assert router.daemon is not None
    pid = router.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, before[1]))
    for _ in range(3):
        assert router.ask(method="status")["pid"] == pid, "with a single descriptor: no program can be run"
        assert "error" in router.ask(method="doctor")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, before[1]))
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(router.run_dir / "control"))
    assert router.wait_until(lambda: "TROUBLE" in router.log_text())
    began = sum(os.times()[2:4])
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    waiting.close()
    assert router.ask(method="reload")["applied"] and router.daemon.poll() is None
    assert router.log_text().count("TROUBLE") == 1 and sum(os.times()[2:4]) - began < 5
    assert len(os.listdir(f"/proc/{pid}/fd")) <= used + 1, "none is lost"


def test_a_program_without_descriptors_is_not_run() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(used)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, limits[1]))
    try:
        for spare in range(6):
            assert process.run(["true"]).status == process.NOT_RUNNABLE, spare
            os.close(held.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)
    assert process.run(["true"]).status == 0


def test_fork_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    open_before = len(os.listdir("/proc/self/fd"))
    with selectors.DefaultSelector() as selector, monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        answers: list[dict[str, Any]] = []
        child.Aside(selector).run(dict).then(answers.append)
        assert "error" in answers[0] and not selector.get_map()
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_many_doctors_are_one_and_bounded(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    peers = []
    for _ in range(50):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(router.run_dir / "control"))
        peer.settimeout(60)
        peer.sendall(b'{"method": "doctor"}\n')
        peers.append(peer)
    assert router.ask(method="status")["in_place"], "answered meanwhile"
    for peer in peers:
        with peer, peer.makefile("rb") as answer:
            assert json.loads(answer.readline())
    assert router.daemon is not None and router.daemon.poll() is None


def test_a_hanging_nft_is_waited_for_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "IMPATIENT", 0.05)
    patience = nft._Patience()
    assert patience.run(["sleep", "60"], 0.3).status == process.TIMED_OUT
    began = time.monotonic()
    assert patience.run(["sleep", "60"], 50.0).status == process.TIMED_OUT
    assert time.monotonic() - began < 25, "not the 50 seconds that a working one may take"
    assert patience.run(["true"], 50.0).status == 0 and not patience.hangs_until, "it works again"


@pytest.mark.parametrize("full", ["bytes", "files"])
def test_no_space_at_a_start(router: Router, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    """What is blocked is blocked; when there is room again, it can be asked and signalled, and fw4 has our rules."""
    monkeypatch.setattr(lab_router, "READY_TIMEOUT", 3.0)
    options = "size=64k,mode=755" if full == "bytes" else "nr_inodes=3,mode=755"
    router.run("mount", "-t", "tmpfs", "-o", options, "none", str(router.run_dir))
    try:
        (router.run_dir / "fw4").mkdir()
        filler = router.run_dir / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while full == "bytes":
                file.write(bytes(4096))
        router.daemon = router.spawn("true")
        router.daemon.wait()
        with contextlib.suppress(RuntimeError):  # nothing can tell that it is ready
            router.start_vpnpt(CONFIG + "config 1 'ipsec'\nconfig 0 'l2tp'\n")
        assert router.wait_until(lambda: "l2tp is blocked" in router.run("nft", "list", "ruleset").stdout, 60), router.log_text()
        filler.unlink()
        router.run("mount", "-o", f"remount,{options.replace('64k', '1m').replace('3', '300')}", str(router.run_dir))
        included = router.run_dir / "fw4" / "forward.nft"
        assert router.wait_until(lambda: included.exists() and (router.run_dir / "control").exists(), 60), router.log_text()
        assert l2tp(router) == "block" and (router.run_dir / "vpnptd.pid").read_text() == f"{router.daemon.pid}\n"
        assert router.log_text().count("TROUBLE") <= 1 and router.log_text().count(": FW4: ") == 1
    finally:
        if router.daemon is not None:
            router.kill_vpnpt(signal.SIGKILL)
        router.run("umount", str(router.run_dir))


def test_a_folder_at_the_control_socket_s_path(router: Router) -> None:
    """Said in one line, not by a traceback."""
    (router.run_dir / "control").mkdir()
    with pytest.raises(RuntimeError) as caught:
        router.start_vpnpt(CONFIG)
    assert "control: Is a directory" in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.parametrize("name", ["ready", "history", "maps", "in-force", "usage", "fw4/forward.nft", "control"])
def test_pipes_and_links_at_our_paths(router: Router, name: str) -> None:
    """Neither waited for nor followed; the rules are in force all the same."""
    path, other = router.run_dir / name, router.directory / "other"
    other.write_text("precious")
    for make in (lambda: os.mkfifo(path), lambda: path.symlink_to(other)):
        path.unlink(missing_ok=True)
        make()
        router.daemon = router.spawn("true")
        router.daemon.wait()
        if name == "ready":  # the lab's own way to wait for it
            path.unlink()
        router.start_vpnpt(CONFIG)
        assert router.ask(method="status")["in_place"]
        router.kill_vpnpt(signal.SIGTERM)
        assert other.read_text() == "precious"
