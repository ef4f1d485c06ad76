# SPDX-License-Identifier: GPL-2.0-or-later
"""The fuzzer: takes inputs that once were good, spoils them, and keeps those that lead where none has been before.

What it looks for: an exception, an input that takes longer than HANG seconds, and memory that grows without end. The same seed and the
same number of rounds give the same inputs, on every machine.
"""
from __future__ import annotations

import os
import random
import resource
import signal
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import vpnpt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType
    from typing import Any

SOURCE = os.path.dirname(vpnpt.__file__)
HANG = 5
"""Seconds of processor time after which one input counts as one that never ends."""
MEMORY = 64
"""Megabytes by which a target may grow while it is fuzzed."""
CORPUS_MAX = 2000
TRACED = 4
"""One input in so many is watched for new ways: watching costs ten times the running."""
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 12, 16, 19, 20, 28, 32, 50, 127, 128, 255, 256, 500, 1701, 4096, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
           0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class HangError(BaseException):
    """No end within HANG seconds. Not an Exception: nothing may catch it."""


@dataclass
class Target:
    """Something that takes bytes. corpus: good ones to begin with. run: raises nothing, whatever it is given.

    words: bytes that mean something to it. slow: for one input that costs as much as this many of a decoder's.
    """

    name: str
    corpus: list[bytes]
    run: Callable[[bytes], Any]
    words: tuple[bytes, ...] = ()
    slow: int = 1


@dataclass
class Finding:
    """What went wrong, and with what. `where`: the last place of ours."""

    target: str
    data: bytes
    error: BaseException
    where: str

    def __str__(self) -> str:
        return f"{self.target}: {type(self.error).__name__}: {self.error} at {self.where}\n    {self.data.hex()}"


@dataclass
class Result:
    """Figures of one target."""

    target: str
    runs: int = 0
    ways: int = 0
    kept: int = 0
    grown: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.target:12} {self.runs:9} inputs, {self.ways:5} ways, {self.kept:4} kept, {self.grown:+5.1f} MB, " \
            f"{len(self.findings)} findings"


class Mutator:
    """Spoils inputs. The same Random gives the same."""

    def __init__(self, rng: random.Random, words: tuple[bytes, ...] = ()) -> None:
        self._rng, self._words = rng, words
        self._ways = (self._flip, self._octet, self._number, self._cut, self._drop, self._repeat, self._insert, self._splice, self._word)

    def spoil(self, data: bytes, other: bytes) -> bytes:
        """One to six changes of `data`; `other` gives pieces."""
        made = bytearray(data)
        for _ in range(1 + min(5, int(self._rng.expovariate(0.8)))):
            self._rng.choice(self._ways)(made, other)
        return bytes(made[:70_000])

    def _at(self, made: bytearray) -> int:
        return self._rng.randrange(len(made) + 1)

    def _flip(self, made: bytearray, _other: bytes) -> None:
        if made:
            made[self._rng.randrange(len(made))] ^= 1 << self._rng.randrange(8)

    def _octet(self, made: bytearray, _other: bytes) -> None:
        if made:
            made[self._rng.randrange(len(made))] = self._rng.choice((0, 1, 0x7F, 0x80, 0xFF, self._rng.randrange(256)))

    def _number(self, made: bytearray, _other: bytes) -> None:
        """A number of 2 or 4 bytes, in either order: lengths, types, counts."""
        width, at = self._rng.choice((2, 4)), self._at(made)
        value = self._rng.choice((*NUMBERS, len(made), max(0, len(made) - at), at)) + self._rng.choice((0, 0, 1, -1))
        made[at:at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, self._rng.choice(("big", "little")))

    def _cut(self, made: bytearray, _other: bytes) -> None:
        del made[self._at(made):]

    def _drop(self, made: bytearray, _other: bytes) -> None:
        at = self._at(made)
        del made[at:at + self._rng.randrange(1, 17)]

    def _repeat(self, made: bytearray, _other: bytes) -> None:
        at, length = self._at(made), self._rng.choice((1, 4, 16, 64))
        made[at:at] = bytes(made[at:at + length]) * self._rng.choice((1, 1, 2, 8, 100))

    def _insert(self, made: bytearray, _other: bytes) -> None:
        at = self._at(made)
        made[at:at] = self._rng.randbytes(self._rng.randrange(1, 9))

    def _splice(self, made: bytearray, other: bytes) -> None:
        at, start = self._at(made), self._rng.randrange(len(other) + 1)
        piece = other[start:start + self._rng.choice((4, 16, 64, 65536))]
        made[at:at + self._rng.choice((0, len(piece)))] = piece

    def _word(self, made: bytearray, other: bytes) -> None:
        if not self._words:
            return self._splice(made, other)
        at = self._at(made)
        made[at:at + self._rng.choice((0, 0, 1, 4))] = self._rng.choice(self._words)
        return None


class Ways:
    """Which lines of ours have followed which."""

    def __init__(self) -> None:
        self._ours: dict[CodeType, bool] = {}
        self.known: set[int] = set()
        self._new = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Notes what the block passes through."""
        self._new = False
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    @property
    def found_new(self) -> bool:
        """Whether the last block went where none has been."""
        return self._new

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(SOURCE)
        if not ours:
            return None
        base = zlib.crc32(f"{code.co_filename}:{code.co_name}".encode()) << 32
        last = 0

        def line(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last
            way = base ^ last << 16 ^ frame.f_lineno
            last = frame.f_lineno
            if way not in self.known:
                self.known.add(way)
                self._new = True
            return line

        return line


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise HangError


def _place(error: BaseException) -> str:
    """The last line of ours in the traceback."""
    where, trace = "?", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(SOURCE):
            where = f"{name[len(SOURCE) + 1:]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where


def fuzz(target: Target, seed: int, enough: Callable[[int], bool]) -> Result:
    """Runs a target until `enough(runs)`. One finding a place; the target goes on after it."""
    # Not hash(): that of a text differs from one process to the next.
    rng = random.Random(seed ^ zlib.crc32(target.name.encode()))
    mutator, ways, corpus, result = Mutator(rng, target.words), Ways(), list(target.corpus), Result(target.name)
    places: set[tuple[str, str]] = set()
    before = _memory()
    old = signal.signal(signal.SIGVTALRM, _alarm)
    try:
        waiting = list(corpus)
        while waiting or not enough(result.runs):
            data = waiting.pop() if waiting else mutator.spoil(rng.choice(corpus), rng.choice(corpus))
            watched = bool(waiting) or result.runs % TRACED == 0
            result.runs += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
            try:
                if watched:
                    with ways.watch():
                        target.run(data)
                else:
                    target.run(data)
            except (Exception, HangError) as error:
                place = (type(error).__name__, _place(error))
                if place not in places:
                    places.add(place)
                    result.findings.append(Finding(target.name, data, error, place[1]))
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if watched and ways.found_new and len(corpus) < CORPUS_MAX and len(data) < 20_000:
                corpus.append(data)
    finally:
        signal.signal(signal.SIGVTALRM, old)
    result.ways, result.kept, result.grown = len(ways.known), len(corpus) - len(target.corpus), _memory() - before
    if result.grown > MEMORY:
        error = MemoryError(f"grew by {result.grown:.0f} MB")
        result.findings.append(Finding(target.name, b"", error, "in all"))
    return result


def _memory() -> float:
    """Megabytes that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
