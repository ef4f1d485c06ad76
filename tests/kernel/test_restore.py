# SPDX-License-Identifier: GPL-2.0-or-later
"""restore.py against the real program and kernel: what a zone's key looks like afterwards, whatever nft makes of it.

What an nft does that turns keys around (1.1.7), one that does not is made to do by telling it that it does: the keys arrive wrong.
"""
from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.config import default_config
from tests.golden.kernel import Kernel
from vpnpt.kernel import nft, restore
from vpnpt.kernel.netfilter import dump_elements, generation
from vpnpt.kernel.restore import PROBE, Restorer
from vpnpt.model import Devices
from vpnpt.ruleset import TABLE, compile_ruleset
from vpnpt.wire.nftables import IPV4, Element, pack_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

RULESET = compile_ruleset(default_config(), Devices(lan=("br-lan",), wan=("wan",)), helper=False)
CLIENTS = {20480 + i: bytes([10, 0, i >> 8, i & 255]) for i in range(300)}
ELEMENTS = {
    ("ip", "zone_client"): [Element(pack_zone(zone), client, 3_600_000, 100_000) for zone, client in CLIENTS.items()],
    ("ip", "zones"): [Element(pack_zone(zone), None, 3_600_000, 100_000) for zone in CLIENTS],
    ("ip", "client_zone"): [Element(client, pack_zone(zone), 3_600_000, 100_000) for zone, client in CLIENTS.items()],
}


@pytest.fixture
def restorer(kernel: Kernel) -> Iterator[Restorer]:
    kernel.clear()
    with kernel.inside():
        yield Restorer(kernel.netlink)


def held(kernel: Kernel) -> dict[tuple[str, str], dict[bytes, bytes | None]]:
    return {(family, name): {element.key: element.data for element in dump_elements(kernel.netlink, IPV4, TABLE, name)}
            for family, name in ELEMENTS}


WANTED = {place: {element.key: element.data for element in elements} for place, elements in ELEMENTS.items()}


def test_a_zone_is_found_again(kernel: Kernel, restorer: Restorer) -> None:
    for _ in range(2):
        restorer.replace(RULESET, ELEMENTS)
        assert held(kernel) == WANTED
        assert kernel.tables() == ["table ip vpnpt", "table ip6 vpnpt"], "the table for the trial is gone"
    for element in dump_elements(kernel.netlink, IPV4, TABLE, "zone_client"):
        assert element.expires_ms is not None and 60_000 < element.expires_ms <= 100_000


def test_one_transaction(kernel: Kernel, restorer: Restorer) -> None:
    """Once nft has been tried, no packet can meet a map with keys that are wrong: nothing has to be corrected."""
    restorer.replace(RULESET, ELEMENTS)
    known, before = restorer.turned, generation(kernel.netlink)
    assert known is not None
    restorer.replace(RULESET, ELEMENTS)
    assert (restorer.turned, generation(kernel.netlink)) == (known, before + 1)


@pytest.mark.parametrize("kinds", [("map",), ("set",), ("map", "set")])
def test_what_arrived_wrong_is_corrected(kernel: Kernel, restorer: Restorer, kinds: tuple[str, ...]) -> None:
    """nft was upgraded meanwhile, or is wrong in a way of its own: read back, corrected, and known the next time."""
    restorer.replace(RULESET, ELEMENTS)
    right = restorer.turned
    assert right is not None
    restorer.turned = right ^ set(kinds)
    restorer.replace(RULESET, ELEMENTS)
    assert held(kernel) == WANTED and restorer.turned == right


def test_without_the_correction_the_keys_were_wrong(kernel: Kernel, restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative: what the tests above would see."""
    restorer.replace(RULESET, ELEMENTS)
    assert restorer.turned is not None
    restorer.turned ^= {"map"}
    monkeypatch.setattr(restorer, "_correct", lambda _place, _wanted: False)
    restorer.replace(RULESET, ELEMENTS)
    assert held(kernel)["ip", "zone_client"] == {pack_zone(zone)[::-1]: client for zone, client in CLIENTS.items()}


def test_a_trial_that_fails(kernel: Kernel, restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "_PROBE_TEXT", "no such thing\n")
    restorer.replace(RULESET, ELEMENTS)
    assert held(kernel) == WANTED


def test_a_trial_after_one_that_was_killed(kernel: Kernel, restorer: Restorer) -> None:
    kernel.load(RULESET.render())
    kernel.load(f"table ip {PROBE} {{\n\tmap a_map {{\n\t\ttype ipv4_addr : ipv4_addr\n\t}}\n}}\n")
    restorer.replace(RULESET, ELEMENTS)
    assert restorer.turned is not None and held(kernel) == WANTED
    assert f"table ip {PROBE}" not in kernel.tables()


def test_what_is_about_to_die_is_left_out(kernel: Kernel, restorer: Restorer) -> None:
    dying = Element(pack_zone(20480), bytes(4), 3_600_000, 999)
    restorer.replace(RULESET, {("ip", "zone_client"): [dying, *ELEMENTS["ip", "zone_client"][1:]]})
    assert dying.key not in held(kernel)["ip", "zone_client"] and len(held(kernel)["ip", "zone_client"]) == len(CLIENTS) - 1


def test_where_no_rules_are_they_come_first(kernel: Kernel, restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial before would hold them up; where packets meet the old rules it comes first, and none meets a wrong map."""
    loaded: list[str] = []
    load = nft.load

    def told(text: str) -> None:
        loaded.append("trial" if PROBE in text else "rules")
        load(text)

    monkeypatch.setattr(nft, "load", told)
    restorer.replace(RULESET, {("ip", "zone_client"): [], ("ip", "forgotten"): [Element(bytes(4))]})
    assert loaded == ["rules", "trial"] and restorer.turned is not None
    restorer.turned = None
    restorer.replace(RULESET, ELEMENTS)
    assert loaded == ["rules", "trial", "trial", "rules"] and held(kernel) == WANTED


def test_what_nft_refuses_changes_nothing(kernel: Kernel, restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    restorer.replace(RULESET, ELEMENTS)
    text = nft.replacement(RULESET, ELEMENTS)
    monkeypatch.setattr(nft, "replacement", lambda *_arguments: text + "no such thing\n")
    with pytest.raises(nft.NftError):
        restorer.replace(RULESET, ELEMENTS)
    assert held(kernel) == WANTED


def test_a_table_that_is_gone_again(kernel: Kernel, restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes it between the load and the reading back: no exception, the next look at it finds that out."""
    restorer.replace(RULESET, ELEMENTS)
    load = nft.load
    monkeypatch.setattr(nft, "load", lambda text: (load(text), kernel.clear()))
    restorer.replace(RULESET, ELEMENTS)
    with pytest.raises(OSError) as caught:
        dump_elements(kernel.netlink, IPV4, TABLE, "zone_client")
    assert caught.value.errno == errno.ENOENT
