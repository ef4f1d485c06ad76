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
EDGE = {"process", "netlink", "nlsocket", "nft", "uci", "facts", "service", "daemon", "cli", "control", "log", "addresses", "mirror",
        "learned", "tracker", "l2tp_tracker", "execute", "ubus", "answers", "xfrm", "inject", "aside", "gather", "usage",
        "watch", "cli_top", "exporter", "sessions_feed", "hosts", "uciedit"}
# Installed nowhere on a router, or too large for one (megabytes each; DESIGN says how many).
FORBIDDEN = {"scapy", "yaml", "pyroute2", "asyncio", "dataclasses", "typing", "enum", "logging", "subprocess", "argparse", "ipaddress",
             "ctypes", "hypothesis", "pytest"}
LINES = 450

MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
           for path in sorted(PACKAGE.rglob("*.py"))}
PURE = sorted(name for name in MODULES if name.partition(".")[0] not in EDGE)


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


def test_import_reader_sees_what_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    inner = tmp_path / "wire" / "esp.py"
    inner.parent.mkdir()
    inner.write_text("import os.path\nfrom . import ip\nfrom ..model import Record\nfrom .. import nft, __version__\n"
                     "if TYPE_CHECKING:\n    import typing\n    from ..log import Log\ndef f():\n    import json\n")
    assert imports(inner) == {"os", ".wire", ".model", ".nft", "json"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_no_edge(name: str) -> None:
    assert not {found for found in imports(MODULES[name]) if found[1:] in EDGE and found.startswith(".")}
    assert not imports(MODULES[name]) & {"os", "selectors", "signal", "fcntl", "select"}, "pure means: no input, no output"


def test_the_model_imports_nothing_of_ours() -> None:
    assert not {name for name in imports(MODULES["model"]) if name.startswith(".")}


def test_imports_have_no_circle() -> None:
    graph = {}
    for name, path in MODULES.items():
        first = name.partition(".")[0]
        graph.setdefault(first, set()).update(found[1:] for found in imports(path) if found.startswith(".") and found[1:] != first)
    done: set[str] = set()
    while ready := {name for name in graph if name not in done and graph[name] & set(graph) <= done}:
        done |= ready
    assert done == set(graph), f"in a circle: {sorted(set(graph) - done)}"


@pytest.mark.parametrize("name", MODULES)
def test_no_import_that_a_router_cannot_afford(name: str) -> None:
    assert not imports(MODULES[name]) & FORBIDDEN


@pytest.mark.parametrize("module", ["vpnpt.daemon", "vpnpt.cli"])
def test_nothing_forbidden_is_loaded_in_the_end(module: str) -> None:
    """Also by what the standard library imports in turn."""
    code = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {code}"],
                          capture_output=True, text=True, check=True)
    # socket and re need enum; that much is paid anyway.
    assert not set(done.stdout.split()) & (FORBIDDEN - {"enum"})


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
    """What `pip install ./src` installs: it once left a package out, and the command it had installed did not start."""
    listed = tomllib.loads((ROOT / "src" / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT / "src").parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(listed) == there


def test_every_rule_has_a_comment() -> None:
    rules = golden_rules()
    assert len(rules) > 100
    assert not [rule for rule in rules if not re.search(r' comment "vpnpt: [^"]{3,120}"$', rule)]
