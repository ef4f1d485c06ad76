# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes one list in /etc/config/vpnpt, and nothing else in it.

`uci add_list` and `uci commit` would commit with it whatever somebody has staged and not yet committed (/tmp/.uci), and write the
file anew without its comments. So the file itself is edited, under libuci's own lock (uci_open_stream() in file.c), and replaced at
once. What is staged stays staged.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time

from ..config import ucitext
from ..config.values import BadValue, source
from .uci import CONFIG_DIR

PATIENCE = 2.0
"""Seconds for which another writer is waited for: the daemon's loop stands still meanwhile."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.ucitext import SectionText


def edit_list(config_dir: str | None, section: str, option: str, value: str, *, present: bool) -> bool:
    """Has the list of sources `option` hold `value`, or hold it no more. Whether anything had to be changed.

    Raises OSError if the file can't be written, ValueError if it can't be understood well enough to be changed.
    """
    path = os.path.realpath(os.path.join(config_dir or CONFIG_DIR, "vpnpt"))
    deadline = time.monotonic() + PATIENCE
    while True:
        file = _locked(path, deadline)
        try:
            before = os.fstat(file)
            text = _read(file).decode("utf-8", "surrogateescape")
            changed = edited(text, section, option, value, present=present)
            if changed == text:
                return False
            if _replaced(path, before, changed.encode("utf-8", "surrogateescape")):
                return True
        finally:
            os.close(file)
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "another program changes it again and again", path)


def _locked(path: str, deadline: float) -> int:
    """The file that is at the path now, locked as libuci locks it. A writer that holds the lock for ever is not waited for."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.stat(path, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
                return file
            os.close(file)  # it was replaced before we had the lock
        except BlockingIOError:
            os.close(file)
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, "another program has locked it", path) from None
            time.sleep(0.02)
        except OSError:
            os.close(file)
            raise


def _read(file: int) -> bytes:
    found = bytearray()
    while data := os.read(file, 65536):
        found += data
    return bytes(found)


def _replaced(path: str, before: os.stat_result, data: bytes) -> bool:
    """Puts a new file in the place of the one that was read, with its mode and owner. False: somebody without a lock was faster."""
    folder, name = os.path.split(path)
    new = os.path.join(folder, f".{name}.vpnpt-new")  # beside it, so that replacing it is one step; libuci reads no name with a dot
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    out = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(out, left):]
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(out, before.st_uid, before.st_gid)
            os.fchmod(out, before.st_mode & 0o777)
            os.fsync(out)
        finally:
            os.close(out)
        there = os.stat(path, follow_symlinks=False)
        same = all(getattr(there, what) == getattr(before, what) for what in ("st_dev", "st_ino", "st_size", "st_mtime_ns"))
        if same:
            os.replace(new, path)
        else:
            os.unlink(new)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return same


def edited(text: str, section: str, option: str, value: str, *, present: bool) -> str:
    """The text with `value` in the list, or without. Raises ValueError."""
    document = ucitext.parse(text)
    if any(problem.severity == "error" for problem in document.diagnostics):
        raise ValueError("correct it first: " + "; ".join(map(str, document.diagnostics)))
    before = _values(document.sections, section, option)
    if (value in before) == present:
        return text
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    found = next((one for one in document.sections if one.name == section), None)
    end = min([one.line - 1 for one in document.sections if found is not None and one.line > found.line], default=len(lines))
    if found is not None and not present:
        own = [line for line in lines[found.line:end] if not _sets(line, option, value)]
        kept = [*lines[:found.line], *own, *lines[end:]]
        expected = [one for one in before if one != value]
    elif found is None:
        kept = [*lines, "\n", f"config protocol '{section}'\n", f"\tlist {option} '{value}'\n"]
        expected = [value]
    else:
        while end > found.line and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        kept = [*lines[:end], f"\tlist {option} '{value}'\n", *lines[end:]]
        expected = [*before, value]
    result = "".join(kept)
    if _content(result, section, option) != _content(text, section, option) or \
            _values(ucitext.parse(result).sections, section, option) != expected:
        raise ValueError(f"write {option} of section {section!r} as one `list` line for each value")
    return result


def _values(sections: list[SectionText], name: str, option: str) -> list[str]:
    """The values of a list of sources, normalised."""
    return [_normal(word) for section in sections if section.name == name and option in section.options
            for text in section.options[option].values for word in text.split()]


def _content(text: str, name: str, option: str) -> list[object]:
    """Everything else that a text says; a section that says nothing more counts as none."""
    found = [(section.type, section.name, [(one.name, one.values) for one in section.options.values()
                                           if (section.name, one.name) != (name, option)])
             for section in ucitext.parse(text).sections]
    return [one for one in found if one != ("protocol", name, [])]


def _sets(line: str, option: str, value: str) -> bool:
    """Is this the line of the list that has this value?"""
    words = line.partition("#")[0].replace("'", "").replace('"', "").split()
    return len(words) == 3 and words[0] in ("list", "l") and words[1] == option and _normal(words[2]) == value


def _normal(word: str) -> str:
    try:
        return source(word).text
    except BadValue:
        return word
