# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what it takes, and how it ends. What it prints: test_cli_show.py."""
from __future__ import annotations

import json
import re
from typing import Any

import pytest

from vpnpt import __version__
from vpnpt.cli import main
from vpnpt.cli.help import COMMANDS, VALUES, usage
from vpnpt.cli.help_texts import STATUS, TEXTS, help_text
from vpnpt.cli.main import HANDLERS, UsageError, parse
from vpnpt.config.compile import OPTIONS
from vpnpt.daemon import control

SESSION = {"id": "ipsec-0a1b2c3d", "protocol": "ipsec", "variant": "IKEv2", "family": 4, "client": "192.168.1.2", "client_name": "laptop",
           "mac": "00:00:5e:00:53:01", "server": "203.0.113.1", "server_name": "", "state": "up", "since": 1_700_000_000,
           "last": 1_700_000_100, "packets_out": 1, "bytes_out": 100, "packets_in": 1, "bytes_in": 200, "nat_port": 0, "details": {}}


@pytest.mark.parametrize(("arguments", "result"), [
    ([], ("", [], set(), {})),
    (["status"], ("status", [], set(), {})),
    (["--json", "status"], ("status", [], {"--json"}, {})),
    (["sessions", "--watch", "--ended"], ("sessions", [], {"--watch", "--ended"}, {})),
    (["--config-dir=d", "render", "--fw4"], ("render", [], {"--fw4"}, {"--config-dir": "d"})),
    (["--config-dir=a=b", "check"], ("check", [], set(), {"--config-dir": "a=b"})),
    (["--config-dir=", "check"], ("check", [], set(), {"--config-dir": ""})),
    (["check", "--config-dir", "--fw4"], ("check", [], set(), {"--config-dir": "--fw4"})),
    (["status", "--run-dir", "a", "--run-dir", "b"], ("status", [], set(), {"--run-dir": "b"})),
    (["kill", "192.168.1.2"], ("kill", ["192.168.1.2"], set(), {})),
    (["kill", "a=b", "ipsec"], ("kill", ["a=b", "ipsec"], set(), {})),
    (["top", "--count", "2", "--interval=1"], ("top", [], set(), {"--count": "2", "--interval": "1"})),
    (["--help"], ("", [], {"--help"}, {})),
    (["kill", "-h"], ("kill", [], {"-h"}, {})),
])
def test_parse(arguments: list[str], result: tuple[str, list[str], set[str], dict[str, str]]) -> None:
    call = parse(arguments)
    assert (call.command, call.operands, call.flags, call.values) == result


@pytest.mark.parametrize(("arguments", "message"), [
    (["stauts"], f"unknown command 'stauts'; known: {', '.join(COMMANDS)}"),
    (["help", "stauts"], f"'stauts' is no command, and no option or section of the configuration; commands: {', '.join(COMMANDS)}"),
    (["status", "now"], "'now' is one word too many"),
    (["kill"], "kill needs SESSION|CLIENT"),
    (["block", "192.168.1.2"], "block needs PROTOCOL"),
    (["kill", "192.168.1.2", "ipsec", "now"], "'now' is one word too many"),
    (["kill", "192.168.1.2", "sstp"], "unknown protocol 'sstp'; known: pptp, l2tp, ipsec, openvpn, wireguard"),
    (["status", "--fw4"], "unknown option '--fw4'"),
    (["status", "--count", "1"], "unknown option '--count'"),
    (["--json"], "unknown option '--json'"),
    (["check", "-x"], "unknown option '-x'"),
    (["check", "--config-dir"], "--config-dir needs a value: DIR"),
    (["top", "--count", "many"], "--count needs a number, not 'many'"),
    (["top", "--interval", "-1"], "--interval needs a number, not '-1'"),
])
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        call = parse(arguments)
        HANDLERS[call.command](call)
    assert str(caught.value) == message
    assert main.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"vpnpt: {message}\nSee `vpnpt help`.\n"


def test_help_on_options_names_each_with_what_it_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    for section, options in OPTIONS.items():
        assert main.main(["help", section]) == 0
        said = capsys.readouterr().out
        assert re.findall(r"^(?:option|list) vpnpt\.(\S+)$", said, re.M) == [f"{section}.{option.name}" for option in options]
        assert said.count("without it") >= len(options) and max(map(len, said.splitlines())) <= 80
    assert main.main(["help", "max_keys"]) == 0
    assert "\n  64 to 1048576 keys; without it 65536\n" in capsys.readouterr().out
    for section, options in OPTIONS.items():
        assert main.main(["help", section]) == 0
        said = capsys.readouterr().out
        assert [f"vpnpt.{section}.{option.name}" for option in options] == re.findall(r"^(?:option|list) (\S+)$", said, re.MULTILINE)


def test_every_command_has_a_handler_and_a_help_that_fits_the_screen() -> None:
    assert list(HANDLERS) == list(COMMANDS)
    for text in (usage(), *(help_text(name) for name in COMMANDS)):
        assert max(map(len, text.splitlines())) <= 80, text
        assert text.endswith("\n") and not text.endswith("\n\n")
    described = [line.split()[0] for line in usage().splitlines() if line.startswith("  ") and not line.startswith("  -")]
    assert described == list(COMMANDS)


def test_help_is_of_commands_that_there_are() -> None:
    assert {*TEXTS, *STATUS} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_all_that_a_command_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["help", name]) == main.main([name, "--help"]) == 0
    text, again = capsys.readouterr().out.split("usage: ")[1:]
    assert text == again
    for flag in COMMANDS[name].flags:
        assert text.count(flag) == 2
    for option, (value, _, owners) in VALUES.items():
        assert text.count(f"{option} {value}") == 2 * (name in owners)
    for operand, _ in COMMANDS[name].operands:
        assert operand.split("|")[0] in text.splitlines()[0]


@pytest.mark.parametrize(("arguments", "status", "stream"), [
    (["--help"], 0, "out"), (["help"], 0, "out"), (["-h"], 0, "out"), ([], 2, "err")])
def test_usage(arguments: list[str], status: int, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(arguments) == status
    said = capsys.readouterr()
    assert {"out": said.out, "err": said.err} == {"out": "", "err": "", stream: usage()}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["version"]) == 0
    assert capsys.readouterr().out == f"vpnpt {__version__}\n"


@pytest.mark.parametrize(("arguments", "status"), [
    (["status"], 1), (["sessions"], 1), (["sessions", "--watch"], 1), (["top"], 1), (["doctor"], 2), (["kill", "192.168.1.2"], 1),
    (["block", "192.168.1.2", "ipsec"], 1), (["unblock", "laptop", "ipsec"], 1), (["events"], 1), (["events", "--follow"], 1),
    (["changes"], 1), (["metrics"], 1), (["reload"], 1)])
def test_no_daemon(arguments: list[str], status: int, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*arguments, "--run-dir", str(tmp_path)]) == status
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"vpnpt: no daemon answers in {tmp_path} (")
    assert said.err.endswith("): is vpnptd running?\n") and said.err.count("\n") == 1


class Daemon:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[dict[str, str]] = []

    def __call__(self, _run_dir: str, request: dict[str, str], timeout: float = 0) -> dict[str, Any]:
        self.asked.append(request)
        return self.answers[request["method"]]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """One session; killing ends one."""
    made = Daemon({"sessions": {"now": 1_700_000_200, "sessions": [SESSION], "ended": []}, "kill": {"ended": 1}, "block": {"blocked": True},
                   "unblock": {"blocked": False}})
    monkeypatch.setattr(control, "call", made)
    return made


@pytest.mark.parametrize(("arguments", "request_sent"), [
    (["ipsec-0a1b2c3d"], {"session": "ipsec-0a1b2c3d"}),
    (["0a1b2c3d"], {"session": "ipsec-0a1b2c3d"}),
    (["192.168.1.2"], {"client": "192.168.1.2"}),
    (["laptop"], {"client": "192.168.1.2"}),
    (["Laptop"], {"client": "192.168.1.2"}),
    (["00:00:5E:00:53:01"], {"client": "192.168.1.2"}),
    (["laptop", "ipsec"], {"client": "192.168.1.2", "protocol": "ipsec"}),
    (["192.168.1.9"], {"client": "192.168.1.9"}),
])
def test_kill(daemon: Daemon, arguments: list[str], request_sent: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["kill", *arguments]) == 0
    assert daemon.asked[1:] == [{"method": "kill", **request_sent}]
    assert capsys.readouterr().out == "1 session ended\n"


def test_kill_of_nobody(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["kill"] = {"ended": 0}
    assert main.main(["kill", "nobody", "l2tp"]) == 1
    assert capsys.readouterr().err == "vpnpt: no l2tp session of 'nobody': see `vpnpt sessions`\n"


def test_block_of_nobody(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["block", "nobody", "l2tp"]) == 1
    assert capsys.readouterr().err == "vpnpt: no session is of 'nobody': give its address or MAC\n"
    assert len(daemon.asked) == 1


def test_what_the_daemon_refuses(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["block"] = {"error": "not an address"}
    assert main.main(["block", "192.168.1.2", "ipsec"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "vpnpt: not an address\n")


@pytest.mark.parametrize(("arguments", "said"), [
    (["block", "192.168.1.2", "ipsec"], "192.168.1.2: ipsec is refused\n"),
    (["block", "laptop", "ipsec"], "192.168.1.2: ipsec is refused\n"),
    (["block", "00:00:5e:00:53:09", "ipsec"], "00:00:5e:00:53:09: ipsec is refused\n"),
    (["unblock", "laptop", "ipsec"], "192.168.1.2: ipsec is not refused any more\n"),
])
def test_block(daemon: Daemon, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(arguments) == 0
    assert capsys.readouterr().out == said
    assert daemon.asked[-1] == {"method": arguments[0], "client": said.partition(": ")[0], "protocol": "ipsec"}


@pytest.mark.parametrize(("severities", "status"), [([], 0), (["info"], 0), (["warning", "info"], 1), (["error", "warning"], 2)])
def test_doctor_ends_with_the_worst(daemon: Daemon, severities: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["doctor"] = {"time": 1, "checked": ["A", "B"], "findings": [
        {"severity": severity, "code": "A", "text": "t", "evidence": "", "remedy": "", "link": ""} for severity in severities]}
    assert main.main(["doctor"]) == status
    assert main.main(["doctor", "--json"]) == status
    assert json.loads("{" + capsys.readouterr().out.partition("{")[2]) == daemon.answers["doctor"]


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if "--json" in command.flags
                                     and name not in ("why", "check")])
def test_json_is_what_the_daemon_answers(daemon: Daemon, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers[command] = answer = {"findings": [], "anything": ["é", 1]}
    assert main.main([command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer


def test_metrics(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["metrics"] = {"text": "# TYPE a counter\na 1\n"}
    assert main.main(["metrics"]) == 0
    assert capsys.readouterr().out == "# TYPE a counter\na 1\n"


def test_reload_says_what_is_wrong(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    answer: dict[str, Any] = {"applied": False, "problem": "a quote without end", "diagnostics": ["error: a quote without end"]}
    daemon.answers["reload"] = answer
    assert main.main(["reload"]) == 1
    assert capsys.readouterr().err == "error: a quote without end\nnot applied, what ran goes on: a quote without end\n"
    answer.update(applied=True, problem="", diagnostics=["warning: one"])
    assert main.main(["reload"]) == 0
    assert capsys.readouterr().err == "warning: one\n"


def test_check_without_devices(tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is no router: an error that says what to write."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "vpnpt").write_text("config 1 'ipsec'\n")
    assert main.main(["check", "--config-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"error: section 'global' option '{side}_device': no network device found: there are no firewall zones; name the "
        f"{side.upper()} devices: uci add_list vpnpt.global.{side}_device=NAME; uci commit vpnpt" for side in ("lan", "wan")]


DEVICES = "config vpnpt 'global'\n list lan_device br-lan\n list wan_device wan\n"


def test_check_as_json(tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, for a program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("vpnpt.kernel.nft.check", lambda _: None)
    monkeypatch.setattr("vpnpt.router.devices._device_names", tuple)
    assert main.main(["check", "--json", "--config-dir", str(tmp_path)]) == 2
    (missing,) = json.loads(capsys.readouterr().out)
    assert missing["message"]["values"] == {"path": f"{tmp_path}/vpnpt"} and missing["severity"] == "error"
    (tmp_path / "vpnpt").write_text(DEVICES + "config 1 'ipsec'\n option natt_port 70000\n")
    assert main.main(["check", "--json", "--config-dir", str(tmp_path)]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [(item["line"], item["section"], item["option"], item["value"]) for item in found if item["line"]] == [
        (5, "ipsec", "natt_port", "'70000'"), (5, "ipsec", "natt_port", None)]
    (tmp_path / "vpnpt").write_text(DEVICES)
    assert main.main(["check", "--json", "--config-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_reader_that_goes_away(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> str:
        raise BrokenPipeError

    monkeypatch.setattr("vpnpt.cli.events.events", gone)
    monkeypatch.setattr(main.os, "dup2", lambda *_: None)
    daemon.answers["events"] = {"events": []}
    assert main.main(["events"]) == 141
