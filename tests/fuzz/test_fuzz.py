# SPDX-License-Identifier: GPL-2.0-or-later
"""Some seconds of each target with a fixed seed, every time; and the fuzzer itself finds what is there to be found.

An hour: make fuzz ARGS="--minutes 60".
"""
from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.forge import WAN, blast, flood_from_lan, ip, stage
from tests.fuzz import engine
from tests.fuzz.engine import Mutator, Target, fuzz
from tests.fuzz.targets import PREFIXES, Driver, _packets, _stories, targets
from tests.lab.topology import Lab
from tests.wire import hexdump

SEED = 20_261
INPUTS = 60_000
"""In all units of a decoder's cost; a target gets its share by what it costs."""


@pytest.mark.parametrize("name", ["netlink", "packets", "ubus", "config", "edit", "control", "requests", "driver"])
def test_target(sandbox: None, name: str) -> None:
    target = next(one for one in targets() if one.name == name)
    result = fuzz(target, SEED, lambda runs: runs >= INPUTS // target.slow)
    assert not result.findings, "\n".join(map(str, result.findings))
    assert result.ways > 40, "it got somewhere"


def test_the_command_runs() -> None:
    """As `make fuzz` does it, without the path that pytest has."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", "0.001", "packets"]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and "packets" in result.stdout, result.stderr


def test_every_target_is_run(sandbox: None) -> None:
    listed = test_target.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert sorted(target.name for target in targets()) == sorted(listed)


def test_the_same_seed_gives_the_same_inputs() -> None:
    seen: list[list[bytes]] = []
    for _ in range(2):
        inputs: list[bytes] = []
        fuzz(Target("same", [hexdump.read("ike2-sa-init")], inputs.append), 5, lambda runs: runs >= 300)
        seen.append(inputs)
    assert seen[0] == seen[1] and len(set(seen[0])) > 200


def test_it_finds_an_exception() -> None:
    def careless(data: bytes) -> None:
        if data[:1] == b"\xc8" and len(data) > 2 and data[2:3] == b"\0":
            raise KeyError("found")

    result = fuzz(Target("careless", hexdump_l2tp(), careless), 1, lambda runs: runs >= 3000)
    assert [type(finding.error) for finding in result.findings] == [KeyError]


def hexdump_l2tp() -> list[bytes]:
    """One good message, with a length that is not 0."""
    return [b"\xc8\x02\x01\x20" + bytes(12)]


def test_requests_reach_what_answers_them(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the way that a handler goes to the kernel, or to the configuration, is found."""
    def refuse(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError

    def spoil(config_dir: str, *_arguments: object, **_more: object) -> bool:
        Path(config_dir, "vpnpt").write_text("config 1 'ipsec'\n\tlist deny_src '\n")
        return True

    for where, what, how, found in (("vpnpt.daemon.sessions_feed.SessionsFeed", "kill", refuse, ZeroDivisionError),
                                    ("vpnpt.router.uciedit", "edit_list", spoil, AssertionError)):
        with monkeypatch.context() as patch:
            patch.setattr(f"{where}.{what}", how)
            target = next(one for one in targets() if one.name == "requests")
            result = fuzz(target, 1, lambda runs: runs >= 60)
        assert found in [type(finding.error) for finding in result.findings]


def test_it_finds_what_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HANG", 0.2)

    def endless(data: bytes) -> None:
        while data[:1] == b"\0":
            pass

    result = fuzz(Target("endless", [b"\1\2\3"], endless), 1, lambda runs: runs >= 60)
    assert [type(finding.error) for finding in result.findings] == [engine.HangError]


def test_new_ways_are_kept() -> None:
    """Without them it would not come behind the first number of a message."""
    result = fuzz(Target("packets", [bytes(60)], _packets), 1, lambda runs: runs >= 4000)
    assert result.kept > 3


def test_stories_reach_the_engine(sandbox: None) -> None:
    """The corpus of the driver is one that it heeds: somebody waits, something is shared."""
    driver = Driver()
    before = {name: len(found) for name, found in driver._kernel.maps.items()}
    for story in _stories():
        driver.run(story)
    assert {name: len(found) for name, found in driver._kernel.maps.items()} != before and len(PREFIXES) > 10


def test_the_real_daemon_behind_the_real_rules(sandbox: None) -> None:
    """Spoiled packets of every kind from both sides, with tunnels up, and spoiled requests: no traceback, and the tunnels go on."""
    with Lab(3, 1, "vpnpt", "config 1 ipsec\nconfig 1 l2tp\nconfig 1 pptp\n", ipv6=False) as lab:
        users = stage(lab)
        assert users.do_up("c1") == {"c1": "up"} and users.do_up("c2", kind="l2tp") == {"c2": "up"}
        assert not users.do_traffic()["c1"].lost
        corpus = [packet.data for host in (*lab.clients, *lab.servers) for packet in host.packets][:400]
        rng = random.Random(SEED)
        mutator = Mutator(rng)

        def spoiled(source: str | None, target: str) -> bytes:
            """Behind a header that a router accepts: version, length and checksum are right."""
            packet = rng.choice(corpus)
            body = mutator.spoil(packet[20:], rng.choice(corpus)[20:])[:1400]
            return ip(source or lab.clients[2].address, target, packet[9], body, rng.randrange(1, 1 << 16))

        server = lab.servers[0].address
        flood_from_lan(lab, lab.clients[2], (spoiled(None, server) for _ in range(2500)), 4000)
        blast(lab.isp, (spoiled(server, WAN) for _ in range(2500)), lab.router, "wan", 4000)
        requests = [b'{"method": "%s", "client": "192.168.1.9", "protocol": "ipsec", "id": "1"}' % method
                    for method in (b"status", b"sessions", b"events", b"counters", b"block", b"unblock", b"kill", b"none")]
        for _ in range(150):
            request = mutator.spoil(rng.choice(requests), rng.choice(requests)).replace(b"\n", b"") + b"\n"
            assert _ask(lab, request) is not None
        assert "Traceback" not in lab.router.log_text()
        assert lab.router.daemon is not None and lab.router.daemon.poll() is None
        assert users.do_dpd("c1") == {"c1": "answered"}
        result = users.do_traffic(out=3, back=3)
        assert not result["c1"].lost and not result["c2"].lost


def _ask(lab: Lab, line: bytes) -> bytes | None:
    """One line to the control socket; what comes back, None where nothing does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(str(lab.router.run_dir / "control"))
        sock.sendall(line)
        return sock.recv(65536) or None
