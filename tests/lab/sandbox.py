# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces from inside one process: nothing here outlives it, however it ends.

`enter_sandbox` gives the process mount and network namespaces of its own (and a user namespace where it is not root), so
named network namespaces, temporary files and nftables rules are gone with the last process in it, also after kill -9.
"""
from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 16384 | (1 << 18)
PR_SET_PDEATHSIG = 1

RUN = Path("/run")
_libc = ctypes.CDLL(None, use_errno=True)
_state = {"entered": False, "home": -1, "rootless": False}


class SandboxError(RuntimeError):
    """The kernel refused what the lab needs; the text says what and what to do."""


def enter_sandbox() -> None:
    """Moves this process into namespaces of its own. Idempotent; must be called while there is only one thread.

    Raises SandboxError where neither root nor an unprivileged user namespace is to be had.
    """
    if _state["entered"]:
        return
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWNET
    if uid != 0:
        flags |= CLONE_NEWUSER
    if _libc.unshare(flags) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SandboxError(f"cannot make namespaces ({reason}): run as root, or allow them to users with "
                           "`sysctl kernel.unprivileged_userns_clone=1`")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _mount("none", "/", None, MS_REC_PRIVATE)
    _mount("tmpfs", str(RUN), "tmpfs", 0)
    (RUN / "netns").mkdir()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _state["home"] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _state.update(entered=True, rootless=uid != 0)


def is_rootless() -> bool:
    """Whether the sandbox has a user namespace of its own."""
    return bool(_state["rootless"])


def private_folder(path: str, size: str = "16m") -> Path:
    """An empty folder at a path that the product prescribes: a file system of its own, of this size, that only the sandbox sees."""
    Path(path).mkdir(exist_ok=True)
    _libc.umount2(path.encode(), 2)  # of an earlier test
    _mount("tmpfs", path, "tmpfs", 0, f"mode=755,size={size}")
    return Path(path)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, data.encode() or None) != 0:
        raise SandboxError(f"cannot mount {target}: {os.strerror(ctypes.get_errno())}")


def open_namespace(name: str) -> int:
    """A descriptor of the named network namespace. Raises FileNotFoundError when there is none."""
    return os.open(RUN / "netns" / name, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Runs the block in the network namespace of a descriptor: sockets opened and programs started there stay there."""
    _setns(namespace)
    try:
        yield
    finally:
        _setns(_state["home"])


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise SandboxError(f"cannot change the network namespace: {os.strerror(ctypes.get_errno())}")


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel ends the child when the lab ends, however that happens."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
