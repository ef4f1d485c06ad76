# SPDX-License-Identifier: GPL-2.0-or-later
"""The house rules that a machine can hold: which way imports point, what a small router can't afford, sizes, comments."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "vpnpt"
# The rooms of src/vpnpt, and which others each may import from. Pure rooms neither open files nor make sockets; edges may.
PURE_ROOMS: dict[str, set[str]] = {
    "config": set(), "wire": set(), "ruleset": {"wire"}, "spi": {"wire"}, "l2tp": {"wire"}, "sessions": {"wire", "ruleset"},
    "audit": {"wire", "ruleset", "config"}, "doctor": {"config", "ruleset", "sessions", "wire"},
}
EDGE_ROOMS: dict[str, set[str]] = {
    "kernel": {*PURE_ROOMS}, "router": {*PURE_ROOMS, "kernel"}, "gather": {*PURE_ROOMS, "kernel", "router"},
    "daemon": {*PURE_ROOMS, "kernel", "router", "gather"}, "cli": {*PURE_ROOMS, "kernel", "router", "daemon"},
}
ROOMS = PURE_ROOMS | EDGE_ROOMS
ROOT_FILES = {"__init__", "record", "model", "process"}
"""Vocabulary, and running programs: every room may import them (process: edges only), they import no room."""
INPUT_OUTPUT = {"os", "selectors", "signal", "fcntl", "select", "mmap", "pathlib", "shutil", "tempfile", "glob"}
# Installed nowhere on a router, or too large for one (megabytes each).
FORBIDDEN = {"scapy", "yaml", "pyroute2", "asyncio", "dataclasses", "typing", "enum", "logging", "subprocess", "argparse", "ipaddress",
             "ctypes", "hypothesis", "pytest"}
LINES = 450
LICENCE = b"SPDX-License-Identifier: GPL-2.0-or-later"
SOURCES = {".py", ".sh", ".js", ".mjs", ".css", ".c", ".h", ".mk", ".nft", ".toml", ".uc"}

MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
           for path in sorted(PACKAGE.rglob("*.py"))}


def room(name: str) -> str:
    """The room of a module, '' for one at the root."""
    first = name.partition(".")[0]
    return first if first in ROOMS else ""


PURE = sorted(name for name in MODULES if room(name) in PURE_ROOMS)


def imports(path: Path) -> set[str]:
    """What a module imports when it runs, at its top or within a function: ours as `.name`, those of others by their first name.

    A block under `if TYPE_CHECKING:` never runs.
    """
    package = ["", *path.relative_to(PACKAGE).parts[:-1]]
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = package[1:len(package) - node.level + 1]
            inner = [*base, *(node.module.split(".") if node.module else ())]
            # `from . import x` names modules, `from .x import y` may name one as well: the first part below the package counts.
            found |= {f".{inner[0]}"} if inner else {f".{alias.name}" for alias in node.names if not alias.name.startswith("__")}
        waiting += ast.iter_child_nodes(node)
    return found


def exact_imports(name: str) -> set[str]:
    """The modules of ours that importing this one imports, without those within functions."""
    path = MODULES[name]
    package = list(path.relative_to(PACKAGE).parts[:-1])
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[:len(package) - node.level + 1], *(node.module.split(".") if node.module else ())]
            inner = [".".join([*base, alias.name]) for alias in node.names]
            found |= {module for module in inner if module in MODULES} or {".".join(base)}
    return (found & set(MODULES)) - {name}


def test_import_reader_sees_what_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    inner = tmp_path / "wire" / "esp.py"
    inner.parent.mkdir()
    inner.write_text("import os.path\nfrom . import ip\nfrom ..model import Record\nfrom .. import nft, __version__\n"
                     "if TYPE_CHECKING:\n    import typing\n    from ..log import Log\ndef f():\n    import json\n")
    assert imports(inner) == {"os", ".wire", ".model", ".nft", "json"}


def calls(path: Path) -> set[str]:
    """The plain names that a module calls."""
    return {node.func.id for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def of_socket(path: Path) -> set[str]:
    """What a module takes of the standard library's socket."""
    tree = list(ast.walk(ast.parse(path.read_text())))
    named = {alias.name for node in tree if isinstance(node, ast.ImportFrom) and node.module == "socket" and not node.level
             for alias in node.names}
    return named | {node.attr for node in tree if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                    and node.value.id == "socket"}


def test_every_file_is_in_a_room() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == ROOT_FILES
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} == set(ROOMS)


def test_the_arrows_have_no_circle() -> None:
    done: set[str] = set()
    while ready := {name for name in ROOMS if name not in done and ROOMS[name] <= done}:
        done |= ready
    assert done == set(ROOMS), f"in a circle: {sorted(set(ROOMS) - done)}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_point_down(name: str) -> None:
    ours = {found[1:] for found in imports(MODULES[name]) if found.startswith(".")} - {room(name)}
    if not room(name):
        assert not ours & set(ROOMS), "the vocabulary imports no room"
        return
    assert ours & set(ROOMS) <= ROOMS[room(name)], f"a room that {room(name)}/ may not look into"
    assert name not in PURE or "process" not in ours, "pure means: no program is run"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_room_has_no_input_and_no_output(name: str) -> None:
    assert not imports(MODULES[name]) & INPUT_OUTPUT
    assert not calls(MODULES[name]) & {"open", "print", "input"}
    # Addresses as text and back, and the numbers of families: no descriptor is made by these.
    assert not {word for word in of_socket(MODULES[name]) if not word.startswith(("inet_", "AF_", "IPPROTO_"))}


def test_modules_have_no_circle_at_run_time() -> None:
    """Also within a room: who imports whom, module by module."""
    graph = {name: exact_imports(name) for name in MODULES}
    done: set[str] = set()
    while ready := {name for name in graph if name not in done and graph[name] <= done}:
        done |= ready
    assert done == set(graph), f"in a circle: {sorted(set(graph) - done)}"


@pytest.mark.parametrize("name", MODULES)
def test_no_import_that_a_router_cannot_afford(name: str) -> None:
    assert not imports(MODULES[name]) & FORBIDDEN


@pytest.mark.parametrize("module", ["vpnpt.daemon.loop", "vpnpt.cli.main"])
def test_nothing_forbidden_is_loaded_in_the_end(module: str) -> None:
    """Also by what the standard library imports in turn."""
    code = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {code}"],
                          capture_output=True, text=True, check=True)
    # socket and re need enum; that much is paid anyway.
    assert not set(done.stdout.split()) & (FORBIDDEN - {"enum"})


def test_every_module_is_imported_without_a_warning() -> None:
    """Python says so a release or two before it takes something away, also of what no test runs."""
    names = [f"vpnpt.{name}" for name in MODULES if not name.endswith("__main__") and name != "__init__"]
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import {', '.join(names)}"
    subprocess.run([sys.executable, "-W", "error", "-I", "-B", "-X", "pycache_prefix=/nowhere", "-c", code], check=True)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) < LINES


def golden_rules() -> list[str]:
    """Every line within a chain of every golden ruleset."""
    found = []
    for path in sorted((ROOT / "tests" / "golden" / "cases").glob("*.txt")):
        chains = re.findall(r"^\tchain \S+ \{\n(.*?)^\t\}$", path.read_text(), re.DOTALL | re.MULTILINE)
        found += [line for chain in chains for line in chain.splitlines() if not line.startswith("\t\ttype ")]
    return found


def test_every_package_is_installed() -> None:
    """By `pip install ./src`, which once left out a room that was not listed: flit takes all that is in the package. Nothing that a
    room needs is in a directory that is no package, where a router's copy would not have it."""
    assert tomllib.loads((ROOT / "src" / "pyproject.toml").read_text())["build-system"]["build-backend"] == "flit_core.buildapi"
    assert {path.parent for path in PACKAGE.rglob("*.py")} == {path.parent for path in PACKAGE.rglob("__init__.py")}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


def test_every_rule_has_a_comment() -> None:
    rules = golden_rules()
    assert len(rules) > 100
    assert not [rule for rule in rules if not re.search(r' comment "vpnpt: [^"]{3,120}"$', rule)]


def test_every_source_file_names_its_licence() -> None:
    """Programs, by their first line or by the name's ending, whatever the language; data and documents need not."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    heads = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            head = path.open("rb").read(400).splitlines()[:3]
            if path.suffix in SOURCES or path.name == "Makefile" or (head and head[0].startswith(b"#!")):
                heads[name] = head
    assert {"Makefile", "tests/suite", "files/etc/init.d/vpnpt"} <= set(heads) and len(heads) > 100
    assert not sorted(name for name, head in heads.items() if head and not any(LICENCE in line for line in head))
