# SPDX-License-Identifier: GPL-2.0-or-later
"""Translations of the LuCI app: what is to be translated, and what was.

usage: python -m buildroot.po [update | check]

  update   po/templates/vpnpt.pot from the sources, and each po/LANGUAGE/vpnpt.po brought in line with it
  check    says what is missing or out of date; status 1 if anything is

Marked are _('...') in JavaScript, the titles of menu entries and the descriptions of access groups, as LuCI's own i18n-scan has it.
"""
from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

from buildroot.recipe import TOP

if TYPE_CHECKING:
    from pathlib import Path

APP = TOP / "luci-app" / "luci-app-vpnpt"
MARKED = re.compile(r"""(?<![\w$.])_\(\s*(?:'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)")\s*[,)]""")
ENTRY = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)
PLACEHOLDER = re.compile(r"%(?:[sd%]|[\d.]+\w)|\{\w+\}")


def messages(app: Path = APP) -> dict[str, list[str]]:
    """Every text to be translated, and the files it stands in, in their order."""
    found: dict[str, list[str]] = {}
    for path in sorted(app.rglob("*.js")):
        for match in MARKED.finditer(path.read_text()):
            text = re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])
            found.setdefault(text, []).append(str(path.relative_to(app)))
    for path in sorted(app.rglob("menu.d/*.json")):
        for entry in json.loads(path.read_text()).values():
            found.setdefault(entry["title"], []).append(str(path.relative_to(app)))
    for path in sorted(app.rglob("acl.d/*.json")):
        for entry in json.loads(path.read_text()).values():
            found.setdefault(entry["description"], []).append(str(path.relative_to(app)))
    return found


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(lines: str) -> str:
    return "".join(re.sub(r"\\(.)", r"\1", line[1:-1]) for line in lines.splitlines())


def read(path: Path) -> dict[str, str]:
    """Translations by text; those that are empty too."""
    return {unquoted(text): unquoted(translation) for text, translation in ENTRY.findall(path.read_text()) if unquoted(text)}


def header(path: Path) -> str:
    """The header of a file, as it is written there."""
    return path.read_text().partition("\n\n")[0] if path.exists() else 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"'


def write(path: Path, found: dict[str, list[str]], translations: dict[str, str]) -> None:
    parts = [header(path)]
    for text, files in found.items():
        places = "".join(f"#: {file}\n" for file in dict.fromkeys(files))
        parts.append(f"{places}msgid {quoted(text)}\nmsgstr {quoted(translations.get(text, ''))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n")


def languages(app: Path = APP) -> list[str]:
    return sorted(path.parent.name for path in app.glob("po/*/vpnpt.po"))


def problems(app: Path = APP) -> list[str]:
    """What is missing, out of date, or has other placeholders than the text it translates."""
    found = messages(app)
    said = [] if set(read(app / "po/templates/vpnpt.pot")) == set(found) else ["po/templates/vpnpt.pot is out of date"]
    for language in languages(app):
        translations = read(app / f"po/{language}/vpnpt.po")
        said += [f"{language}: not translated: {text}" for text in found if not translations.get(text)]
        said += [f"{language}: no longer there: {text}" for text in translations if text not in found]
        said += [f"{language}: other placeholders: {text}" for text, translation in translations.items()
                 if translation and sorted(PLACEHOLDER.findall(text)) != sorted(PLACEHOLDER.findall(translation))]
    return said


def main(arguments: list[str]) -> int:
    if arguments == ["update"]:
        found = messages()
        write(APP / "po/templates/vpnpt.pot", found, {})
        for language in languages():
            path = APP / f"po/{language}/vpnpt.po"
            write(path, found, read(path))
        return 0
    if arguments == ["check"]:
        said = problems()
        print("\n".join(said))
        return 1 if said else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
