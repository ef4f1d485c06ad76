# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives that come out the same to the byte: sorted, owned by root, of one date."""
from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path


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

    Directories come first, then files, the deepest first: what is alike is together then, half a percent smaller in all.
    """
    entries: list[tuple[str, bytes | None, int]] = [("./", None, 0o755)]
    for path in sorted(root.rglob("*"), key=lambda path: (not path.is_dir(), -len(path.parts) * (not path.is_dir()), path)):
        name, mode = f"./{path.relative_to(root)}", path.stat().st_mode
        if path.is_symlink():
            raise ValueError(f"{path}: a link, which no package of ours has")
        if path.is_dir():
            entries.append((f"{name}/", None, 0o755))
        else:
            entries.append((name, path.read_bytes(), 0o755 if mode & 0o100 else 0o644 if mode & 0o004 else 0o600))
    return entries
