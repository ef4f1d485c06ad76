# SPDX-License-Identifier: GPL-2.0-or-later
"""What routers do all day, by their own programs: opkg, uci, reload_config, procd, ubusd, rpcd, fw4."""
from __future__ import annotations

import json
import re
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from buildroot import ipk
from buildroot.recipe import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.verbs import Stage
    from tests.openwrt.box import Box

OURS = {"table ip vpnpt", "table ip6 vpnpt"}
PATIENCE = 30.0
"""Seconds. The daemon promises one; how long it takes is measured by `make bench`, and a busy machine is slower."""


def behaviour(box: Box, protocol: str) -> str:
    found: str = box.call("vpnpt", "status")["protocols"][protocol]["behaviour"]
    return found


def commit(box: Box, *changes: str) -> None:
    """As typed by a person."""
    for change in changes:
        box.sh(f"uci set {change}")
    box.sh("uci commit vpnpt; reload_config")


def files(box: Box) -> set[str]:
    """What was written since the box was made, without the package manager's own."""
    found = {f"/{path.relative_to(box.written)}" for path in box.written.rglob("*") if not path.is_char_device()}
    found |= set(box.sh("find /var/run/ /tmp").splitlines())
    return {path for path in found if not path.startswith(("/usr/lib/opkg", "/etc/opkg", "/tmp/opkg", "/var/run/config.md5"))}


def test_installed_and_running(box: Box) -> None:
    assert box.tables() >= OURS | {"table inet fw4"}
    shot = box.call("vpnpt", "status")
    assert (shot["in_place"], shot["problem"], shot["lan"], shot["wan"]) == (True, "", ["br-lan"], ["wan"])
    assert "S21vpnpt" in box.sh("ls /etc/rc.d")
    assert "a server speaks first" in box.sh("nft list chain inet fw4 forward")
    assert box.sh("vpnpt status").startswith(f"vpnpt {shot['version']}, up 0 h")
    assert box.sh("/etc/init.d/vpnpt status") == box.sh("vpnpt status")
    assert box.sh("/etc/init.d/vpnpt check").splitlines() == [
        "LAN: zone lan (br-lan), forwarded to wan", "WAN: zone wan (wan), masquerades for lan", "the configuration is right"]
    assert "table ip vpnpt" in box.sh("/etc/init.d/vpnpt render")


def test_the_command_of_the_shorthand(box: Box, stage: Stage) -> None:
    """`uci set vpnpt.ipsec=0` blocks, `=1` helps, and what was typed is what is read back."""
    pid = box.call("vpnpt", "status")["pid"]
    assert stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": "arrived", "esp": "arrived"}
    for value, becomes, seen in (("0", "block", "dropped"), ("1", "help", "arrived")):
        commit(box, f"vpnpt.ipsec={value}")
        box.until(lambda becomes=becomes: behaviour(box, "ipsec") == becomes)
        assert stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": seen, "esp": seen}
        assert box.sh("uci get vpnpt.ipsec") == f"{value}\n"
        assert box.sh("uci changes") == ""
    assert box.call("vpnpt", "status")["pid"] == pid, "no restart for that"


def test_there_is_one_switch(box: Box) -> None:
    """The section's type. Who adds an option that says something else is told; the older form, with the option alone, counts too."""
    commit(box, "vpnpt.ipsec=0")
    box.until(lambda: behaviour(box, "ipsec") == "block")
    assert box.call("vpnpt", "status")["diagnostics"] == []
    commit(box, "vpnpt.ipsec.enabled=1")
    (diagnostic,) = box.until(lambda: box.call("vpnpt", "status")["diagnostics"])
    assert "contradicts the section's type '0'" in diagnostic and behaviour(box, "ipsec") == "block"
    commit(box, "vpnpt.ipsec=protocol")
    box.until(lambda: behaviour(box, "ipsec") == "help")
    commit(box, "vpnpt.ipsec.enabled=0")
    box.until(lambda: behaviour(box, "ipsec") == "block")


def test_a_broken_configuration_leaves_what_runs(box: Box) -> None:
    with (box.root / "etc/config/vpnpt").open("a") as file:
        file.write("option enabled 'without an end\n")
    box.sh("reload_config")
    box.until(lambda: box.call("vpnpt", "status")["problem"])
    assert behaviour(box, "ipsec") == "help" and box.tables() >= OURS


def test_who_may_use_it_is_unusable(box: Box) -> None:
    """Nobody may then, and whoever listens is told."""
    listening = box.root / "tmp" / "events"
    box.spawn("sh", "-c", "exec ubus listen vpnpt.alert >/tmp/events")
    box.until(lambda: listening.exists())
    time.sleep(0.3)  # until ubusd knows the listener, which nothing tells
    box.sh("uci add_list vpnpt.ipsec.allow_src=nobody")
    commit(box)
    box.until(lambda: behaviour(box, "ipsec") == "block")
    assert behaviour(box, "l2tp") == "help" and box.tables() >= OURS
    box.until(lambda: len(listening.read_text().splitlines()) >= 2)
    alerts = [json.loads(line)["vpnpt.alert"] for line in listening.read_text().splitlines()]
    assert [(alert["severity"], alert["code"]) for alert in alerts] == [("warning", "CONFIG"), ("error", "CONFIG")]
    assert "not one entry is valid" in alerts[-1]["text"]
    assert any("not one entry is valid" in line for line in box.read_log())


def test_killed_and_back(box: Box, stage: Stage) -> None:
    """Tunnels go on meanwhile, and what was known is known again."""
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    stage.do_traffic()
    before = box.call("vpnpt", "status")
    assert before["clients"] == 2
    box.sh(f"kill -9 {before['pid']}")
    assert not stage.do_traffic()["c1"].lost
    after = box.until(lambda: box.status("ubus call vpnpt status") == 0 and box.call("vpnpt", "status"))
    assert after["pid"] != before["pid"] and after["in_place"]
    assert [after[field] for field in ("clients", "servers", "spis")] == [before[field] for field in ("clients", "servers", "spis")]
    assert not any(tally.lost for name, tally in stage.do_traffic().items() if name in ("c1", "c2"))


def test_ubusd_dies_and_returns(box: Box) -> None:
    pid = box.call("vpnpt", "status")["pid"]
    box.stop_ubusd()

    def seconds() -> float:
        fields = (box.root / f"proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = seconds()
    time.sleep(1.5)
    assert seconds() - before < 0.2, "no busy loop"
    assert box.sh("vpnpt status").count("rules in place") == 1
    box.start_ubusd()
    shot = box.until(lambda: box.status("ubus call vpnpt status") == 0 and box.call("vpnpt", "status"))
    assert shot["pid"] == pid


def test_calls_as_luci_makes_them(box: Box) -> None:
    """uhttpd adds the caller's session to the arguments of every call."""
    session = {"ubus_rpc_session": "0" * 32}
    assert box.call("vpnpt", "status", session)["in_place"]
    assert box.call("vpnpt", "doctor", session)["findings"] == []
    assert box.call("vpnpt", "reload", session) == {"applied": True, "problem": "", "diagnostics": []}
    assert "error" in box.call("vpnpt", "kill", session), "whose?"
    assert "Method not found" in box.sh("ubus call vpnpt nonsense 2>&1; true")


def test_the_acl(box: Box) -> None:
    """rpcd gives a session that may read the reading methods, and one that may write the others as well."""
    for level, may in (("read", {"status": True, "reload": False}), ("write", {"status": False, "reload": True})):
        acl: dict[str, Any] = json.loads((box.root / "usr/share/rpcd/acl.d/vpnpt.json").read_text())["vpnpt"][level]
        session = box.call("session", "create", {"timeout": 60})["ubus_rpc_session"]
        objects = [[name, method] for name, methods in acl["ubus"].items() for method in methods]
        box.call_silently("session", "grant", {"ubus_rpc_session": session, "scope": "ubus", "objects": objects})
        for method, allowed in may.items():
            found = box.call("session", "access", {"ubus_rpc_session": session, "scope": "ubus", "object": "vpnpt", "function": method})
            assert found["access"] is allowed


def test_sessions_events_and_kill(box: Box, stage: Stage) -> None:
    events = box.root / "tmp" / "events"
    box.spawn("sh", "-c", "exec ubus listen vpnpt.session >/tmp/events")
    box.until(events.exists)
    time.sleep(0.3)
    client, server = (box.lab.host(name).address for name in ("c1", "s1"))
    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    sessions = box.call("vpnpt", "sessions")["sessions"]
    assert [(item["protocol"], item["client"], item["server"]) for item in sessions] == [("ipsec", client, server)]
    assert box.call("vpnpt", "kill", {"client": client}) == {"ended": 1}
    assert box.call("vpnpt", "sessions")["sessions"] == []
    told = {"protocol": "ipsec", "client": client, "server": server, "id": sessions[0]["id"]}
    seen = box.until(lambda: len(events.read_text().splitlines()) >= 2 and events.read_text().splitlines())
    assert [json.loads(line)["vpnpt.session"] for line in seen] == [
        {"event": "new", **told}, {"event": "ended", **told, "reason": "killed"}]
    assert not stage.do_traffic()["c1"].lost, "a client that goes on is served again"


def test_block_commits_nothing_but_itself(box: Box, stage: Stage) -> None:
    """What somebody has staged with uci stays staged, and the file keeps its comments."""
    client = box.lab.host("c1").address
    assert stage.do_up("c1") == {"c1": "up"}
    before = (box.root / "etc/config/vpnpt").read_text()
    box.sh("uci set vpnpt.l2tp.multi=1")
    found = box.call("vpnpt", "block", {"client": client, "protocol": "ipsec"})
    assert found == {"blocked": True, "client": client, "protocol": "ipsec", "changed": True}
    assert box.sh("uci changes vpnpt").strip() == "vpnpt.l2tp.multi='1'"
    assert box.sh("uci -q get vpnpt.ipsec.deny_src").strip() == client
    assert not stage.do_traffic()["c1"].delivered
    (blocked,) = box.call("vpnpt", "sessions")["sessions"]
    assert (blocked["state"], blocked["client"]) == ("blocked", client)
    assert box.call("vpnpt", "unblock", {"client": client, "protocol": "ipsec"})["changed"]
    assert (box.root / "etc/config/vpnpt").read_text() == before
    assert not stage.do_traffic()["c1"].lost
    box.sh("uci revert vpnpt")


def test_a_thousand_sessions(box: Box) -> None:
    """They fit into one message of ubus, which carries 1 MB."""
    sock = box.lab.host("c1").udp()
    for number in range(1000):
        sock.send(bytes(148), f"198.18.{number >> 8}.{number & 255}", 51820)
        if not number % 50:
            box.lab.pump.drain()
    answer = box.until(lambda: len((found := box.call("vpnpt", "sessions"))["sessions"]) == 1000 and found)
    assert "left_out" not in answer and {one["protocol"] for one in answer["sessions"]} == {"wireguard"}


def test_fw4_reloads_under_traffic(box: Box, stage: Stage) -> None:
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    stage.do_traffic()
    reloading = box.spawn("sh", "-c", "for turn in 0 1 2 3 4 5 6 7 8 9; do fw4 -q reload || exit 1; done")
    while reloading.poll() is None:
        found = stage.do_stream(seconds=0.2, every=0.02)
        assert not found["c1"].lost and not found["c2"].lost and not found["wrong"]
    assert reloading.returncode == 0
    assert "a server speaks first" in box.sh("nft list chain inet fw4 forward")


@pytest.mark.parametrize("command", ["fw4 flush; fw4 start", "fw4 restart", "/etc/init.d/firewall restart"])
def test_the_firewall_starts_anew_under_traffic(box: Box, stage: Stage, command: str) -> None:
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    stage.do_traffic()
    before = box.call("vpnpt", "status")
    box.sh(command)
    box.until(lambda: box.tables() >= OURS | {"table inet fw4"}, PATIENCE)
    found = stage.do_traffic()
    assert not found["c1"].lost and not found["c2"].lost and not found["wrong"]
    after = box.call("vpnpt", "status")
    assert [after[field] for field in ("clients", "spis", "pid")] == [before[field] for field in ("clients", "spis", "pid")]
    assert "a server speaks first" in box.sh("nft list chain inet fw4 forward")


def test_fw4_is_told_to_include_nothing(box: Box) -> None:
    """What we are told in the status is what fw4 does; either remedy mends it."""
    def forward() -> str:
        return box.sh("nft list chain inet fw4 forward")

    def diagnostics() -> Any:
        return box.call("vpnpt", "status")["diagnostics"]

    section = "uci add firewall include; for pair in type=nftables position=chain-post chain=forward path=/usr/share/nftables.d/" \
              "chain-post/forward/50-vpnpt.nft; do uci set firewall.@include[-1].$pair; done"
    for remedy in ("uci set firewall.@defaults[0].auto_includes=1", section):
        assert diagnostics() == [] and "a server speaks first" in forward()
        box.sh("uci set firewall.@defaults[0].auto_includes=0; uci commit firewall; reload_config")
        (found,) = box.until(diagnostics)
        assert "section 'firewall.@defaults[0]' option 'auto_includes' value '0'" in found
        box.until(lambda: "a server speaks first" not in forward())
        assert box.tables() >= OURS, "all else goes on"
        box.sh(f"{remedy}; uci commit firewall; reload_config")
        box.until(lambda: not diagnostics() and "a server speaks first" in forward())


def test_an_interface_comes_up(box: Box) -> None:
    """fw4 has put another device into the zone; the hotplug script of ours runs after fw4's."""
    assert box.call("vpnpt", "status")["wan"] == ["wan"]
    box.sh("uci add_list firewall.@zone[1].device=pppoe-wan; uci commit firewall; fw4 -q reload")
    box.sh("ACTION=ifdown INTERFACE=wan sh /etc/hotplug.d/iface/30-vpnpt; true")
    assert box.call("vpnpt", "status")["wan"] == ["wan"]
    box.sh("ACTION=ifup INTERFACE=wan sh /etc/hotplug.d/iface/30-vpnpt")
    box.until(lambda: box.call("vpnpt", "status")["wan"] == ["wan", "pppoe-wan"])


def test_the_wan_is_renumbered(box: Box, stage: Stage) -> None:
    """Nothing of the old address stays behind, and clients go on from the new one."""
    router, server = box.lab.router, box.lab.host("s1")
    assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
    stage.do_traffic()
    old, new = router.wan_address, "203.0.113.77"
    for command in (f"addr del {old}/24 dev wan", f"addr add {new}/24 dev wan", "route replace default via 203.0.113.254"):
        router.run("ip", *command.split())
    box.sh("ACTION=ifupdate IFUPDATE_ADDRESSES=1 INTERFACE=wan sh /etc/hotplug.d/iface/30-vpnpt")
    assert not [line for line in router.conntrack_list() if old in line]
    before = len(server.packets)
    stage.do_traffic(back=0)
    assert {packet.src for packet in server.packets[before:] if packet.proto == 50} == {new}


def test_a_rule_of_the_users_stays_in_charge(box: Box, stage: Stage) -> None:
    box.sh("uci add firewall rule; uci set firewall.@rule[-1].src=lan; uci set firewall.@rule[-1].dest=wan; "
           "uci set firewall.@rule[-1].proto=esp; uci set firewall.@rule[-1].target=REJECT; uci commit firewall; fw4 -q reload")
    assert stage.do_probe(["ike", "esp"], "c1", "s1") == {"ike": "arrived", "esp": "dropped"}


def test_fw4s_own_pptp_helper_beside_ours(box: Box, stage: Stage) -> None:
    """Where fw4 sets one too, the connection has it once."""
    commit(box, "vpnpt.pptp=1")
    box.until(lambda: behaviour(box, "pptp") == "help")
    if box.call("vpnpt", "status")["helper_missing"]:
        pytest.skip("this kernel has no PPTP helper (nf_nat_pptp): fw4's own beside ours was not tested")
    if "type \"pptp\"" not in box.sh("nft list table inet fw4"):  # fw4 sets it only where it is a module
        box.sh("nft -f -", text='''table inet fw4 {
    ct helper pptp { type "pptp" protocol tcp; l3proto ip; }
    chain helper_both { type filter hook prerouting priority filter; tcp dport 1723 ct helper set "pptp"; }
}''')
    assert stage.do_up("c1..c2", kind="pptp") == {"c1": "up", "c2": "up"}
    found = stage.do_traffic()
    assert not found["c1"].lost and not found["c2"].lost and not found["wrong"]
    assert len(box.lab.router.conntrack_list("-p", "tcp")) == 2
    assert [line.count("helper=pptp") for line in box.lab.router.conntrack_list("-p", "tcp")] == [1, 1]


def test_the_firewall_is_configured_anew(box: Box) -> None:
    """By procd's trigger, after the firewall's own."""
    box.sh("uci add_list firewall.@zone[0].device=br-guest; uci commit firewall; reload_config")
    box.until(lambda: box.call("vpnpt", "status")["lan"] == ["br-lan", "br-guest"])


def test_reloads_while_it_starts(box: Box) -> None:
    """None of them ends the daemon that is just being started."""
    box.sh("/etc/init.d/vpnpt stop; /etc/init.d/vpnpt start")
    pid = box.call("service", "list", {"name": "vpnpt"})["vpnpt"]["instances"]["instance1"]["pid"]
    box.sh("for turn in 0 1 2 3 4 5 6 7 8 9; do /etc/init.d/vpnpt reload; done")
    box.until(box.ready)
    daemon = box.call("vpnpt", "status")["pid"]
    assert daemon == pid or f"PPid:\t{pid}\n" in box.sh(f"cat /proc/{daemon}/status"), "procd's, or its jail's"


def test_a_reload_does_not_start_what_was_stopped(box: Box) -> None:
    box.sh("/etc/init.d/vpnpt stop")
    box.until(lambda: not box.tables() & OURS)
    box.sh("ACTION=ifup INTERFACE=wan sh /etc/hotplug.d/iface/30-vpnpt; true")
    box.sh("fw4 -q reload; reload_config")
    time.sleep(1)
    assert not box.tables() & OURS and box.status("vpnpt status") == 1
    assert "vpnpt" not in box.sh("nft list ruleset")


def owners(box: Box) -> dict[str, str]:
    """The zones that own SPIs, by server and SPI."""
    return dict(re.findall(r"([\d.]+ \. 0x[0-9a-f]+)[^:,]* : (\d+)", box.sh("nft list map ip vpnpt spi_zone")))


def test_an_upgrade(box: Box, stage: Stage, tmp_path: Path) -> None:
    """Keeps the user's configuration, and costs no tunnel a packet."""
    commit(box, "vpnpt.l2tp=0")
    box.until(lambda: behaviour(box, "l2tp") == "block")
    # The first one's SPI is known before there is a second one.
    for name in ("c1", "c2"):
        assert stage.do_up(name) == {name: "up"}
        stage.do_traffic()
    before, known = box.call("vpnpt", "status"), owners(box)
    newer = tmp_path / "vpnpt_99-r1_all.ipk"
    newer.write_bytes(ipk.build(read("vpnpt", tmp_path / "recipe")._replace(version="99-r1"), 0))
    (box.root / "tmp" / newer.name).write_bytes(newer.read_bytes())
    installing = box.spawn("opkg", "install", f"/tmp/{newer.name}")
    limit = time.monotonic() + 3
    while installing.poll() is None or time.monotonic() < limit:
        found = stage.do_stream(seconds=0.2, every=0.02)
        assert not found["c1"].lost and not found["c2"].lost and not found["wrong"]
    assert installing.returncode == 0 and "99-r1" in box.sh("opkg list-installed vpnpt")
    after = box.until(lambda: box.status("ubus call vpnpt status") == 0 and box.call("vpnpt", "status"))
    assert after["pid"] != before["pid"]
    assert after["protocols"]["l2tp"]["behaviour"] == "block" and box.sh("uci get vpnpt.l2tp") == "0\n"
    # The streams may tell by their rhythm whose an SPI is, or not: more may be known, but nothing is forgotten, and nobody's is another's.
    assert after["clients"] == before["clients"] and known and known.items() <= owners(box).items()


def test_sysupgrade_keeps_the_configuration(box: Box) -> None:
    """As a file of the package's that was changed: nothing else of OpenWrt's names it."""
    if box.status("command -v sysupgrade"):
        pytest.skip("no sysupgrade in the router: what it keeps was not tested")
    assert "/etc/config/vpnpt" not in box.sh("sysupgrade -l").splitlines(), "as it was installed"
    commit(box, "vpnpt.ipsec=0")
    assert "/etc/config/vpnpt" in box.sh("sysupgrade -l").splitlines()


def test_without_the_tools(bare: Box, packages: dict[str, Path]) -> None:
    """They come and go while the daemon runs, which misses nothing of them."""
    tools = packages["vpnpt-tools"]
    bare.install(packages["vpnpt"])
    bare.until(bare.ready)
    pid = bare.call("vpnpt", "status")["pid"]
    bare.sh("uci set vpnpt.global.metrics_file=/tmp/prometheus/vpnpt.prom; uci commit vpnpt; vpnpt reload")
    bare.until(lambda: any("vpnpt-tools" in line for line in bare.read_log()))
    for method in ("doctor", "metrics"):
        assert "opkg install vpnpt-tools" in bare.call("vpnpt", method)["error"]
        assert "opkg install vpnpt-tools" in bare.sh(f"vpnpt {method} 2>&1; true")
    bare.install(tools)
    assert bare.call("vpnpt", "doctor")["checked"] and "vpnpt_info" in bare.sh("vpnpt metrics")
    bare.sh("opkg remove vpnpt-tools")
    assert "opkg install vpnpt-tools" in bare.call("vpnpt", "doctor")["error"]
    assert bare.status("test -e /usr/lib/vpnpt/vpnpt/doctor -o -e /usr/lib/vpnpt/vpnpt/gather") == 1
    assert bare.call("vpnpt", "status")["pid"] == pid


def test_removed_without_a_trace(bare: Box, packages: dict[str, Path]) -> None:
    before, rules = files(bare), bare.sh("nft list ruleset")
    ours = (packages["vpnpt"], packages["vpnpt-tools"])
    for package in ours:
        bare.install(package)
    bare.until(bare.ready)
    assert files(bare) - before
    bare.sh("opkg remove vpnpt-tools")
    bare.sh("opkg remove vpnpt")
    shared = {str(parent) for path in bare.sh(f"tar xzOf /tmp/{ours[0].name} ./data.tar.gz | tar tzf -").split()
              for parent in PurePosixPath("/", path).parents}
    # /lib may be a link.
    shared |= set(bare.sh("xargs -n 1 readlink -f; true", text="\n".join(sorted(shared))).split())
    # Of procd's own doing and of opkg's, for every service: `uci commit` opens every configuration for writing.
    procds = {"/var/run/lock/procd_vpnpt.lock", "/tmp/lock/procd_vpnpt.lock", "/etc/rc.d", "/tmp/.uci", "/etc/config/rpcd"}
    assert files(bare) - before - shared - procds - {f"/tmp/{package.name}" for package in ours} == set()
    assert "vpnpt" not in bare.sh("find /etc /usr/lib /usr/share/rpcd /usr/share/nftables.d -name '*vpnpt*' | grep -v opkg; true")
    assert bare.sh("nft list ruleset") == rules
    assert "vpnpt" not in bare.sh("ubus list; ubus call service list")
    assert not [path for path in bare.root.glob("proc/[0-9]*/cmdline") if b"vpnpt" in path.read_bytes()]
