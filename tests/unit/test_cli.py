"""The command line: what it takes, what it answers, and how it ends."""
from __future__ import annotations

import json
from typing import Any

import pytest

from vpnpt import __version__, cli
from vpnpt.cli import FLAGS, UsageError, folded, format_status, parse
from vpnpt.config import PROTOCOLS

SHOT: dict[str, Any] = {
    "version": "0.1.0", "pid": 1234, "since": 1_000_000, "in_place": True, "problem": "", "diagnostics": [], "enabled": True,
    "lan": ["br-lan"], "wan": ["wan"],
    "protocols": {"pptp": {"behaviour": "block", "counters": {"blocked": 3, "stray": 0}},
                  "l2tp": {"behaviour": "ignore", "counters": {}}, "ipsec": {"behaviour": "help", "counters": {}}},
    "helper_missing": False, "clients": 2, "servers": 1, "contended": 1, "spis": 4, "cookies": 3, "copies": 0, "clients_full": 0,
}


@pytest.mark.parametrize(("arguments", "result"), [
    ([], ("", set(), {})),
    (["status"], ("status", set(), {})),
    (["status", "--json"], ("status", {"--json"}, {})),
    (["--json", "status"], ("status", {"--json"}, {})),
    (["render", "--config-dir", "d"], ("render", set(), {"--config-dir": "d"})),
    (["--config-dir=d", "render", "--fw4"], ("render", {"--fw4"}, {"--config-dir": "d"})),
    (["--config-dir=a=b", "check"], ("check", set(), {"--config-dir": "a=b"})),
    (["--config-dir=", "check"], ("check", set(), {"--config-dir": ""})),
    (["check", "--config-dir", "--fw4"], ("check", set(), {"--config-dir": "--fw4"})),
    (["status", "--run-dir", "a", "--run-dir", "b"], ("status", set(), {"--run-dir": "b"})),
    (["--help"], ("", {"--help"}, {})),
    (["render", "-h"], ("render", {"-h"}, {})),
])
def test_parse(arguments: list[str], result: tuple[str, set[str], dict[str, str]]) -> None:
    assert parse(arguments) == result


@pytest.mark.parametrize(("arguments", "message"), [
    (["stauts"], "unknown command 'stauts'; known: status, reload, check, render, version"),
    (["status", "now"], "'now' is one word too many"),
    (["status", "--fw4"], "unknown option '--fw4'"),
    (["--json"], "unknown option '--json'"),
    (["check", "-x"], "unknown option '-x'"),
    (["check", "--config-dir"], "--config-dir needs a directory"),
])
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments)
    assert str(caught.value) == message
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"vpnpt: {message}\n\n{cli.USAGE}"


def test_usage_names_every_command_and_fits_the_screen() -> None:
    described = [line.split()[0] for line in cli.USAGE.splitlines() if line.startswith("  ") and not line.startswith("  -")]
    assert described == list(FLAGS)
    assert max(map(len, cli.USAGE.splitlines())) <= 124


@pytest.mark.parametrize(("arguments", "status", "stream"), [
    (["--help"], 0, "out"), (["render", "--help"], 0, "out"), (["-h"], 0, "out"), ([], 2, "err")])
def test_usage(arguments: list[str], status: int, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == status
    said = capsys.readouterr()
    assert {"out": said.out, "err": said.err} == {"out": "", "err": "", stream: cli.USAGE}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"vpnpt {__version__}\n"


@pytest.mark.parametrize("command", ["status", "reload"])
def test_no_daemon(command: str, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--run-dir", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"vpnpt: no daemon answers in {tmp_path} (")
    assert said.err.endswith("): is vpnptd running?\n") and said.err.count("\n") == 1


def test_status() -> None:
    assert format_status(SHOT, 1_000_000 + 3 * 3600 + 125).splitlines() == [
        "vpnpt 0.1.0, up 3 h 2 min, rules in place",
        "LAN br-lan, WAN wan",
        "",
        "  pptp       blocked    3 blocked",
        "  l2tp       left alone",
        "  ipsec      passes",
        "",
        "2 clients, 1 servers (1 with several clients), 3 IKE and 4 ESP SAs",
    ]


@pytest.mark.parametrize(("change", "line"), [
    ({"in_place": False}, "vpnpt 0.1.0, up 0 h 0 min, NO RULES IN PLACE"),
    ({"problem": "no device"}, "problem: no device"),
    ({"protocols": {}, "enabled": False}, "no configuration is in force"),
    ({"enabled": False}, "switched off (vpnpt.global.enabled)"),
    ({"helper_missing": True}, "  PPTP does not pass yet: the kernel's helper is missing"),
    ({"diagnostics": ["warning: one", "warning: two"]}, "warning: two"),
    ({"lan": ["a", "b"], "wan": ["c", "d"]}, "LAN a b, WAN c d"),
])
def test_status_says(change: dict[str, Any], line: str) -> None:
    assert line not in format_status(SHOT, 1_000_000).splitlines()
    assert line in format_status({**SHOT, **change}, 1_000_000).splitlines()


def test_status_is_at_most_80_columns_wide() -> None:
    counters = {"blocked": 10 ** 12, "source": 10 ** 12, "unsolicited": 10 ** 12, "stray": 10 ** 12}
    shot = {**SHOT, "problem": "the kernel refused the ruleset, the old one stays: " + "Error: " * 30,
            "lan": [f"device-name-{n:03}" for n in range(20)], "wan": ["x" * 15] * 8,
            "protocols": {name: {"behaviour": "ignore", "counters": counters} for name in PROTOCOLS},
            "diagnostics": ["warning: /a/very/long/path" + "/x" * 60 + ":3: section 'global' option 'colour': unknown option; left out; "
                            "valid: enabled, lan_zone, wan_zone, lan_device, wan_device, when_disabled, zone_base, zone_count"],
            **dict.fromkeys(("clients", "servers", "contended", "spis", "cookies"), 10 ** 9)}
    text = format_status(shot, 4e9)
    assert max(map(len, text.splitlines())) <= 80
    assert "".join(shot["diagnostics"][0].split()) in "".join(text.split()), "and nothing is lost"


@pytest.mark.parametrize(("line", "result"), [
    ("", [""]), ("x" * 80, ["x" * 80]), ("a " * 40 + "b", [("a " * 40).rstrip(), "    b"]),
    ("x" * 81, ["x" * 80, "    x"]), ("x" * 200, ["x" * 80, "    " + "x" * 76, "    " + "x" * 44]),
    ("word " + "x" * 100, ["word " + "x" * 75, "    " + "x" * 25]),
])
def test_folded(line: str, result: list[str]) -> None:
    assert folded(line).split("\n") == result


def test_json_shape_survives(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_ask", lambda _values, _request: SHOT)
    assert cli.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SHOT


def test_reload_says_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"applied": False, "problem": "a quote without end", "diagnostics": ["error: a quote without end"]}
    monkeypatch.setattr(cli, "_ask", lambda _values, _request: answer)
    assert cli.main(["reload"]) == 1
    assert capsys.readouterr().err == "error: a quote without end\nnot applied, what ran goes on: a quote without end\n"
    answer.update(applied=True, problem="", diagnostics=["warning: one"])
    assert cli.main(["reload"]) == 0
    assert capsys.readouterr().err == "warning: one\n"
