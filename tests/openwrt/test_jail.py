# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with few capabilities, as procd starts it by ujail (package procd-ujail): a jail of no namespaces."""
from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.openwrt.test_router import OURS, PATIENCE, behaviour, commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.verbs import Stage
    from tests.openwrt.box import Box

NUMBERS = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_MODULE": 16,
           "CAP_SYS_PTRACE": 19}
"""The kernel's (include/uapi/linux/capability.h)."""
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
INCLUDE = """
config include
	option type 'script'
	option path '/etc/own.sh'
	option fw4_compatible '1'
"""
SIGNAL = """ubus call service signal '{"name":"vpnpt","signal":9}'"""
"""As the package's own postinst does it."""


@pytest.fixture
def jailed(box: Box) -> Box:
    """The router, where there is an ujail."""
    if box.status("test -x /sbin/ujail"):
        pytest.skip("no ujail in the router (procd-ujail): that vpnptd runs in it, with few capabilities, was not tested")
    return box


def pid(box: Box) -> int:
    """The daemon's."""
    found = box.until(lambda: box.ready() and box.call("vpnpt", "status"))["pid"]
    assert isinstance(found, int)
    return found


def service_pid(box: Box) -> str:
    """The process that procd has started; '' where there is none."""
    return str(box.call("service", "list", {"name": "vpnpt"})["vpnpt"]["instances"]["instance1"].get("pid", ""))


def state(box: Box, process: int | str) -> dict[str, str]:
    """What /proc says of it."""
    return dict(re.findall(r"^(\w+):\t(.*)$", box.sh(f"cat /proc/{process}/status"), re.M))


def processes(box: Box) -> list[str]:
    """The daemons, with and without a jail around them."""
    return box.sh("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done | grep -E 'vpnptd --|main.py daemon --' "
                  "| grep -v grep", check=False).splitlines()


def capabilities(box: Box) -> list[str]:
    """Those that the daemon has."""
    found = state(box, pid(box))
    return [found[name] for name in SETS]


def test_it_has_these_capabilities(jailed: Box) -> None:
    """And sees everything as the router itself does."""
    daemon = pid(jailed)
    wanted = sum(1 << NUMBERS[name] for name in json.loads(jailed.sh("cat /etc/capabilities/vpnptd.json"))["bounding"])
    assert capabilities(jailed) == [f"{0:016x}", *3 * [f"{wanted:016x}"], f"{0:016x}", "1"]
    assert jailed.sh(f"cd /proc/{daemon}/ns; readlink *; readlink /proc/{daemon}/root") == jailed.sh("cd /proc/1/ns; readlink *; echo /")
    parent = state(jailed, daemon)["PPid"]
    assert jailed.sh(f"cat /proc/{parent}/cmdline").startswith("/sbin/ujail\0-t\0" + "30\0")
    assert parent == service_pid(jailed)


def test_a_working_day(jailed: Box, stage: Stage) -> None:
    """Tunnels, reloads, an edit of UCI's; what it says reaches the log; a stop leaves nothing of it."""
    daemon, client = pid(jailed), jailed.lab.host("c1").address
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    found = stage.do_traffic()
    assert not found["c1"].lost and not found["c2"].lost and not found["wrong"]
    commit(jailed, "vpnpt.l2tp=0")
    jailed.until(lambda: behaviour(jailed, "l2tp") == "block", PATIENCE)
    assert jailed.call("vpnpt", "block", {"client": client, "protocol": "ipsec"})["changed"]
    assert jailed.call("vpnpt", "unblock", {"client": client, "protocol": "ipsec"})["changed"]
    assert jailed.call("vpnpt", "doctor")["findings"] == [] and pid(jailed) == daemon
    assert any(f"vpnptd[{daemon}]: APPLIED" in line for line in jailed.read_log())
    assert not [line for line in jailed.read_log() if re.search(r"FW4|TROUBLE|METRICS|ujail|jail:", line)]
    jailed.sh("/etc/init.d/vpnpt stop")
    assert not processes(jailed) and not jailed.tables() & OURS and "vpnpt" not in jailed.sh("nft list ruleset")


@pytest.mark.parametrize("whom", ["the jail", "the daemon"])
def test_killed(jailed: Box, stage: Stage, whom: str) -> None:
    """Either dies with the other, and leaves its tables to the next one."""
    for name in ("c1", "c2"):
        assert stage.do_up(name) == {name: "up"}
        stage.do_traffic()
    before = jailed.call("vpnpt", "status")
    jailed.sh(SIGNAL if whom == "the jail" else f"kill -9 {before['pid']}")
    limit = time.monotonic() + 3
    while time.monotonic() < limit:
        found = stage.do_stream(seconds=0.2, every=0.02)
        assert not found["c1"].lost and not found["c2"].lost and not found["wrong"] and jailed.tables() >= OURS
    after = jailed.until(lambda: jailed.status("ubus call vpnpt status") == 0 and jailed.call("vpnpt", "status"))
    assert after["pid"] != before["pid"] and after["clients"] == before["clients"]
    assert len(processes(jailed)) == 2, "one daemon and its jail"
    assert not [line for line in jailed.read_log() if "another instance" in line]


@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_killed_while_it_starts(jailed: Box, after: float) -> None:
    """Before it knows its jail: none stays behind that nobody could stop."""
    jailed.sh(f"/etc/init.d/vpnpt stop; /etc/init.d/vpnpt start; sleep {after}; {SIGNAL}")
    jailed.until(lambda: jailed.ready() and len(processes(jailed)) == 2)
    assert state(jailed, pid(jailed))["PPid"] == service_pid(jailed)
    jailed.sh("/etc/init.d/vpnpt stop")
    assert not processes(jailed) and not jailed.tables() & OURS


def full(box: Box) -> str:
    """What the router's processes have."""
    return state(box, 1)["CapEff"]


def include(box: Box) -> Callable[[], list[str]]:
    """A script of the user's that fw4 runs, and what capabilities it had each time."""
    (box.root / "etc/own.sh").write_text("sed -n 's/^CapEff:.//p' /proc/self/status >>/tmp/own\n")
    with (box.root / "etc/config/firewall").open("a") as file:
        file.write(INCLUDE)
    return lambda: box.sh("cat /tmp/own 2>/dev/null; rm -f /tmp/own", check=False).split()


def test_scripts_of_users_keep_all_capabilities(jailed: Box) -> None:
    """When the daemon has fw4 reload, which runs them: after a start, and at a stop."""
    seen = include(jailed)
    jailed.sh("rm /var/run/vpnpt/fw4/forward.nft; /etc/init.d/vpnpt restart")
    jailed.until(jailed.ready)
    assert "a server speaks first" in jailed.sh("nft list chain inet fw4 forward")
    assert set(seen()) == {full(jailed)}
    jailed.sh("/etc/init.d/vpnpt stop")
    assert seen() == [full(jailed)] and "vpnpt" not in jailed.sh("nft list ruleset")


def test_fw4_that_rpcd_can_not_reload(jailed: Box) -> None:
    """The daemon does it then, in its jail; what fw4 says is told, by either way."""
    seen = include(jailed)
    jailed.sh("kill $(pidof rpcd); /etc/init.d/vpnpt restart")
    jailed.until(jailed.ready)
    assert "a server speaks first" in jailed.sh("nft list chain inet fw4 forward")
    assert set(seen()) == {state(jailed, pid(jailed))["CapEff"]}
    jailed.spawn("rpcd")
    jailed.until(lambda: "file" in jailed.sh("ubus list").split())
    jailed.sh("rm /var/run/fw4.state; uci set vpnpt.ipsec=0; uci commit vpnpt; /etc/init.d/vpnpt stop")
    assert [line for line in jailed.read_log() if "FW4: fw4 reload ended with status 1" in line]


def test_rpcd_that_waits_for_the_daemon(jailed: Box) -> None:
    """As it does when LuCI has a script of it stop the service (`luci setInitAction`), and the daemon asks rpcd in its turn."""
    jailed.sh("kill -STOP $(pidof rpcd)")
    try:
        jailed.sh("/etc/init.d/vpnpt stop")
    finally:
        jailed.sh("kill -CONT $(pidof rpcd)")
    assert "vpnpt" not in jailed.sh("nft list ruleset") and not [line for line in jailed.read_log() if "FW4" in line]


@pytest.mark.parametrize("missing", ["/sbin/ujail", "/usr/lib/rpcd/file.so", "/etc/capabilities/vpnptd.json"])
def test_where_one_is_missing_it_runs_as_ever(box: Box, missing: str) -> None:
    box.sh(f"rm -f {missing}; /etc/init.d/vpnpt restart")
    assert capabilities(box)[2] == full(box)
    assert len(processes(box)) == 1 and "jail" not in os.fsdecode((box.root / f"proc/{pid(box)}/environ").read_bytes()).lower()
    box.sh("/etc/init.d/vpnpt stop")
    assert not processes(box) and not box.tables() & OURS
