"""Copies Python sources without comments and docstrings: a third of the flash, and every line keeps its number for a traceback.

usage: strip.py SOURCE TARGET

SOURCE, TARGET: directories; of SOURCE, all *.py, also in directories below.
"""
from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path


def stripped(text: str) -> str:
    """The same program. A docstring becomes `""`, so that a body which has nothing else keeps something."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.start[0] > 1:  # the first line may hold the licence
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            lines[first:last + 1] = [" " * node.col_offset + '""', *[""] * (last - first)]
    return "\n".join(lines) + "\n"


def main(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*.py")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(stripped(path.read_text()))
        copy.chmod(0o644)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
