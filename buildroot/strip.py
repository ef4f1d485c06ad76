# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies Python sources without what no router runs: comments, docstrings, annotations, and as little white space as can be; functions'
own variables, arguments that no call names, constants, and what begins with an underscore have short names. Empty lines go, too: which line
of ours the one is that a traceback names, where.py tells.

usage: strip.py SOURCE TARGET [only|without NAME...]

SOURCE, TARGET: directories; of SOURCE, all *.py, also in directories below. NAME: files or directories in SOURCE, those alone or all
others. A third of the flash.
"""
from __future__ import annotations

import ast
import builtins
import io
import itertools
import keyword
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

Place = tuple[int, int]
"""Line, from 0, and byte within it."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PRIVATE = re.compile(r"\b(?:_[A-Za-z]\w+|[A-Z][A-Z0-9_]{2,})\b")
LETTERS = "esrtnoaidpclufmhgkyvwxbqjz"
"""In the order of how often programs have them: so short names pack best, and where they are given in the order of their places."""
SPACE = {tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT}


def stripped(text: str, private: Mapping[str, str] = MappingProxyType({}), named: Collection[str] | None = None, *,
             shorten: bool = True) -> str:
    """The same program. Of a body that has nothing but a docstring, `""` is left. private: names and their short ones, as `private_names`
    finds them. shorten: local variables, too. named: arguments that calls name, as `keywords` finds them, so that only others get short
    names; None: all keep theirs. Raises SyntaxError for no program."""
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
    result = PRIVATE.sub(lambda name: private.get(name[0], name[0]), result)
    ast.parse(result)
    return _shortened(result, named) if shorten else result


def kept(text: str) -> list[int]:
    """Of a stripped program, its lines that are not empty, as numbers from 1. What is empty in a string is a part of that."""
    within = {row for token in _tokens(text) if token.type == tokenize.STRING for row in range(token.start[0], token.end[0])}
    return [row for row, line in enumerate(text.splitlines(), 1) if line or row in within]


def private_names(texts: Iterable[str]) -> dict[str, str]:
    """Of all files of a program together: constants, and names that begin with an underscore; for each a short one, the same in every file.

    Left alone: what no file gives a meaning (`_replace` of a named tuple), what a string says (`__slots__`, `getattr`), and what is
    Python's own (`socket.AF_INET`), though a file of ours may have one of that name.
    """
    used: Counter[str] = Counter()
    bound, said = set[str](), set[str]()
    for text in texts:
        nodes = list(ast.walk(ast.parse(text)))
        modules = {name.asname or name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and not node.level:
                said |= {name.name for name in node.names}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                said.add(node.attr)
            used.update(name for name in _bound(node) | {getattr(node, "id", ""), getattr(node, "attr", "")} if name)
            bound |= _bound(node)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                bound.add(node.attr)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said |= set(PRIVATE.findall(node.value))
    free = (f"_{short}" for short in _short_names(LETTERS + LETTERS.upper()) if f"_{short}" not in used)
    own = sorted((name for name in bound - said if PRIVATE.fullmatch(name)), key=lambda name: (-used[name], name))
    return {name: short for name, short in zip(own, free, strict=False) if len(short) < len(name)}


def keywords(texts: Iterable[str]) -> set[str]:
    """Of all files of a program together: what is named in a call."""
    return {word.arg for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
            for word in node.keywords if word.arg is not None}


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


def _shortened(text: str, named: Collection[str] | None) -> str:
    """Variables of a function have names of a letter or two: those that nothing but its own code reads. named: as of `stripped`."""
    tree, lines = ast.parse(text), [line.encode() for line in text.splitlines()]
    nested = {id(inner) for node in ast.walk(tree) if isinstance(node, FUNCTIONS) for inner in ast.walk(node) if inner is not node}
    shared = {name for node in ast.walk(tree) if id(node) not in nested
              for name in ({node.name} if isinstance(node, FUNCTIONS) else _bound(node))} | set(dir(builtins))
    edits: list[tuple[int, int, bytes, bytes]] = []
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS) and id(function) not in nested:
            edits += _renamings(function, shared, named)
    for row, column, old, new in sorted(edits, reverse=True):
        before, after = lines[row][:column], lines[row][column + len(old):]
        assert lines[row] == before + old + after
        lines[row] = before + new + after
    result = "\n".join(line.decode() for line in lines) + "\n"
    ast.parse(result)
    return result


def _renamings(function: ast.FunctionDef | ast.AsyncFunctionDef, shared: set[str],
               named: Collection[str] | None) -> list[tuple[int, int, bytes, bytes]]:
    """Row, column, old and new name. shared: what has a meaning outside of the function. named: as of `stripped`.

    Left alone: arguments that calls name, or that stand beside any that calls may name (`**values`), what a function, a lambda or a class
    within knows, what the syntax tree has no place of (exceptions, imports), and what an f-string says (its places are right since Python
    3.12 only).
    """
    kept, places, used = set(_bound(function)), dict[str, list[ast.Name | ast.arg]](), set[str]()
    if named is not None and function.args.kwarg is None:
        for argument in (*function.args.posonlyargs, *function.args.args, *filter(None, [function.args.vararg])):
            if argument.arg not in named:
                kept.discard(argument.arg)
                places[argument.arg] = [argument]
    pending: list[tuple[ast.AST, bool]] = [(node, False) for node in function.body]
    while pending:
        node, within = pending.pop()
        if isinstance(node, ast.Name):
            places.setdefault(node.id, []).append(node)
            used.add(node.id)
        else:
            kept |= _bound(node)
        within = within or isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda, ast.JoinedStr))
        if within and isinstance(node, ast.Name):
            kept.add(node.id)
        pending += [(child, within) for child in ast.iter_child_nodes(node)]
    own = [name for name, found in places.items() if len(name) > 1 and name not in kept | shared
           and any(isinstance(node, ast.arg) or isinstance(node.ctx, ast.Store) for node in found)]
    if used & {"locals", "vars", "dir", "eval", "exec"}:
        return []
    taken = used | kept | shared | set(keyword.kwlist)
    free = (short for short in _short_names(LETTERS) if short not in taken)
    edits = []
    for name in sorted(own, key=lambda name: min((node.lineno, node.col_offset) for node in places[name])):
        short = next(free)
        if len(short) < len(name):
            edits += [(node.lineno - 1, node.col_offset, name.encode(), short.encode()) for node in places[name]]
    return edits


def _short_names(letters: str) -> Iterator[str]:
    return (short for length in (1, 2) for short in map("".join, itertools.product(letters, repeat=length)))


def _bound(node: ast.AST) -> set[str]:
    """The names that a node gives a meaning, or says to be another's."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        return set(node.names)
    if isinstance(node, ast.alias):
        return {(node.asname or node.name).partition(".")[0]}
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        arguments = [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)]
        return {*arguments, *([] if isinstance(node, ast.Lambda) else [node.name])}
    names = [getattr(node, "name", None), getattr(node, "rest", None)]  # of classes, exceptions, patterns
    return {name for name in names if isinstance(name, str)}


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
    paths = sorted(source.rglob("*.py"))
    texts = [path.read_text() for path in paths]
    private, named = private_names(texts), keywords(texts)
    for path in paths:
        if any(path.is_relative_to(source / name) for name in names) != (which == "only"):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = stripped(path.read_text(), private, named)
        lines = text.splitlines()
        copy.write_text("".join(f"{lines[row - 1]}\n" for row in kept(text)))
        copy.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
