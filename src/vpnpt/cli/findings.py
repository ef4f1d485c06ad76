# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor's findings as text for people. Pure: the same answer gives the same text, byte for byte."""

from __future__ import annotations

from .show import MEANING, WIDTH, clean, counted, folded, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .show import Answer, Paint


def doctor(answer: Answer, width: int = WIDTH, paint: Paint = plain) -> str:
    """`vpnpt doctor`: findings as paragraphs, the most serious first."""
    found = answer["findings"]
    lines: list[str] = []
    for item in found:
        lines.append(f"{paint(item['severity'], MEANING.get(item['severity'], ''))}: {clean(item.get('code', ''))}".rstrip(": "))
        lines.append(folded(f"  {clean(item['text'])}", width, "  "))
        lines += [folded(f"  {label}: {clean(item[key])}", width) for key, label in (("evidence", "seen"), ("remedy", "do"))
                  if item.get(key)]
        lines.append("")
    checked = len(answer.get("checked", ()))
    serious = sum(item["severity"] != "info" for item in found)
    outcome = "nothing is wrong" if not serious else "1 thing is to be done" if serious == 1 else f"{serious} things are to be done"
    return "\n".join([*lines, f"{counted(checked, 'thing')} looked at, {outcome}"])
