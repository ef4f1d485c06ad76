# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages of docs/reference: each is made from the table in the code that it describes, and a test holds it to that.

`python -m tests.docs.reference --write` (from the root of the repository) writes them anew.
"""
from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

import yaml  # noqa: E402

from tests.docs.log_codes import MEANINGS  # noqa: E402
from vpnpt.cli.help import COMMANDS, VALUES, synopsis  # noqa: E402
from vpnpt.cli.help_texts import NO_DAEMON, STATUS, TEXTS  # noqa: E402
from vpnpt.config.compile import OPTIONS, Option, compile_config  # noqa: E402
from vpnpt.config.texts import meaning  # noqa: E402
from vpnpt.daemon.metrics import FAMILIES  # noqa: E402
from vpnpt.doctor.codes import CODES  # noqa: E402
from vpnpt.model import Devices  # noqa: E402
from vpnpt.ruleset import compile_ruleset  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DIRECTORY = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "vpnpt"
SCENARIOS = ROOT / "tests" / "lab" / "scenarios"
PLANS = ROOT / "tests" / "diff" / "scenarios"
REMEDY = "run: python -m tests.docs.reference --write"
NOTE = "<!-- Made by `python -m tests.docs.reference --write` from {}: change it there. -->"
COMMON = ("enabled", "when_disabled", "allow_src", "deny_src")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *([str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(title: str, source: str, *parts: str) -> str:
    """A page: its title, where it is from, and its parts."""
    return "\n\n".join([NOTE.format(source), f"# {title}", *parts]) + "\n"


# --- options ---------------------------------------------------------------------------------------------------------------


def _values(option: Option) -> str:
    if option.kind == "path":
        return " ".join(["absolute path", *(f"that ends in `{ending}`" for ending in option.choices)])
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    kinds = {"bool": "`1`, `0`", "int": f"{option.low}–{option.high}", "port": "1–65535", "zone": "firewall zone",
             "device": "network device", "source": "address, subnet or MAC"}
    return f"{kinds[option.kind]} {option.unit}" if option.unit == "seconds" else kinds[option.kind]


def _default(option: Option) -> str:
    value = option.default
    if isinstance(value, bool):
        return f"`{int(value)}`"
    if isinstance(value, tuple):
        return " ".join(f"`{item}`" for item in value) or "–"
    return f"`{value}`" if value != "" else "–"


def _option_rows(section: str, options: Iterable[Option]) -> list[list[str]]:
    return [[f"{'list' if option.many else 'option'} `{option.name}`", _values(option), _default(option), meaning(section, option.name)]
            for option in options]


def options() -> str:
    """docs/reference/options.md"""
    heads = ("option", "values", "default", "meaning")
    parts = ["The file is `/etc/config/vpnpt`. `vpnpt help OPTION` says the same on the router; "
             "[vpnpt.schema.json](../vpnpt.schema.json) says it to programs.",
             "## `config vpnpt 'global'`", table(heads, _option_rows("global", OPTIONS["global"]))]
    for section, known in OPTIONS.items():
        if section != "global":
            own = [option for option in known if option.name not in COMMON or option.name == "enabled"]
            parts += [f"## `config 1 '{section}'`", table(heads, _option_rows(section, own))]
    shared = [option for option in OPTIONS["ipsec"] if option.name in COMMON and option.name != "enabled"]
    parts += ["## In the section of every protocol", table(heads, _option_rows("ipsec", shared)),
              "A section named after a protocol whose *type* is a boolean word (`config 1 'ipsec'`, as `uci set vpnpt.ipsec=1` makes it) "
              "is enabled or not by that word, whatever its option `enabled` says; `config protocol 'ipsec'` goes by the option.",
              "A protocol is **helped** (enabled), **blocked** (not enabled, and `when_disabled` is `block`: new flows are refused with a "
              "TCP reset or an ICMP message, live ones are cut, both are counted and logged) or **ignored** (left alone as if vpnpt were "
              "not there).",
              "A value that can't be understood is named (file, line, section, option, value, and what would be right), its default is "
              "used, and the rest goes on. What can't be compiled at all leaves in place what runs."]
    return page("Options", "src/vpnpt/config", *parts)


# --- commands --------------------------------------------------------------------------------------------------------------


def commands() -> str:
    """docs/reference/commands.md"""
    parts = ["Exit status 2 means wrong usage. `vpnpt help COMMAND` says the same on the router. Colours appear on a terminal only, and "
             "not with `NO_COLOR`.",
             table(("command", "what for"), ((f"[`{name}`](#{name})", command.summary) for name, command in COMMANDS.items())),
             table(("option of every command", "meaning"),
                   ((f"`{option} {value}`", text) for option, (value, text, owners) in VALUES.items() if not owners))]
    for name, command in COMMANDS.items():
        parts += [f"## {name}", f"`vpnpt {synopsis(name)}`: {command.summary}."]
        if command.flags:
            parts.append("\n".join(f"- `{flag}`: {text}" for flag, text in command.flags.items()))
        if name in TEXTS:
            parts.append(f"```\n{TEXTS[name].rstrip()}\n```")
        parts.append("Ends with " + STATUS.get(name, NO_DAEMON).replace("\n", " ") + ".")
    return page("Commands", "src/vpnpt/cli/help.py and help_texts.py", *parts)


# --- codes of the log ------------------------------------------------------------------------------------------------------

_LEVELS = ("error", "warning", "info", "debug")
_PLACES = {**dict.fromkeys(_LEVELS, 0), "write": 1, "_fail": 0, "_send": 1}


class Said(NamedTuple):
    """A place in the code that writes a log line."""

    code: str
    level: str
    module: str


def said() -> Iterator[Said]:
    """Every log line of the program, as far as its code is written out; level: '' where it is decided elsewhere."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = str(path.relative_to(SOURCE))
        for node in ast.walk(ast.parse(path.read_text())):
            code, level = None, ""
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                name = node.func.attr
                place = _PLACES.get(name)
                if place is not None and len(node.args) > place + 1 - (name == "_fail"):
                    code = node.args[place]
                    level = name if name in _LEVELS else "error" if name == "_fail" else ""
                    if name in ("write", "_send") and isinstance(node.args[0], ast.Constant):
                        level = str(node.args[0].value)
            elif isinstance(node, ast.Call) and (found := {word.arg: word.value for word in node.keywords}) and "code" in found:
                code = found["code"]
                level = str(found["level"].value) if isinstance(found.get("level"), ast.Constant) else ""  # type: ignore[attr-defined]
            if isinstance(code, ast.Constant) and isinstance(code.value, str) and re.fullmatch(r"[A-Z][A-Z0-9-]+", code.value):
                yield Said(code.value, level, module)


def log_codes() -> str:
    """docs/reference/log-codes.md"""
    places: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for one in said():
        levels, modules = places.setdefault(one.code, ({}, {}))
        modules[f"`{one.module}`"] = None
        if one.level in _LEVELS:
            levels[one.level] = None
    rows = [[code, ", ".join(sorted(places.get(code, ({}, {}))[0], key=_LEVELS.index)), text, ", ".join(places.get(code, ({}, {}))[1])]
            for code, text in MEANINGS.items()]
    return page("Codes of the log", "tests/docs/log_codes.py and the calls in src/vpnpt",
                "Lines go to the system log (with `--foreground` to standard error): one line an event, at most 20 of a kind in a minute; "
                'the others are summed up ("12 more like this"). No line holds a key or a payload. `vpnpt events` shows the last 200; '
                "errors and warnings are ubus events `vpnpt.alert` too.",
                table(("code", "level", "meaning, and what to do", "written in src/vpnpt/"), rows))


# --- codes of the doctor, metrics ------------------------------------------------------------------------------------------


def doctor_codes() -> str:
    """docs/reference/doctor-codes.md"""
    found: dict[str, list[str]] = {}
    for path in sorted((SOURCE / "doctor").glob("*.py")):
        if path.name != "codes.py":
            for code in dict.fromkeys(re.findall(r'"([A-Z][A-Z0-9_]{3,})"', path.read_text())):
                found.setdefault(code, []).append(f"`{path.name}`")
    rows = [[name, code.severity, code.means, code.remedy, ", ".join(found.get(name, ()))] for name, code in CODES.items()]
    return page("Findings of the doctor", "src/vpnpt/doctor/codes.py",
                "`vpnpt doctor` looks only when asked, in a process of its own that ends with the answer, and sends nothing to anybody. "
                "Each finding comes with its evidence. How it looks: [ARCHITECTURE](../ARCHITECTURE.md#the-doctor).",
                table(("code", "severity", "what it means", "what to do", "judged in src/vpnpt/doctor/"), rows))


def metrics() -> str:
    """docs/reference/metrics.md"""
    return page("Metrics", "src/vpnpt/daemon/metrics.py",
                "`vpnpt metrics` and `ubus call vpnpt metrics` print them in Prometheus' text format; with `option metrics_file` they are "
                "written to a file for the textfile collector. No label names a client. "
                "[grafana-dashboard.json](../grafana-dashboard.json) is a dashboard for Grafana 9 or newer.",
                table(("metric", "kind", "labels", "meaning"),
                      ((f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help) for one in FAMILIES)))


# --- the kernel's maps -----------------------------------------------------------------------------------------------------

_FIELDS = {"@th,0,32": "SPI (ports)", "@th,64,64": "IKE initiator cookie", "@nh,96,32": "source address",
           "@nh,128,32": "destination address", "ip saddr": "source address", "ip daddr": "destination address",
           "ip6 saddr": "source address", "ip6 daddr": "destination address", "ip id": "IP ID", "ct zone": "zone",
           "udp sport": "source port", "udp dport": "destination port", "@th,96,16": "L2TP tunnel ID", "@th,112,16": "L2TP session ID",
           "@th,192,32": "quoted destination", "@th,224,32": "quoted SPI", "@th,136,8": "quoted protocol", "@th,240,16": "quoted port",
           "@th,8,8": "ICMP code", "@th,48,16": "MTU"}
"""What the expressions of keys and values stand for; raw ones (@nh, @th) by where the fields are in the packets that use them."""
_WRITES = r"(?:add|update|delete) @{name} "
_READING = ("_dump", "_rows", "dump_elements", "zoned", "counted")
_WRITING = ("_change", "_change_all", "_write", "add_elements", "delete_elements", "transaction")


def _fields(expression: str) -> str:
    return ", ".join(_FIELDS.get(field, f"`{field}`") for field in expression.split(" . ")) if expression else "–"


def _called(node: ast.AST) -> str:
    """The name of what a call calls."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def _names(node: ast.AST) -> Iterator[str]:
    """Strings within, but for those that only say what is read; `f"fan{slot}"` stands for every slot."""
    if _called(node) in _READING:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr) and len(node.values) == 2 and isinstance(node.values[0], ast.Constant):
        yield from (f"{node.values[0].value}{slot}" for slot in range(10))
    else:
        for child in ast.iter_child_nodes(node):
            yield from _names(child)


def _written_by_daemon() -> dict[str, set[str]]:
    """By collection, the modules whose functions write it: its name stands in a function that writes, or in a constant of the module."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        engine = path.parent.name in ("spi", "l2tp")  # their actions name what is to be written
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
                     and (engine or any(_called(inner) in _WRITING for inner in ast.walk(node)))]
        if functions and (engine or path.parent.name in ("kernel", "daemon", "gather", "router")):
            constants = [node for node in tree.body if isinstance(node, ast.Assign)]
            for name in (name for node in (*functions, *constants) for name in _names(node)):
                found.setdefault(name, set()).add(f"`{path.relative_to(SOURCE)}`")
    return found


def maps() -> str:
    """docs/reference/maps.md"""
    text = "config 0 'pptp'\nconfig 1 'ipsec'\n list deny_src '192.168.1.2'\nconfig 1 'l2tp'\n"
    config, _ = compile_config(text)
    assert config is not None
    ruleset = compile_ruleset(config, Devices(lan=("br-lan",), wan=("wan",)), offload=True)
    daemon = _written_by_daemon()
    parts = ["Every set and map of the tables `ip vpnpt` and `ip6 vpnpt`. An element dies when its time is over, unless something renews "
             "it. Key and value are as a packet on its way gives them: the *source address* of an inbound packet is the server, of an "
             "outbound one the client. **Filled by rules in** names the chains that add, renew or delete elements, **by the daemon in** "
             "the modules that may; nothing else in the program writes to the kernel's maps. `kernel/backup.py` keeps "
             "a copy, and after `fw4 flush` `kernel/restore.py` puts it back.",
             "Lifetimes and bounds are those of the default options."]
    for family, found in ruleset.tables.items():
        rows: dict[tuple[str, ...], list[str]] = {}
        for name, one in found.collections.items():
            writers, readers = [], []
            for chain in found.chains:
                body = "\n".join(chain.rules)
                if re.search(_WRITES.format(name=name), body):
                    writers.append(f"`{chain.name}`")
                elif re.search(rf"@{name}\b", body):
                    readers.append(f"`{chain.name}`")
            cells = [_fields(one.key), _fields(one.value), f"{one.timeout} s", str(one.size),
                     ", ".join(writers) or "–", ", ".join(sorted(daemon.get(name, ()))) or "–", ", ".join(readers) or "–"]
            # fan0 to fan7: one row for what differs in nothing else
            same = (re.sub(r"\d$", "", name), *cells) if name[-1].isdigit() else (name, *cells)
            if same in rows:
                rows[same][0] = f"{rows[same][0].split(' ')[0]} to `{name}`"
            else:
                rows[same] = [f"`{name}`", one.comment, *cells]
        parts += [f"## table {family} vpnpt",
                  table(("name", "what it holds", "key", "value", "lives", "bound", "filled by rules in", "by the daemon in", "read in"),
                        rows.values())]
    return page("The kernel's maps", "the compiled ruleset (src/vpnpt/ruleset) and the modules that write elements", *parts)


# --- conformance scenarios -------------------------------------------------------------------------------------------------


def _stock(steps: list[dict[str, object]]) -> list[str]:
    """What a stock router does otherwise, step by step, as the file says it."""
    found: list[str] = []
    for step in steps:
        verb = next(iter(step))
        if isinstance(step.get("stock"), dict):
            told = ", ".join(f"{who}: {what}" for who, what in step["stock"].items())  # type: ignore[attr-defined]
            found.append(f"{verb} ({told})")
        elif "stock" in step:
            found.append(f"{verb} ({step['stock']})")
        inner = step.get(verb)
        if isinstance(inner, dict) and isinstance(inner.get("steps"), list):
            found += _stock(inner["steps"])
    return list(dict.fromkeys(found))


def scenarios() -> str:
    """docs/reference/scenarios.md"""
    groups: dict[str, list[list[str]]] = {}
    for path in sorted(SCENARIOS.rglob("*.yaml"), key=lambda one: (one.parent, [int(part) if part.isdigit() else part
                                                                                for part in re.split(r"(\d+)", one.stem)])):
        told = yaml.safe_load(path.read_text())
        stock = "not run there" if told.get("routers", ["stock"]) == ["vpnpt"] else "; ".join(_stock(told.get("steps", []))) or "the same"
        groups.setdefault(str(path.relative_to(SCENARIOS).parent), []).append(
            [f"[{path.stem}](../../{path.relative_to(ROOT)})", told["title"], str(told.get("clients", 1)), stock])
    parts = ["Each is a file in [tests/lab/scenarios](../../tests/lab/scenarios): real packets through a router in network namespaces, on "
             "vpnpt and, where not said otherwise, on a stock router. A stock router is expected to do the same, but for the steps "
             "that the last column names (*any*: what happens there is not looked at; *none*, *some*: of the packets). "
             "`.venv/bin/python -m tests.lab.run NAME` runs one and tells what it sees."]
    for group, rows in groups.items():
        parts += [f"## {'Conformance' if group == '.' else group.capitalize()}",
                  table(("scenario", "what it shows", "clients", "a stock router otherwise"), rows)]
    rows = []
    for path in sorted(PLANS.glob("*.yaml")):
        told = yaml.safe_load(path.read_text())
        counts = told["delivered"]
        rows.append([f"[{path.stem}](../../{path.relative_to(ROOT)})", told["title"], f"{counts['vpnpt']} of {counts['of']}",
                     f"{counts['stock']} of {counts['of']}"])
    parts += ["## Against a stock router",
              "Each is a file in [tests/diff/scenarios](../../tests/diff/scenarios): the same packets through both routers, counted. "
              "`.venv/bin/python -m tests.diff --replay FILE` tells of each packet what became of it.",
              table(("scenario", "what it shows", "vpnpt delivers", "stock delivers"), rows)]
    return page("Conformance scenarios", "tests/lab/scenarios", *parts)


PAGES = {"options": options, "commands": commands, "log-codes": log_codes, "doctor-codes": doctor_codes, "metrics": metrics, "maps": maps,
         "scenarios": scenarios}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    DIRECTORY.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (DIRECTORY / f"{name}.md").write_text(make())
