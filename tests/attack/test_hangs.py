# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that never end: an nft or fw4 that hangs keeps nobody from being answered, and no notice from being heard.

A program hangs as long as `flag` is there, and tells that it does in `hung`. What the daemon gives up on it kills, so who is answered
while the program lives was answered while it hung.
"""
from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.attack.forge import AH, esp, ip, stage
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.router import Router
    from tests.lab.verbs import Stage

CONFIG = "config 1 ipsec\n"
OTHER_RULES = CONFIG + "config 1 l2tp\n"
OTHER_MAPS = "config vpnpt 'global'\n\toption max_keys 2048\n" + CONFIG


class Program:
    """In the daemon's PATH, before the real one."""

    def __init__(self, router: Router, name: str) -> None:
        self._router, self.flag, self._hung = router, router.directory / "hang", router.directory / "hung"
        path: Path = router.directory / "bin" / name
        real = shutil.which(name)
        if path.exists():  # the lab's own
            real = str(path.rename(path.with_suffix(".real")))
        path.write_text(f"#!/bin/sh\nif [ -e {self.flag} ] && [ \"$1\" != -c ]; then echo $$ >{self._hung}; fi\n"
                        f"while [ -e {self.flag} ] && [ \"$1\" != -c ]; do sleep 0.05; done\nexec {real} \"$@\"\n")
        path.chmod(0o755)

    def hang(self) -> None:
        """From now on."""
        self.flag.touch()

    def wait(self) -> None:
        """Until it hangs."""
        assert self._router.wait_until(lambda: self._hung.exists() and bool(self._hung.read_text().strip()), 60), self._router.log_text()

    @property
    def pid(self) -> int:
        return int(self._hung.read_text())

    def hangs(self) -> bool:
        """Does it run still? What was killed was reaped by the daemon."""
        return self.flag.exists() and os.path.exists(f"/proc/{self.pid}")

    def end(self) -> None:
        """It goes on."""
        self.flag.unlink()


class Question:
    """A request to the daemon whose answer is waited for when it is wanted."""

    def __init__(self, router: Router, **request: str) -> None:
        self._router = router
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(router.run_dir / "control"))
        self._socket.sendall(json.dumps(request).encode() + b"\n")

    def answered(self) -> bool:
        return bool(select.select([self._socket], [], [], 0)[0])

    def answer(self) -> dict[str, Any]:
        assert self._router.wait_until(self.answered, 120)
        with self._socket, self._socket.makefile("rb") as answer:
            found: dict[str, Any] = json.loads(answer.readline())
            return found


@pytest.fixture
def lab(sandbox: None) -> Iterator[Lab]:
    with Lab(2, 1, "vpnpt", CONFIG, ipv6=False) as lab:
        yield lab


def lost(users: Stage) -> int:
    """Packets of both tunnels, either way."""
    found = users.do_traffic()
    return sum(found[name].lost for name in ("c1", "c2"))


def answers(lab: Lab, program: Program, client: int = 0) -> None:
    """Every question, and a notice of the kernel's."""
    router = lab.router
    assert router.ask(method="status")["pid"] == router.daemon.pid  # type: ignore[union-attr]
    assert program.hangs()
    assert "sessions" in router.ask(method="sessions") and router.ask(method="events")["events"]
    assert program.hangs()
    before = router.log_text().count("AH can't pass NAT")
    lab.clients[client].send_raw(ip(lab.clients[client].address, lab.servers[0].address, AH, bytes(24)))
    assert router.wait_until(lambda: router.log_text().count("AH can't pass NAT") > before or not program.hangs(), 60)
    assert program.hangs(), "the notice was heard while it hung"


@pytest.mark.parametrize("config", [OTHER_RULES, OTHER_MAPS], ids=["rules", "maps"])
def test_a_reload_that_hangs(lab: Lab, config: str) -> None:
    """Tunnels go on and change their keys; a second reload waits its turn, and both have their true answers."""
    users = stage(lab)
    assert set(users.do_up("c1..c2").values()) == {"up"}
    program = Program(lab.router, "nft")
    program.hang()
    lab.router.write_config(config)
    first = Question(lab.router, method="reload")
    program.wait()
    answers(lab, program)
    assert users.do_rekey("c1") == {"c1": "done"}
    assert not lost(users)
    lab.router.write_config(CONFIG + "config 0 l2tp\n")
    second = Question(lab.router, method="reload")
    answers(lab, program, 1)
    assert not first.answered() and not second.answered()
    program.end()
    assert first.answer()["applied"]
    assert second.answer()["applied"]
    assert lab.router.ask(method="status")["protocols"]["l2tp"]["behaviour"] == "block"
    assert not lost(users)


def test_what_was_learned_while_the_maps_were_made_anew(lab: Lab) -> None:
    """nft takes its time, and comes through: what the daemon has written into the old maps meanwhile is in the new ones."""
    users = stage(lab)
    assert set(users.do_up("c1..c2").values()) == {"up"}
    assert not lost(users)
    router, go = lab.router, lab.router.directory / "go"
    slow = router.directory / "bin" / "nft"
    slow.write_text(f"#!/bin/sh\ntouch {go}.waits\nwhile [ ! -e {go} ]; do sleep 0.05; done\nexec {shutil.which('nft')} \"$@\"\n")
    slow.chmod(0o755)
    router.write_config(OTHER_MAPS)
    reload = Question(router, method="reload")
    assert router.wait_until(lambda: os.path.exists(f"{go}.waits"), 60)
    router.ask(method="kill", client=lab.clients[1].address)
    ended = router.run("nft", "list", "set", "ip", "vpnpt", "ended").stdout
    assert " expires " in ended
    go.touch()
    assert reload.answer()["applied"]
    assert " expires " in router.run("nft", "list", "set", "ip", "vpnpt", "ended").stdout


def test_a_signal_meanwhile_is_heard_afterwards(lab: Lab) -> None:
    program = Program(lab.router, "nft")
    program.hang()
    lab.router.write_config(OTHER_RULES)
    reload = Question(lab.router, method="reload")
    program.wait()
    lab.router.write_config(CONFIG + "config 0 l2tp\n")
    assert lab.router.daemon is not None
    lab.router.daemon.send_signal(signal.SIGHUP)
    answers(lab, program)
    program.end()
    assert reload.answer()["applied"]
    assert lab.router.wait_until(lambda: lab.router.ask(method="status")["protocols"]["l2tp"]["behaviour"] == "block", 60)


def test_the_end_meanwhile(lab: Lab) -> None:
    """The tables are gone and what was known of tunnels is kept, though nft still hangs, and fw4 with it."""
    users = stage(lab)
    assert set(users.do_up("c1..c2").values()) == {"up"}
    program = Program(lab.router, "nft")
    program.hang()
    lab.router.write_config(OTHER_RULES)
    Question(lab.router, method="reload")
    program.wait()
    daemon = lab.router.daemon
    assert daemon is not None and program.hangs()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(120) == 0 and not os.path.exists(f"/proc/{program.pid}"), lab.router.log_text()
    assert "vpnpt" not in lab.router.run("nft", "list", "tables").stdout
    assert (lab.router.run_dir / "maps").stat().st_size > 100
    program.flag.unlink()
    lab.router.start_vpnpt(CONFIG)
    assert not lost(users)


def test_a_start_that_hangs(lab: Lab) -> None:
    """Questions are answered; nobody is told that it is ready before the rules are there."""
    lab.router.kill_vpnpt(signal.SIGTERM)
    program = Program(lab.router, "nft")
    program.hang()
    ready = lab.router.run_dir / "ready"
    seen: list[bool] = []

    def look(when: Callable[[], bool]) -> None:
        if when():
            seen.append(ready.exists() or "in_place" not in lab.router.ask(method="status") or not program.hangs())
            program.end()
        else:
            lab.pump.after(0.05, lambda: look(when))

    look(lambda: program._hung.exists() and bool(program._hung.read_text().strip()))
    lab.router.start_vpnpt(CONFIG)
    assert seen == [False]
    assert lab.router.ask(method="status")["in_place"]


def test_fw4_hangs(lab: Lab) -> None:
    """It is reloaded when what it includes of ours is other than before."""
    program = Program(lab.router, "fw4")
    program.hang()
    lab.router.write_config(CONFIG.replace("config 1 ipsec\n", "config 0 ipsec\n"))
    reload = Question(lab.router, method="reload")
    program.wait()
    assert lab.router.ask(method="status")["pid"]
    assert program.hangs()
    program.end()
    assert reload.answer()["applied"]
    lab.clients[0].send_raw(esp(lab.clients[0].address, lab.servers[0].address, 0x1234567))
