# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace with nothing in it but the kernel: rulesets are loaded into it and read back."""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import sandbox as lab_sandbox
from vpnpt.kernel.netfilter import Netlink, list_chains
from vpnpt.ruleset import FAMILIES, TABLE
from vpnpt.wire.nftables import FAMILIES as FAMILY_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vpnpt.wire.nftables import Chain

NUMBERS = {name: number for number, name in FAMILY_NAMES.items()}
_serial = itertools.count(1)


class Kernel:
    """`inside()` for a block that runs in the namespace; the rest are shorthands."""

    def __init__(self) -> None:
        self.name = f"kernel{next(_serial)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.namespace = lab_sandbox.open_namespace(self.name)
        self._depth = 0
        with self.inside():
            self.netlink = Netlink()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Runs the block in the namespace; may be nested."""
        with contextlib.nullcontext() if self._depth else lab_sandbox.inside(self.namespace):
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def run(self, *args: str, text: str = "", check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a program. Raises AssertionError with what it printed when it fails, also when a signal ended it."""
        with self.inside():
            done = subprocess.run(args, input=text, capture_output=True, text=True, check=False, **options)
        assert not check or done.returncode == 0, f"{' '.join(args)}: status {done.returncode}\n{done.stderr}"
        return done

    def spawn(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a program that ends with the tests at the latest."""
        with self.inside():
            return subprocess.Popen(args, preexec_fn=lab_sandbox.die_with_parent, **options)

    def load(self, text: str) -> None:
        """Loads a text with nft."""
        self.run("nft", "-f", "-", text=text)

    def clear(self) -> None:
        """No table is left."""
        self.run("nft", "flush", "ruleset")

    def rules(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """What is in our chains as the kernel lists it, by family and chain: the chain itself, then its rules, without handles."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for item in json.loads(self.run("nft", "-j", "list", "ruleset").stdout)["nftables"]:
            for kind in ("chain", "rule"):
                if kind in item and item[kind]["table"] == TABLE:
                    body = {key: value for key, value in item[kind].items() if key != "handle"}
                    found.setdefault((body["family"], body.get("chain", body.get("name"))), []).append(body)
        return found

    def chains(self) -> list[tuple[str, Chain]]:
        """Our chains as the daemon finds them before a reload."""
        return [(family, chain) for family in FAMILIES for chain in list_chains(self.netlink, NUMBERS[family], TABLE)]

    def tables(self) -> list[str]:
        """As nft lists them, `table ip vpnpt`."""
        return self.run("nft", "list", "tables").stdout.splitlines()

    def close(self) -> None:
        """The namespace goes when its last process has gone."""
        self.netlink.close()
        os.close(self.namespace)
        # A lab that was closed meanwhile has deleted all names.
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def kernel(sandbox: None) -> Iterator[Kernel]:
    """One namespace for the tests of a module; `clear()` it first."""
    made = Kernel()
    yield made
    made.close()
