# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpnpt why`: eight faults are provoked for real, and each is named; a good tunnel works; what is agreed upon elsewhere is said so.

    c1 ── router (vpnpt) ── isp ── s1
                │            │
        rules, modules,   drops, ICMP
        switched off
"""
from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.topology import Lab
from tests.lab.verbs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT, SERVER = "192.168.1.101", "198.51.100.11"
CONFIG = "config 1 ipsec\nconfig 1 pptp\nconfig 1 l2tp\n"


@pytest.fixture
def stage(sandbox: None, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Lab(clients=2, servers=2, router="vpnpt", config=getattr(request, "param", CONFIG), ipv6=False) as lab:
        yield Stage(lab, {}, {}, str)


def why(stage: Stage, attempt: Callable[[], Any], *, server: str = "", seconds: int = 20) -> dict[str, Any]:
    """The verdict on what the client tries meanwhile. Within 20 seconds of the attempt."""
    router = stage.lab.router
    begun = router.ask(method="why", client=CLIENT, seconds=str(seconds), **({"server": server} if server else {}))
    assert begun["state"] == "watching", begun
    table_is_there(stage, True)
    attempt()
    found = begun
    state: list[dict[str, Any]] = []

    def done() -> bool:
        nonlocal found
        found = router.ask(method="why", watch=begun["watch"])
        state.append(found)
        return found["state"] not in ("watching", "judging")

    assert router.wait_until(done, 20), found
    assert found["state"] == "done", str(found)
    table_is_there(stage, False)
    return found["verdict"]


def table_is_there(stage: Stage, wanted: bool) -> None:
    def there() -> bool:
        return "vpnpt_why" in stage.lab.router.run("nft", "list", "tables").stdout

    assert stage.lab.router.wait_until(lambda: there() == wanted, 30)


def ike(stage: Stage, **options: Any) -> Callable[[], Any]:
    """IKE and ESP with s1; the client goes on trying."""
    def attempt() -> None:
        stage.patience = 1.0
        stage.do_up("c1", **options)
        stage.do_up("c1", **options, name="again")
        if stage.tunnels["c1"].up():
            stage.do_traffic("c1", out=4, back=4)

    return attempt


def test_it_works(stage: Stage) -> None:
    found = why(stage, ike(stage))
    assert (found["code"], found["place"]) == ("works", "fine"), found
    assert found["text"] == f"It works: data of {CLIENT} passes in both directions with {SERVER} (ESP)."


def test_blocked_by_a_rule(stage: Stage) -> None:
    router = stage.lab.router
    (router.config_dir / "firewall").write_text("config rule\n\toption name 'No-Work-VPN'\n\toption src 'lan'\n")
    router.nft("table inet fw4 {\n\tchain forward_lan {\n\t}\n}\ninsert rule inet fw4 forward_lan ip saddr 192.168.1.101 udp dport 500 "
               'counter drop comment "!fw4: No-Work-VPN"\n')
    found = why(stage, ike(stage))
    assert (found["code"], found["place"]) == ("FIREWALL_BLOCKS", "here"), found
    assert found["text"] == f"Rule 'No-Work-VPN' (firewall.@rule[0]) stops IKE (UDP 500) of {CLIENT} on this router."


def test_a_rule_for_somebody_else_is_not_it(stage: Stage) -> None:
    """The negative of the one before: the same rule, for another client."""
    stage.lab.router.nft("table inet fw4 {\n\tchain forward_lan {\n\t}\n}\ninsert rule inet fw4 forward_lan ip saddr 192.168.1.102 "
                         'udp dport 500 counter drop comment "!fw4: No-Work-VPN"\n')
    stage.do_isp(f"ip saddr {SERVER}")
    found = why(stage, ike(stage))
    assert found["code"] == "IKE_UNANSWERED", found


@pytest.mark.parametrize(("stage", "text", "action"), [
    ("config 0 ipsec\n", "it is switched off", "enable"),
    (f"config protocol 'ipsec'\n\toption enabled '1'\n\tlist deny_src '{CLIENT}'\n", "on its list of refused clients", "unblock"),
    ("config protocol 'ipsec'\n\toption enabled '1'\n\tlist allow_src '192.168.1.7'\n", "only listed clients may use it", "trust"),
], indirect=["stage"])
def test_blocked_by_us(stage: Stage, text: str, action: str) -> None:
    """The action undoes it."""
    found = why(stage, ike(stage))
    assert (found["code"], found["place"]) == ("PROTOCOL_BLOCKED", "here") and text in found["text"], found
    assert found["action"] == {"do": action, "protocol": "ipsec", "client": CLIENT}
    if action == "unblock":
        assert stage.lab.router.ask(method="unblock", client=CLIENT, protocol="ipsec")["changed"]
        assert why(stage, ike(stage))["code"] == "works"


def test_the_server_is_dead(stage: Stage) -> None:
    stage.do_isp(f"ip saddr {SERVER}")
    found = why(stage, ike(stage))
    assert (found["code"], found["place"]) == ("IKE_UNANSWERED", "way"), found
    assert found["text"].startswith(f"{SERVER} does not answer (IKE (UDP 500)): the fault is at that server, or on the way to it.")


def test_nobody_listens(stage: Stage) -> None:
    found = why(stage, lambda: stage.do_knock("c1", "s1", 51820))
    assert (found["code"], found["place"]) == ("SERVER_REFUSES", "server"), found
    assert "port unreachable" in found["text"]


def test_upstream_drops_esp(stage: Stage) -> None:
    stage.do_isp("meta l4proto esp")
    found = why(stage, ike(stage))
    assert (found["code"], found["place"]) == ("ESP_UNANSWERED", "way"), found
    assert found["text"] == f"{SERVER} answers IKE (UDP 500), and ESP does not come back: something on the way drops ESP."


def test_double_nat(stage: Stage) -> None:
    """The router before this one translates, and does not pass ESP."""
    stage.do_wan(address="192.168.178.23")
    stage.lab.isp.run("ip", "addr", "add", "192.168.178.1/24", "dev", "eth0")
    stage.do_ip("route replace default via 192.168.178.1 dev wan")
    stage.lab.isp.run("nft", "-f", "-", text="table ip nat {\nchain out {\ntype nat hook postrouting priority srcnat\n"
                      "ip saddr 192.168.178.0/24 masquerade\n}\n}\n")
    stage.do_isp("meta l4proto esp")
    found = why(stage, ike(stage))
    assert (found["code"], found["place"]) == ("DOUBLE_NAT", "way"), found
    assert any("192.168.178.23" in item for item in found["evidence"])


def test_a_double_nat_that_passes_it_is_not_it(stage: Stage) -> None:
    stage.do_wan(address="192.168.178.23")
    stage.lab.isp.run("ip", "addr", "add", "192.168.178.1/24", "dev", "eth0")
    stage.do_ip("route replace default via 192.168.178.1 dev wan")
    stage.lab.isp.run("nft", "-f", "-", text="table ip nat {\nchain out {\ntype nat hook postrouting priority srcnat\n"
                      "ip saddr 192.168.178.0/24 masquerade\n}\n}\n")
    assert why(stage, ike(stage))["code"] == "works"


def test_nat_t_conflict(stage: Stage) -> None:
    def attempt() -> None:
        stage.do_up("c1", natt=True)
        stage.do_traffic()
        stage.do_up("c1", kind="manual", name="plain")
        stage.do_traffic("plain")

    found = why(stage, attempt)
    assert (found["code"], found["place"]) == ("NATT_CONFLICT", "client"), found


def test_mtu(stage: Stage) -> None:
    def attempt() -> None:
        stage.do_up("c1")
        stage.do_traffic()
        stage.do_icmp(about="esp", who="c1")

    found = why(stage, attempt)
    assert (found["code"], found["place"]) == ("PATH_MTU", "way"), found
    assert "1400 bytes at most" in found["text"] and "1320" in found["remedy"]


def test_no_helper(stage: Stage) -> None:
    stage.do_daemon(no_helper=True)

    def attempt() -> None:
        stage.patience = 1.0
        stage.do_up("c1", kind="pptp")

    found = why(stage, attempt)
    assert (found["code"], found["place"]) in (("PPTP_HELPER_MISSING", "here"), ("works", "fine")), found
    assert found["code"] == "PPTP_HELPER_MISSING", found


def test_no_tunnel_though_all_is_well(stage: Stage) -> None:
    """IKE is answered and nothing follows: client and server do not agree."""
    found = why(stage, lambda: stage.do_tell("c1", "s1", 500))
    assert (found["code"], found["place"]) == ("agree", "server"), found


def test_nothing_is_tried(stage: Stage) -> None:
    found = why(stage, lambda: None, seconds=2)
    assert (found["code"], found["place"]) == ("nothing", "client"), found


def test_a_server_on_an_unusual_port(stage: Stage) -> None:
    """Seen only where the server is named."""
    def attempt() -> None:
        stage.do_tell("c1", "s1", 40000, count=12)

    assert why(stage, attempt, seconds=3)["code"] == "nothing"
    found = why(stage, attempt, server=SERVER)
    assert found["code"] == "works" and "UDP 40000" in found["text"], found


def test_it_is_cancelled_and_replaced(stage: Stage) -> None:
    router = stage.lab.router
    first = router.ask(method="why", client=CLIENT)
    table_is_there(stage, True)
    assert router.ask(method="why", watch=first["watch"], cancel="1")["state"] == "cancelled"
    table_is_there(stage, False)
    second = router.ask(method="why", client=CLIENT)
    third = router.ask(method="why", client="192.168.1.102")
    assert "error" in router.ask(method="why", watch=second["watch"]) and third["client"] == "192.168.1.102"
    table_is_there(stage, True)
    router.kill_vpnpt()
    table_is_there(stage, False)


def test_the_daemon_is_killed(stage: Stage) -> None:
    """Also then no rule of the watch stays."""
    stage.lab.router.ask(method="why", client=CLIENT)
    table_is_there(stage, True)
    stage.lab.router.kill_vpnpt(9)
    table_is_there(stage, False)


def test_on_the_command_line(stage: Stage) -> None:
    router = stage.lab.router
    environment = {**router._environment}
    process = router.spawn(sys.executable, "-m", "vpnpt.cli", "why", CLIENT, "--seconds", "20", "--run-dir", str(router.run_dir),
                           env=environment, stdout=subprocess.PIPE, text=True)
    table_is_there(stage, True)
    ike(stage)()
    assert router.wait_until(lambda: process.poll() is not None, 20)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.returncode == 0, lines
    assert lines[0] == f"Watching the VPN of {CLIENT} for 20 seconds: start it now. Ctrl-C ends."
    assert f"It works: data of {CLIENT} passes in both directions with {SERVER} (ESP)." in " ".join(lines), lines
    assert router.vpnpt("why", "nobody", check=False) == ""
    assert json.loads(router.vpnpt("why", CLIENT, "--seconds", "1", "--json", check=False))["verdict"]["code"] == "nothing"
