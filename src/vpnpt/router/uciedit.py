# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes one list in /etc/config/vpnpt, and nothing else in it.

`uci add_list` and `uci commit` would commit with it whatever somebody has staged and not yet committed (/tmp/.uci), and write the
file anew without its comments. So the file itself is edited, under libuci's own lock (uci_open_stream() in file.c), and replaced at
once. What is staged stays staged.
"""
from __future__ import annotations

import contextlib
import fcntl
import os

from ..config import ucitext
from ..config.values import BadValue, source
from .uci import CONFIG_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.ucitext import SectionText


def edit_list(config_dir: str | None, section: str, option: str, value: str, *, present: bool) -> bool:
    """Has the list of sources `option` hold `value`, or hold it no more. Whether anything had to be changed.

    Raises OSError if the file can't be written, ValueError if it can't be understood well enough to be changed.
    """
    path = os.path.realpath(os.path.join(config_dir or CONFIG_DIR, "vpnpt"))
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read().decode("utf-8", "surrogateescape")
        changed = edited(text, section, option, value, present=present)
        if changed == text:
            return False
        mode = os.fstat(file.fileno()).st_mode & 0o777
        new = f"{path}.vpnpt-new"  # beside it, so that replacing it is one step; libuci reads no name with a dot
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as out:
                out.write(changed.encode("utf-8", "surrogateescape"))
                out.flush()
                os.fsync(out.fileno())
            os.replace(new, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
    return True


def edited(text: str, section: str, option: str, value: str, *, present: bool) -> str:
    """The text with `value` in the list, or without. Raises ValueError."""
    document = ucitext.parse(text)
    if any(problem.severity == "error" for problem in document.diagnostics):
        raise ValueError("correct it first: " + "; ".join(map(str, document.diagnostics)))
    before = _values(document.sections, section, option)
    if (value in before) == present:
        return text
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    found = next((one for one in document.sections if one.name == section), None)
    end = min([one.line - 1 for one in document.sections if found is not None and one.line > found.line], default=len(lines))
    if found is not None and not present:
        own = [line for line in lines[found.line:end] if not _sets(line, option, value)]
        kept = [*lines[:found.line], *own, *lines[end:]]
        expected = [one for one in before if one != value]
    elif found is None:
        kept = [*lines, "\n", f"config protocol '{section}'\n", f"\tlist {option} '{value}'\n"]
        expected = [value]
    else:
        while end > found.line and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        kept = [*lines[:end], f"\tlist {option} '{value}'\n", *lines[end:]]
        expected = [*before, value]
    result = "".join(kept)
    if _content(result, section, option) != _content(text, section, option) or \
            _values(ucitext.parse(result).sections, section, option) != expected:
        raise ValueError(f"write {option} of section {section!r} as one `list` line for each value")
    return result


def _values(sections: list[SectionText], name: str, option: str) -> list[str]:
    """The values of a list of sources, normalised."""
    return [_normal(word) for section in sections if section.name == name and option in section.options
            for text in section.options[option].values for word in text.split()]


def _content(text: str, name: str, option: str) -> list[object]:
    """Everything else that a text says; a section that says nothing more counts as none."""
    found = [(section.type, section.name, [(one.name, one.values) for one in section.options.values()
                                           if (section.name, one.name) != (name, option)])
             for section in ucitext.parse(text).sections]
    return [one for one in found if one != ("protocol", name, [])]


def _sets(line: str, option: str, value: str) -> bool:
    """Is this the line of the list that has this value?"""
    words = line.partition("#")[0].replace("'", "").replace('"', "").split()
    return len(words) == 3 and words[0] in ("list", "l") and words[1] == option and _normal(words[2]) == value


def _normal(word: str) -> str:
    try:
        return source(word).text
    except BadValue:
        return word
