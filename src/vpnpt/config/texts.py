# SPDX-License-Identifier: GPL-2.0-or-later
"""The options in words, for `vpnpt help OPTION` and the documentation. Pure; in the package vpnpt-tools, the daemon does not need it."""
from __future__ import annotations

from .options import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Option


def meaning(section: str, name: str) -> str:
    """The sentence about an option. Raises KeyError where there is none."""
    return {option.name: option.meaning for option in OPTIONS[section]}[name]


def help_text(word: str) -> str:
    """A section with its options, or an option in all its sections; '' if it is neither."""
    return "\n".join(_about(section, option) for section, options in OPTIONS.items() for option in options
                     if word in (section, option.name))


def _about(section: str, option: Option) -> str:
    kind = "list" if option.many else "option"
    return f"{kind} vpnpt.{section}.{option.name}\n  {option.meaning}\n  {_values(option)}; without it {_default(option)}\n"


def _values(option: Option) -> str:
    if option.kind in ("int", "port"):
        return f"{option.low} to {option.high} {option.unit}".rstrip()
    kinds = {"bool": "1 or 0", "zone": "a firewall zone", "device": "a network device", "source": "an address, a subnet or a MAC"}
    if option.kind == "path":
        return " ".join(["an absolute path", *(f"that ends in {ending}" for ending in option.choices)])
    return kinds.get(option.kind) or " or ".join(option.choices)


def _default(option: Option) -> str:
    if isinstance(option.default, tuple):
        return " ".join(map(str, option.default)) or "none"
    if isinstance(option.default, bool):
        return str(int(option.default))
    if option.default == "" and option.kind == "choice":
        return f"vpnpt.global.{option.name}"
    return str(option.default) or "none"
