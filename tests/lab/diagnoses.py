# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of the doctor's codes in this run: which were provoked, and where each of them stayed silent."""
from __future__ import annotations

from collections import Counter


class Diagnoses:
    """Filled by the scenarios as they run."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.provoked: Counter[str] = Counter()
        self.silent: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}

    def add(self, codes: list[str], visits: list[tuple[set[str], set[str]]]) -> None:
        """A scenario's visits: of each which codes were to be found, and which were. Codes that were not to be found count as silent."""
        self.codes = codes
        for wanted, found in visits:
            self.provoked.update(wanted & found)
            self.wrong.update(wanted ^ found)
            self.silent.update(set(codes) - wanted - found)

    def table(self) -> list[str]:
        """A line for each code; nothing where nobody asked the doctor."""
        if not self.codes:
            return []
        lines = ["", f"{'doctor: code':24} provoked  silent  wrong"]
        for code in self.codes:
            note = f"  not on this kernel: {self.left_out[code]}" if code in self.left_out else ""
            lines.append(f"{code:24} {self.provoked[code]:8}  {self.silent[code]:6}  {self.wrong[code]:5}{note}")
        return lines


DIAGNOSES = Diagnoses()
