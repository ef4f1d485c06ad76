# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives that come out the same to the byte: sorted, owned by root, of one date."""
from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

WINDOW = 60_000
"""Bytes before a file with which it is compared: gzip looks back 32 KiB."""


def tar_gz(entries: list[tuple[str, bytes | None, int]], epoch: int) -> bytes:
    """A .tar.gz of (path, content or None for a directory, mode), in the order given. epoch: the date of all, seconds."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content, mode in entries:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size, info.mode, info.mtime = len(content or b""), mode, epoch
            archive.addfile(info, io.BytesIO(content or b""))
    return gzip.compress(raw.getvalue(), 9, mtime=0)


def tree(root: Path) -> list[tuple[str, bytes | None, int]]:
    """The entries of a directory, itself as `./`. Modes: 0755 or 0644, or 0600 for what only its owner may read.

    Directories come first, then files, each after those with which it has most words in common: two percent smaller in all.
    """
    entries: list[tuple[str, bytes | None, int]] = [("./", None, 0o755)]
    files: list[tuple[str, bytes, int]] = []
    for path in sorted(root.rglob("*")):
        name, mode = f"./{path.relative_to(root)}", path.stat().st_mode
        if path.is_symlink():
            raise ValueError(f"{path}: a link, which no package of ours has")
        if path.is_dir():
            entries.append((f"{name}/", None, 0o755))
        else:
            files.append((name, path.read_bytes(), 0o755 if mode & 0o100 else 0o644 if mode & 0o004 else 0o600))
    return [*entries, *_alike_together(files)]


def _alike_together(files: list[tuple[str, bytes, int]]) -> list[tuple[str, bytes, int]]:
    words = {name: set(re.findall(rb"\w{3,}", content)) for name, content, _ in files}
    rest, found = dict.fromkeys(sorted(files)), list[tuple[str, bytes, int]]()
    while rest:
        recent, size = set[bytes](), 0
        for name, content, _ in reversed(found):
            recent |= words[name]
            size += len(content)
            if size > WINDOW:
                break
        best = max(rest, key=lambda file: (len(words[file[0]] & recent) / (1 + len(words[file[0]])) if recent else len(file[1]), file[0]))
        found.append(best)
        del rest[best]
    return found
