# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way's table, byte for byte as it is loaded (offload.txt beside this), and that the kernel takes it.

`python -m tests.golden.test_offload --write` writes it anew.
"""
from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.lab.topology import Lab
from vpnpt.ruleset.offload import Way, render, witness

GOLDEN = Path(__file__).parent / "offload.txt"
WAYS = (Way(source="wan", target="br-lan", gateway="", mtu=1500, outbound=False),
        Way(source="br-lan", target="wan", gateway="203.0.113.254", mtu=1492, outbound=True),
        Way(source="br-lan", target="pppoe-wan", gateway="", mtu=1480, outbound=True))


def test_the_text() -> None:
    assert render(WAYS) + witness() == GOLDEN.read_text()


def test_every_rule_has_a_comment_that_nft_takes() -> None:
    rules = re.findall(r"^\t\t(?:@|ip ).*$", render(WAYS) + witness(), re.MULTILINE)
    assert len(rules) == 9 and all(re.search(r' comment "vpnpt: [^"]{3,120}"$', rule) for rule in rules)


def test_the_kernel_takes_it_twice_and_refuses_a_missing_device_as_a_whole(sandbox: None) -> None:
    with Lab(1, 1, "stock", ipv6=False) as lab:
        for _ in range(2):
            lab.router.nft(render(WAYS[:2]) + witness())
        before = lab.router.run("nft", "list", "table", "netdev", "vpnpt").stdout
        with pytest.raises(RuntimeError, match="pppoe-wan"):
            lab.router.nft(render(WAYS))
        assert lab.router.run("nft", "list", "table", "netdev", "vpnpt").stdout == before
        assert "flags dormant" in lab.router.run("nft", "list", "table", "ip", "vpnpt_seen").stdout


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        GOLDEN.write_text(render(WAYS) + witness())
