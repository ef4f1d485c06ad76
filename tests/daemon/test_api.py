# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon answers besides its status, with real connections through the lab's router."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.topology import Lab
from tests.lab.verbs import Stage
from vpnpt.daemon import control
from vpnpt.daemon.api import HANDLERS
from vpnpt.daemon.ubus import METHODS
from vpnpt.doctor.texts import TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = "198.51.100.11"
CLIENTS = ("192.168.1.101", "192.168.1.102")
ODD = ("", " ", "9" * 5000, "²", "٣", "-1", "+1", "1_0", "1e9", "0x10", "1.5", "nan", "\0", "\ud800", "é", "a" * 50_000, "..", "/", "%s",
       "{0}", "::", "::1%lo", "192.168.1.101/33", "255.255.255.256", "1.2.3", "1", "\n", "$(id)", "*", None, True, -1, 7, 10 ** 30, 1e308,
       [], {}, ["x"])
"""What no argument is meant to be."""


@pytest.fixture
def stage(sandbox: None) -> Iterator[Stage]:
    """Two clients with a tunnel each to one server, through vpnpt."""
    with Lab(clients=2, servers=1, router="vpnpt", config="config 1 ipsec\nconfig 1 pptp\n", ipv6=False) as lab:
        stage = Stage(lab, {}, {}, str)
        assert stage.do_up("c1..c2") == {"c1": "up", "c2": "up"}
        stage.do_traffic()
        yield stage


def ask(stage: Stage, method: str, **arguments: Any) -> dict[str, Any]:
    return control.call(str(stage.lab.router.run_dir), {"method": method, **arguments})


def test_kill(stage: Stage) -> None:
    assert ask(stage, "kill", client=CLIENTS[0]) == {"ended": 1}
    assert [item["client"] for item in ask(stage, "sessions")["sessions"]] == [CLIENTS[1]]
    assert ask(stage, "kill", client=CLIENTS[0]) == {"ended": 0}
    assert "error" in ask(stage, "kill", client="nobody") and "error" in ask(stage, "kill") and "error" in ask(stage, "kill", client=5)
    found = stage.do_traffic()
    assert not found["c1"].lost and not found["c2"].lost, "who goes on is served again"


def test_doctor(stage: Stage) -> None:
    """Its findings are the matter of tests/lab/test_doctor.py; here it is the shape of the answer, and that two who ask get the same."""
    router = stage.lab.router
    answer = ask(stage, "doctor")
    assert abs(answer["time"] - time.time()) < 60 and "CONFIG" in answer["checked"]
    assert [item["code"] for item in answer["findings"]] == ["WEAK_PPTP"]
    router.write_config("config 1 'ipsec\n")
    assert not ask(stage, "reload")["applied"]
    with ThreadPoolExecutor(max_workers=3) as pool:
        answers = list(pool.map(lambda _: ask(stage, "doctor"), range(3)))
    for answer in answers:
        (first, _) = answer["findings"]
        assert set(first) == {"code", "severity", "text", "evidence", "remedy", "link", "said"}
        assert (first["code"], first["severity"], first["evidence"]) == ("CONFIG", "error", ask(stage, "status")["problem"])


def test_numbers_that_python_does_not_read(stage: Stage) -> None:
    """int() refuses digits of other kinds, and more than 4,300 of them."""
    name = ask(stage, "sessions", since="")["revision"].rpartition(".")[0]
    for number in ("9" * 5000, "²"):
        assert "error" in ask(stage, "why", client=CLIENTS[0], seconds=number)
        assert ask(stage, "sessions", since=f"{name}.{number}")["full"]


@pytest.mark.parametrize("method", [method for method, arguments in METHODS.items() if arguments])
def test_no_argument_ends_the_daemon(stage: Stage, method: str) -> None:
    """Whoever may ask gets an answer, whatever is asked; and the next one does."""
    daemon = stage.lab.router.daemon
    name = ask(stage, "sessions", since="")["revision"].rpartition(".")[0]
    for argument in METHODS[method]:
        for value in (*ODD, *(f"{name}.{word}" for word in ODD if isinstance(word, str))):
            given = {"client": CLIENTS[0]} if argument in ("server", "seconds", "protocol") else {}
            assert ask(stage, method, **{**given, argument: value}), (argument, value)
    assert ask(stage, "status")["version"] and daemon is not None and daemon.poll() is None


def test_what_why_can_t_be_asked(stage: Stage) -> None:
    """In words for the terminal, and by the code of a sentence for LuCI."""
    cases = {"who": {}, "unknown": {"client": "nobody"}, "server": {"client": CLIENTS[0], "server": "vpn.example.com"},
             "family": {"client": CLIENTS[0], "server": "2001:db8::1"}, "gone": {"watch": "1-1"}}
    for code, arguments in cases.items():
        answer = ask(stage, "why", **arguments)
        assert answer["said"] == {"code": f"why-ask-{code}", "values": {}} and answer["error"] and f"why-ask-{code}" in TEXTS
    assert {f"why-ask-{code}" for code in (*cases, "none")} == {code for code in TEXTS if code.startswith("why-ask-")}


def test_events(stage: Stage) -> None:
    first = ask(stage, "events")["events"][0]
    assert (first["severity"], first["code"]) == ("info", "APPLIED") and first["text"].startswith("pptp help, l2tp help, ipsec help")
    stage.lab.router.write_config("config 1 'ipsec\n")
    ask(stage, "reload")
    last = ask(stage, "events")["events"][-1]
    assert (last["severity"], last["code"]) == ("error", "CONFIG") and last["time"] >= first["time"]


def test_unknown(stage: Stage) -> None:
    assert ask(stage, "nonsense") == {"error": "unknown method 'nonsense'; known: " + ", ".join(HANDLERS)}
