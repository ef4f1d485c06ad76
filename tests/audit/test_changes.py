# SPDX-License-Identifier: GPL-2.0-or-later
"""The history, and what two states differ in: pure."""
from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config import default_config
from vpnpt.audit import changes
from vpnpt.audit.changes import AT_ONCE, LIMIT, TEXT_LIMIT, Change, History
from vpnpt.config import ucitext
from vpnpt.config.compile import OPTIONS, compile_config
from vpnpt.daemon import history, history_file
from vpnpt.daemon.log import Log
from vpnpt.model import Devices, Said

if TYPE_CHECKING:
    from pathlib import Path

PORTS = frozenset(("500", "4500", "1701", "1723", "1194", "51820"))


def test_every_option_is_told() -> None:
    told = changes.configuration(default_config())
    assert list(told) == [f"vpnpt.{section}.{option.name}" for section, options in OPTIONS.items() for option in options]
    assert told["vpnpt.ipsec.enabled"] == "1" and told["vpnpt.pptp.enabled"] == "0" and told["vpnpt.ipsec.natt_port"] == "4500"
    assert told["vpnpt.global.lan_zone"] == "(none)" and told["vpnpt.ipsec.allow_src"] == told["vpnpt.ipsec.when_disabled"] == "(none)"


@pytest.mark.parametrize(("text", "said"), [
    ("config 0 ipsec\n", ["vpnpt.ipsec.enabled: 1 -> 0"]),
    ("config vpnpt global\n list lan_zone lan\n list lan_zone guest\n", ["vpnpt.global.lan_zone: (none) -> lan guest"]),
    ("config protocol l2tp\n list allow_src 192.168.1.9/24\n", ["vpnpt.l2tp.allow_src: (none) -> 192.168.1.0/24"]),
    ("config protocol l2tp\n option when_disabled ignore\n list port 1701\n", ["vpnpt.l2tp.when_disabled: (none) -> ignore"]),
    ("# nothing\n", []),
])
def test_what_an_option_was_and_is(text: str, said: list[str]) -> None:
    config, _ = compile_config(text)
    assert config is not None
    assert changes.differences(changes.configuration(default_config()), changes.configuration(config)) == said


def test_many_differences_are_counted() -> None:
    old, new = ({f"name{number:03}": value for number in range(100)} for value in ("a", "b"))
    said = changes.differences(old, new)
    assert len(said) == AT_ONCE and said[0] == "name000: a -> b" and said[-1] == "and 81 more"
    assert changes.differences({}, {"x": "1"}) == ["x: (none) -> 1"] and changes.differences({"x": "1"}, {}) == ["x: 1 -> (none)"]


def firewall(text: str) -> dict[str, str]:
    return changes.firewall(ucitext.parse(text).sections, PORTS)


@pytest.mark.parametrize(("text", "told"), [
    ("config rule\n option name A\n option proto esp\n option target DROP\n", {"firewall rule A": "proto esp, target DROP"}),
    ("config rule\n option proto udp\n option dest_port 500\n", {"firewall rule @rule[0]": "dest_port 500, proto udp"}),
    ("config rule\n option name A\n option dest_port '80 443'\n", {}),
    ("config rule\n option name A\n option dest_port '1-²'\n", {}),
    (f"config rule\n option name A\n option dest_port '1-{'9' * 5000}'\n", {}),
    ("config rule\n option name A\n option dest_port '1-65535'\n", {"firewall rule A": "dest_port 1-65535"}),
    ("config rule\n option name A\n option dest_port '4000:5000'\n", {"firewall rule A": "dest_port 4000:5000"}),
    ("config rule\n option name A\n option dest_port '!1701'\n", {"firewall rule A": "dest_port !1701"}),
    ("config rule\n option name A\n option enabled 0\n option proto esp\n", {}),
    ("config rule\n option name A\n option proto icmp\n option dest_port 500\n", {}),
    ("config redirect\n option name R\n option src wan\n option src_dport 1723\n", {"firewall redirect R": "src wan, src_dport 1723"}),
    ("config zone\n option name wan\n option masq 1\n", {"firewall zone wan": "masq 1"}),
    ("config forwarding\n option src lan\n option dest wan\n", {"firewall forwarding lan to wan": "yes"}),
    ("config defaults\n option flow_offloading 1\n option syn_flood 1\n", {"firewall flow_offloading": "1"}),
    ("config include x\n option path /x\nconfig ipset\n option name y\n", {}),
])
def test_what_of_the_firewall_is_told(text: str, told: dict[str, str]) -> None:
    assert firewall(text) == told


def test_a_large_firewall_is_cut() -> None:
    rule = f" option proto esp\n option src_ip '{'x' * 1000}'\n"
    told = firewall("".join(f"config rule\n option name A{number}\n{rule}" for number in range(500)))
    assert len(told) == LIMIT and max(map(len, told.values())) == TEXT_LIMIT


def test_network() -> None:
    devices = Devices(lan=("br-lan", "guest"), wan=("eth1", "wwan0"))
    assert changes.network(devices, {"eth1": ["203.0.113.1", "2001:db8::1"]}) == {
        "LAN devices": "br-lan guest", "WAN devices": "eth1 wwan0", "WAN address of eth1": "203.0.113.1 2001:db8::1",
        "WAN address of wwan0": "(none)"}


def test_the_first_state_is_nothing_new() -> None:
    history = History()
    assert history.compare(1.0, "start", {"network": {"a": "1"}}) == []
    (change,) = history.compare(2.9, "reload", {"network": {"a": "2"}})
    said = {"text": {"code": "{name}: {old} -> {new}", "values": {"name": "a", "old": "1", "new": "2"}}}
    assert change == Change(time=2, what="network", how="reload", text="a: 1 -> 2", said=said)
    assert history.compare(3.0, "reload", {"network": {"a": "2"}}) == []
    assert history.answer() == [{"time": 2, "what": "network", "how": "reload", "text": "a: 1 -> 2", "said": said}]


def test_history_is_bounded_and_newest_first() -> None:
    history = History()
    for number in range(LIMIT + 50):
        history.add(number, "rules", "", "x" * 1000)
    told = history.answer()
    assert len(told) == LIMIT and told[0]["time"] == LIMIT + 49 and len(told[0]["text"]) == TEXT_LIMIT


def test_history_comes_back_from_its_lines() -> None:
    history, again = History(), History()
    for number in range(300):
        history.add(number, "rules", Said("{name} (process {number})", name="é\n", number=7), f"line {number}")
    history.compare(1, "", {"network": {"a": "ü\n"}})
    again.load("".join(history.lines()).splitlines())
    assert again.answer() == history.answer() and again.state == history.state


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(("time", "what", "how", "text", "said", "state", "x")), inner)).map(json.dumps))
def test_any_line_is_read_without_an_exception(line: str) -> None:
    history = History()
    history.load([line])
    json.dumps(history.answer())


@given(st.text())
def test_no_text_can_become_a_command(text: str) -> None:
    """Whatever an option's value is: as a line of a shell script, between quotes or not, nothing in it is active."""
    for line in (Change(time=1, what="rules", how=text, text=text).line(), changes.state_line({"network": {text: text}})):
        assert not set(line[:-1]) & set("$`'!&|;<>()*?~#%\n\0") and line.isascii() and line.endswith("\n")
        assert '\\"' not in line and "\\\\" not in line
    assert changes.parse_line(Change(time=1, what="rules", how="", text=text[:TEXT_LIMIT]).line()) == Change(
        time=1, what="rules", how="", text=text[:TEXT_LIMIT])


def test_a_shell_runs_nothing_of_it(tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    evil = f"$(touch {mark})`touch {mark}`\n touch {mark}\n\"; touch {mark} #' ; touch {mark}\\"
    script = tmp_path / "script"
    script.write_text(Change(time=1, what="rules", how=evil, text=evil).line() + changes.state_line({"network": {evil: evil}}))
    subprocess.run(["sh", script], capture_output=True, check=False)
    assert not mark.exists()


@pytest.mark.parametrize("line", [
    "", "{", "[]", "null", '{"time":1,"what":"rules","how":""}', '{"time":"1","what":"rules","how":"","text":""}',
    '{"time":1,"what":"colours","how":"","text":""}', '{"time":1,"what":"rules","how":"","text":7}', '{"state":{"a":{"b":1}}}',
    '{"time":true,"what":"rules","how":"","text":""}', '{"time":1,"what":["rules"],"how":"","text":""}'])
def test_what_is_no_change_is_left_out(line: str) -> None:
    assert changes.parse_line(line) is None


def test_codes_of_a_broken_file_are_left_out() -> None:
    for said in ('7', '"x"', '[]', '{"text":"' + 2000 * "x" + '"}', "null"):
        change = changes.parse_line('{"time":1,"what":"rules","how":"","text":"one","said":' + said + "}")
        assert isinstance(change, Change) and change.said == {} and change.text == "one"


def test_a_name_in_words_is_the_name() -> None:
    """Whatever the language, English is what stands in the file."""
    sections = ucitext.parse("config defaults\n option input ACCEPT\nconfig zone\n option name lan\nconfig forwarding\n option src lan\n "
                             "option dest wan\nconfig rule\n option name 'IKE in'\n option dest_port 500\nconfig redirect\n "
                             "option name fwd\n option src_dport 4500\n").sections
    names = [*changes.firewall(sections, PORTS), *changes.network(Devices(lan=("a",), wan=("b",)), {})]
    assert len(names) == 8
    for name in names:
        assert changes.called(name) == name and isinstance(changes.called(name), Said)
    assert all(not isinstance(changes.called(name), Said) for name in changes.configuration(default_config()))


# --- the file --------------------------------------------------------------------------------------------------------------


def watching(tmp_path: Path, path: str = "") -> history.Changes:
    made = history.Changes(Log(), str(tmp_path))
    made.open(path)
    return made


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "FILE_LIMIT", 20_000)
    made, path = watching(tmp_path), tmp_path / "history"
    sizes = []
    for number in range(1000):
        made.add("rules", "", f"{number} " + "x" * 50)
        sizes.append(path.stat().st_size)
    assert 40_000 < max(sizes) < 45_000, "twice what 200 changes take"
    assert sizes != sorted(sizes) and os.listdir(tmp_path) == ["history"]
    assert watching(tmp_path).history.answer() == made.history.answer()


def test_what_was_known_before_goes_to_a_new_file(tmp_path: Path) -> None:
    made = watching(tmp_path)
    made.add("service", "", "started")
    made.open(str(tmp_path / "kept"))
    made.add("rules", "", "flushed")
    again = watching(tmp_path, str(tmp_path / "kept"))
    assert [item["text"] for item in again.history.answer()] == ["flushed", "started"]


@pytest.mark.parametrize("kind", ["symlink", "directory", "foreign"])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = tmp_path / "kept", tmp_path / "other"
    other.write_text("precious\n")
    if kind == "symlink":
        path.symlink_to(other)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("precious\n")
    made = watching(tmp_path, str(path))
    made.add("rules", "", "flushed")
    assert "HISTORY" in capsys.readouterr().err and len(made.history.answer()) == 1
    assert other.read_text() == "precious\n" and (path.is_dir() or path.read_text() == "precious\n")


def test_a_broken_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "history").write_bytes(b'{"time":1,"what":"rules","how":"","text":"one"}\n{"time":2,"wh\xff\xfe\n'
                                       b'{"time":3,"what":"rules","how":"","text":"three"}\n{"time":4,"what"')
    made = watching(tmp_path)
    assert [item["text"] for item in made.history.answer()] == ["three", "one"]
    made.add("rules", "", "five")
    assert [item["text"] for item in watching(tmp_path).history.answer()] == ["five", "three", "one"]


def test_another_file_is_told_from_its_beginning(tmp_path: Path) -> None:
    """What comes before what a page knows is no news: it gets all."""
    (tmp_path / "history").write_text('{"time":1,"what":"rules","how":"","text":"one"}\n')
    made = changes.History()
    made.add(2, "rules", "", "two")
    known = made.count
    history_file.HistoryFile(Log()).open(str(tmp_path / "history"), made)
    assert made.count - known > len(made.changes) == 2
