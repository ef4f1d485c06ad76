# SPDX-License-Identifier: GPL-2.0-or-later
"""nft.py against the real program and kernel, and without either."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.config import default_config
from vpnpt.kernel import nft
from vpnpt.kernel.netfilter import counters, delete_tables, has_flowtable
from vpnpt.kernel.nft import NftError
from vpnpt.model import Devices
from vpnpt.ruleset import TABLE, Ruleset, compile_ruleset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.golden.kernel import Kernel

RULESET = compile_ruleset(default_config(), Devices(lan=("br-lan",), wan=("wan",)), helper=False)


@pytest.fixture(autouse=True)
def clean(kernel: Kernel) -> Iterator[None]:
    """Within an empty kernel namespace."""
    kernel.clear()
    with kernel.inside():
        yield


def test_load_check_remove(kernel: Kernel) -> None:
    nft.check(nft.replacement(RULESET))
    assert kernel.tables() == [], "a check changes nothing"
    nft.load(nft.replacement(RULESET))
    assert kernel.tables() == ["table ip vpnpt", "table ip6 vpnpt"]
    delete_tables(kernel.netlink, TABLE)
    assert kernel.tables() == []
    delete_tables(kernel.netlink, TABLE)


def test_only_our_tables_are_touched(kernel: Kernel) -> None:
    kernel.load("table inet fw4 {\n}\ntable ip vpnpt2 {\n}\ntable inet vpnpt {\n}\n")
    nft.load(nft.replacement(RULESET))
    nft.load(nft.update(RULESET, kernel.chains()))
    nft.load(nft.replacement(Ruleset({})))
    delete_tables(kernel.netlink, TABLE)
    assert kernel.tables() == ["table inet fw4", "table ip vpnpt2", "table inet vpnpt"]


def test_an_empty_ruleset_by_update(kernel: Kernel) -> None:
    nft.load(nft.replacement(RULESET))
    nft.load(nft.update(Ruleset({}), kernel.chains()))
    assert kernel.tables() == []


def test_a_reload_keeps_counters(kernel: Kernel) -> None:
    nft.load(nft.replacement(RULESET))
    kernel.run("nft", "add", "counter", "ip", "vpnpt", "copies_before", "{ packets 7 bytes 700; }")
    nft.load(nft.update(RULESET, kernel.chains()))
    assert counters(kernel.netlink, TABLE)["copies_before"] == (7, 700)


def test_counters_of_both_families_are_added(kernel: Kernel) -> None:
    assert counters(kernel.netlink, TABLE) == {}
    kernel.load("table ip vpnpt {\n counter a {\n packets 1 bytes 100\n }\n counter b {\n packets 5 bytes 50\n }\n}\n"
                "table ip6 vpnpt {\n counter a {\n packets 2 bytes 30\n }\n}\ntable inet fw4 {\n counter a {\n packets 9 bytes 9\n }\n}\n")
    assert counters(kernel.netlink, TABLE) == {"a": (3, 130), "b": (5, 50)}


def test_counters_are_those_of_the_table(kernel: Kernel) -> None:
    """As nft lists them: the whole of a real ruleset."""
    nft.load(nft.replacement(RULESET))
    listed = kernel.run("nft", "list", "counters", "table", "ip", TABLE).stdout.count("counter ")
    assert len(counters(kernel.netlink, TABLE)) >= listed > 5


def test_no_flow_table(kernel: Kernel) -> None:
    """What there is when there is one: tests/lab, scenarios with flow offload."""
    assert not has_flowtable(kernel.netlink)


def test_a_program_that_hangs_is_told_from_one_that_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What hangs is not tried again with another text, and says nothing about the kernel."""
    monkeypatch.setattr(nft, "TIMEOUT", 0.1)
    monkeypatch.setattr(nft, "_patience", nft._Patience())
    script = Path(tmp_path, "nft")
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(NftError, match="killed after") as caught:
        nft.load("")
    assert caught.value.hangs
    with pytest.raises(NftError):
        nft.helper_available("pptp")


def test_a_syntax_error_is_nfts_own() -> None:
    with pytest.raises(NftError, match=r"(?s)syntax error.*flub"):
        nft.load("table ip vpnpt {\n flub\n}\n")


def test_what_the_kernel_refuses(kernel: Kernel) -> None:
    with pytest.raises(NftError, match="No such file or directory"):
        nft.load("table ip other {\n}\ndelete table ip vpnpt\n")
    assert kernel.tables() == [], "one transaction: not one line of it"


def test_helper_available(kernel: Kernel) -> None:
    assert not nft.helper_available("there_is_no_such_helper")
    assert kernel.tables() == []


def test_the_program_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for action in (lambda: nft.load(""), lambda: nft.check("")):
        with pytest.raises(NftError, match="nft is missing: install the package nftables"):
            action()
    assert not nft.helper_available("pptp")


@pytest.mark.parametrize(("body", "message"), [
    ("exit 3", "nft ended with status 3"), ("echo oh no >&2; exit 1", "oh no"), ("kill -ABRT $$", "nft ended with status -6"),
])
def test_a_program_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, message: str) -> None:
    """With and without a word, and killed, as nft 1.0.6 aborts now and then."""
    script = Path(tmp_path, "nft")
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(NftError, match=f"^{message}$"):
        nft.load("")
