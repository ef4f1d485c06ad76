# SPDX-License-Identifier: GPL-2.0-or-later
"""The copy of what the kernel learned: it grows older with the clock, and survives its table."""
from __future__ import annotations

import re

import pytest

from tests.config import default_config
from tests.golden.kernel import Kernel
from vpnpt.kernel import backup
from vpnpt.kernel.backup import Mirror
from vpnpt.model import Devices
from vpnpt.ruleset import compile_ruleset
from vpnpt.wire.nftables import Element

RULESET = compile_ruleset(default_config(), Devices(lan=("br-lan",), wan=("wan",)), helper=False)
KEY = bytes([192, 168, 1, 7])
ZONE = bytes([0, 80])


class Clock:
    """Seconds, when it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Element]]:
    """What the kernel's collections hold, by name. (The dump itself is tested against the kernel, below and with the codecs.)"""
    held: dict[str, list[Element]] = {}
    monkeypatch.setattr(backup, "dump_elements", lambda _sock, _family, _table, name: list(held.get(name, ())))
    return held


def lives(made: Mirror, name: str = "client_zone") -> list[int | None]:
    return [element.expires_ms for element in made.elements().get(("ip", name), ())]


def test_time_is_taken_off(clock: Clock, table: dict[str, list[Element]]) -> None:
    made = Mirror(clock)
    table["client_zone"] = [Element(KEY, ZONE, 60_000, 5000), Element(KEY[::-1], ZONE, 60_000, 7000)]
    made.refresh(None, RULESET)
    assert lives(made) == [5000, 7000]
    clock.now += 1.5
    assert lives(made) == [3500, 5500]
    clock.now += 3.5
    assert lives(made) == [2000], "what has died is left out, at its last millisecond"
    assert made.elements()["ip", "client_zone"] == [Element(KEY[::-1], ZONE, 60_000, 2000)]
    clock.now += 1000
    assert lives(made) == []


def test_what_never_ends_stays(clock: Clock, table: dict[str, list[Element]]) -> None:
    made = Mirror(clock)
    table["client_zone"] = [Element(KEY, ZONE)]
    made.refresh(None, RULESET)
    clock.now += 1e6
    assert lives(made) == [None]


def test_a_refresh_begins_anew(clock: Clock, table: dict[str, list[Element]]) -> None:
    made = Mirror(clock)
    table["client_zone"] = [Element(KEY, ZONE, 60_000, 5000)]
    made.refresh(None, RULESET)
    clock.now += 4
    table["client_zone"] = [Element(KEY, ZONE, 60_000, 60_000)]
    made.refresh(None, RULESET)
    assert lives(made) == [60_000]
    table["client_zone"] = []
    made.refresh(None, RULESET)
    assert lives(made) == [] and made.count("client_zone") == 0, "an empty collection is empty"


def test_every_meter_is_known_as_one() -> None:
    """An element that is put back without its limit would count as over it for ever."""
    found = set(re.findall(r"@(\w+) \{[^}]* limit rate", RULESET.render()))
    assert found and found <= set(backup._METERS)


@pytest.mark.parametrize("name", ["rate_in", "rate_out", "esp_fast", "spi_new"])
def test_what_is_not_copied(clock: Clock, table: dict[str, list[Element]], name: str) -> None:
    made = Mirror(clock)
    table[name] = [Element(KEY, None, 60_000, 5000)]
    made.refresh(None, RULESET)
    assert not lives(made, name)


def test_count_and_forget(clock: Clock, table: dict[str, list[Element]]) -> None:
    made = Mirror(clock)
    assert made.count("client_zone") == 0
    table["client_zone"] = [Element(KEY, ZONE, 60_000, 5000)]
    made.refresh(None, RULESET)
    assert (made.count("client_zone"), made.count("zone_client")) == (1, 0)
    made.forget()
    assert made.elements() == {} and made.count("client_zone") == 0


def test_a_deleted_table_leaves_its_last_copy(kernel: Kernel, clock: Clock) -> None:
    made = Mirror(clock)
    kernel.clear()
    kernel.load(RULESET.render())
    kernel.run("nft", "add", "element", "ip", "vpnpt", "client_zone", "{ 192.168.1.7 timeout 60s expires 50s : 20480 }")
    made.refresh(kernel.netlink, RULESET)
    kernel.clear()
    made.refresh(kernel.netlink, RULESET)
    assert made.count("client_zone") == 1
    clock.now += 20
    kernel.load(RULESET.render(made.elements()))
    made.refresh(kernel.netlink, RULESET)
    (left,) = lives(made)
    assert left is not None and 27_000 < left <= 30_000
