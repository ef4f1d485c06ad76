# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may edit the options gets no shell and no file; what was blocked stays blocked; a restart cuts nobody off."""
from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.attack.forge import Trial, esp, stage, udp
from tests.lab import router as lab_router
from tests.lab.sandbox import private_folder
from tests.lab.topology import Lab

EVIL = ("$(touch {0})", "`touch {0}`", "; touch {0} ;", "| touch {0}", "\" ; flush ruleset ; #", "} flush ruleset ; #", "-q", "--help",
        "/etc/passwd", "../../../../etc/x", "a\tb", "x" * 5000, "..", "*", "", "lan wan", "\\n", "é\u202e")
OPTIONS = {"vpnpt": ("lan_zone", "wan_zone", "lan_device", "wan_device", "when_disabled", "zone_base", "max_clients", "log_level",
                     "on_drift", "history", "metrics_file", "metrics_interval"),
           "protocol": ("enabled", "allow_src", "deny_src", "port", "ports", "natt_port", "when_disabled", "ipv6_inbound", "multi_client")}
FILES = Path(__file__).parents[2] / "files"


def test_no_value_of_an_option_is_a_command(sandbox: None) -> None:
    """Every option, every kind of trick; the firewall stands, nothing ran, and the daemon still answers."""
    with Lab(1, 1, "vpnpt", "config 1 ipsec\n", ipv6=False) as lab:
        proof = lab.router.directory / "proof"
        for trick in EVIL:
            value = trick.replace("{0}", str(proof))
            for kind in ("option", "list"):
                lines = [f"config {section} '{'global' if section == 'vpnpt' else 'ipsec'}'\n" +
                         "".join(f"\t{kind} {name} '{value}'\n" for name in names) for section, names in OPTIONS.items()]
                lab.router.write_config("".join(lines))
                assert lab.router.ask(method="reload")
        assert "status" in lab.router.vpnpt("--help") and lab.router.ask(method="status")
        assert not proof.exists() and not Path("x").exists()
        assert "table inet fw4" in lab.router.run("nft", "list", "tables").stdout
        lab.router.write_config("config 1 ipsec\n")
        lab.router.ask(method="reload")
        assert stage(lab).do_up("c1") == {"c1": "up"}


def there(path: str | Path) -> tuple[int, ...] | None:
    """What would be another if somebody had written there; None where nothing is. The kernel makes up the times of /proc."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mode, found.st_size, 0 if str(path).startswith("/proc/") else found.st_mtime_ns


@pytest.mark.parametrize("option", ["history", "metrics_file"])
def test_files_only_where_they_belong(sandbox: None, option: str) -> None:
    """Not into a folder of programs that root runs, not over a file of another's, not through a link, not into a pipe."""
    with Lab(1, 1, "vpnpt", "config 1 ipsec\n", ipv6=False) as lab:
        place = lab.router.directory / "hotplug.d"
        (place / "iface").mkdir(parents=True)
        kept = place / "kept"
        kept.write_text("precious")
        (place / "link").symlink_to(kept)
        os.mkfifo(place / "pipe")
        users = stage(lab)
        assert users.do_up("c1") == {"c1": "up"}
        for path in (place / "iface" / "99-x", kept, place / "link", place / "pipe", place / "$(id)", "/etc/hotplug.d/iface/99-x",
                     "/etc/../run/x", "/run/x", "/proc/self/mem", "/usr/sbin/vpnptd", "/root/.profile", "/www/x", "relative"):
            before = there(path)
            lab.router.write_config(f"config vpnpt 'global'\n\toption {option} '{path}'\n\toption metrics_interval '5'\nconfig 1 ipsec\n")
            said = lab.router.ask(method="reload")["diagnostics"]
            assert any(option in line for line in said), f"{path} is not refused: {said}"
            users.do_traffic(out=1, back=1)
            lab.pump.run_for(0.1)
            assert there(path) == before, path
        assert kept.read_text() == "precious"
        assert sorted(item.name for item in place.iterdir()) == ["iface", "kept", "link", "pipe"]
        assert lab.router.ask(method="status")


def test_a_history_that_a_shell_runs_does_nothing(sandbox: None) -> None:
    """In a folder below one of /tmp with our name, as hotplug would run it: what is in it, the names of firewall rules among it, is no
    command."""
    place = private_folder("/tmp/vpnpt-attacked") / "hotplug.d"
    place.mkdir()
    written = place / "99-x"
    with Lab(1, 1, "vpnpt", f"config vpnpt 'global'\n\toption history '{written}'\nconfig 1 ipsec\n", ipv6=False) as lab:
        for number, command in enumerate(("$(touch {0})", "`touch {0}`", "';touch {0};'", "|touch {0}|", "&touch {0}&")):
            name = command.replace("{0}", f"{place}/run{number}")
            with (lab.router.config_dir / "firewall").open("a") as firewall:
                firewall.write(f'config rule\n\toption name "{name}"\n\toption proto esp\n\toption target DROP\n')
            lab.router.ask(method="reload")
            assert lab.pump.run(lambda number=number: f"run{number}" in written.read_text(), 10.0), "what is written there"
        subprocess.run(["sh", "-c", f". {written}"], capture_output=True, check=False)
        assert [item.name for item in place.iterdir()] == ["99-x"]


def test_no_file_in_a_folder_of_somebody_else(sandbox: None) -> None:
    """Who made the folder in /tmp before us could exchange what is in it."""
    theirs = private_folder("/tmp/vpnpt-theirs")
    (theirs / "ours").mkdir()
    os.chown(theirs, 1000, 1000)
    with Lab(1, 1, "vpnpt", f"config vpnpt 'global'\n\toption history '{theirs}/ours/history'\nconfig 1 ipsec\n", ipv6=False) as lab:
        assert lab.pump.run(lambda: "belongs to somebody else" in lab.router.log_text(), 10.0)
        assert not list((theirs / "ours").iterdir())


def test_a_pipe_or_a_device_keeps_nobody_waiting(sandbox: None) -> None:
    """Where the daemon looks for leases and names (folders that may be anybody's), and where its configuration should be."""
    with Lab(1, 1, "vpnpt", "config 1 ipsec\n", ipv6=False) as lab:
        users, router = stage(lab), lab.router
        assert users.do_up("c1") == {"c1": "up"}
        os.mkfifo(router.directory / "leases")
        (router.directory / "hosts").mkdir()
        os.mkfifo(router.directory / "hosts" / "pipe")
        (router.directory / "hosts" / "device").symlink_to("/dev/zero")
        (router.config_dir / "dhcp").write_text(f"config dnsmasq\n\toption leasefile '{router.directory}/leases'\n"
                                                f"\tlist addnhosts '{router.directory}/hosts'\n")
        assert len(router.ask(method="sessions")["sessions"]) == 1
        for name in ("vpnpt", "firewall", "network", "dhcp"):
            path = router.config_dir / name
            path.unlink(missing_ok=True)
            os.mkfifo(path)
            assert "applied" in router.ask(method="reload"), name
            assert router.ask(method="status")["in_place"], name
        assert len(router.ask(method="sessions")["sessions"]) == 1
        assert not users.do_traffic("c1")["c1"].lost


BLOCKED = "config 0 ipsec\n"
BROKEN = {"another section": "config protocol 'l2tp'\n\toption port 'none'\n\toption enabled 'maybe'\n",
          "a line": "this is no UCI\n", "an unknown section": "config colour 'blue'\n\toption x 'y'\n",
          "the global one": "config vpnpt 'global'\n\toption zone_base '-1'\n\toption when_disabled 'perhaps'\n"}


def blocks(lab: Lab) -> bool:
    """Neither ESP nor IKE of c1's comes to s1."""
    client, server = lab.clients[0], lab.servers[0]
    trial = Trial(lab)
    trial.send("esp", client, esp(client.address, server.address, 0x4A0B0C0D, data=trial.token()))
    trial.send("ike", client, udp(client.address, server.address, 500, 500, trial.token()))
    return not trial.reached()


def test_an_error_opens_nothing(sandbox: None) -> None:
    """IPsec was blocked; the configuration gets an error elsewhere; vpnpt is reloaded, and then restarted with all of them."""
    with Lab(1, 1, "vpnpt", BLOCKED, ipv6=False) as lab:
        assert blocks(lab)
        for name, error in BROKEN.items():
            lab.router.write_config(BLOCKED + error)
            lab.router.ask(method="reload")
            assert blocks(lab), f"after a reload with an error in {name}"
        lab.router.kill_vpnpt(signal.SIGTERM)
        lab.router.start_vpnpt(BLOCKED + "".join(BROKEN.values()))
        assert blocks(lab), "after a restart"


@pytest.mark.parametrize("switch", ["config O ipsec\n", "config protocol 'ipsec'\n\toption enabled 'flase'\n",
                                    "config protocol 'ipsec'\n\tlist enabled '0'\n\tlist enabled '1'\n"])
def test_a_switch_that_can_not_be_read_opens_nothing(sandbox: None, switch: str) -> None:
    """IPsec was blocked; somebody misspells what says so; vpnpt is reloaded, and restarted."""
    with Lab(1, 1, "vpnpt", BLOCKED, ipv6=False) as lab:
        assert blocks(lab)
        lab.router.write_config(switch)
        lab.router.ask(method="reload")
        assert blocks(lab), "after a reload"
        lab.router.kill_vpnpt(signal.SIGTERM)
        lab.router.start_vpnpt(switch)
        assert blocks(lab), "after a restart"


def test_a_list_of_which_nothing_can_be_used_allows_nobody(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether such a daemon calls itself ready or not: nothing passes."""
    monkeypatch.setattr(lab_router, "READY_TIMEOUT", 3.0)
    config = "config protocol 'ipsec'\n\toption enabled '1'\n\tlist allow_src '192.168.1.300'\n\tlist allow_src 'laptop'\n"
    with Lab(1, 1, "vpnpt", "config protocol 'ipsec'\n\toption enabled '1'\n\tlist allow_src '192.168.1.55'\n", ipv6=False) as lab:
        assert blocks(lab)
        lab.router.write_config(config)
        lab.router.ask(method="reload")
        assert blocks(lab), "after a reload"
        lab.router.kill_vpnpt(signal.SIGTERM)
        with contextlib.suppress(RuntimeError):
            lab.router.start_vpnpt(config)
        until = time.monotonic() + 30
        while not blocks(lab) and time.monotonic() < until:
            pass
        assert blocks(lab), "after a restart"


@pytest.mark.parametrize("how", ["restart", "kill", "flushed and killed", "switched off and on"])
def test_tunnels_survive_a_new_start(sandbox: None, how: str) -> None:
    """Three tunnels to one server, silent meanwhile; afterwards the server speaks first, then the clients, then one rekeys."""
    with Lab(3, 1, "vpnpt", "config 1 ipsec\n", ipv6=False) as lab:
        users, router = stage(lab), lab.router
        assert set(users.do_up("c1..c3").values()) == {"up"}
        assert not any(users.do_traffic()[name].lost for name in ("c1", "c2", "c3"))
        if how == "switched off and on":
            router.write_config("config vpnpt 'global'\n\toption enabled '0'\nconfig 1 ipsec\n")
            router.ask(method="reload")
            router.write_config("config 1 ipsec\n")
            router.ask(method="reload")
        else:
            if how == "flushed and killed":
                assert router.daemon is not None
                router.daemon.send_signal(signal.SIGSTOP)
                router.fw4_flush()
            router.kill_vpnpt(signal.SIGTERM if how == "restart" else signal.SIGKILL)
            router.start_vpnpt("config 1 ipsec\n")
        if how in ("restart", "kill"):
            result = users.do_traffic(first="back")
            assert not any(result[f"{name}.back"].lost for name in ("c1", "c2", "c3"))
        users.do_traffic(out=1, back=0)
        result = users.do_traffic(out=3, back=3)
        assert not any(result[name].lost for name in ("c1", "c2", "c3"))
        assert users.do_rekey("c1") == {"c1": "done"} and users.do_dpd("c2", by="server") == {"c2": "answered"}
        assert not users.do_traffic("c1")["c1"].lost


NEEDED = ("net_admin", "net_raw", "dac_override", "chown", "fowner", "sys_module", "sys_ptrace")
"""Capabilities: the kernel's tables; copies that are sent on; files of UCI's; modules that modprobe loads; whose socket it is."""


def test_the_init_script_leaves_these() -> None:
    """As tests/openwrt/test_jail.py shows where there is an ujail."""
    name = "/etc/capabilities/vpnptd.json"
    sets = json.loads((FILES / name[1:]).read_text())
    assert sets == {"bounding": [f"CAP_{needed.upper()}" for needed in NEEDED]}, "root's other sets follow from it (capabilities(7))"
    lines = [line.strip() for line in (FILES / "etc/init.d/vpnpt").read_text().splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith("if [ -x /sbin/ujail ]") and name in line)
    assert set(lines[start + 1:lines.index("fi", start)]) == {
        "procd_add_jail vpnptd", "procd_set_param env VPNPT_JAIL=1", f"procd_set_param capabilities {name}",
        "procd_set_param no_new_privs 1"}, "a name alone: whatever else a jail is given makes namespaces"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (util-linux): that few capabilities are enough was not tested")
def test_few_capabilities_are_enough(sandbox: None) -> None:
    """With these alone, and without a way to more, it starts, reloads, edits UCI, has fw4 reload, examines, and starts again."""
    kept = ",".join(["-all", *(f"+{name}" for name in NEEDED)])
    wrapper = ("setpriv", "--no-new-privs", f"--inh-caps={kept}", f"--bounding-set={kept}")
    with Lab(2, 1, "stock", "", ipv6=False) as lab:
        users = stage(lab)
        for client in ("c1", "c2"):
            lab.router.start_vpnpt("config 1 ipsec\n", wrapper=wrapper)
            assert lab.router.daemon is not None
            status = Path(f"/proc/{lab.router.daemon.pid}/status").read_text()
            mask = int(re.search(r"CapEff:\t(\w+)", status)[1], 16)  # type: ignore[index]
            assert mask.bit_count() == len(NEEDED) and "NoNewPrivs:\t1" in status
            assert users.do_up(client) == {client: "up"} and not users.do_traffic(client)[client].lost
            assert lab.router.ask(method="block", client=lab.clients[1].address, protocol="ipsec")["changed"]
            assert lab.router.ask(method="unblock", client=lab.clients[1].address, protocol="ipsec")["changed"]
            assert lab.router.ask(method="reload")["applied"] and lab.router.ask(method="doctor")["findings"] == []
            assert not re.search(r"error|TROUBLE|FW4|METRICS", lab.router.log_text())
            if client == "c2":
                users.do_serve("udp", 500)
                (found,) = lab.router.ask(method="doctor")["findings"]
                assert "(python" in str(found), "the name of a program that has more capabilities than the daemon"
            lab.router.kill_vpnpt(signal.SIGTERM)
            assert "table ip vpnpt" not in lab.router.run("nft", "list", "tables").stdout, "it has undone all it did"
