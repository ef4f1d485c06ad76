# SPDX-License-Identifier: GPL-2.0-or-later
"""A small value type: what dataclasses would give, without the 2.7 MB that importing them costs a router. Imports nothing of ours."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, Self


class Record:
    """A keyword-only value object: fields are `__slots__`, defaults come from `DEFAULTS`, equality is by value.

    Raises TypeError for an unknown or a missing field.
    """

    __slots__: tuple[str, ...] = ()
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **fields: Any) -> None:
        for name in self.__slots__:
            if name in fields:
                setattr(self, name, fields.pop(name))
            elif name in self.DEFAULTS:
                setattr(self, name, self.DEFAULTS[name])
            else:
                raise TypeError(f"{type(self).__name__}: missing field {name}")
        if fields:
            raise TypeError(f"{type(self).__name__}: unknown field {', '.join(sorted(fields))}")

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, in their declared order; values are not copied."""
        return {name: getattr(self, name) for name in self.__slots__}

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed. Raises TypeError for an unknown field."""
        return type(self)(**{**self.as_dict(), **changes})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self).__name__, *(getattr(self, name) for name in self.__slots__)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"
