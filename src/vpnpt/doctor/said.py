# SPDX-License-Identifier: GPL-2.0-or-later
"""Sentences as codes with values: English is made of them for the terminal, another language in the browser. Pure.

A sentence's code is a name in texts.TEXTS; LuCI has the same table in every language it speaks (resources/vpnpt/messages.js).
"""
from __future__ import annotations

from ..record import Record
from .texts import TEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Value = "str | int | Said | tuple[Any, ...]"


class Said(Record):
    """A sentence, or a part of one. values: what stands in the places of its text: text, numbers, other sentences, tuples of these."""

    __slots__ = ("code", "values")
    code: str
    values: dict[str, Any]

    def __str__(self) -> str:
        return english(self)

    def __hash__(self) -> int:
        return hash(str(self))


STARTS = ("{rule} ", "{clients} uses")


def say(code: str, /, **values: Any) -> Said:
    """The sentence of this code. Raises KeyError for an unknown code or a value that is missing."""
    said = Said(code=code, values=values)
    english(said)
    return said


def several(items: Iterable[Any], most: int = 4) -> Said | tuple[Any, ...]:
    """`a, b and 3 more`."""
    names = tuple(dict.fromkeys(items))
    return names if len(names) <= most else say("and-more", names=names[:most], count=len(names) - most)


def english(value: Any) -> str:
    """As the terminal shows it; a tuple as a list with commas."""
    if isinstance(value, Said):
        made = TEXTS[value.code].format(**{name: english(inner) for name, inner in value.values.items()})
        # What a sentence begins with may be the name of a thing.
        return made[0].upper() + made[1:] if TEXTS[value.code].startswith(STARTS) else made
    if isinstance(value, tuple):
        return ", ".join(map(english, value))
    return str(value)


def plain(value: Any) -> Any:
    """As JSON carries it: {"code": ..., "values": {...}}; a tuple as a list."""
    if isinstance(value, Said):
        return {"code": value.code, "values": {name: plain(inner) for name, inner in value.values.items()}}
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    return value
