# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference is what the code says; and what the pages written by hand name is there."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import reference
from tests.docs.log_codes import MEANINGS
from vpnpt.doctor.codes import CODES
from vpnpt.ruleset import maps

ROOT = reference.ROOT
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
README_LINES = 160
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in reference.maps().splitlines() if line.startswith("| `")]
"""docs/reference/maps.md: the cells of each row."""


def named(cell: str) -> list[str]:
    """The maps of a row: `fan0` to `fan7` are eight."""
    first, *last = re.findall(r"`(\w+)`", cell)
    return [f"{first[:-1]}{number}" for number in range(int(first[-1]), int(last[0][-1]) + 1)] if last else [first]


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    path = reference.DIRECTORY / f"{name}.md"
    assert path.exists() and path.read_text() == reference.PAGES[name](), reference.REMEDY


def test_there_is_no_other_page() -> None:
    assert {path.stem for path in reference.DIRECTORY.iterdir()} == set(reference.PAGES)


def test_the_command_that_writes_them_works_from_the_root(tmp_path: Path) -> None:
    """It is what a failing test tells people to run."""
    code = f"from pathlib import Path; import tests.docs.reference as r; r.DIRECTORY = Path({str(tmp_path)!r}); print(*r.PAGES)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(reference.PAGES)


def test_every_code_of_the_log_has_its_meaning() -> None:
    assert {one.code for one in reference.said()} == set(MEANINGS)


def test_every_code_of_the_doctor_is_one_that_something_can_find() -> None:
    """Codes stand in the judges as text, or in their tables of kinds; an unknown one would raise."""
    used = {word for path in (ROOT / "src/vpnpt/doctor").glob("*.py") if path.name != "codes.py"
            for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for word in [node.value] if re.fullmatch(r"[A-Z][A-Z0-9_]{3,}", word)}
    assert used - {"PPTP", "L2TP"} == set(CODES), "but for the names of protocols"


def test_every_collection_of_the_kernel_has_a_writer_or_says_nothing() -> None:
    """A set that neither a rule nor the daemon fills is a mistake in the rules, or in how the page finds writers.

    Where a protocol passes for all, its set of refusals is declared and nothing can come into it.
    """
    assert len(ROWS) > 40
    assert [row[0] for row in ROWS if row[6:8] == ["–", "–"] and not row[0].startswith("`refused_")] == []


@pytest.mark.parametrize("row", [*maps.IPSEC, *maps.L2TP, *maps.ICMP], ids=lambda row: row.name)
def test_the_table_of_maps_says_rightly_who_fills_one(row: maps.Map) -> None:
    """What `ruleset/maps.py` says of a map is what rules and modules do."""
    found = {name: cells for cells in ROWS for name in named(cells[0])}
    rules, daemon = (cell != "–" for cell in found[row.name][6:8])
    assert (rules, daemon) == ("kernel" in row.fills, "daemon" in row.fills), row.name


# --- pages written by hand ---------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = set()
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if not fenced and (match := re.match(r"#+ (.*)", line)):
            found.add(re.sub(r"[^\w\- ]", "", match[1].lower().replace("`", "")).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings of this repository; what is elsewhere nobody is asked about."""
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (heading and heading not in anchors(path.read_text())):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/index.md", "docs/ARCHITECTURE.md", "docs/GLOSSARY.md"])
def test_files_and_functions_that_a_page_names_exist(name: str) -> None:
    """`room/file.py` is one of src/vpnpt or of the repository; `room/file.py: thing` has that thing in it."""
    lost = []
    for path, thing in re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|js|nft|json))(?:: ([\w.]+))?`", (ROOT / name).read_text()):
        found = next((one for one in (ROOT / "src/vpnpt" / path, ROOT / path, ROOT / "luci-app/luci-app-vpnpt" / path)
                      if one.exists()), None)
        if found is None or (thing and not re.search(rf"\b{re.escape(thing.rpartition('.')[2])}\b", found.read_text())):
            lost.append(f"{path}: {thing}".removesuffix(": "))
    assert lost == []


def test_the_readme_is_short_and_says_how_to_begin() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= README_LINES
    assert "\n```\nmake demo\nmake test\n```\n" in text


def test_every_page_is_on_the_map() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    here = ROOT / "docs"
    assert [str(path.relative_to(here)) for path in sorted(here.rglob("*.md"))
            if path.name != "index.md" and f"]({path.relative_to(here)}" not in index] == []


@pytest.mark.parametrize("word", ["zone", "pair", "need", "open", "fan", "contended", "solo", "spurt", "incumbent", "challenger", "ahead",
                                  "loose"])
def test_the_glossary_has_the_house_s_words(word: str) -> None:
    assert re.search(rf"^- \*\*{word}\*\*", (ROOT / "docs" / "GLOSSARY.md").read_text(), re.MULTILINE)


def test_every_room_is_in_the_architecture() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    rooms = sorted(path.parent.name for path in (ROOT / "src/vpnpt").glob("*/__init__.py"))
    assert [room for room in rooms if f"\n| `{room}/` |" not in text] == []
