"""What a run of all peers saw, as one piece of JSON, and that as a table: `python -m tests.vm.peers.table FILE` prints it as Markdown.

    {"date": seconds, "kernel": text, "short": bool, "versions": {peer: text},
     "rows": [{"peer": text, "what": text, "runs": {"alone" | "stock" | "vpnpt": {"cells": {client: [answered, sent]}, "note": text}}}]}
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RUNS = ("alone", "stock", "vpnpt")
MANY = 5
"""More clients than this are one cell."""


def lost(cell: list[int]) -> int:
    """How many were not answered."""
    return cell[1] - cell[0]


def bad(row: dict[str, Any]) -> list[str]:
    """The clients that lost something behind vpnpt that is not the programs' own doing.

    While keys are replaced the programs lose a packet by themselves: as many as a lone client on a stock router does, or one, may.
    """
    run = row["runs"].get("vpnpt")
    if run is None:
        return []
    may = 0
    if "rekeys" in row["what"] or "killed" in row["what"]:
        may = max([1, *(lost(cell) for cell in row["runs"].get("alone", {"cells": {}})["cells"].values())])
    return [name for name, cell in run["cells"].items() if lost(cell) > may or cell[1] == 0] or ([] if run["cells"] else ["all"])


def text(run: dict[str, Any] | None) -> str:
    """The cells of a run on one line."""
    if run is None:
        return "–"
    cells = run["cells"]
    if not cells:
        return str(run["note"]) or "failed"
    if len(cells) > MANY:
        passed = sum(lost(cell) == 0 for cell in cells.values())
        return f"{passed} of {len(cells)} lost nothing, {sum(cell[0] for cell in cells.values())}/{sum(cell[1] for cell in cells.values())}"
    if all(cell[1] == 1 for cell in cells.values()):
        return str(run["note"])
    return " ".join(f"{cell[0]}/{cell[1]}" for cell in cells.values())


def notes(row: dict[str, Any]) -> str:
    """What else is to be said of a row."""
    return "; ".join(f"{name}: {run['note'].strip()}" for name, run in row["runs"].items() if run["note"].strip()
                     and text(run) != run["note"])


def plain(data: dict[str, Any]) -> str:
    """For a terminal."""
    lines = []
    peer = ""
    for row in data["rows"]:
        if row["peer"] != peer:
            peer = row["peer"]
            lines += ["", f"{peer} ({data['versions'].get(peer, '')})", f"  {'':26}{'one client, stock':20}{'stock':32}vpnpt"]
        cells = [text(row["runs"].get(name)) for name in RUNS]
        mark = f"   <-- {', '.join(bad(row))}" if bad(row) else ""
        lines.append(f"  {row['what']:26}{cells[0]:20}{cells[1]:32}{cells[2]}{mark}")
    return "\n".join(lines)


def markdown(data: dict[str, Any]) -> str:
    """For a page."""
    lines = ["| peer | what | one client, stock | stock: c1 c2 c3 | vpnpt: c1 c2 c3 |", "| --- | --- | --- | --- | --- |"]
    peer = ""
    for row in data["rows"]:
        name = f"{row['peer']} {data['versions'].get(row['peer'], '')}".strip() if row["peer"] != peer else ""
        peer = row["peer"]
        lines.append(f"| {name} | {row['what'].strip()} | " + " | ".join(text(row["runs"].get(run)) for run in RUNS) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())), end="")
