# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading UCI packages whatever is at their path."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from vpnpt import process
from vpnpt.config.compile import compile_config
from vpnpt.router import uci

if TYPE_CHECKING:
    from pathlib import Path


def no_program(*_arguments: object) -> process.Result:
    return process.Result(status=process.MISSING, stdout=b"", stderr=b"")


@pytest.mark.parametrize("what", ["a pipe", "a link to a pipe", "a device", "a folder", "too long"])
def test_what_can_t_be_read_is_an_error(tmp_path: Path, what: str) -> None:
    """At once: nothing is waited for."""
    path = tmp_path / "vpnpt"
    if what == "a folder":
        path.mkdir()
    elif what == "too long":
        path.write_bytes("é".encode() * (uci.LIMIT // 2) + b"\n")
    elif what == "a device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe") if what == "a link to a pipe" else os.rename(tmp_path / "pipe", path)
    with pytest.raises(OSError, match="longer than" if what == "too long" else "not a regular file"):
        uci.read_config(str(tmp_path), run=no_program)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("config 1 ipsec\n")
    (tmp_path / "vpnpt").symlink_to("real")
    assert uci.read_config(str(tmp_path), run=no_program) == ("config 1 ipsec\n", str(tmp_path / "vpnpt"))


def test_a_list_of_many_is_compiled_in_as_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry was once compared with each before it: half a megabyte of them kept the daemon from all else for minutes."""
    from vpnpt.model import Source

    compared = [0]
    equal = Source.__eq__

    def counted(one: Source, other: object) -> bool:
        compared[0] += 1
        return equal(one, other)

    monkeypatch.setattr(Source, "__eq__", counted)
    config, found = compile_config("config 1 'ipsec'\n" + "".join(f"\tlist deny_src '10.0.{n >> 8}.{n & 255}'\n" for n in range(3000)))
    assert config is not None and len(config.protocols["ipsec"].deny_src) == 3000 and not found
    assert compared[0] < 3000
