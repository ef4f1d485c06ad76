# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnptd as ujail starts it, without one: it ends with what started it, and has fw4 reload elsewhere. One: tests/openwrt/test_jail.py."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.daemon.test_loop import CONFIG, FW4, OURS, router, tables

if TYPE_CHECKING:
    from tests.lab.router import Router

__all__ = ["router"]
JAIL = 'VPNPT_JAIL=1 "$@" & echo $! >"$0"; wait'
"""A parent that passes nothing on when it is killed."""
UBUS = """#!/bin/sh
echo "$*" >>'{calls}'
[ "$2$3{status}{code}" != fileexec00 ] || fw4 -q reload
printf '{{\\n\\t"code": {code}\\n}}\\n'
exit {status}
"""


def runs(pid: int) -> bool:
    """Not ended, and no zombie of whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_it_ends_with_its_jail(router: Router) -> None:
    """As if it had been killed: what is in the kernel stays, and the next one takes it over."""
    file = router.directory / "pid"
    router.start_vpnpt(CONFIG, wrapper=("sh", "-c", JAIL, str(file)))
    pid = int(file.read_text())
    try:
        router.kill_vpnpt(signal.SIGKILL)
        assert router.wait_until(lambda: not runs(pid)), "it goes on without its jail"
    finally:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)
    assert tables(router) == OURS | FW4 and (router.run_dir / "fw4" / "forward.nft").exists()
    router.start_vpnpt(CONFIG)
    assert tables(router) == OURS | FW4


@pytest.mark.parametrize(("status", "code"), [(0, 0), (4, 0), (255, 0), (0, 1)], ids=["by rpcd", "no rpcd", "no ubusd", "fw4 failed"])
def test_fw4_is_reloaded_outside(router: Router, status: int, code: int) -> None:
    """Or by the daemon itself, where that did not work."""
    calls, ubus = router.directory / "calls", router.directory / "bin" / "ubus"
    ubus.write_text(UBUS.format(calls=calls, status=status, code=code))
    ubus.chmod(0o755)
    router.start_vpnpt(CONFIG, environment={"VPNPT_JAIL": "1"})
    asked = ["-t 3 call uci configs", 'call file exec {"command":"/sbin/fw4","params":["reload"]}'][:2 if status == 0 else 1]
    assert calls.read_text().splitlines() == asked
    assert "a server speaks first" in router.run("nft", "list", "chain", "inet", "fw4", "forward").stdout
    router.kill_vpnpt(signal.SIGTERM)
    assert calls.read_text().splitlines() == 2 * asked and "vpnpt" not in router.run("nft", "list", "ruleset").stdout
    assert "FW4" not in router.log_text()


def test_without_a_jail_fw4_is_run(router: Router) -> None:
    ubus = router.directory / "bin" / "ubus"
    ubus.write_text(UBUS.format(calls=router.directory / "calls", status=0, code=0))
    ubus.chmod(0o755)
    router.start_vpnpt(CONFIG)
    router.kill_vpnpt(signal.SIGTERM)
    assert not (router.directory / "calls").exists() and "vpnpt" not in router.run("nft", "list", "ruleset").stdout
