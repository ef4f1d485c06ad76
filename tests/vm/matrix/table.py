# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/MACHINES.md: what `make test-matrix` saw, target by target. What a run did not try keeps its older row, which has a date of its own.

usage: python -m tests.vm.matrix.table LOGS TARGET:WHAT,WHAT:STATUS...    (tests/vm/matrix/run does it)
STATUS is the machine's; 77 when it can't be had. What the machine printed is in LOGS/TARGET, in lines of tests/vm/matrix/what.
"""
from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs/MACHINES.md"
TARGETS = {
    "native-trixie": "Debian 13's nft and Python, on the kernel of who runs it",
    "native-sid": "Debian unstable's nft and Python, on that kernel",
    "python-3.12": "a Python that neither has, on Debian 12, on that kernel",
    "musl": "the router's Python is made for musl, OpenWrt's C library; on that kernel",
    "s390x": "big-endian, 64 bits",
    "mipsel": "Malta board, 32 bits, 128 MiB of memory",
    "mipsel-musl": "the same board, the router's Python made for musl",
    "arm64": "Cortex-A53",
    "armhf": "Cortex-A15, 32 bits",
    "amd64-5.10": "Debian 11's kernel",
    "amd64-6.1": "Debian 12's kernel",
    "amd64-6.12": "Debian 13's kernel",
    "amd64-new": "the newest kernel of Debian's backports",
}
WHATS = {
    "demo": "the main job, stock router and vpnpt side by side",
    "control": "with the rules of the other byte order (big-endian: without the shift in the zone's hash) the demo fails",
    "restores": "what was learned is put back, as the kernel itself reads it; scenario Z1 of the lab",
    "sockets": "socket options by architecture, messages of any length, filters that the kernel refuses",
    "codecs": "all of tests/kernel and tests/wire",
    "golden": "rulesets load, in both byte orders, and list back",
    "python": "every module is imported without a warning; the tests of all rooms of `pure` but the long ones of spi",
    "pure": "all tests of the rooms that know neither kernel nor clock",
    "scenarios": "nine of the lab",
    "lab": "all scenarios of the lab but the one with 250 clients, which takes an emulated processor too long",
    "memory": "the daemon's memory and start, 50 clients, the doctor, and a client that sends to many addresses",
    "offload": "the rules of ESP's short way, with packets and without the daemon",
    "flow": "the kernel's software flow offload: bulk traffic, what had begun before, and offload switched on later",
}
NOT_TRIED = "–"
HEAD = f"""\
# Machines

Written by `make test-matrix` (`ARGS="TARGET..."` for some of them; `ARGS=--help`). Each result has the date and the revision it was seen
with; a run replaces only what it tried. Emulated machines run on processors made of software: no time here says how fast a router is.
{NOT_TRIED}: never seen to end, neither well nor badly. *can't be had*: apt or the emulator was missing where it was run.

"""

EXPLAINED = """
What failed, and why:

- s390x, *codecs*: had no end before, on a computer that had many times the work it could do; with it to itself, all 401 tests take 10
  minutes: 51 s one that makes up messages of ubus, the rest a namespace, a Python and an nft each, of a second or more. Three failed at
  first (3370c3e), none because of the byte order: the kernel tells a logged packet's time since 6.6 only, not since 5.18 as the test had
  it (twice; amd64 with 6.1 does the same), and in a user namespace the socket had room for 818 of 900 packets.
- s390x, *lab*: 169 of 170 passed. The other was on the stock router (P8-call-clear): the lab waited longer there, as the machine is slow,
  than the entry lives of which it is to be seen that it stays. It waits for seconds of the clock there now, and the four of P8 passed.
- amd64-6.12, *lab*: stopped after 5 minutes; none of the first 62 of 168 cases had failed.
- amd64-5.10, *offload*: an element of a map has one expression at most there (two since Linux 5.11), and the short way's have two. The
  daemon says so in its status, and ESP takes the long way. OpenWrt has had 5.15 or newer since 23.05.

On mipsel a packet of 100 a second cost the daemon 58 and 71 ms of its CPU time: it is done with them a while after the last one. On the
host it is 0.5 ms, three quarters of it in Python. That is 120 to 140 times as much, imports take 50 to 70 times as long; the host had four
times the work it could do meanwhile, which counts as the machine's own time. How much of it is that was not seen.

What was not tried where the rest passed: on mipsel what the largest filter lets pass, which Linux 6.1 refuses where pointers are short (the
product answers with a shorter one, and that is tried); under musl the tests' own Python, which stays Debian's (*musl*: the daemon's and the
command's is another, static, without ctypes).

## Time to import

Millions of instructions until `vpnpt.daemon.loop` is imported, from compiled sources, as installed without vpnpt-tools (28 November 2026,
CPython 3.11.2, callgrind; times of emulated machines say less):

| what | millions |
| --- | --- |
| bare CPython | 31.4 |
| Python's `socket`, `signal`, `selectors`, and `enum`, of which they make classes | 29.6 |
| Python's `json` and `re` | 10.4 |
| Python's `contextlib` | 2.3 |
| to find and open 90 modules of ours, 0.25 each | 22.5 |
| to read and run what is in them | 34 |

So it is 4.1 times bare CPython. Halving what is above bare would take both Python's private modules (`_socket`, `_signal`), which may
change with each release, and all of ours in one file.

That file was tried and left (29 November 2026, the same Python; `vpnptd --help` as installed; in the file, 925 kB, every module's code,
state of its source, and a finder of 40 lines; compared with 93 files of 937 kB):

| what | millions | times bare | resident, kB |
| --- | --- | --- | --- |
| as it is | 130.9 | 4.2 | 12,600 |
| ours in one file | 119.2 | 3.8 | +70 |
| and no garbage collected meanwhile | 116.7 | 3.7 | +200 |
| the standard library's in it as well | 116.2 | 3.7 | +720 |
| without the positions of columns in what is compiled (`-X no_debug_ranges`) | +10.7 | | -20 |

Of 14.6 millions that the file takes to be read none can be spared; finding it all costs about 12 less than now, an eighth of what the
import takes above bare (21 ms become 18 on a PC). On the emulated mipsel, where calls of the kernel cost most, 1.57 s become 1.21 (the
best of 7 each, bare 0.22; in the middle 1.66 and 1.49: the computer had other work). For that the launcher would get a loader of its own,
which has to notice every change that Python's notices, and about 500 bytes of the 1,200 that the package has left. By the clock of that
machine the import still takes 7 times what bare CPython does.

`json` only when somebody asks would spare a router without vpnpt-tools 0.4 MB; but then a daemon that has no descriptors left could no
longer answer, and with the tools it is loaded anyway. Not to collect garbage meanwhile spares 2.5, and keeps what would have been
collected.
"""


@dataclass(frozen=True)
class Row:
    """A target: its kernel, nft and Python when it was last tried, a cell for each WHAT, and figures of `memory`."""

    facts: str = NOT_TRIED
    cells: tuple[str, ...] = (NOT_TRIED,) * len(WHATS)
    figures: str = ""


def seen(row: Row, log: str, whats: list[str], status: int, stamp: str) -> Row:
    """`row`, with what a run printed. `stamp`: its date and revision."""
    if status == 77:
        return replace(row, cells=tuple(f"can't be had, {stamp}" if what in whats and cell == NOT_TRIED else cell
                                        for what, cell in zip(WHATS, row.cells, strict=True)))
    lines = log.replace("\r", "").splitlines()
    results = {words[1]: words[2:] for words in (line.split("|") for line in lines) if words[0] == "RESULT" and len(words) == 4}
    facts = next((", ".join(line.split("|")[1:]) for line in lines if line.startswith("FACTS|")), row.facts)
    figures = "; ".join(line.removeprefix("FIGURE|") for line in lines if line.startswith("FIGURE|"))
    cells = list(row.cells)
    for at, what in enumerate(WHATS):
        if what in results:
            code, seconds = results[what]
            cells[at] = f"{'passed' if code == '0' else f'**FAILED** ({code})'} in {seconds} s, {stamp}"
        elif what in whats:
            cells[at] = f"**no end** ({status}), {stamp}"
    return Row(facts, tuple(cells), f"{figures} ({stamp})" if figures else row.figures)


def render(rows: dict[str, Row]) -> str:
    """The page."""
    lines = ["| target | what it is | kernel, nft, Python and byte order |", "| --- | --- | --- |"]
    lines += [f"| {target} | {title} | {rows[target].facts} |" for target, title in TARGETS.items()]
    lines += ["", f"| target | {' | '.join(WHATS)} |", f"| --- |{' --- |' * len(WHATS)}"]
    lines += [f"| {target} | {' | '.join(rows[target].cells)} |" for target in TARGETS]
    lines += ["", *(f"- *{what}*: {meaning}" for what, meaning in WHATS.items())]
    if any(row.figures for row in rows.values()):
        lines += ["", "| target | memory and start |", "| --- | --- |"]
        lines += [f"| {target} | {rows[target].figures} |" for target in TARGETS if rows[target].figures]
    return HEAD + "\n".join(lines) + "\n" + EXPLAINED


def parse(page: str) -> dict[str, Row]:
    """The rows of a page that render made; a target or a WHAT that is new has none."""
    rows = {target: Row() for target in TARGETS}
    head: list[str] = []
    for line in page.splitlines():
        words = [word.strip() for word in line.strip("|").split("|")] if line.startswith("|") else []
        if words and words[0] == "target":
            head = words
        elif words and words[0] in rows:
            row = rows[words[0]]
            old = dict(zip(head, words, strict=True))
            if set(old) & set(WHATS):
                row = replace(row, cells=tuple(old.get(what, NOT_TRIED) for what in WHATS))
            rows[words[0]] = replace(row, facts=old.get("kernel, nft, Python and byte order", row.facts),
                                     figures=old.get("memory and start", row.figures))
    return rows


def main() -> None:
    """Brings the page up to date."""
    rows = parse(PAGE.read_text() if PAGE.exists() else "")
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip() or "no revision"
    stamp = f"{time.strftime('%F', time.gmtime())}, {revision}"
    for argument in sys.argv[2:]:
        target, whats, status = argument.split(":")
        log = Path(sys.argv[1], target)
        rows[target] = seen(rows[target], re.sub(r"[^\x20-\x7e\r\n]", "", log.read_text(errors="replace")) if log.exists() else "",
                            whats.split(","), int(status), stamp)
    PAGE.write_text(render(rows))


if __name__ == "__main__":
    main()
