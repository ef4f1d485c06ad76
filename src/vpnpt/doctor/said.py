# SPDX-License-Identifier: GPL-2.0-or-later
"""Sentences as codes with values: English is made of them for the terminal, another language in the browser. Pure.

A sentence's code is a name in texts.TEXTS; LuCI has the same table in every language it speaks (resources/vpnpt/messages.js).
"""
from __future__ import annotations

from .. import model
from .texts import TEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

STARTS = ("{rule} ", "{clients} uses")


class Said(model.Said):
    """A sentence of texts.TEXTS. code: its name there."""

    __slots__ = ()

    def __new__(cls, code: str, /, **values: Any) -> Self:
        made = TEXTS[code].format(**{name: english(inner) for name, inner in values.items()})
        # What a sentence begins with may be the name of a thing.
        said = str.__new__(cls, made[0].upper() + made[1:] if TEXTS[code].startswith(STARTS) else made)
        said.code, said.values = code, values
        return said


def say(code: str, /, **values: Any) -> Said:
    """The sentence of this code. Raises KeyError for an unknown code or a value that is missing."""
    return Said(code, **values)


def several(items: Iterable[Any], most: int = 4) -> Said | tuple[Any, ...]:
    """`a, b and 3 more`."""
    names = tuple(dict.fromkeys(items))
    return names if len(names) <= most else say("and-more", names=names[:most], count=len(names) - most)


def english(value: Any) -> str:
    """As the terminal shows it; a tuple as a list with commas."""
    return ", ".join(map(english, value)) if isinstance(value, tuple) else str(value)
