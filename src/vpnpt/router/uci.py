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

import os

from .. import process
from ..config import ucitext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_DIR = "/etc/config"


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
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise ConfigMissing(f"{path} does not exist; create it (an empty file means the defaults) or choose another "
                            "directory with --config-dir") from None
    result = run(["uci", "export", os.path.abspath(path)])
    if result.status == 0:
        exported = result.stdout.decode("utf-8", "surrogateescape")
        if not _same(text, exported):
            return exported, f"uci export {os.path.abspath(path)}"
    return text, path


def _same(one: str, other: str) -> bool:
    """Whether two UCI texts say the same, whatever their lines, comments and quotes."""
    return _content(one) == _content(other)


def _content(text: str) -> list[object]:
    return [(section.type, section.name, [(option.name, option.values, option.is_list) for option in section.options.values()])
            for section in ucitext.parse(text).sections]
