# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands print, byte for byte."""
from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_main import SESSION
from vpnpt.cli import events, show, tools
from vpnpt.cli.findings import doctor
from vpnpt.cli.top_view import HELP, ORDERS, Rates, View, bits, frame
from vpnpt.config.compile import PROTOCOLS

NOW = 1_700_000_200
SHOT: dict[str, Any] = {
    "version": "0.1.0", "pid": 1234, "since": 1_000_000, "in_place": True, "problem": "", "diagnostics": [], "enabled": True,
    "lan": ["br-lan"], "wan": ["wan"],
    "protocols": {"pptp": {"behaviour": "block", "counters": {"blocked": 3, "stray": 0}, "sessions": 0, "bytes_out": 0, "bytes_in": 0,
                           "blocked": 3},
                  "l2tp": {"behaviour": "ignore", "counters": {}, "sessions": 0, "bytes_out": 0, "bytes_in": 0, "blocked": 0},
                  "ipsec": {"behaviour": "help", "counters": {}, "sessions": 12, "bytes_out": 123_456, "bytes_in": 7_654_321_000,
                            "blocked": 0}},
    "helper_missing": False, "clients": 2, "servers": 1, "contended": 1, "spis": 4, "cookies": 3, "copies": 0, "clients_full": 0,
    "release": "OpenWrt 24.10.4", "alerts": [], "drift": "",
}
ENDED = {**SESSION, "ended": NOW - 5, "reason": "killed"}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time is UTC."""
    monkeypatch.setattr(show.time, "localtime", show.time.gmtime)


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (999, "999"), (1000, "1.0K"), (1024, "1.0K"), (102_297, "99.9K"), (102_400, "100K"), (1_047_552, "1023K"),
    (1_048_575, "1.0M"), (1_048_576, "1.0M"), (2 ** 30, "1.0G"), (2 ** 40, "1.0T"), (2 ** 50, "1.0P"), (999 * 2 ** 50, "999P")])
def test_size(number: int, text: str) -> None:
    assert show.size(number) == text


def test_sizes_fit_five_columns() -> None:
    assert all(len(show.size(base ** power * factor)) <= 5 for base in (2, 10) for power in range(15) for factor in (1, 9.9999, 0.9999))
    assert all(len(bits(base ** power * factor)) <= 5 for base in (2, 10) for power in range(13) for factor in (1, 9.9999, 0.9999))


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h00m"), (35999, "9h59m"), (36000, "10h"), (172_799, "47h"),
    (172_800, "2d"), (8_640_000, "100d")])
def test_age(seconds: int, text: str) -> None:
    assert show.age(seconds) == text


def test_status() -> None:
    assert show.status(SHOT, 1_000_000 + 3 * 3600 + 125).splitlines() == [
        "vpnpt 0.1.0, up 3 h 2 min, rules in place",
        "on OpenWrt 24.10.4",
        "LAN br-lan, WAN wan",
        "",
        "  PROTOCOL            SESSIONS  OUT   IN REFUSED",
        "  pptp     blocked           -    0    0       3",
        "  l2tp     left alone        -    0    0       -",
        "  ipsec    passes           12 121K 7.1G       -",
        "",
        "2 clients, 1 server (1 with several clients), 3 IKE and 4 ESP SAs",
    ]


ALERT = {"time": NOW, "severity": "warning", "code": "DRIFT", "text": "a\nb"}


@pytest.mark.parametrize(("change", "line"), [
    ({"in_place": False}, "vpnpt 0.1.0, up 0 h 0 min, NO RULES IN PLACE"),
    ({"problem": "no device"}, "problem: no device"),
    ({"drift": "all rules gone"}, "others have changed our tables: all rules gone"),
    ({"protocols": {}, "enabled": False}, "no configuration is in force"),
    ({"enabled": False}, "switched off (vpnpt.global.enabled)"),
    ({"helper_missing": True}, "  PPTP does not pass yet: the kernel's helper is missing"),
    ({"diagnostics": ["warning: one", "warning: two"]}, "warning: two"),
    ({"lan": ["a", "b"], "wan": ["c", "d"]}, "LAN a b, WAN c d"),
    ({"alerts": [ALERT]}, "2023-11-14 22:16:40 warning DRIFT: a?b"),
])
def test_status_says(change: dict[str, Any], line: str) -> None:
    assert line not in show.status(SHOT, 1_000_000).splitlines()
    assert line in show.status({**SHOT, **change}, 1_000_000).splitlines()


def test_status_is_at_most_80_columns_wide() -> None:
    counters = {"blocked": 10 ** 12, "source": 10 ** 12, "unsolicited": 10 ** 12, "stray": 10 ** 12}
    shot = {**SHOT, "problem": "the kernel refused the ruleset, the old one stays: " + "Error: " * 30,
            "lan": [f"device-name-{n:03}" for n in range(20)], "wan": ["x" * 15] * 8,
            "protocols": {name: {"behaviour": "ignore", "counters": counters, "sessions": 10 ** 6, "bytes_in": 10 ** 18,
                                 "bytes_out": 10 ** 18, "blocked": 10 ** 12} for name in PROTOCOLS},
            "diagnostics": ["warning: /a/very/long/path" + "/x" * 60 + ":3: section 'global' option 'colour': unknown option; left out; "
                            "valid: enabled, lan_zone, wan_zone, lan_device, wan_device, when_disabled, zone_base, zone_count"],
            "alerts": [{**ALERT, "text": "word " * 100}] * 5, "drift": "word " * 30,
            **dict.fromkeys(("clients", "servers", "contended", "spis", "cookies"), 10 ** 9)}
    text = show.status(shot, 4e9)
    assert max(map(len, text.splitlines())) <= 80
    assert "".join(shot["diagnostics"][0].split()) in "".join(text.split()), "and nothing is lost"


def test_sessions() -> None:
    other = {**SESSION, "id": "wireguard-99887766", "client_name": "", "client": "192.168.100.200", "server": "203.0.113.200",
             "variant": "WireGuard", "state": "negotiating", "since": NOW - 36000, "bytes_out": 104_857_600, "bytes_in": 1023 * 1024 ** 3}
    answer = {"now": NOW, "sessions": [SESSION, other], "ended": [ENDED]}
    assert show.sessions(answer).splitlines() == [
        "CLIENT          SERVER        VARIANT   STATE       AGE  OUT    IN ID",
        "laptop          203.0.113.1   IKEv2     up           3m  100   200 0a1b2c3d",
        "192.168.100.200 203.0.113.200 WireGuard negotiating 10h 100M 1023G 99887766"]
    assert show.sessions(answer, ended=True).splitlines() == [
        "CLIENT SERVER      VARIANT REASON ENDED OUT  IN ID",
        "laptop 203.0.113.1 IKEv2   killed    5s 100 200 0a1b2c3d"]


@pytest.mark.parametrize(("ended", "text"), [(False, "no VPN session"), (True, "no session has ended yet")])
def test_no_sessions(ended: bool, text: str) -> None:
    assert show.sessions({"now": NOW, "sessions": [], "ended": []}, ended=ended) == text


def test_the_widest_ipv4_sessions_fit_80_columns() -> None:
    """With nothing cut."""
    item = {**SESSION, "client_name": "", "client": "192.168.100.100", "server": "203.100.113.200", "variant": "WireGuard",
            "state": "negotiating", "since": 0, "bytes_out": 1023 * 1024, "bytes_in": 1023 * 1024}
    line = show.sessions({"now": 9 * 3600, "sessions": [item], "ended": []}).splitlines()[1]
    assert line == "192.168.100.100 203.100.113.200 WireGuard negotiating 9h00m 1023K 1023K 0a1b2c3d" and len(line) == 80


def test_long_names_are_cut_only_where_the_screen_is_narrow() -> None:
    item = {**SESSION, "client_name": "a-host-with-a-very-long-name-indeed", "server": "2001:db8:1111:2222:3333:4444:5555:6666"}
    narrow, wide = (show.sessions({"now": NOW, "sessions": [item], "ended": []}, width=width).splitlines()[1] for width in (80, 200))
    assert narrow == "a-host-with-a-very-l.. 2001:db8:1111:2222:3.. IKEv2   up     3m 100 200 0a1b2c3d" and len(narrow) == 80
    assert wide.startswith("a-host-with-a-very-long-name-indeed 2001:db8:1111:2222:3333:4444:5555:6666 IKEv2 ")


def test_a_refused_session_is_called_by_its_protocol() -> None:
    item = {**SESSION, "variant": "", "state": "blocked"}
    assert show.sessions({"now": NOW, "sessions": [item], "ended": []}).splitlines()[1].split()[2:4] == ["ipsec", "blocked"]


def test_what_others_wrote_does_not_reach_the_terminal() -> None:
    item = {**SESSION, "client_name": "evil\033[2Jname\n"}
    text = show.sessions({"now": NOW, "sessions": [item], "ended": []})
    assert "\033" not in text and text.splitlines()[1].startswith("evil?[2Jname?")


def test_colours() -> None:
    item = {**SESSION, "state": "failing"}
    head, line = show.sessions({"now": NOW, "sessions": [item], "ended": []}, paint=show.coloured).splitlines()
    assert head.startswith("\033[1mCLIENT\033[0m ") and " \033[31mfailing\033[0m " in line and line.count("\033") == 2


def test_doctor() -> None:
    findings = [{"code": "DOUBLE_NAT", "severity": "error",
                 "text": "The WAN address is private, so there is a second router before this one.", "evidence": "wan has 192.168.0.2",
                 "remedy": "Forward UDP 500 and 4500 there, or set its modem to bridge mode, then start again.", "link": ""},
                {"code": "WEAK_PPTP", "severity": "warning", "text": "PPTP is on.", "evidence": "", "remedy": "", "link": ""}]
    answer = {"time": NOW, "checked": ["A"] * 30, "findings": findings}
    assert doctor(answer).splitlines() == [
        "error: DOUBLE_NAT",
        "  The WAN address is private, so there is a second router before this one.",
        "  seen: wan has 192.168.0.2",
        "  do: Forward UDP 500 and 4500 there, or set its modem to bridge mode, then",
        "    start again.",
        "",
        "warning: WEAK_PPTP",
        "  PPTP is on.",
        "",
        "30 things looked at, 2 things are to be done"]
    assert doctor({"time": NOW, "checked": ["A"], "findings": []}) == "1 thing looked at, nothing is wrong"


def test_events() -> None:
    lines = [{"time": NOW, "severity": "info", "code": "APPLIED", "text": "ipsec help"},
             {"time": NOW + 1, "severity": "error", "code": "CONFIG", "text": "a very long line " * 5}]
    assert events.events(lines).splitlines() == [
        "2023-11-14 22:16:40 info    APPLIED: ipsec help",
        "2023-11-14 22:16:41 error   CONFIG: " + "a very long line " * 5], "a line each, for grep"
    assert events.events(lines, 80).splitlines()[1:] == [
        "2023-11-14 22:16:41 error   CONFIG: a very long line a very long line a very",
        "        long line a very long line a very long line "]


def test_changes() -> None:
    answer = {"changes": [{"time": NOW, "what": "rules", "how": "nft (process 12)", "text": "all 3 rules of table ip vpnpt are gone"},
                          {"time": NOW - 1, "what": "service", "how": "", "text": "vpnpt 0.1.0 has started"}]}
    assert tools.changes(answer).splitlines() == [
        "2023-11-14 22:16:40 rules: all 3 rules of table ip vpnpt are gone [nft (process 12)]",
        "2023-11-14 22:16:39 service: vpnpt 0.1.0 has started"]
    assert tools.changes({"changes": []}) == "nothing has changed yet"


@pytest.mark.parametrize(("old", "new", "result"), [
    ("", "", ""), ("", "ab", "ab"), ("ab", "ab", ""), ("ab", "abc", "c"), ("abc", "bcd", "d"), ("abc", "xyz", "xyz"),
    ("aab", "abaab", "aab"), ("aaa", "aaaa", "a"), ("abc", "c", "")])
def test_appended(old: str, new: str, result: str) -> None:
    def lines(text: str) -> list[dict[str, Any]]:
        return [{"text": char} for char in text]

    assert events.appended(lines(old), lines(new)) == lines(result)


@pytest.mark.parametrize(("line", "result"), [
    ("", [""]), ("x" * 80, ["x" * 80]), ("a " * 40 + "b", [("a " * 40).rstrip(), "    b"]),
    ("x" * 81, ["x" * 80, "    x"]), ("x" * 200, ["x" * 80, "    " + "x" * 76, "    " + "x" * 44]),
    ("word " + "x" * 100, ["word " + "x" * 75, "    " + "x" * 25]),
])
def test_folded(line: str, result: list[str]) -> None:
    assert show.folded(line).split("\n") == result


# --- top -------------------------------------------------------------------------------------------------------------------


def many(count: int) -> dict[str, Any]:
    """Sessions, the later the older and the less busy."""
    return {"now": NOW, "ended": [], "sessions": [
        {**SESSION, "id": f"ipsec-{n:08x}", "client": f"192.168.1.{n + 1}", "client_name": f"host{n}", "since": NOW - n,
         "state": "idle" if n else "up"} for n in range(count)]}


def test_frame() -> None:
    answer, rates, view = many(2), Rates(), View()
    rates.take(answer["sessions"], 10.0)
    answer["sessions"][1] = {**answer["sessions"][1], "bytes_out": 350_100, "bytes_in": 700}
    rates.take(answer["sessions"], 12.0)
    assert frame(answer, rates, view, width=80, height=24, title="vpnpt top 22:16:40", keys=True) == [
        "vpnpt top 22:16:40  2 sessions: 1 idle, 1 up",
        "1.4Mbit/s out, 2.0kbit/s in, sorted by rate   (q s p k h)",
        "",
        "CLIENT SERVER      VARIANT STATE OUT/s IN/s TOTAL ID",
        "host1  203.0.113.1 IKEv2   idle   1.4M 2.0k  343K 00000001",
        "host0  203.0.113.1 IKEv2   up        0    0   300 00000000"]


def test_a_session_that_is_new_has_no_rate_yet() -> None:
    rates = Rates()
    rates.take([], 1.0)
    rates.take([SESSION], 2.0)
    assert rates.now == {SESSION["id"]: (0.0, 0.0)}
    rates.take([{**SESSION, "bytes_out": 0, "bytes_in": 1200}], 4.0)
    assert rates.now == {SESSION["id"]: (0.0, 500.0)}, "and one whose counters began anew none that is negative"


@pytest.mark.parametrize("height", [6, 7, 10, 24])
def test_a_frame_fits_the_screen(height: int) -> None:
    answer, rates, view = many(50), Rates(), View()
    rates.take(answer["sessions"], 1.0)
    lines = frame(answer, rates, view, width=60, height=height, title="t", keys=True)
    assert len(lines) <= height and max(map(len, lines)) <= 60
    assert lines[-1] == f"and {50 - (len(lines) - 5)} more"


def test_the_chosen_session_is_always_seen() -> None:
    answer, rates, view = many(30), Rates(), View()
    rates.take(answer["sessions"], 1.0)
    names = [item["id"] for item in view.arranged(answer["sessions"], rates)]
    view.move(1, view.arranged(answer["sessions"], rates))
    assert view.chosen == names[0]
    for expected in [*names[1:], names[-1]]:
        view.move(1, view.arranged(answer["sessions"], rates))
        assert view.chosen == expected
        lines = frame(answer, rates, view, width=80, height=10, title="t", keys=True, paint=show.coloured)
        (marked,) = [line for line in lines if "\033[7m" in line]
        assert expected.removeprefix("ipsec-") in marked and len(lines) <= 10
    view.chosen = "gone"
    view.move(-1, view.arranged(answer["sessions"], rates))
    assert view.chosen == names[-1]
    view.move(1, [])
    assert view.chosen == ""


@pytest.mark.parametrize(("order", "first"), list(enumerate(["host0", "host0", "host2", "host0", "host1"])))
def test_orders(order: int, first: str) -> None:
    answer, rates, view = many(3), Rates(), View()
    rates.take(answer["sessions"], 1.0)
    view.order = order
    assert view.arranged(answer["sessions"], rates)[0]["client_name"] == first
    assert len(ORDERS) == 5 and ORDERS[order][0] in HELP


def test_a_frame_of_nothing() -> None:
    assert frame({"now": NOW, "sessions": [], "ended": []}, Rates(), View(), width=80, height=24, title="t", keys=False) == [
        "t  0 sessions", "0bit/s out, 0bit/s in, sorted by rate", "", "CLIENT SERVER VARIANT STATE OUT/s IN/s TOTAL ID"]
