# SPDX-License-Identifier: GPL-2.0-or-later
"""Our packages, as files: what needs no OpenWrt to be right."""
from __future__ import annotations

import ast
import builtins
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import symtable
import sys
import tarfile
import textwrap
from typing import TYPE_CHECKING

import pytest

import vpnpt as source
from buildroot import apk, build, ipk
from buildroot.recipe import RECIPES, TOP, read
from buildroot.strip import kept, keywords, private_names, stripped
from buildroot.translations import LANGUAGES
from buildroot.where import main as where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.package.conftest import Package

SIZE = 120_000
"""Bytes that no package may exceed."""
# What python3-light holds of what we use: all that OpenWrt's recipe of Python does not split off into packages of their own.
SPLIT_OFF = {"asyncio", "cProfile", "ctypes", "dbm", "decimal", "distutils", "email", "ensurepip", "html", "http", "logging", "lzma",
             "multiprocessing", "ncurses", "curses", "pydoc", "readline", "sqlite3", "ssl", "unicodedata", "unittest", "urllib", "uuid",
             "venv", "xml", "xmlrpc", "cgi", "cgitb", "concurrent", "pstats", "profile", "hashlib", "lib2to3", "turtle", "tkinter",
             "idlelib", "webbrowser", "gzip", "bz2"}
# Packages of OpenWrt's, as its recipes (24.10 and 25.12) name them.
KNOWN = {"python3-light", "nftables-json", "kmod-nft-core", "kmod-nft-nat", "kmod-nft-fib", "kmod-nft-dup-inet", "kmod-nft-socket",
         "kmod-nfnetlink-log",
         "kmod-nft-netdev", "kmod-nf-conntrack-netlink", "luci-base", "vpnpt", "vpnpt-tools"}
HELPERS = {False: "kmod-nf-nathelper-extra", True: "kmod-nf-nathelper-pptp"}
# Expressions of rules, and the package whose module knows them; all others are of kmod-nft-core (OpenWrt's include/netfilter.mk).
EXPRESSIONS = {" fib ": "kmod-nft-fib", " dup to ": "kmod-nft-dup-inet", " socket ": "kmod-nft-socket",
               " dnat ": "kmod-nft-nat", " log ": "kmod-nfnetlink-log"}
OF_OTHER_PACKAGES = (" queue ", " tproxy ", " ct count ", " synproxy ", " flow add ", " xfrm ", " osf ")
CODE = ("vpnpt", "vpnpt-tools", "vpnpt-offload")
MODES = {"./etc/config/vpnpt": 0o600, "./etc/init.d/vpnpt": 0o755, "./usr/bin/vpnpt": 0o755, "./usr/sbin/vpnptd": 0o755}


def test_the_form_that_opkg_takes(packages: dict[str, Package]) -> None:
    for name, package in packages.items():
        assert list(package.outer) == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
        assert package.content[:2] == b"\x1f\x8b", "a .tar.gz, no ar archive"
        assert len(package.content) < SIZE, name


def test_small_enough_as_an_sdk_packs(vpnpt: Package) -> None:
    """Its scripts/ipkg-build has the files by name, and gzip as it is: 16 times 100 bytes stand for the rest of the .ipk."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, member in sorted(vpnpt.data.items()):
            archive.addfile(member, io.BytesIO(vpnpt.file(name[2:]).encode()) if member.isfile() else None)
    assert len(gzip.compress(raw.getvalue(), 6)) + 1600 < SIZE


def test_control_fields(packages: dict[str, Package]) -> None:
    for name, package in packages.items():
        fields = package.fields()
        assert list(fields)[:3] == ["Package", "Version", "Depends"] and list(fields)[-1] == "Description"
        assert (fields["Package"], fields["Architecture"], fields["License"]) == (name, "all", "GPL-2.0-or-later")
        assert fields["Version"] == f"{source.__version__}-r1"
        assert int(fields["Installed-Size"]) == sum(member.size for member in package.data.values())
        assert all(fields.values()), "opkg crashes on an empty field"
        assert package.text("control").endswith("\n")


def test_no_empty_depends(vpnpt: Package) -> None:
    assert "Depends" not in ipk.control(vpnpt.recipe._replace(depends=()), 0, 0)


@pytest.mark.parametrize("split_helpers", [False, True], ids=["24.10", "25.12"])
def test_dependencies_are_packages_of_openwrt(split: Path, split_helpers: bool) -> None:
    for name in RECIPES:
        recipe = read(name, split / str(split_helpers) / name, split_helpers=split_helpers)
        assert set(recipe.depends) - {HELPERS[split_helpers]} <= KNOWN
        assert recipe.name != "vpnpt" or HELPERS[split_helpers] in recipe.depends


def test_python_modules_are_in_python3_light() -> None:
    found = set()
    for path in (TOP / "src" / "vpnpt").rglob("*.py"):
        waiting: list[ast.AST] = [ast.parse(path.read_text())]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
            waiting += ast.iter_child_nodes(node)
    assert found <= sys.stdlib_module_names and not found & SPLIT_OFF


def test_rules_need_no_module_that_is_not_depended_on(vpnpt: Package) -> None:
    rules = "".join(path.read_text() for path in (TOP / "tests" / "golden" / "cases").glob("*.txt"))
    needed = {package for expression, package in EXPRESSIONS.items() if expression in rules}
    assert needed <= set(vpnpt.recipe.depends) and needed == set(EXPRESSIONS.values())
    assert not [expression for expression in OF_OTHER_PACKAGES if expression in rules]


def test_files_and_modes(packages: dict[str, Package], vpnpt: Package) -> None:
    three = [packages[name] for name in CODE]
    for name, member in [item for package in three for item in package.data.items()]:
        assert (member.uid, member.gid, member.mtime) == (0, 0, 1700000000)
        assert member.mode == (0o755 if member.isdir() else MODES.get(name, 0o644)), name
    assert set(MODES) <= set(vpnpt.data)
    ours = {f"./{path.relative_to(TOP / 'files')}" for path in (TOP / "files").rglob("*") if path.is_file()}
    code = {f"./usr/lib/vpnpt/{path.relative_to(TOP / 'src')}" for path in (TOP / "src" / "vpnpt").rglob("*.py")}
    files = [name for package in three for name, member in package.data.items() if member.isfile()]
    assert set(files) == ours | code and len(files) == len(set(files)), "nothing forgotten, nothing else, nothing twice"


def test_conffiles(vpnpt: Package) -> None:
    assert vpnpt.text("conffiles") == "/etc/config/vpnpt\n"
    assert vpnpt.control["./conffiles"].mode == 0o644


def test_scripts(packages: dict[str, Package]) -> None:
    for package in packages.values():
        scripts = {name[2:] for name in package.control} - {"", "control", "conffiles"} - {"."}
        assert scripts >= {"postinst", "prerm"}
        for name in scripts - {"."}:
            assert package.control[f"./{name}"].mode == 0o755
            assert package.text(name).startswith("#!/bin/sh\n")
            subprocess.run(["sh", "-n"], input=package.text(name), text=True, check=True)


def test_shell_as_busybox_has_it(vpnpt: Package, tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    scripts = {name: vpnpt.file(name[2:]) for name, member in vpnpt.data.items() if member.isfile()}
    for name, text in scripts.items():
        if text.startswith("#!/bin/sh"):
            assert "\r" not in text and not re.search(r"\[\[|function |<<<", text), name
            subprocess.run([busybox, "ash", "-n"] if busybox else ["sh", "-n"], input=text, text=True, check=True)


def test_the_acl_divides_reading_from_writing(vpnpt: Package) -> None:
    acl = json.loads(vpnpt.file("usr/share/rpcd/acl.d/vpnpt.json"))["vpnpt"]
    assert acl["read"]["ubus"]["vpnpt"] == ["status", "sessions", "doctor", "why", "changes", "events", "metrics", "throughput"]
    assert acl["write"]["ubus"]["vpnpt"] == ["reload", "kill", "block", "unblock"]


def test_the_same_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    first = {path.name: path.read_bytes() for path in build.feed(tmp_path / "1")}
    umask = os.umask(0o077)
    try:
        second = {path.name: path.read_bytes() for path in build.feed(tmp_path / "2")}
    finally:
        os.umask(umask)
    assert first == second and len(first) >= 4


def test_the_feed_has_every_package(tmp_path: Path) -> None:
    made = build.feed(tmp_path)
    stanzas = [dict(line.split(": ", 1) for line in stanza.splitlines()) for stanza in
               (tmp_path / "Packages").read_text().strip().split("\n\n")]
    assert {stanza["Filename"] for stanza in stanzas} == {path.name for path in made if path.suffix == ".ipk"}
    for stanza in stanzas:
        assert int(stanza["Size"]) == (tmp_path / stanza["Filename"]).stat().st_size


def test_what_is_shipped_is_the_same_program() -> None:
    """Without docstrings, comments and annotations; every line has the number it has in the source."""
    class Plain(ast.NodeTransformer):
        """Python as it runs: nothing is left of annotations."""

        def visit_arg(self, node: ast.arg) -> ast.arg:
            return ast.arg(node.arg)

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            node.returns = None
            return self.generic_visit(node)

        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
            return ast.Assign([node.target], self.visit(node.value)) if node.value is not None else None

        def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
            return None if ast.unparse(node) == "TYPE_CHECKING = False" else self.generic_visit(node)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
            return None if node.module == "__future__" else node

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def bare(text: str) -> str:
        tree = Plain().visit(ast.parse(text))
        for node in ast.walk(tree):
            for name in ("body", "orelse", "finalbody"):
                body = getattr(node, name, None)
                if isinstance(body, list):
                    setattr(node, name, [item for item in body
                                         if not isinstance(item, ast.Expr) or not isinstance(item.value, ast.Constant)])
        return ast.dump(tree)

    for path in (TOP / "src" / "vpnpt").rglob("*.py"):
        text = path.read_text()
        shipped = stripped(text, shorten=False)
        assert bare(text) == bare(shipped), path
        assert len(text.splitlines()) == len(shipped.splitlines()), path


def test_shorter_names_make_the_same_program() -> None:
    """Nothing but variables has another name; within a function no two have the same, and none is called what means something outside."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)

    def outermost(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, functions):
                yield child
            else:
                yield from outermost(child)

    def names(node: ast.AST) -> list[ast.Name | ast.arg]:
        return [each for each in ast.walk(node) if isinstance(each, (ast.Name, ast.arg))]

    def name(node: ast.Name | ast.arg) -> str:
        return node.arg if isinstance(node, ast.arg) else node.id

    shortened, paths = 0, list((TOP / "src" / "vpnpt").rglob("*.py"))
    named = keywords(path.read_text() for path in paths)
    for path in paths:
        long, short = stripped(path.read_text(), shorten=False), stripped(path.read_text(), named=named)
        before, after = ast.parse(long), ast.parse(short)
        known = {name for symbols in tables(symtable.symtable(long, str(path), "exec")) for name in symbols} | set(dir(builtins))
        for one, other in zip(outermost(before), outermost(after), strict=True):
            pairs = {(name(old), name(new)) for old, new in zip(names(one), names(other), strict=True)}
            changed = {pair for pair in pairs if pair[0] != pair[1]}
            assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs), path
            spoken = {each.arg for each in ast.walk(one) if isinstance(each, ast.arg)} & named
            assert not {each for pair in changed for each in pair} & (known | spoken), path
            shortened += len(changed)
            for old, new in zip(names(one), names(other), strict=True):
                if isinstance(new, ast.arg):
                    new.arg = name(old)
                else:
                    new.id = name(old)
        assert ast.dump(before) == ast.dump(after), path
        assert len(long.splitlines()) == len(short.splitlines()), path
    assert shortened > 1000


def test_private_names_are_the_same_in_every_file() -> None:
    """Each has a short name that no file had, and put back they make the program that it was."""
    texts = [path.read_text() for path in (TOP / "src" / "vpnpt").rglob("*.py")]
    private = private_names(texts)
    words = set(re.findall(r"\w+", "\n".join(texts)))
    assert len(private) > 300 and len(set(private.values())) == len(private) and not words & set(private.values())
    back = {short: name for name, short in private.items()}
    for text in texts:
        long, short = stripped(text, shorten=False), stripped(text, private, shorten=False)
        assert len(short) <= len(long) and not set(private) & set(re.findall(r"\w+", short))
        assert re.sub(r"\b_\w+", lambda name: back.get(name[0], name[0]), short) == long


def test_private_names_that_must_stay() -> None:
    """Something that this program does not say in names depends on them: a library, a string."""
    program = """
        import socket, errno as numbers
        from signal import SIGTERM
        OURS, SIGTERM, AF_INET, EPERM, SAID = "SAID so", 15, socket.AF_INET, numbers.EPERM, 1
        class Kept:
            __slots__ = ("_slot", "other")
            def _method(self): return self._slot, getattr(self, "_by_name"), f"{self._changed}"
            def _by_name(self, _argument=1): self._changed = _argument
        def change(tuple): return tuple._replace(one=tuple._fields)
    """
    text = textwrap.dedent(program)
    private = private_names([text])
    assert set(private) == {"_method", "_argument", "_changed", "OURS"}
    assert f"self.{private['_changed']}}}" in stripped(text, private)


def tables(table: symtable.SymbolTable) -> Iterator[set[str]]:
    """Of a program's symbols, those that are no function's: of the module, of classes, and what a function takes from there."""
    if table.get_type() != "function":
        yield set(table.get_identifiers())
    else:
        yield {name for name in table.get_identifiers() if table.lookup(name).is_global()}
    for child in table.get_children():
        yield from tables(child)


def test_variables_that_must_keep_their_names() -> None:
    """Of each, something else than the function's own code depends on the name."""
    program = """
        import os as path
        def one(argument, *, other=None):
            local = argument + 1
            again = [local for local in range(local)]
            said, inner = 1, 2
            def nested(): return inner
            try: import json
            except ValueError as error: raise error
            text = [text for text in "ab"]
            return f"{said}", nested, again, other, one.name, text(argument)
        def text(value): return value
        def two():
            value = 1
            return locals()
    """
    shipped = stripped(textwrap.dedent(program))
    for name in ("path", "argument", "other", "said", "inner", "nested", "json", "error", "text", "value"):
        assert len(re.findall(rf"\b{name}\b", shipped)) == len(re.findall(rf"\b{name}\b", program)), name
    assert "local=" not in shipped and "again" not in shipped


def test_arguments_that_must_keep_their_names() -> None:
    """A call names them, here or in another file, or may name any."""
    program = """
        class Shown:
            def show(self, spoken, silent=1, *rest, other): return spoken + silent + self.width + other + len(rest)
        def say(code, **values): return code.format(**values)
        def call(shown, text): return shown.show(2, other=3), say(text, one=1)
    """
    shipped = stripped(textwrap.dedent(program), named=keywords([textwrap.dedent(program), "print(x.show(spoken=2))"]))
    for name in ("spoken", "other", "code", "values", "width"):
        assert len(re.findall(rf"\b{name}\b", shipped)) == len(re.findall(rf"\b{name}\b", program)), name
    for name in ("self", "silent", "rest", "shown", "text"):
        assert not re.search(rf"\b{name}\b", shipped), name


def test_a_line_of_a_traceback_is_found(packages: dict[str, Package], capsys: pytest.CaptureFixture[str]) -> None:
    """Every definition of what is shipped, in the order in which they come, is where `where.py` says."""
    found = 0
    for package in map(packages.__getitem__, CODE):
        for name in package.data:
            if not name.startswith("./usr/lib/vpnpt/vpnpt/") or not name.endswith(".py"):
                continue
            own, shipped = name.removeprefix("./usr/lib/vpnpt/vpnpt/"), package.file(name[2:])
            ours = (TOP / "src/vpnpt" / own).read_text()
            rows = kept(stripped(ours, shorten=False))
            assert len(rows) == len(shipped.splitlines())
            definitions = [[node.lineno for node in ast.walk(ast.parse(each)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
                           for each in (shipped, ours)]
            told = [rows[row - 1] for row in definitions[0]]  # what only a type checker reads is not shipped
            assert told == [row for row in definitions[1] if row in told], own
            found += len(definitions[0])
            if definitions[0]:
                where(own, str(definitions[0][-1]))
                assert capsys.readouterr().out.startswith(f"src/vpnpt/{own}:{told[-1]}: "), own
    assert found > 1000


@pytest.mark.parametrize(("name", "line", "says"), [
    ("no.py", "1", "below"), ("model.py", "one", "a number"), ("model.py", "9999", "no line")])
def test_where_says_what_is_wrong(name: str, line: str, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        where(name, line)


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_every_python_strips_to_the_same_bytes(vpnpt: Package, packages: dict[str, Package], version: str, tmp_path: Path) -> None:
    """Their tokens differ (f-strings), and whoever builds may have any; what comes out must run on all of them."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", "pass"], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here: what it would make of our sources was not tested")
    subprocess.run([python, TOP / "buildroot/strip.py", TOP / "src/vpnpt", tmp_path / "vpnpt"], check=True)
    other = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.py")}
    ours = {name.removeprefix("./usr/lib/vpnpt/"): package.file(name[2:]) for package in map(packages.__getitem__, CODE)
            for name in package.data if name.startswith("./usr/lib/vpnpt/vpnpt/") and name.endswith(".py")}
    assert other == ours
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in other if not name.endswith("__main__.py")]
    subprocess.run([python, "-W", "error", "-Bc", f"import {', '.join(names)}"], check=True, cwd=tmp_path)


def test_it_runs_as_installed(vpnpt: Package, tmp_path: Path) -> None:
    shutil.copytree(vpnpt.recipe.root / "usr/lib/vpnpt", tmp_path / "lib")
    launcher = tmp_path / "lib/main.py"
    launcher.write_text(launcher.read_text().replace("/var/run/vpnpt", str(tmp_path)))
    done = subprocess.run([sys.executable, "-I", launcher, "cli", "version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"vpnpt {source.__version__}\n"
    assert list((tmp_path / "bytecode").rglob("*.pyc")), "compiled into memory"
    assert not list((tmp_path / "lib").rglob("*.pyc")), "and nowhere else"


def test_without_the_tools_it_says_what_is_missing(vpnpt: Package, packages: dict[str, Package], tmp_path: Path) -> None:
    """The daemon and the rest of the command need none of their modules."""
    program = "import sys, vpnpt.daemon; from vpnpt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    both = tmp_path / "both"
    for name in ("vpnpt", "vpnpt-tools"):
        shutil.copytree(packages[name].recipe.root / "usr/lib/vpnpt", both, dirs_exist_ok=True)

    def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-Bc", program, *arguments], capture_output=True, text=True,
                              env={"PYTHONPATH": str(place)})

    for arguments in (["top"], ["help", "ipsec"]):
        done = run(vpnpt.recipe.root / "usr/lib/vpnpt", *arguments)
        assert done.returncode == 2 and "opkg install vpnpt-tools" in done.stderr and not done.stdout
        assert "vpnpt-tools" not in run(both, *arguments, "--run-dir", str(tmp_path)).stderr
    assert run(vpnpt.recipe.root / "usr/lib/vpnpt", "help", "top").returncode == 0
    assert "option vpnpt.ipsec.multi_client" in run(both, "help", "ipsec").stdout


def test_without_the_short_way_it_says_what_is_missing(vpnpt: Package, packages: dict[str, Package]) -> None:
    """Neither the daemon nor the command needs one of its modules; its kernel module is depended on by it alone."""
    assert packages["vpnpt-offload"].recipe.depends == ("vpnpt", "kmod-nft-netdev") and "kmod-nft-netdev" not in vpnpt.recipe.depends
    program = "import vpnpt.daemon.loop, vpnpt.cli.main, vpnpt.daemon.api as api, vpnpt.daemon.offload"
    place = str(vpnpt.recipe.root / "usr/lib/vpnpt")
    done = subprocess.run([sys.executable, "-Bc", program], capture_output=True, text=True, env={"PYTHONPATH": place})
    assert done.stderr.rstrip().endswith("No module named 'vpnpt.daemon.offload'"), "and nothing else"


def test_apk_scripts(vpnpt: Package) -> None:
    scripts = apk.scripts(vpnpt.recipe)
    assert set(scripts) == {"post-install", "post-upgrade", "pre-deinstall", "post-deinstall"}
    assert "export PKG_UPGRADE=1" in scripts["post-upgrade"] and "default_postinst" in scripts["post-upgrade"]
    for script in scripts.values():
        assert script.count("#!") == 1 and script.startswith("#!/bin/sh\n")
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(apk.tool() is None, reason="apk-tools 3 is missing: no .apk was built")
def test_apk(tmp_path: Path) -> None:
    made = [path for path in build.feed(tmp_path) if path.suffix == ".apk"]
    names = (*RECIPES, *(f"luci-i18n-vpnpt-{code}" for code, _ in LANGUAGES.values()))
    assert {path.name for path in made} == {f"{name}-{source.__version__}-r1.apk" for name in names}
    program = apk.tool()
    assert program is not None
    for path in made:
        said = subprocess.run([program, "adbdump", path], capture_output=True, text=True, check=True).stdout
        assert f"version: {source.__version__}-r1" in said
