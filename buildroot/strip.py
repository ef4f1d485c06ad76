"""Copies Python sources without what no router runs: comments, docstrings, annotations, and indented as little as can be. Every line
keeps its number for a traceback.

usage: strip.py SOURCE TARGET

SOURCE, TARGET: directories; of SOURCE, all *.py, also in directories below. A third of the flash.
"""
from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

Place = tuple[int, int]
"""Line, from 0, and byte within it."""


def stripped(text: str) -> str:
    """The same program. A docstring becomes `""`, so that a body which has nothing else keeps something. Raises SyntaxError for none."""
    lines = [line.encode() for line in _without_comments(text)]
    tree = ast.parse(text)
    arrows = [(token.start[0] - 1, len(token.line[:token.start[1]].encode())) for token in _tokens(text) if token.string == "->"]
    cuts: list[tuple[Place, Place, bytes]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            cuts.append((*_span(node), b'""'))
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            cuts.append((*_span(node), b""))
        elif isinstance(node, ast.AnnAssign):
            # What is only declared is nothing at run time; one with a value loses its annotation.
            start = _span(node.target)[1] if node.value is not None else _span(node)[0]
            cuts.append((start, _span(node.annotation)[1], b"" if node.value is not None else b'""'))
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


def _narrowed(text: str) -> str:
    """Indented by one space a level, and what goes on a line within brackets by none."""
    lines, level, begins, within = text.splitlines(), 0, True, set[int]()
    for token in _tokens(text):
        if token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):  # the latter since Python 3.12
            within |= set(range(token.start[0], token.end[0]))
    depths: dict[int, int] = {}
    for token in _tokens(text):
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
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


def _without_comments(text: str) -> list[str]:
    lines = text.splitlines()
    for token in _tokens(text):
        if token.type == tokenize.COMMENT and token.start[0] > 1:  # the first line may hold the licence
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


def main(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*.py")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(stripped(path.read_text()))
        copy.chmod(0o644)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
