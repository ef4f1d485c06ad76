# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies Python sources without what no router runs: comments, docstrings, annotations, and as little white space as can be. Every
line keeps its number for a traceback.

usage: strip.py SOURCE TARGET [only|without NAME...]

SOURCE, TARGET: directories; of SOURCE, all *.py, also in directories below. NAME: files or directories in SOURCE, those alone or all
others. A third of the flash.
"""
from __future__ import annotations

import ast
import io
import itertools
import sys
import tokenize
from pathlib import Path

Place = tuple[int, int]
"""Line, from 0, and byte within it."""
SPACE = {tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT}


def stripped(text: str) -> str:
    """The same program. Of a body that has nothing but a docstring, `""` is left. Raises SyntaxError for none."""
    lines = [line.encode() for line in _without_comments(text)]
    tree = ast.parse(text)
    arrows = [(token.start[0] - 1, len(token.line[:token.start[1]].encode())) for token in _tokens(text) if token.string == "->"]
    cuts: list[tuple[Place, Place, bytes]] = []
    needed = {id(body[0]) for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list) and body
              and not isinstance(node, ast.Module) and all(map(_is_nothing, body))}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and _is_nothing(node) and not isinstance(node, ast.AnnAssign):
            cuts.append((*_span(node), b'""' if id(node) in needed else b""))
        elif isinstance(node, ast.AnnAssign):
            # What is only declared is nothing at run time; one with a value loses its annotation.
            start = _span(node.target)[1] if node.value is not None else _span(node)[0]
            cuts.append((start, _span(node.annotation)[1], b'""' if id(node) in needed else b""))
        elif isinstance(node, ast.arg) and node.annotation is not None:
            first = _span(node)[0]
            cuts.append(((first[0], first[1] + len(node.arg.encode())), _span(node.annotation)[1], b""))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            first, last = _span(node.returns)
            arrow = max(place for place in arrows if place < first)
            if arrow[0] == last[0]:  # over several lines it stays: outside of brackets a line can't just end
                cuts.append(((arrow[0], len(lines[arrow[0]][:arrow[1]].rstrip())), last, b""))
    for first, last, instead in _outermost(cuts):
        lines[last[0]] = (lines[first[0]][:first[1]] + instead + lines[last[0]][last[1]:]).rstrip() if first[0] == last[0] \
            else lines[last[0]][last[1]:].rstrip()
        if first[0] != last[0]:
            lines[first[0]] = (lines[first[0]][:first[1]] + instead).rstrip()
            lines[first[0] + 1:last[0]] = [b""] * (last[0] - first[0] - 1)
    result = _narrowed("\n".join(line.decode() for line in lines) + "\n")
    ast.parse(result)
    return result


def _is_nothing(node: ast.stmt) -> bool:
    """A docstring, a declaration, or what only a type checker reads."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "TYPE_CHECKING"
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _narrowed(text: str) -> str:
    """Indented by one space a level, what goes on a line within brackets by none, and without spaces around operators."""
    lines, tokens, level, begins, within = text.splitlines(), _tokens(text), 0, True, set[int]()
    for token in tokens:
        if token.type == tokenize.STRING:
            within |= set(range(token.start[0], token.end[0]))
    depths: dict[int, int] = {}
    for last, token in list(itertools.pairwise(tokens))[::-1]:
        if last.end[0] == token.start[0] and tokenize.OP in (last.type, token.type) and not {last.type, token.type} & SPACE:
            row = token.start[0] - 1
            lines[row] = lines[row][:last.end[1]] + lines[row][token.start[1]:]
    for token in tokens:
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            level += 1 if token.type == tokenize.INDENT else -1
        elif token.type == tokenize.NEWLINE:
            begins = True
        elif begins and token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER):
            depths[token.start[0] - 1] = level
            begins = False
    for number, line in enumerate(lines):
        if number not in within:
            lines[number] = " " * depths.get(number, 0) + line.lstrip(" ")
    return "\n".join(lines) + "\n"


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    """An f-string is one token, as it is before Python 3.12."""
    found: list[tokenize.TokenInfo] = []
    begun: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":
            begun.append(token)
        if not begun:
            found.append(token)
        if name == "FSTRING_END":
            first = begun.pop()
            if not begun:
                found.append(tokenize.TokenInfo(tokenize.STRING, "f", first.start, token.end, first.line))
    return found


def _without_comments(text: str) -> list[str]:
    lines = text.splitlines()
    for token in _tokens(text):
        if token.type == tokenize.COMMENT and not (token.start[0] == 1 and token.string.startswith("#!")):
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return lines


def _span(node: ast.expr | ast.stmt | ast.arg) -> tuple[Place, Place]:
    return (node.lineno - 1, node.col_offset), ((node.end_lineno or node.lineno) - 1, node.end_col_offset or 0)


def _outermost(cuts: list[tuple[Place, Place, bytes]]) -> list[tuple[Place, Place, bytes]]:
    """Those that are within no other, the last first."""
    found: list[tuple[Place, Place, bytes]] = []
    for cut in sorted(cuts, key=lambda cut: (cut[0], (-cut[1][0], -cut[1][1]))):
        if not found or cut[0] >= found[-1][1]:
            found.append(cut)
    return found[::-1]


def main(source: Path, target: Path, which: str = "without", *names: str) -> None:
    """Raises SystemExit when there is no such name, or nothing that says what to do with them."""
    if which not in ("only", "without") or any(not (source / name).exists() for name in names):
        raise SystemExit(f"strip.py: only or without, and names within {source}, not {which} {' '.join(names)}")
    for path in sorted(source.rglob("*.py")):
        if any(path.is_relative_to(source / name) for name in names) != (which == "only"):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(stripped(path.read_text()))
        copy.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
