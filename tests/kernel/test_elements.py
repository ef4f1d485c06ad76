# SPDX-License-Identifier: GPL-2.0-or-later
"""What packets taught one kernel, put into another as the daemon does it, and it is the same. Every collection of the default ruleset."""
from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.config import default_config
from tests.golden.kernel import NUMBERS, Kernel
from vpnpt.kernel.backup import _METERS
from vpnpt.kernel.netfilter import dump_elements, get_element
from vpnpt.kernel.restore import Restorer
from vpnpt.model import Devices
from vpnpt.ruleset import TABLE, Ruleset, compile_ruleset
from vpnpt.ruleset.text import Collection, Table
from vpnpt.wire.nftables import Element

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIFE = 3600
"""Seconds that elements live at least: some of the collections keep theirs for less time than a slow machine takes for a test."""


def lasting() -> Ruleset:
    """The default ruleset, with long lives."""
    made = compile_ruleset(default_config(), Devices(lan=("br-lan",), wan=("wan",)), helper=False)
    for table in made.tables.values():
        for collection in table.collections.values():
            collection.timeout = max(collection.timeout, LIFE)
    return made


RULESET = lasting()
# Meters hold a limit that begins anew, the others live for one packet or a second: not worth it.
PASSING = {*_METERS, "spi_new", "came_esp", "came_ike", "renewing", "renewed", "parted", "asked", "hushed", "sending"}
KEPT = [pytest.param(family, name, id=f"{family}-{name}") for family, table in RULESET.tables.items() for name in table.collections
        if name not in PASSING]

# How nft writes two values of each field, written by hand: all bits used, and leading zeros.
SAMPLES = {
    "ip saddr": ("192.168.1.101", "10.0.0.1"), "ip daddr": ("198.51.100.11", "1.0.0.255"), "ct zone": ("20480", "61439"),
    "esp spi": ("0x0102a3f4", "0xfffffff0"), "ip id": ("4660", "1"),
    "@th,64,64": ("0x11223344aabbccdd", "0x0000000000000001"), "@th,0,32": ("0xc0de0001", "0x00000001"),
    "@th,192,32": ("0xc633640b", "0x01000001"), "@th,224,32": ("0x0102a3f4", "0xfffffff0"),
    "@th,136,8": ("0x11", "0x32"), "@th,240,16": ("0x01f4", "0x0000"), "@th,8,8": ("0x03", "0x0d"), "@th,48,16": ("0x0578", "0x0000"),
    "udp sport": ("1701", "49152"), "udp dport": ("1701", "65535"), "@th,96,16": ("0x0a01", "0xfffe"), "@th,112,16": ("0x0001", "0xffff"),
    "@nh,96,32": ("0xc633640b", "0x01000001"), "@nh,128,32": ("0xc633640b", "0x01000001"),
}


@pytest.fixture(scope="module")
def other(sandbox: None) -> Iterator[Kernel]:
    """A second kernel namespace."""
    made = Kernel()
    yield made
    made.close()


def dump(kernel: Kernel, family: str, name: str) -> list[Element]:
    return sorted(dump_elements(kernel.netlink, NUMBERS[family], TABLE, name), key=lambda element: element.key)


def alone(family: str, name: str) -> Ruleset:
    """A ruleset of this collection only: an emulated machine's nft needs seconds for the whole."""
    table = Table(family)
    table.collections[name] = RULESET.tables[family].collections[name]
    return Ruleset({family: table})


def restore(kernel: Kernel, ruleset: Ruleset, elements: Mapping[tuple[str, str], list[Element]]) -> None:
    """As the daemon does it."""
    with kernel.inside():
        Restorer(kernel.netlink).replace(ruleset, elements)


def sample(collection: Collection, which: int) -> str:
    """An element as nft reads it."""
    def written(expression: str) -> str:
        return " . ".join(SAMPLES[field][which] for field in expression.split(" . "))

    life = f"timeout {collection.timeout}s expires {collection.timeout - which - 1}s"
    return f"{written(collection.key)} {life}" + (f" : {written(collection.value)}" if collection.value else "")


@pytest.mark.parametrize(("family", "name"), KEPT)
def test_round_trip(kernel: Kernel, other: Kernel, family: str, name: str) -> None:
    ruleset, collection = alone(family, name), RULESET.tables[family].collections[name]
    kernel.clear()
    other.clear()
    kernel.load(ruleset.render())
    kernel.load("".join(f"add element {family} {TABLE} {name} {{ {sample(collection, which)} }}\n" for which in (0, 1)))
    began = time.monotonic()
    before = dump(kernel, family, name)
    assert len(before) == 2
    restore(other, ruleset, {(family, name): before})
    after = dump(other, family, name)
    assert [(element.key, element.data) for element in after] == [(element.key, element.data) for element in before]
    assert listed(other, family, name) == listed(kernel, family, name)
    passed = (time.monotonic() - began) * 1000
    for old, new in zip(before, after, strict=True):
        # Whole seconds are written, and the time that the load took is lost too.
        assert 0 <= old.expires_ms - new.expires_ms <= passed + 2000


@pytest.mark.parametrize(("family", "name"), KEPT)
def test_one_key_is_asked_for(kernel: Kernel, family: str, name: str) -> None:
    kernel.clear()
    kernel.load(alone(family, name).render())
    assert get_element(kernel.netlink, NUMBERS[family], TABLE, "no_such_set", bytes(4)) is None
    kernel.load(f"add element {family} {TABLE} {name} {{ {sample(RULESET.tables[family].collections[name], 0)} }}\n")
    [there] = dump(kernel, family, name)
    found = get_element(kernel.netlink, NUMBERS[family], TABLE, name, there.key)
    assert found is not None
    assert (found.key, found.data, found.timeout_ms) == (there.key, there.data, there.timeout_ms)
    other = bytes([there.key[0] ^ 1]) + there.key[1:]
    assert get_element(kernel.netlink, NUMBERS[family], TABLE, name, other) is None


def listed(kernel: Kernel, family: str, name: str) -> str:
    """The keys and values as nft itself reads them, without their lives."""
    kind = "map" if RULESET.tables[family].collections[name].value else "set"
    shown = json.loads(kernel.run("nft", "-j", "list", kind, family, TABLE, name).stdout)["nftables"]
    elements = next(item[kind] for item in shown if kind in item)["elem"]

    def bare(element: object) -> object:
        if isinstance(element, list):
            return [bare(part) for part in element]
        return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element

    return json.dumps(sorted(json.dumps(bare(element)) for element in elements))


def test_all_at_once(kernel: Kernel, other: Kernel) -> None:
    """As a restore does it: every collection in one transaction."""
    kernel.clear()
    other.clear()
    kernel.load(RULESET.render())
    kernel.load("".join(f"add element {family} {TABLE} {name} {{ {sample(table.collections[name], which)} }}\n"
                        for family, table in RULESET.tables.items() for name in table.collections if name not in PASSING
                        for which in (0, 1)))
    elements = {(family, name): dump(kernel, family, name) for family, table in RULESET.tables.items() for name in table.collections
                if name not in PASSING}
    restore(other, RULESET, elements)
    for (family, name), before in elements.items():
        assert [element.key for element in dump(other, family, name)] == [element.key for element in before], name


def test_collections_that_are_no_more_are_left_out(kernel: Kernel) -> None:
    kernel.clear()
    kernel.load(RULESET.render({("ip", "forgotten"): [Element(bytes(4))], ("bridge", "client_zone"): [Element(bytes(4), bytes(2))]}))


ZONED = Collection("client_zone", "ip saddr", "ct zone", 10, 100, "")


@pytest.mark.parametrize(("element", "text"), [
    (Element(bytes([192, 0, 2, 1]), (20480).to_bytes(2, sys.byteorder), 100_000, 50_999),
     "192.0.2.1 timeout 100s expires 50s : 20480"),
    (Element(bytes([192, 0, 2, 1]), (20480).to_bytes(2, sys.byteorder)), "192.0.2.1 timeout 100s expires 100s : 20480"),
    (Element(bytes([192, 0, 2, 1]), (20480).to_bytes(2, sys.byteorder), 900_000, 900_000),
     "192.0.2.1 timeout 100s expires 100s : 20480"),
    (Element(bytes([192, 0, 2, 1]), (20480).to_bytes(2, sys.byteorder), 100_000, 999), ""),
    (Element(bytes([192, 0, 2, 1]), None), ""),
    (Element(bytes([192, 0, 2]), (20480).to_bytes(2, sys.byteorder)), ""),
    (Element(b"", (20480).to_bytes(2, sys.byteorder)), ""),
    (Element(bytes([192, 0, 2, 1]), b"\1"), ""),
])
def test_element_text(element: Element, text: str) -> None:
    """An element's own timeout is the collection's, and nothing that fits badly or is about to die is written."""
    assert ZONED.element_text(element) == text


def test_fields_of_a_concatenation_are_padded_to_four_bytes() -> None:
    """As the kernel keeps them (NFT_REG32): the two bytes of a zone are followed by two of nothing."""
    made = Collection("any", "ct zone . ip saddr . @th,64,64", "", 10, 100, "")
    key = (258).to_bytes(2, sys.byteorder) + bytes(2) + bytes([192, 0, 2, 1]) + bytes(range(1, 9))
    assert made.element_text(Element(key)) == "258 . 192.0.2.1 . 0x102030405060708 timeout 100s expires 100s"
