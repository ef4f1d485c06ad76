# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of all peers saw, as one piece of JSON, and that as a table. `python -m tests.vm.peers.table FILE...` prints a page.

    {"date": seconds, "kernel": text, "short": bool, "versions": {peer: text},
     "rows": [{"peer": text, "what": text, "runs": {"alone" | "stock" | "vpnpt": {
         "cells": {client: [answered, sent]}, "note": text, "wire": null | {client: [ESP packets, lost, others' copies,
         seconds until the last copy, seconds until the last packet]}}}}]}
"""
from __future__ import annotations

import json
import sys
import time
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

    While keys are replaced the programs lose a packet by themselves: as many as a lone client on a stock router does, or one, may; and
    more, where ESP packets for every question have been seen, and all crossed the router (a tunnel that is down sends none). Where all did,
    they may also lose what they lose behind a stock router, as where a server takes a client that comes back for the old one. That
    the router loses one is never right.
    """
    run = row["runs"].get("vpnpt")
    if run is None:
        return []
    may, wire = 0, run.get("wire") or {}
    if "rekeys" in row["what"] or "killed" in row["what"]:
        may = max([1, *(lost(cell) for cell in row["runs"].get("alone", {"cells": {}})["cells"].values())])
    stock = row["runs"].get("stock", {"cells": {}})["cells"]
    wrong = []
    for name, cell in run["cells"].items():
        asked = may and name in wire and wire[name][0] >= cell[1]
        excused = asked or (name in wire and lost(stock.get(name, [0, 0])) >= lost(cell))
        if cell[1] == 0 or (lost(cell) > may and not excused):
            wrong.append(name)
    wrong += [name for name, (_, gone, *_) in wire.items() if gone and name not in wrong]
    return wrong or ([] if run["cells"] else ["all"])


def router(run: dict[str, Any] | None) -> str:
    """What the router lost of ESP, and copied: until when, of how many seconds."""
    if not run or not run.get("wire"):
        return "–"
    sent, gone, copies = (sum(one[part] for one in run["wire"].values()) for part in range(3))
    if not copies:
        return f"{gone} of {sent}"
    until, lasted = (max(one[part] for one in run["wire"].values()) for part in (3, 4))
    return f"{gone} of {sent}, {copies} copies until {until:.1f} of {lasted:.1f} s"


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
    failed = f" ({run['note']})" if run["note"].startswith(("not up", "no new")) else ""
    return " ".join(f"{cell[0]}/{cell[1]}" for cell in cells.values()) + failed


def plain(data: dict[str, Any]) -> str:
    """For a terminal."""
    lines = []
    peer = ""
    for row in data["rows"]:
        if row["peer"] != peer:
            peer = row["peer"]
            lines += ["", f"{peer} ({data['versions'].get(peer, '')})",
                      f"  {'':26}{'one client, stock':20}{'stock':32}{'vpnpt':32}ESP lost by the router: stock; vpnpt"]
        cells = [text(row["runs"].get(name)) for name in RUNS]
        mark = f"   <-- {', '.join(bad(row))}" if bad(row) else ""
        routers = "; ".join(router(row["runs"].get(name)) for name in ("stock", "vpnpt"))
        lines.append(f"  {row['what']:26}{cells[0]:20}{cells[1]:32}{cells[2]:32}{routers}{mark}")
    return "\n".join(lines)


def markdown(data: dict[str, Any]) -> str:
    """The table, for a page."""
    lines = ["| peer | what | one client, stock | stock: c1 c2 c3 | vpnpt: c1 c2 c3 | ESP lost, stock | ESP lost, vpnpt |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    peer = ""
    for row in data["rows"]:
        name = f"{row['peer']} {data['versions'].get(row['peer'], '')}".strip() if row["peer"] != peer else ""
        peer = row["peer"]
        lines.append(f"| {name} | {row['what'].strip()} | " + " | ".join(
            [*(text(row["runs"].get(run)) for run in RUNS), *(router(row["runs"].get(run)) for run in ("stock", "vpnpt"))]) + " |")
    return "\n".join(lines) + "\n"


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Several results as one: a later one replaces, for a peer and a run, what an earlier one saw."""
    whole = parts[0]
    for part in parts[1:]:
        whole["versions"] |= part["versions"]
        whole["date"] = part["date"]
        fresh = {(row["peer"], run) for row in part["rows"] for run in row["runs"]}
        for row in whole["rows"]:
            row["runs"] = {run: seen for run, seen in row["runs"].items() if (row["peer"], run) not in fresh}
        for row in part["rows"]:
            known = next((other for other in whole["rows"] if (other["peer"], other["what"]) == (row["peer"], row["what"])), None)
            if known is not None:
                known["runs"] |= row["runs"]
            else:
                whole["rows"].append(row)
        order = list(dict.fromkeys(row["peer"] for row in whole["rows"]))
        whole["rows"] = sorted((row for row in whole["rows"] if row["runs"]), key=lambda row: order.index(row["peer"]))
    return whole


def page(data: dict[str, Any]) -> str:
    """docs/PEERS.md."""
    when = time.strftime("%Y-%m-%d", time.gmtime(data["date"]))
    wrong = [f"- {row['peer']}, {row['what'].strip()}: {', '.join(bad(row))}" for row in data["rows"] if bad(row)]
    found = "\n".join(["Behind vpnpt these lost more than that:", *wrong]) if wrong else "Behind vpnpt nobody lost more than that."
    return PAGE.format(when=when, kernel=data["kernel"], table=markdown(data), found=found)


PAGE = """# Real VPN programs

Written by `make test-vm` and `python -m tests.vm.peers.table build/measurements/peers.json >docs/PEERS.md`; {when}, Linux {kernel}
in a virtual machine whose processors are emulated, so nothing here says how fast anything is.

Three clients on the LAN use one server at the same time, with the programs that people use. A cell says how many pings through the tunnel
were answered of how many sent, client by client. *One client, stock* is what the programs lose by themselves, mostly a packet while they
change keys. *ESP lost* is what the router itself lost, both ways: packets that one end sent and the end with their keys never got, seen on
both wires; copies are those of others that a client got beside, until so many seconds after the server's first packet, of so many in which
packets came: pings of all clients at the same intervals tell least whose an SPI is, so nearly all that comes in is copied there.
A dash: not run, or no ESP. {found}

- *all begin at once*, *the server asks*: the tunnels are made in the same moment; then pings from the clients, then from the server.
- *the client rekeys*, *the server rekeys*: one side replaces all keys of the data while pings pass; *IKE, too*: those of IKE itself before.
- *idle, the server rekeys*: the router has forgotten every flow, and the server is the first to send.
- *people ask*: each now and then, one to twenty pings at once.
- *transfers*: iperf3 in both tunnels' ends, all at once, in Mbit/s. *fw4 reloads*: over and over, while pings pass.
- *c2 crashes, comes back*: it loses its power without a word, and connects anew, while the others go on.
- *another WAN address*, *flow offload on*: all disconnect, the router changes, all connect again.
- *vpnptd is killed*: then the clients rekey; on a stock router they just do.

{table}"""


if __name__ == "__main__":
    print(page(merged([json.loads(Path(name).read_text()) for name in sys.argv[1:]])), end="")
