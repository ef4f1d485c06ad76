# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that the daemon reads and writes as root: no link is followed, nothing but a regular file is opened, nobody sees a half.

A folder is opened once and the file is named relative to it, so that nobody can exchange a part of the path in between. Every function
raises OSError. A FIFO, a device or a link where the file should be is such an error (EINVAL, ELOOP), and none of them is waited for.
"""
from __future__ import annotations

import contextlib
import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
LINKED = frozenset(("var",))
"""Folders of the root that may be a link: OpenWrt's /var is one to /tmp."""
LIMIT = 1 << 20
"""Bytes that are read at most."""


def replace(path: str, data: bytes, mode: int = 0o600, *, sync: bool = False) -> None:
    """The file holds `data`, all of it or what it held before. sync: it is on the disk when this returns."""
    with _folder(path, make=True) as (folder, name):
        temporary = f".{name}.new"
        with contextlib.suppress(FileNotFoundError):  # of a daemon that was killed
            os.unlink(temporary, dir_fd=folder)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, mode, dir_fd=folder)
        try:
            try:
                _write(file, data)
                os.fchmod(file, mode)
                if sync:
                    os.fsync(file)
            finally:
                os.close(file)
            with contextlib.suppress(FileNotFoundError):
                _regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        if sync:
            os.fsync(folder)


def append(path: str, data: bytes, mode: int = 0o600) -> int:
    """Adds to the end; returns the file's size. What does not fit is taken back, so that no half of a line stays."""
    with _folder(path, make=True) as (folder, name):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | PLAIN, mode, dir_fd=folder)
        try:
            size = _regular(os.fstat(file)).st_size
            try:
                _write(file, data)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, size)
                raise
            return size + len(data)
        finally:
            os.close(file)


def read(path: str, limit: int = LIMIT, *, end: bool = False) -> bytes:
    """What the file holds, of a longer one the first `limit` bytes, or (end) the last."""
    with _folder(path) as (folder, name):
        file = os.open(name, os.O_RDONLY | PLAIN, dir_fd=folder)
        try:
            size = _regular(os.fstat(file)).st_size
            if end and size > limit:
                os.lseek(file, size - limit, os.SEEK_SET)
            found = bytearray()
            while len(found) < limit:
                data = os.read(file, limit - len(found))
                if not data:
                    break
                found += data
            return bytes(found)
        finally:
            os.close(file)


def remove(path: str) -> None:
    """The file is gone; no error if it was not there. A link is removed, not what it names."""
    with contextlib.suppress(FileNotFoundError), _folder(path) as (folder, name):
        os.unlink(name, dir_fd=folder)


def own(path: str) -> None:
    """The folder is there, is ours, and nobody else may write to it: for the daemon's own directories."""
    os.makedirs(path, mode=0o755, exist_ok=True)
    folder = os.open(path, FOLDER | os.O_NOFOLLOW)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "belongs to somebody else", path)
        if found.st_mode & 0o022:
            os.fchmod(folder, found.st_mode & 0o755)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _folder(path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The folder of a file, open, and the file's name in it. make: the folder is made, but none of those that it is in: one of them may
    be a disk that is not mounted."""
    parts = path.split("/")
    if parts[0] or len(parts) < 3 or not all(part not in ("", ".", "..") for part in parts[1:]):
        raise OSError(errno.EINVAL, "not an absolute path", path)
    folder = os.open("/", FOLDER)
    try:
        for place, part in enumerate(parts[1:-1]):
            if make and place == len(parts) - 3:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, FOLDER | (0 if not place and part in LINKED else os.O_NOFOLLOW), dir_fd=folder)
            os.close(folder)
            folder = inner
            found = os.fstat(folder)
            if found.st_uid not in (0, os.geteuid()):
                raise OSError(errno.EPERM, "a folder that it is in belongs to somebody else", path)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise OSError(errno.EPERM, "the folder belongs to, or may be written by, somebody else", path)
        yield folder, parts[-1]
    finally:
        os.close(folder)


def _regular(found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, "the file is somebody else's")
    return found


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left):]
