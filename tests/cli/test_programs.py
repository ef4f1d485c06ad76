# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnpt and vpnptd as they are started: arguments, exit statuses, what is on which stream."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vpnpt.daemon.loop import USAGE

if TYPE_CHECKING:
    from tests.golden.kernel import Kernel

SOURCE = Path(__file__).resolve().parents[2] / "src"
STARTED_BY_HAND = "config vpnpt 'global'\n list lan_device 'br-lan'\n list wan_device 'wan'\n"


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **changes}


def vpnpt(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Without any other program in reach, unless PATH is given."""
    return subprocess.run([sys.executable, "-m", "vpnpt.cli", *arguments], capture_output=True, text=True, check=False,
                          env=environment(**{"PATH": "/nonexistent", **changes}))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """/etc/config/vpnpt, empty."""
    made = tmp_path / "vpnpt"
    made.write_text("")
    return made


# render

def test_the_command_of_the_shorthand(config: Path) -> None:
    command = ("printf \"config 1 'ipsec'\\nconfig 0 'pptp'\\n\" > \"$DIR/vpnpt\"; "
               "\"$PYTHON\" -m vpnpt.cli render --config-dir \"$DIR\"")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False,
                          env=environment(DIR=str(config.parent), PYTHON=sys.executable))
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.strip().partition(" comment ")[0] for line in done.stdout.splitlines()} >= {
        "tcp dport 1723 goto refuse_pptp_blocked", "tcp dport 1723 goto drop_pptp", "map client_zone {", "chain prerouting {"}
    assert "chain refuse_ipsec_blocked {" not in done.stdout and 'ct helper set "pptp"' not in done.stdout


def test_render_where_there_is_no_router_at_all(config: Path) -> None:
    """Neither fw4 nor the network's files: the devices of a stock router stand in, and nobody is told off for it."""
    done = vpnpt("render", "--config-dir", str(config.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'iifname "br-lan"' in done.stdout and 'oifname "wan"' in done.stdout


def test_render_keeps_the_side_that_is_known(config: Path) -> None:
    config.write_text("config vpnpt 'global'\n list wan_device 'isp7'\n")
    done = vpnpt("render", "--config-dir", str(config.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'oifname "isp7"' in done.stdout and '"wan"' not in done.stdout and 'iifname "br-lan"' in done.stdout


def test_render_still_says_what_is_wrong_with_devices(config: Path) -> None:
    config.write_text("config vpnpt 'global'\n list lan_device 'home0'\n list lan_device 'a/b'\n")
    done = vpnpt("render", "--config-dir", str(config.parent))
    assert done.returncode == 0
    assert done.stderr.startswith(f"warning: {config}:3: section 'global' option 'lan_device' value 'a/b': ")
    assert done.stderr.count("\n") == 1


def test_render_asks_fw4(config: Path) -> None:
    config.write_text("config vpnpt 'global'\n list lan_zone 'lan'\n list wan_zone 'wan'\n")
    script = config.parent / "fw4"
    script.write_text('#!/bin/sh\ncase "$1 $2" in\n"zone lan") echo home0 guest0 ;;\n"zone wan") echo isp7 ;;\nesac\n')
    script.chmod(0o755)
    done = vpnpt("render", "--config-dir", str(config.parent), PATH=str(config.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'iifname { "home0", "guest0" }' in done.stdout and '"isp7"' in done.stdout


def test_render_of_the_shipped_configuration_is_that_of_none(config: Path) -> None:
    done = vpnpt("render", "--config-dir", str(SOURCE.parent / "files" / "etc" / "config"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == vpnpt("render", "--config-dir", str(config.parent)).stdout


def test_render_without_a_file(tmp_path: Path) -> None:
    done = vpnpt("render", "--config-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}/vpnpt does not exist; ")


# check

@pytest.mark.parametrize(("text", "status", "said"), [
    (STARTED_BY_HAND, 0, "the configuration is right\n"),
    (STARTED_BY_HAND + " option enabled 0\n", 0, "the configuration is right\n"),
    (STARTED_BY_HAND + " option colour green\n", 1, "unknown option"),
    (STARTED_BY_HAND + "config protocol 'l2tp'\n list allow_src 'nobody'\n", 2, "not one entry is valid"),
    (STARTED_BY_HAND + "config protocol 'l2tp\n", 2, "has no end"),
    ("", 2, "no network device found"),
    (None, 2, "does not exist"),
])
def test_check(kernel: Kernel, config: Path, text: str | None, status: int, said: str) -> None:
    kernel.clear()
    config.unlink() if text is None else config.write_text(text)
    done = kernel.run(sys.executable, "-m", "vpnpt.cli", "check", "--config-dir", str(config.parent), check=False, env=environment())
    assert (done.returncode, done.stderr) == (status, "")
    assert said in done.stdout
    assert kernel.tables() == [], "a check changes nothing"


def test_check_without_nft(config: Path) -> None:
    config.write_text(STARTED_BY_HAND)
    done = vpnpt("check", "--config-dir", str(config.parent))
    assert done.returncode == 2
    assert done.stdout == "error: the kernel refuses the ruleset: the program nft is missing: install the package nftables\n"


# vpnptd

def vpnptd(kernel: Kernel, *arguments: str) -> subprocess.CompletedProcess[str]:
    return kernel.run(sys.executable, "-m", "vpnpt.daemon", *arguments, check=False, env=environment(), timeout=60)


@pytest.mark.parametrize("arguments", [["--nonsense"], ["start"], ["--config-dir"], ["--foreground", "--run-dir"], ["--foreground=1", "x"]])
def test_vpnptd_usage(kernel: Kernel, arguments: list[str]) -> None:
    done = vpnptd(kernel, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", USAGE)


def test_vpnptd_help(kernel: Kernel) -> None:
    done = vpnptd(kernel, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, USAGE, "")


def test_a_run_directory_that_cannot_be(kernel: Kernel, config: Path) -> None:
    for place, why in ((f"{config}/run", "Not a directory"), ("/proc/no/such", "No such file or directory")):
        done = vpnptd(kernel, "--run-dir", place, "--foreground")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("vpnptd: /") and done.stderr.endswith(f": {why}\n")


def test_a_second_instance_is_refused(kernel: Kernel, config: Path) -> None:
    kernel.clear()
    config.write_text(STARTED_BY_HAND)
    run = config.parent / "run"
    options = ["--config-dir", str(config.parent), f"--run-dir={run}", "--foreground"]
    first = kernel.spawn(sys.executable, "-m", "vpnpt.daemon", *options, env=environment(), stderr=subprocess.PIPE)
    try:
        assert first.stderr is not None and b"APPLIED" in first.stderr.readline()
        second = vpnptd(kernel, *options)
        assert (second.returncode, second.stderr) == (1, f"vpnptd: another instance runs with --run-dir {run}\n")
        assert (run / "vpnptd.pid").read_text() == f"{first.pid}\n", "the first one's number stays"
        assert first.poll() is None and kernel.tables() == ["table ip vpnpt", "table ip6 vpnpt"]
    finally:
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        first.stderr.close()
    assert kernel.tables() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_with_status_0(kernel: Kernel, config: Path, number: int) -> None:
    config.write_text(STARTED_BY_HAND)
    daemon = kernel.spawn(sys.executable, "-m", "vpnpt.daemon", "--config-dir", str(config.parent), "--run-dir", str(config.parent / "run"),
                          "--foreground", env=environment(), stderr=subprocess.PIPE)
    assert daemon.stderr is not None and b"APPLIED" in daemon.stderr.readline()
    daemon.send_signal(number)
    assert daemon.wait(60) == 0
    daemon.stderr.close()
