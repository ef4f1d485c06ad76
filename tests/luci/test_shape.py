# SPDX-License-Identifier: GPL-2.0-or-later
"""What LuCI's own tools can read: jsmin, which minifies each page, and i18n-scan.pl, which finds the texts of it.

Both know neither template literals within others nor that a regular expression may hold a quotation mark: the rest is read as text.
jsmin also takes a regular expression after `return` or `=>` for a division, and drops spaces in it.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from buildroot.recipe import TOP

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted((TOP / "luci-app/luci-app-vpnpt/htdocs").rglob("*.js"))
BEFORE_REGEX = "(,=:[!&|?+-~*/{};\n"


def tokens(text: str) -> list[tuple[str, str, str]]:
    """(kind, text, what stands before it) of the comments, strings, templates and regular expressions."""
    found, place = [], 0
    while place < len(text):
        char = text[place]
        if char not in "/'\"`":
            place += 1
            continue
        line = text[text.rfind("\n", 0, place) + 1:place].rstrip(" \t")
        before, word = line[-1:] or "\n", re.search(r"\w+$", line)
        if text.startswith("/*", place):
            end = text.index("*/", place) + 2
            kind = "comment"
        elif text.startswith("//", place):
            end = text.index("\n", place)
            kind = "comment"
        elif char in "'\"":
            end = place + re.match(rf"{char}(?:[^{char}\\]|\\.)*{char}", text[place:]).end()  # type: ignore[union-attr]
            kind = "string"
        elif char == "`":
            end = place + re.match(r"`(?:[^`\\]|\\.)*`", text[place:]).end()  # type: ignore[union-attr]
            kind = "template"
        elif char == "/" and (before in BEFORE_REGEX or before == ">" or (word is not None and word[0] == "return")):
            match = re.match(r"/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/", text[place:])
            assert match is not None, text[place:place + 40]
            end, kind, before = place + match.end(), "regex", word[0] if word is not None and word[0] == "return" else before
        else:
            place += 1
            continue
        found.append((kind, text[place:end], before))
        place = end
    return found


def problems(text: str) -> list[str]:
    said = []
    for kind, token, before in tokens(text):
        if kind == "template" and token.count("${") != len(re.findall(r"\$\{[^`{}]*(?:\{[^`{}]*\}[^`{}]*)*\}", token)):
            said.append(f"a template within a template: {token}")
        if kind == "regex" and re.search("['\"`]", token):
            said.append(f"a quotation mark in a regular expression: {token}")
        if kind == "regex" and re.search(r"(?<!\\)(?:\\\\)*/", token[1:-1]):
            said.append(f"a slash that is not escaped, where xgettext ends the regular expression: {token}")
        if kind == "regex" and before in ("return", ">") and re.search(r"\W | \W", token):
            said.append(f"a space in a regular expression that jsmin takes for a division: {token}")
    return said


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tools_can_read_it(path: Path) -> None:
    assert problems(path.read_text()) == []


@pytest.mark.parametrize("text", ["x = `a ${ b ? `, ${c}` : '' }`;\n", "x = y.replace(/\"/g, 2);\n", "return /^\\{a\\} /.test(x);\n",
                                  "const y = /^[\\w/-]+$/.test(x);\n"])
def test_what_they_can_t_read_is_found(text: str) -> None:
    assert len(problems(text)) >= 1
