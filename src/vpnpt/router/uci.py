# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading UCI packages, through the `uci` program where there is one.

Only what is committed counts. `uci export vpnpt` would mix in what is staged in /tmp/.uci, even with -c and whatever -p, -P or
-t say, so that a reload in the middle of somebody's edits would apply half of them. `uci export /etc/config/vpnpt`, with a
path, reads the file alone (uci_file_load() in libuci's file.c).

`uci` writes the text anew, and the line numbers of that help nobody: where our parser finds the same in the file itself, the
file's text is returned. Where `uci` fails (it refuses a whole file for one bad line, and a path with a dot), the file is
returned too, and the parser says what is wrong in which line.
"""
from __future__ import annotations

import errno
import os
import stat

from .. import process
from ..config import ucitext
from ..model import Said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_DIR = "/etc/config"
LIMIT = 1 << 20
"""Bytes of a UCI package: reading more would keep the daemon from everything else for too long."""


class ConfigMissing(Exception):
    """There is no such UCI package. The text says which file was looked for, and what to do."""


def read_config(config_dir: str | None = None, *, run: Callable[..., process.Result] = process.run) -> tuple[str, str]:
    """The text of package vpnpt, and where it is from: a path, or the command that printed it.

    config_dir: the directory of the file, /etc/config if None. Bytes that are not UTF-8 become surrogate escapes. Raises
    ConfigMissing if there is no file, OSError if it can't be read.
    """
    return read_package("vpnpt", config_dir, run=run)


def read_package(name: str, config_dir: str | None = None, *,
                 run: Callable[..., process.Result] = process.run) -> tuple[str, str]:
    """The same for any package."""
    path = os.path.join(config_dir or CONFIG_DIR, name)
    try:
        data = read_regular(path, LIMIT + 1)
    except FileNotFoundError:
        raise ConfigMissing(Said("{path} does not exist; create it (an empty file means the defaults) or choose another "
                                 "directory with --config-dir", path=path)) from None
    if len(data) > LIMIT:
        raise OSError(errno.EFBIG, f"longer than {LIMIT} bytes", path)
    text = data.decode("utf-8", "surrogateescape")
    result = run(["uci", "export", os.path.abspath(path)])
    if result.status == 0:
        exported = result.stdout.decode("utf-8", "surrogateescape")
        if not _same(text, exported):
            return exported, f"uci export {os.path.abspath(path)}"
    return text, path


def read_regular(path: str, limit: int) -> bytes:
    """The first `limit` bytes of a file that others may have made. Raises OSError, also for what is no regular file: opening a pipe would
    wait for ever, opening a device may start it."""
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        with open(f"/proc/self/fd/{found}", "rb") as file:
            return file.read(limit)
    finally:
        os.close(found)


def _same(one: str, other: str) -> bool:
    """Whether two UCI texts say the same, whatever their lines, comments and quotes."""
    return _content(one) == _content(other)


def _content(text: str) -> list[object]:
    return [(section.type, section.name, [(option.name, option.values, option.is_list) for option in section.options.values()])
            for section in ucitext.parse(text).sections]
