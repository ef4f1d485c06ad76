# SPDX-License-Identifier: GPL-2.0-or-later
"""One configured word -> its value: the validators behind the table of options.py.

Each takes the word and the option (its range and choices) and returns the value, or raises BadValue with what is wrong and
what would be right.
"""
from __future__ import annotations

import socket

from ..model import Said, Source, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .options import Option

TRUE_WORDS = ("1", "on", "true", "yes", "enabled")
FALSE_WORDS = ("0", "off", "false", "no", "disabled")
MAX_DEVICE = 15  # IFNAMSIZ of <linux/if.h>, less the closing NUL
HEX = frozenset("0123456789abcdef")
MAX_PATH = 200
FOLDERS = ("/etc/vpnpt", "/var/vpnpt", "/var/prometheus", "/tmp/vpnpt", "/tmp/prometheus")
"""Where a configured file may be, besides /mnt/NAME/vpnpt and below /tmp/vpnpt-NAME: folders from which nothing is executed, included or
configured."""
RESERVED = ("usage", "in-force")
"""Names of the daemon's own files in /etc/vpnpt."""
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class BadValue(ValueError):
    """A word that is not valid. args: what is wrong, what is valid."""


def boolean(word: str) -> bool | None:
    """The meaning of a boolean word in any case (fw4 and LuCI know the same ones), None for any other word."""
    lower = word.lower()
    return True if lower in TRUE_WORDS else False if lower in FALSE_WORDS else None


def parse_bool(word: str, option: Option) -> bool:
    value = boolean(word)
    if value is None:
        raise BadValue(Said("not a boolean"), Said("valid: 1, 0, on, off, true, false, yes, no, enabled, disabled"))
    return value


def parse_int(word: str, option: Option) -> int:
    value = number(word)
    valid = between(option.low, option.high)
    if option.unit:
        valid = Said("{valid} {unit}", valid=valid, unit=Said(option.unit))
    if value is None:
        raise BadValue(Said("not a whole number"), valid)
    if not option.low <= value <= option.high:
        raise BadValue(Said("out of range"), valid)
    return value


def between(low: int, high: int) -> Said:
    return Said("valid: {low} to {high}", low=low, high=high)


def parse_choice(word: str, option: Option) -> str:
    if word not in option.choices:
        raise BadValue(Said("not a known choice"), Said("valid: {words}", words=", ".join(option.choices)))
    return word


def parse_zone(word: str, option: Option) -> str:
    if not all(char.isascii() and (char.isalnum() or char in "_-.") for char in word) or word.startswith("-"):
        raise BadValue(Said("not the name of a firewall zone"), Said("valid: letters, digits, '_', '-' and '.'"))
    return word


def device_problem(name: str) -> Said | None:
    """Why this can't be the name of a network device (dev_valid_name() in net/core/dev.c), None if it can.

    Stricter than the kernel in that quotes, backslashes and what is not printable ASCII are refused: names go into nftables text.
    """
    if name.endswith(("*", "+")):
        return Said("a wildcard is not accepted here, name each device, or its zone in lan_zone or wan_zone")
    if len(name) > MAX_DEVICE:
        return Said("longer than {count} characters", count=MAX_DEVICE)
    if name in ("", ".", "..") or not all("!" <= char <= "~" and char not in "/:\"'\\*" for char in name):
        return Said("not the name of a network device")
    return None


def parse_device(word: str, option: Option) -> str:
    problem = device_problem(word)
    if problem:
        raise BadValue(problem, Said("valid: up to {count} printable characters without blanks, quotes, '/', ':' and '*'",
                                     count=MAX_DEVICE))
    return word


def parse_source(word: str, option: Option) -> Source:
    return source(word)


def source(word: str) -> Source:
    """An address, a subnet (prefix length or IPv4 netmask) or a MAC; host bits are cleared. Raises BadValue."""
    parts = word.lower().replace("-", ":").split(":")
    if len(parts) == 6 and all(len(part) == 2 and HEX.issuperset(part) for part in parts):
        return Source(kind="mac", text=":".join(parts))
    address, slash, length = word.partition("/")
    for family, kind in ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6")):
        try:
            packed = socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        bits = len(packed) * 8
        prefix = (number(length) if len(length) < 4 else netmask_length(length, family)) if slash else bits
        if prefix is None or prefix > bits:
            raise BadValue(Said("not a valid prefix length"), between(0, bits))
        cleared = int.from_bytes(packed, "big") >> (bits - prefix) << (bits - prefix)
        text = socket.inet_ntop(family, cleared.to_bytes(len(packed), "big"))
        return Source(kind=kind, text=text if prefix == bits else f"{text}/{prefix}")
    raise BadValue(Said("not an address, a subnet or a MAC"), Said(
        "valid: an IPv4 or IPv6 address or subnet such as 192.168.1.0/24, or a MAC such as 00:00:5e:00:53:01"))


def netmask_length(mask: str, family: int) -> int | None:
    """The prefix length that an IPv4 netmask such as 255.255.255.0 stands for, None if it is none."""
    try:
        packed = socket.inet_pton(socket.AF_INET, mask)
    except (OSError, ValueError):
        return None
    ones = f"{int.from_bytes(packed, 'big'):032b}".rstrip("0")
    return len(ones) if family == socket.AF_INET and "0" not in ones else None


def has_host_bits(word: str, source: Source) -> bool:
    """Whether normalising this word cleared bits of its address."""
    if source.kind == "mac" or "/" not in word:
        return False
    family = socket.AF_INET if source.kind == "ipv4" else socket.AF_INET6
    return socket.inet_pton(family, word.partition("/")[0]) != socket.inet_pton(family, source.text.partition("/")[0])


def parse_path(word: str, option: Option) -> str:
    """A file that the daemon, as root, may write: in a folder of its own, so that no program takes the file for something else.

    Whoever may set this option must not thereby choose what is executed (hotplug.d, init.d), included (fw4, dnsmasq) or configured.
    """
    valid = Said("valid: a plain file name in {folders}, /mnt/NAME/vpnpt or below /tmp/vpnpt-NAME", folders=", ".join(FOLDERS))
    folder, _, name = word.rpartition("/")
    parts = word.split("/")[1:]
    if not word.startswith("/") or len(word) > MAX_PATH or not all(part and PLAIN.issuperset(part) for part in parts):
        raise BadValue(Said("not a plain absolute path (letters, digits, '.', '_' and '-')"), valid)
    if any(part[0] in ".-" for part in parts):
        raise BadValue(Said("has a part that begins with '.' or '-'"), valid)
    disk = len(parts) == 4 and parts[0] == "mnt" and parts[2] == "vpnpt"
    if folder not in FOLDERS and not disk and not (len(parts) > 2 and word.startswith("/tmp/vpnpt-")):
        raise BadValue(Said("is not in a folder of our own"), valid)
    if folder == FOLDERS[0] and name in RESERVED:
        raise BadValue(Said("is a file of the daemon's own"), valid)
    if option.choices and not word.endswith(option.choices):
        raise BadValue(Said("has another ending"), Said("valid: a path that ends in {endings}", endings=", ".join(option.choices)))
    return word


PARSERS: dict[str, Callable[[str, Option], Any]] = {
    "bool": parse_bool, "int": parse_int, "choice": parse_choice, "zone": parse_zone, "device": parse_device,
    "source": parse_source, "port": parse_int, "path": parse_path,
}


def nearest(word: str, names: Iterable[str]) -> str:
    """The name that `word` was probably meant to be: at most two edits away, and less than half of it wrong; '' if none is."""
    best, best_distance = "", 3
    for name in names:
        distance = edit_distance(word.lower(), name, best_distance)
        if distance < best_distance and distance * 2 < len(name):
            best, best_distance = name, distance
    return best


def edit_distance(one: str, other: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two words; `limit` if that many or more."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, against in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char != against))
            if i > 1 and j > 1 and char == other[j - 2] and one[i - 2] == against:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return min(row[-1], limit)
