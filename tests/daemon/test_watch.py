# SPDX-License-Identifier: GPL-2.0-or-later
"""The watch over changes, with a real daemon and real tables: what others do to them, and what becomes of the history."""
from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sandbox import private_folder
from tests.lab.topology import Lab
from vpnpt import __version__
from vpnpt.daemon import control, watch
from vpnpt.daemon.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.router import Router

CONFIG = "config vpnpt 'global'\n list lan_device 'lan0'\n list wan_device 'wan0'\n"
CLIENTS = {f"192.168.1.{n}": 20480 + n for n in range(100, 120)}
REPAIRED_WITHIN = 1.0
START = f"vpnpt {__version__} has started"


@pytest.fixture
def router(sandbox: None) -> Iterator[Router]:
    """A router on which the daemon does not run yet."""
    with Lab(clients=0, servers=0, lan_device="lan0", wan_device="wan0", ipv6=False) as lab:
        yield lab.router


def ask(router: Router, method: str) -> dict[str, Any]:
    return control.call(str(router.run_dir), {"method": method})


def changes(router: Router, what: str = "") -> list[str]:
    """What the history tells, newest first."""
    return [item["text"] for item in ask(router, "changes")["changes"] if what in ("", item["what"])]


def rules(router: Router) -> list[dict[str, Any]]:
    """Chains and rules of our tables as the kernel lists them, but for the handles."""
    listed = json.loads(router.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    ours = [body for item in listed for kind, body in item.items() if kind in ("table", "chain", "rule")
            and "vpnpt" in (body.get("table"), body.get("name"))]
    return [{key: value for key, value in body.items() if key != "handle"} for body in ours]


def learned(router: Router) -> dict[str, int]:
    (found,) = [item["map"] for item in json.loads(router.run("nft", "-j", "list", "map", "ip", "vpnpt", "client_zone").stdout)["nftables"]
                if "map" in item]
    return {key["elem"]["val"]: value for key, value in found.get("elem", ())}


def handle(router: Router, chain: str, comment: str = "") -> str:
    """The handle of a chain's first rule, or of the one with this comment."""
    listed = router.run("nft", "-a", "list", "chain", "ip", "vpnpt", chain).stdout.splitlines()
    return next(line for line in listed if f'comment "vpnpt: {comment}' in line).rpartition("# handle ")[2]


FOREIGN = {
    "flush": (["flush table ip vpnpt"], "rules of table ip vpnpt are gone"),
    "flush of a chain": (["flush chain ip vpnpt prerouting"], "gone from table ip vpnpt: prerouting ("),
    "a rule inserted": (["insert rule ip vpnpt prerouting counter accept"], "1 rule added to table ip vpnpt: prerouting (no comment)"),
    "a rule deleted": (["delete rule ip vpnpt prerouting handle HANDLE"], "1 rule gone from table ip vpnpt: prerouting ("),
    "a rule replaced by its like": (['replace rule ip vpnpt prerouting handle HANDLE counter accept comment "vpnpt: COMMENT"'],
                                    "1 rule gone from table ip vpnpt: prerouting (COMMENT"),
    "a policy": (["chain ip vpnpt prerouting { policy drop; }"], "chain prerouting of table ip vpnpt has policy drop, not accept"),
    "a chain": (["add chain ip vpnpt mine { type filter hook forward priority 0; policy drop; }"],
                "chain mine was added to table ip vpnpt"),
    "dormant": (["table ip vpnpt { flags dormant; }"], "table ip vpnpt is dormant: no packet meets its rules"),
    "made anew": (["delete table ip vpnpt", "add table ip vpnpt"], "table ip vpnpt was deleted and made anew"),
    "the other family": (["flush table ip6 vpnpt"], "rules of table ip6 vpnpt are gone"),
}


def disturb(router: Router, name: str) -> str:
    """Does one of the above; what the daemon must say of it."""
    commands, said = FOREIGN[name]
    text = "\n".join(commands)
    if "HANDLE" in text:
        listed = router.run("nft", "-a", "list", "chain", "ip", "vpnpt", "prerouting").stdout.splitlines()
        line = next(line for line in listed if "# handle" in line and "comment" in line)
        comment, _, number = line.partition('comment "vpnpt: ')[2].partition('" # handle ')
        text, said = text.replace("HANDLE", number).replace("COMMENT", comment), said.replace("COMMENT", comment)
    router.nft(text + "\n")
    return said


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_change_is_noticed_and_put_right(router: Router, name: str) -> None:
    router.start_vpnpt(CONFIG)
    elements = ", ".join(f"{client} : {zone}" for client, zone in CLIENTS.items())
    router.nft(f"add element ip vpnpt client_zone {{ {elements} }}\n")
    assert ask(router, "status")["clients"] == len(CLIENTS)
    before = rules(router)
    said = disturb(router, name)
    assert rules(router) != before or router.wait_until(lambda: "DRIFT" in router.log_text(), REPAIRED_WITHIN)
    assert router.wait_until(lambda: rules(router) == before, REPAIRED_WITHIN), "the rules are back"
    assert router.wait_until(lambda: bool(changes(router, "rules")), REPAIRED_WITHIN)
    assert learned(router) == CLIENTS, "and what was learned is kept"
    (line,) = [line for line in router.log_text().splitlines() if "DRIFT" in line]
    assert line.startswith("vpnptd: warning: DRIFT: others have changed our tables: ") and said in line
    assert ", by nft (process " in line and line.endswith("; put back as they were")
    told = ask(router, "changes")["changes"][0]
    assert (told["what"], told["how"].split(" (")[0]) == ("rules", "nft") and said in told["text"]
    shot = ask(router, "status")
    assert (shot["drift"], shot["in_place"], shot["problem"]) == ("", True, "")
    assert [alert["code"] for alert in shot["alerts"]] == ["DRIFT"]


@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "made anew"])
def test_left_alone(router: Router, name: str) -> None:
    router.start_vpnpt(CONFIG + " option on_drift alert\n")
    before = rules(router)
    said = disturb(router, name)
    assert router.wait_until(lambda: "DRIFT" in router.log_text())
    assert said in ask(router, "status")["drift"] and said in changes(router)[0]
    assert router.log_text().splitlines()[-1].endswith("; left alone (vpnpt.global.on_drift)")
    changed = rules(router)
    assert changed != before
    router.nft("add element ip vpnpt client_zone { 192.168.1.9 : 20489 }\n")
    ask(router, "status")
    assert rules(router) == changed and router.log_text().count("DRIFT") == 1, "said once, and nothing done"
    ask(router, "reload")
    assert rules(router) == before and ask(router, "status")["drift"] == "", "a reload puts all of it right"


def test_undone_by_who_did_it(router: Router) -> None:
    router.start_vpnpt(CONFIG + " option on_drift alert\n")
    router.nft("add rule ip vpnpt prerouting counter accept comment \"vpnpt: mine\"\n")
    assert router.wait_until(lambda: ask(router, "status")["drift"] != "")
    router.nft(f"delete rule ip vpnpt prerouting handle {handle(router, 'prerouting', 'mine')}\n")
    assert router.wait_until(lambda: ask(router, "status")["drift"] == "")


def test_what_we_do_ourselves_raises_no_alarm(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    for config in (CONFIG + "config 1 'pptp'\n", CONFIG + "config 0 'ipsec'\n", CONFIG + " option max_clients 200\n",
                   CONFIG + " option enabled 0\n", CONFIG):
        router.write_config(config)
        assert ask(router, "reload")["applied"]
    router.fw4_reload()
    router.fw4_restart()
    router.nft("add table inet other\nadd chain inet other x\ndelete table inet other\n")
    router.fw4_flush()
    assert router.wait_until(lambda: "RESTORED" in router.log_text())
    assert [item["text"] for item in ask(router, "changes")["changes"] if item["what"] == "rules"] == [
        "our tables were deleted, and are back with what they knew"]
    assert "DRIFT" not in router.log_text() and ask(router, "status")["drift"] == ""


def test_two_that_mend_the_same_thing_do_not_fight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that undoes our repair at once: we repair less and less often, and at once again when it has given up."""
    now = [5.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    made = watch.Watch(None, Log())  # type: ignore[arg-type]
    pauses = []
    for _ in range(9):
        now[0] += made.pause()
        made.repaired()
        pauses.append(made.pause())
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    now[0] += 121
    assert made.pause() == 0.0
    made.repaired()
    assert made.pause() == 0.0


def test_what_waits_for_its_repair_is_told(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    before = rules(router)
    for turn in range(4):
        router.nft("flush table ip vpnpt\n")
        if turn > 2:  # there is a pause of 2 seconds
            assert router.wait_until(lambda: "rules of table ip vpnpt are gone" in ask(router, "status")["drift"])
        assert router.wait_until(lambda: rules(router) == before and not ask(router, "status")["drift"], 10)
    assert [item["how"].split(" (")[0] for item in ask(router, "changes")["changes"][:4]] == ["nft"] * 4


def test_foreign_elements_are_no_drift(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    router.nft("add element ip vpnpt client_zone { 192.168.1.9 : 20489, 192.168.1.10 : 20490 }\n")
    assert router.wait_until(lambda: changes(router)[0] == "2 elements of our maps and sets were changed")
    assert ask(router, "status")["drift"] == "" and ask(router, "changes")["changes"][0]["how"].startswith("nft (process ")


def test_configuration(router: Router) -> None:
    router.start_vpnpt(CONFIG)
    assert changes(router) == [START]
    router.write_config(CONFIG + "config 1 'pptp'\n\nconfig protocol 'l2tp'\n list allow_src 192.168.1.0/24\n"
                        " list allow_src 00:00:5e:00:53:01\n")
    ask(router, "reload")
    told = ask(router, "changes")["changes"]
    assert [(item["what"], item["how"], item["text"]) for item in told[:-1]] == [
        ("configuration", "vpnpt reload", "vpnpt.pptp.enabled: 0 -> 1"),
        ("configuration", "vpnpt reload", "vpnpt.l2tp.allow_src: (none) -> 192.168.1.0/24 00:00:5e:00:53:01")]
    router.write_config(CONFIG + "config 1 'pptp\n")
    assert not ask(router, "reload")["applied"]
    assert len(changes(router)) == 3, "what is not in force has changed nothing"
    router.write_config(CONFIG)
    assert router.daemon is not None
    router.daemon.send_signal(signal.SIGHUP)
    assert router.wait_until(lambda: len(changes(router)) == 5)
    assert ask(router, "changes")["changes"][0]["how"].startswith("a signal (reload_config")


def test_firewall_and_network(router: Router) -> None:
    firewall = ("config defaults\n option input REJECT\n option flow_offloading 0\n"
                "config zone\n option name wan\n list network wan\n option masq 1\nconfig forwarding\n option src lan\n option dest wan\n"
                "config rule\n option name Allow-Ping\n option proto icmp\n option src wan\n")
    (router.config_dir / "firewall").write_text(firewall)
    router.start_vpnpt(CONFIG)
    (router.config_dir / "firewall").write_text(
        firewall.replace("flow_offloading 0", "flow_offloading 1").replace("masq 1", "masq 0").replace("Allow-Ping", "Other")
        + "config rule\n option name Block-IKE\n option src lan\n option dest wan\n option proto udp\n option dest_port '400-600'\n"
          " option target DROP\n")
    router.run("ip", "addr", "del", f"{router.wan_address}/24", "dev", "wan0")
    router.run("ip", "addr", "add", "203.0.113.77/24", "dev", "wan0")
    ask(router, "reload")
    assert changes(router)[:-1] == [
        "WAN address of wan0: 203.0.113.1 -> 203.0.113.77",
        "firewall zone wan: masq 1, network wan -> masq 0, network wan",
        "firewall rule Block-IKE: (none) -> dest wan, dest_port 400-600, proto udp, src lan, target DROP",
        "firewall flow_offloading: 0 -> 1"]


def test_history_survives(router: Router) -> None:
    """In a file that the user names; and what changed while no daemon ran is found at its start."""
    path = private_folder("/tmp/vpnpt") / "history"
    config = CONFIG + f" option history '{path}'\n"
    router.start_vpnpt(config)
    router.nft("flush table ip vpnpt\n")
    assert router.wait_until(lambda: bool(changes(router, "rules")))
    router.kill_vpnpt(signal.SIGKILL)
    before = [item for item in map(json.loads, reversed(path.read_text().splitlines())) if "state" not in item]
    (router.run_dir / "history").unlink(missing_ok=True)
    with path.open("a") as file:
        file.write('{"time":17,"what":"ru')  # a power cut
    router.start_vpnpt(config + "config 0 'l2tp'\n")
    told = ask(router, "changes")["changes"]
    assert told[2:] == before
    assert [(item["what"], item["how"], item["text"]) for item in told[:2]] == [
        ("configuration", "while the daemon did not run", "vpnpt.l2tp.enabled: 1 -> 0"), ("service", "start", START)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("problem", ["no such directory", "somebody else's"])
def test_a_history_that_cannot_be_kept(router: Router, problem: str) -> None:
    path = private_folder("/tmp/vpnpt") / "history" if problem == "somebody else's" else Path("/mnt/nowhere/vpnpt/history")
    if problem == "somebody else's":
        path.write_text("root:x:0:0\n")
    router.start_vpnpt(CONFIG + f" option history '{path}'\n")
    assert "warning: HISTORY: " in router.log_text() and str(path) in router.log_text()
    assert changes(router) == [START], "it is kept in memory"
    assert not path.exists() or path.read_text() == "root:x:0:0\n"
    router.write_config(CONFIG)
    ask(router, "reload")
    assert len(changes(router)) == 2 and (router.run_dir / "history").exists()
