# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a root daemon: no link is followed, no pipe is waited for, nobody sees a half, also where there is no space."""
from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.sandbox import private_folder
from vpnpt.audit.changes import History
from vpnpt.daemon import safe_file
from vpnpt.daemon.history_file import HistoryFile
from vpnpt.daemon.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITERS: dict[str, Callable[[str], object]] = {
    "replace": lambda path: safe_file.replace(path, b"new"), "append": lambda path: safe_file.append(path, b"new"),
    "read": lambda path: safe_file.read(path)}


@pytest.mark.parametrize("does", WRITERS)
@pytest.mark.parametrize("kind", ["link", "dangling link", "link as folder", "link as a part", "pipe", "directory", "open folder"])
def test_what_is_no_file_of_ours_is_refused(tmp_path: Path, does: str, kind: str) -> None:
    other, folder = tmp_path / "other", tmp_path / "a" / "folder"
    folder.mkdir(parents=True)
    other.mkdir()
    (other / "file").write_text("precious")
    path = folder / "file"
    if kind == "link":
        path.symlink_to(other / "file")
    elif kind == "dangling link":
        path.symlink_to(other / "made")
    elif kind == "link as folder":
        path = tmp_path / "folder" / "file"
        (tmp_path / "folder").symlink_to(other)
    elif kind == "link as a part":
        path = tmp_path / "b" / "folder" / "file"
        (tmp_path / "b").symlink_to(tmp_path / "a")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        folder.chmod(0o777)
    with pytest.raises(OSError):
        WRITERS[does](str(path))
    assert (other / "file").read_text() == "precious" and os.listdir(other) == ["file"]
    assert not [name for name in os.listdir(folder) if name != "file"], "nothing is left behind"


@pytest.mark.parametrize("path", ["file", "/file", "/tmp//file", "/tmp/../tmp/file", "/tmp/./file", ""])
def test_only_plain_absolute_paths(path: str) -> None:
    with pytest.raises(OSError):
        safe_file.append(path, b"")


def test_a_folder_is_made_but_not_what_it_is_in(tmp_path: Path) -> None:
    safe_file.replace(str(tmp_path / "vpnpt" / "file"), b"one", 0o644)
    assert (tmp_path / "vpnpt" / "file").stat().st_mode & 0o777 == 0o644
    with pytest.raises(FileNotFoundError):
        safe_file.append(str(tmp_path / "disk" / "vpnpt" / "file"), b"one")
    assert safe_file.append(str(tmp_path / "vpnpt" / "file"), b"two") == 6
    assert safe_file.read(str(tmp_path / "vpnpt" / "file"), 4, end=True) == b"etwo"
    safe_file.remove(str(tmp_path / "vpnpt" / "file"))
    safe_file.remove(str(tmp_path / "vpnpt" / "file"))
    assert not os.listdir(tmp_path / "vpnpt")


def test_of_a_killed_daemon_nothing_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".file.new").symlink_to(tmp_path / "elsewhere")
    safe_file.replace(str(tmp_path / "file"), b"one")
    assert os.listdir(tmp_path) == ["file"]


def test_no_space(sandbox: None) -> None:
    """On a file system that is really full: what was there stays whole, and so does what is there later."""
    path = private_folder("/tmp/vpnpt", "64k") / "file"
    safe_file.replace(str(path), b"x" * 30_000)
    with pytest.raises(OSError) as caught:
        safe_file.replace(str(path), b"y" * 60_000)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError):
        safe_file.append(str(path), b"y" * 60_000)
    assert path.read_bytes() == b"x" * 30_000 and os.listdir(path.parent) == ["file"]


def test_a_history_without_space_is_said_once_and_written_later(sandbox: None, capsys: pytest.CaptureFixture[str]) -> None:
    folder = private_folder("/tmp/vpnpt", "32k")
    (folder / "filler").write_bytes(b"x" * 20480)
    kept, history = HistoryFile(Log()), History()
    kept.open(str(folder / "history"), history)
    for number in range(100):
        kept.write(history.add(number, "rules", "", f"{number} " + "x" * 100).line(), history)
    said = capsys.readouterr().err
    assert said.count("HISTORY") == 1 and "No space left" in said
    (folder / "filler").unlink()
    for number in range(100, 102):
        kept.write(history.add(number, "rules", "", str(number)).line(), history)
    assert "is written again" in capsys.readouterr().err
    again = History()
    HistoryFile(Log()).open(str(folder / "history"), again)
    assert again.answer() == history.answer()
