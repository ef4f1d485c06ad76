# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's page: docs/MEASUREMENTS.md and its picture. What is text in them is here, what is a figure was measured."""
from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.crowd import KINDS, VPN
from tests.bench.latency import table as latency_table
from tests.bench.slowpath import table as slow_table
from tests.bench.throughput import quartiles, ratios

if TYPE_CHECKING:
    from tests.bench.footprint import Row
    from tests.bench.throughput import Figures

DOCS = Path(__file__).parents[2] / "docs"
TEMPLATE = Path(__file__).parent / "measurements.md"
GOALS = {True: 0.97, False: 0.99}
MEMORY_GOAL = 1.6
NAMES = {"esp out": "ESP, client to server", "esp in": "ESP, server to client", "ike out": "IKE", "l2tp out": "L2TP data",
         "gre out": "GRE of PPTP", "udp": "other UDP", "tcp": "other TCP"}
COLOURS = {True: "#3465a4", False: "#888a85"}


class Results(NamedTuple):
    """What was measured; a part that was not is empty. throughput, slow: by number of clients."""

    throughput: dict[int, Figures]
    latency: dict[str, list[float]]
    rows: list[Row]
    load: tuple[float, float]
    slow: dict[int, Figures] = {}


def machine(load: tuple[float, float]) -> list[str]:
    """Where and with what this was measured. load: the machine's average before and after."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    bugs = re.search(r"^bugs\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)

    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    cores = os.cpu_count() or 1
    noise = ": other programs ran. What a packet costs is CPU time, compared within milliseconds, and stands; times and latencies " \
            "are longer than on an idle machine"
    return [f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, revision {said('git', 'describe', '--always')}",
            f"{model[1] if model else platform.machine()}, {cores} processors, {int(memory[1]) / 1024 ** 2 if memory else 0:.0f} GB; "
            f"mitigations for {len(bugs[1].split()) if bugs else 0} faults of the processor",
            f"Linux {platform.release()}, {said('nft', '--version').split(' (')[0]}, Python {platform.python_version()}",
            f"load average {load[0]:.1f} before, {load[1]:.1f} after{'' if max(load) < cores else noise}"]


def throughput_lines(found: Figures) -> list[str]:
    """A table: kind, nanoseconds and packets a second of both routers, their ratio with its quartiles, goal."""
    lines = [f"{'':24} {'stock':>16} {'vpnpt':>16}   ratio  quartiles      goal         short way"]
    for kind in KINDS:
        stock, ours = (statistics.median(found[kind, router]) for router in ("stock", "vpnpt"))
        low, middle, high = quartiles(ratios(found, kind))
        goal = GOALS[kind in VPN]
        lines.append(f"{NAMES[kind]:24} {stock:5.0f} ns {1e9 / stock:7.0f} {ours:5.0f} ns {1e9 / ours:7.0f}   {middle:.3f}  "
                     f"{low:.3f}–{high:.3f}   {goal:.2f}{' met   ' if middle >= goal else ' missed'}  "
                     f"{statistics.median(ratios(found, kind, 'short')):.3f}")
    return lines


def row_lines(rows: list[Row]) -> list[str]:
    """A table of single figures."""
    return [f"{row.what:58} {row.value:9.1f} {row.unit:6} {row.note}".rstrip() for row in rows]


def text(results: Results) -> str:
    """Everything, for a terminal."""
    parts = [*machine(results.load)]
    for clients, found in results.throughput.items():
        parts += ["", f"CPU time for each packet and packets a second on one processor, {clients} clients", *throughput_lines(found)]
    for clients, found in results.slow.items():
        parts += ["", *slow_table(clients, found)]
    if results.latency:
        parts += ["", *latency_table(results.latency)]
    if results.rows:
        parts += ["", *row_lines(results.rows)]
    return "\n".join(parts)


def write(results: Results) -> list[Path]:
    """Replaces the page and its picture; returns their paths."""
    page, picture = DOCS / "MEASUREMENTS.md", DOCS / "measurements.svg"
    picture.write_text(svg(results.throughput))
    page.write_text(markdown(results))
    return [page, picture]


def markdown(results: Results) -> str:
    """The page: the template with what was measured in the places of its comments."""
    tables = []
    for clients, found in results.throughput.items():
        title = f"{clients:,} clients, each with all of this" if clients > 1 else "One client"
        tables += [f"### {title}", "", *_markdown_throughput(found), ""]
    filled = {
        "machine": [f"- {line}" for line in machine(results.load)],
        "throughput": tables[:-1],
        "slow": ["```", *(line for clients, found in results.slow.items() for line in slow_table(clients, found)), "```"],
        "latency": ["```", *latency_table(results.latency), "```"],
        "rows": ["| what | | |", "| --- | ---: | --- |",
                 *(f"| {row.what} | {row.value:.1f} {row.unit} | {row.note} |" for row in results.rows)],
        "verdict": _verdict(results)}
    page = TEMPLATE.read_text()
    for name, lines in filled.items():
        page = page.replace(f"<!-- {name} -->", "\n".join(lines))
    return page


def _markdown_throughput(found: Figures) -> list[str]:
    lines = ["| | stock, ns | vpnpt, ns | stock, packets/s | vpnpt, packets/s | ratio | quartiles | goal | short way |",
             "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- | ---: |"]
    for kind in KINDS:
        stock, ours = (statistics.median(found[kind, router]) for router in ("stock", "vpnpt"))
        low, middle, high = quartiles(ratios(found, kind))
        goal = GOALS[kind in VPN]
        lines.append(f"| {NAMES[kind]} | {stock:.0f} | {ours:.0f} | {1e9 / stock:,.0f} | {1e9 / ours:,.0f} | **{middle:.3f}** | "
                     f"{low:.3f}–{high:.3f} | {goal:.2f} {'met' if middle >= goal else 'missed'} | "
                     f"{statistics.median(ratios(found, kind, 'short')):.3f} |")
    return lines


def _verdict(results: Results) -> list[str]:
    bare = [row.value for row in results.rows if row.what.startswith("bare CPython")]
    rest = [row.value for row in results.rows if row.what == "vpnptd at rest"]
    if not bare or not rest:
        return []
    ratio = rest[0] / bare[0]
    outcome = "met" if ratio < MEMORY_GOAL else "missed"
    return [f"Memory at rest is {ratio:.2f} times that of CPython alone; the goal of {MEMORY_GOAL} is {outcome}."]


def svg(throughput: dict[int, Figures]) -> str:
    """Bars from 0.8 on: the median ratio, with its quartiles, for each kind and number of clients."""
    left, width, row, lowest, highest = 190, 520, 15, 0.80, 1.02
    lines, y = [], 34

    def x(value: float) -> float:
        return left + width * (min(max(value, lowest), highest) - lowest) / (highest - lowest)

    bottom = y + len(KINDS) * (len(throughput) * row + 10)
    for tick in (0.80, 0.85, 0.90, 0.95, 0.97, 0.99, 1.00):
        lines += [f'<line x1="{x(tick):.1f}" y1="{y - 6}" x2="{x(tick):.1f}" y2="{bottom}" stroke="#d3d7cf"/>',
                  f'<text x="{x(tick):.1f}" y="{y - 12}" text-anchor="middle">{tick:.2f}</text>']
    for kind in KINDS:
        lines.append(f'<text x="8" y="{y + len(throughput) * row / 2 + 4:.1f}">{NAMES[kind]}</text>')
        for clients, found in throughput.items():
            low, middle, high = quartiles(ratios(found, kind))
            centre = y + row / 2
            lines += [f'<rect x="{left}" y="{y + 2}" width="{x(middle) - left:.1f}" height="{row - 4}" fill="{COLOURS[kind in VPN]}"/>',
                      f'<line x1="{x(low):.1f}" y1="{centre}" x2="{x(high):.1f}" y2="{centre}" stroke="#2e3436" stroke-width="2"/>',
                      f'<text x="{left + 5}" y="{y + row - 4}" fill="white" font-size="10">{clients:,}</text>',
                      f'<text x="{x(highest) + 6:.1f}" y="{y + row - 4}">{middle:.3f}</text>']
            y += row
        y += 10
    height, total = y + 22, left + width + 60
    caption = "packets a second with vpnpt, as a part of a stock router's, from 0.8 on; in the bar: clients; line: quartiles of the rounds"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="{total}" height="{height}" fill="white"/>\n' + "\n".join(lines)
            + f'\n<text x="8" y="{height - 8}" font-size="11">{caption}</text>\n</svg>\n')
