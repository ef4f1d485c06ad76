# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnptd as started by hand, in a namespace with devices of any names: no OpenWrt, only a kernel and a firewall like fw4's."""
from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

import tests.lab.router
from tests.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.router import Router

LAN, WAN = "home0", "isp7"
CONFIG = f"config vpnpt 'global'\n list lan_device '{LAN}'\n list wan_device '{WAN}'\n"
OURS = {"table ip vpnpt", "table ip6 vpnpt"}
FW4 = {"table inet fw4"}
CLIENTS = {f"192.168.1.{n}": 20480 + n for n in range(100, 120)}
PATIENCE = 30.0
"""Seconds. The daemon promises one; how long it takes is measured by `make bench`, and a busy machine is slower."""


@pytest.fixture
def router(sandbox: None) -> Iterator[Router]:
    """A router whose devices have names that no default knows; the daemon does not run yet."""
    with Lab(clients=0, servers=0, lan_device=LAN, wan_device=WAN, ipv6=False) as lab:
        yield lab.router


def tables(router: Router) -> set[str]:
    return set(router.run("nft", "list", "tables").stdout.splitlines())


def status(router: Router) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(router.vpnpt("status", "--json", check=False))
    return found


def learn(router: Router, clients: dict[str, int], look: bool = True) -> None:
    """As if packets of these clients had come. The daemon hears of packets by notices; here it is asked to look, or not."""
    elements = ", ".join(f"{client} : {zone}" for client, zone in clients.items())
    router.nft(f"add element ip vpnpt client_zone {{ {elements} }}\n")
    if look:
        assert status(router)["clients"] == len(clients)


def learned(router: Router) -> dict[str, int]:
    """The client map, as the kernel has it now; empty where it is gone."""
    done = router.run("nft", "-j", "list", "map", "ip", "vpnpt", "client_zone", check=False)
    if done.returncode:
        return {}
    (found,) = [item["map"] for item in json.loads(done.stdout)["nftables"] if "map" in item]
    return {key["elem"]["val"]: value for key, value in found.get("elem", ())}


def whole(router: Router) -> bool:
    """Are both tables there, with all that was learned?"""
    return tables(router) >= OURS and learned(router) == CLIENTS


def comments(router: Router) -> int:
    """How many of our rules are in the kernel."""
    return router.run("nft", "list", "ruleset").stdout.count('comment "vpnpt: ')


def reload(router: Router, config: str) -> None:
    """By SIGHUP; back when the daemon has done it (the control socket is served after the signal)."""
    assert router.daemon is not None
    router.write_config(config)
    before = router.log_text()
    router.daemon.send_signal(signal.SIGHUP)
    assert router.wait_until(lambda: router.log_text() != before)
    status(router)


def test_starts(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    shot = status(router)
    assert shot["pid"] == router.daemon.pid
    assert (shot["lan"], shot["wan"], shot["in_place"], shot["enabled"]) == ([LAN], [WAN], True, True)
    assert (shot["problem"], shot["diagnostics"], shot["helper_missing"]) == ("", [], False)
    assert {name: protocol["behaviour"] for name, protocol in shot["protocols"].items()} == {
        "pptp": "block", "l2tp": "help", "ipsec": "help", "openvpn": "help", "wireguard": "help"}
    assert {shot[field] for field in ("clients", "servers", "contended", "spis", "cookies", "copies", "clients_full")} == {0}
    assert tables(router) == OURS | FW4
    rules = router.run("nft", "list", "chain", "inet", "fw4", "forward").stdout
    assert f'iifname "{WAN}" oifname "{LAN}" ct zone' in rules, "fw4 has its rules"
    assert router.log_text() == ("vpnptd: info: APPLIED: pptp block, l2tp help, ipsec help, openvpn help, wireguard help; "
                                 f"LAN {LAN}; WAN {WAN}\nvpnptd: info: ACCOUNTING: conntrack counts packets and bytes from now on "
                                 "(net.netfilter.nf_conntrack_acct)\n")


def test_devices_from_fw4(router: Router) -> None:
    """Without device lists, `fw4 zone` is asked."""
    router.start_vpnpt("")
    assert (status(router)["lan"], status(router)["wan"]) == ([LAN], [WAN])


@pytest.mark.parametrize("how", ["SIGHUP", "command"])
def test_a_broken_configuration_changes_nothing(router: Router, how: str) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    before = router.run("nft", "list", "chain", "ip", "vpnpt", "from_lan").stdout, status(router)["protocols"]
    broken = CONFIG + "config 1 'pptp'\n\nconfig protocol 'l2tp'\n list allow_src 'nobody\n"
    if how == "SIGHUP":
        reload(router, broken)
    else:
        router.write_config(broken)
        assert router.vpnpt("reload", check=False) == ""
    shot = status(router)
    assert shot["problem"] == (f"error: {router.config_dir}/vpnpt:7: the quote ' that opens here has no end; close it; until then nothing "
                               "after it can be read")
    assert shot["diagnostics"] == [shot["problem"]]
    assert (router.run("nft", "list", "chain", "ip", "vpnpt", "from_lan").stdout, shot["protocols"]) == before
    assert shot["in_place"] and learned(router) == CLIENTS
    reload(router, CONFIG + "config 1 'pptp'\n")
    shot = status(router)
    assert (shot["problem"], shot["diagnostics"], shot["protocols"]["pptp"]["behaviour"]) == ("", [], "help")


def test_a_reload_keeps_the_maps(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    rules = comments(router)
    reload(router, CONFIG + "config 0 'l2tp'\n")
    assert comments(router) != rules and learned(router) == CLIENTS
    reload(router, CONFIG)
    assert whole(router)


def test_a_reload_with_other_sizes_keeps_what_fits(router: Router) -> None:
    """The maps themselves are made anew: what they held is put back, also what the daemon had not looked at yet."""
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS, look=False)
    reload(router, CONFIG + " option max_clients 200\n option client_timeout 40000\n")
    assert learned(router) == CLIENTS
    listed = router.run("nft", "list", "map", "ip", "vpnpt", "client_zone").stdout
    assert "size 200\n" in listed and "timeout 11h6m40s\n" in listed


def test_switched_off_and_on(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    reload(router, CONFIG + " option enabled 0\n")
    assert tables(router) == FW4 and not status(router)["enabled"]
    assert "vpnpt" not in router.run("nft", "list", "ruleset").stdout
    reload(router, CONFIG)
    assert tables(router) == FW4 | OURS and status(router)["in_place"]


def test_sigterm_leaves_nothing(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    assert (router.run_dir / "fw4" / "forward.nft").exists()
    router.kill_vpnpt(signal.SIGTERM)
    assert tables(router) == FW4
    assert "vpnpt" not in router.run("nft", "list", "ruleset").stdout, "fw4 has forgotten its rules too"
    assert not any((router.run_dir / name).exists() for name in ("fw4/forward.nft", "ready", "control"))


def test_killed_and_started_again(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    rules = comments(router)
    router.kill_vpnpt(signal.SIGKILL)
    assert comments(router) == rules and whole(router), "all stays as it was"
    router.start_vpnpt(CONFIG)
    assert whole(router) and status(router)["clients"] == len(CLIENTS)


def test_a_killed_one_leaves_no_readiness_behind(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    router.start_vpnpt(CONFIG)
    router.kill_vpnpt(signal.SIGKILL)
    ready = router.run_dir / "ready"
    assert ready.exists()
    monkeypatch.setattr(type(ready), "unlink", lambda *_, **__: None)
    monkeypatch.setattr(tests.lab.router, "READY_TIMEOUT", 0.0)
    router.start_vpnpt("config protocol 'l2tp\n")
    assert router.wait_until(lambda: "in force instead" in router.log_text(), PATIENCE), "said last, when nft has been tried as well"
    assert not ready.exists() and tables(router) == FW4 | OURS, "what runs stays, but of this configuration nothing is in force"


def test_started_again_with_other_sizes(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    router.kill_vpnpt(signal.SIGKILL)
    router.start_vpnpt(CONFIG + " option max_clients 200\n option client_timeout 40000\n")
    assert learned(router) == CLIENTS
    listed = router.run("nft", "list", "map", "ip", "vpnpt", "client_zone").stdout
    assert "size 200\n" in listed and "timeout 11h6m40s\n" in listed


@pytest.mark.parametrize("command", [
    ("delete", "table", "ip", "vpnpt"), ("delete", "table", "ip6", "vpnpt"), ("flush", "ruleset"),
], ids=" ".join)
def test_deleted_tables_come_back_with_their_maps(router: Router, command: tuple[str, ...]) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    rules = router.run("nft", "list", "table", "ip6", "vpnpt").stdout
    router.run("nft", *command)
    assert router.wait_until(lambda: whole(router), PATIENCE)
    assert router.run("nft", "list", "table", "ip6", "vpnpt").stdout == rules
    assert status(router)["problem"] == ""


def test_deleted_again_and_again(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    for number in range(20):
        router.run("nft", *(("flush", "ruleset") if number % 2 else ("delete", "table", "ip", "vpnpt")), check=False)
    assert router.wait_until(lambda: whole(router), PATIENCE)
    for _ in range(20):
        router.run("nft", "delete", "table", "ip", "vpnpt")
        assert router.wait_until(lambda: whole(router), PATIENCE)
    assert status(router)["problem"] == "" and router.daemon.poll() is None


def test_a_restart_of_the_firewall(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    router.fw4_flush()
    assert router.wait_until(lambda: whole(router), PATIENCE)
    assert "a server speaks first" in router.run("nft", "list", "chain", "inet", "fw4", "forward").stdout


def test_a_foreign_nft_that_fails(router: Router) -> None:
    """nft can't run for a while: the daemon says so, keeps trying, and mends it."""
    router.start_vpnpt(CONFIG)
    learn(router, CLIENTS)
    broken = router.directory / "bin" / "nft"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    router.run("nft", "flush", "ruleset")
    assert router.wait_until(lambda: "RESTORE:" in router.log_text())
    shot = status(router)
    assert shot["problem"] == "the tables are gone and could not be put back: out of order" and not shot["in_place"]
    broken.unlink()
    assert router.wait_until(lambda: whole(router), PATIENCE)
    assert status(router)["problem"] == ""


def test_started_before_the_network(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    """No fw4, no device known: it waits, says why, and is ready once there is one."""
    fw4 = router.directory / "bin" / "fw4"
    zones = router.config_dir / "firewall"
    for file in (fw4, zones):
        file.rename(file.with_name(f"{file.name}.later"))
    monkeypatch.setattr(tests.lab.router, "READY_TIMEOUT", 0.0)
    with pytest.raises(RuntimeError, match="is not ready"):
        router.start_vpnpt("")
    assert router.wait_until(lambda: "no network device" in router.log_text())
    shot = status(router)
    assert shot["problem"].count("no network device found: there are no firewall zones") == 2
    assert (shot["in_place"], shot["lan"], shot["protocols"]) == (False, [], {})
    assert tables(router) == FW4
    for file in (fw4, zones):
        file.with_name(f"{file.name}.later").rename(file)
    assert router.wait_until((router.run_dir / "ready").exists, 15), "by itself"
    assert tables(router) == FW4 | OURS and status(router)["problem"] == ""
