# SPDX-License-Identifier: GPL-2.0-or-later
"""What the router says, for LuCI to translate.

usage: python -m buildroot.messages [update | check]

The doctor's sentences have names: resources/vpnpt/messages.js is made from src/vpnpt/doctor/texts.py. All others are known by their English
words, `Said("...", ...)` and lines for the log in src/vpnpt: a page looks up what it got. They stand in sentences.js for the catalogues
alone, which no page needs and no package has.
"""
from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

from buildroot.recipe import TOP

if TYPE_CHECKING:
    from pathlib import Path

APP = TOP / "luci-app/luci-app-vpnpt"
TARGET = APP / "htdocs/luci-static/resources/vpnpt/messages.js"
SENTENCES = APP / "sentences.js"
SOURCES = TOP / "src/vpnpt"
LOGS = {"error": 1, "warning": 1, "info": 1, "debug": 1, "write": 2}
"""Methods of the log, and which argument is the text."""
JOINS = ("{one}; {other}", "{one}, {other}", "{valid} {unit}")
"""Templates without a word that are written another way in some languages all the same."""
SENTENCES_HEAD = """/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sentences of the router, for LuCI's i18n-scan to find: no page loads this. Made by `python -m buildroot.messages update`. */
'use strict';

"""
HEAD = """/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

/* What the router says, by code. Made by `python -m buildroot.messages update` from src/vpnpt/doctor/texts.py: change it there. */

const SEVERITIES = { error: _('Error'), warning: _('Warning') };

const TEXTS = {
"""
TAIL = """};

/* A sentence of the router ({ code, values }, a diagnostic, text, a number or a list of these) in the reader's language. The code is a
 * name in TEXTS, or the sentence in English. other: what to say where this page does not know the code. */
function text(said, other) {
	if (Array.isArray(said))
		return said.map(one => text(one)).join(', ');

	if (said == null || typeof(said) != 'object')
		return String(said ?? other ?? '');

	if (said.message != null)
		return diagnostic(said);

	const code = String(said.code);
	const template = TEXTS[code] ?? _(code);

	/* A name that a newer service has. */
	if (template == code && other != null && /^[\\w-]+$/.test(code))
		return other;

	const found = template.replace(/\\{(\\w+)\\}/g, (all, name) => said.values?.[name] != null ? text(said.values[name]) : all);

	/* What a sentence begins with may be the name of a thing. */
	return template.startsWith('{rule}') || template.startsWith('{clients}') ? found.charAt(0).toUpperCase() + found.slice(1) : found;
}

/* What is wrong with the configuration: where, about what, and what to do (src/vpnpt/model.py). here: of a line that is shown. */
function diagnostic(one, here) {
	const place = one.file && one.line ? `${one.file}:${one.line}` : one.file;
	const subject = [ [ _('section {name}'), one.section && `'${one.section}'` ], [ _('option {name}'), one.option && `'${one.option}'` ],
		[ _('value {name}'), one.value ] ].filter(([ , name ]) => name)
		.map(([ template, name ]) => template.replace('{name}', () => name))
		.join(' ');
	const head = here ? [] : [ SEVERITIES[one.severity] ?? one.severity, place ];
	const found = [ ...head, subject, text(one.message) ].filter(Boolean).join(': ');

	return one.remedy ? text({ code: '{one}; {other}', values: { one: found, other: one.remedy } }) : found;
}

return baseclass.extend({ text, diagnostic });
"""


def made() -> str:
    sys.path.insert(0, str(TOP / "src"))
    from vpnpt.doctor.texts import TEXTS

    return HEAD + ",\n".join(f"\t'{code}': _({quoted(text)})" for code, text in TEXTS.items()) + "\n" + TAIL


def quoted(text: str) -> str:
    """As JavaScript writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def sentences(sources: Path = SOURCES) -> list[str]:
    """The codes of all sentences that the sources make, and the units of options, which are values of one."""
    from vpnpt.config.options import OPTIONS

    found = {text.value: None for path in sorted(sources.rglob("*.py")) for text in templates(path) if isinstance(text, ast.Constant)}
    found.update(dict.fromkeys(option.unit for options in OPTIONS.values() for option in options if option.unit))
    return [text for text in found if re.search("[^\\W_]", re.sub(r"\{\w+\}", "", text)) or text in JOINS]


def templates(path: Path) -> list[ast.expr]:
    """What a file takes as the template of a sentence: the first argument of `Said`, and the text of a line for the log."""
    found: list[ast.expr] = []
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and call.args:
            if isinstance(call.func, ast.Name) and call.func.id == "Said":
                found.append(call.args[0])
            elif isinstance(call.func, ast.Attribute) and call.func.attr in LOGS and ast.unparse(call.func.value).endswith("log"):
                found.append(call.args[LOGS[call.func.attr]])
    chosen = [one for text in found for one in ((text.body, text.orelse) if isinstance(text, ast.IfExp) else (text,))]
    return sorted(chosen, key=lambda text: (text.lineno, text.col_offset))


def made_sentences() -> str:
    return SENTENCES_HEAD + "[\n" + ",\n".join(f"\t_({quoted(text)})" for text in sentences()) + "\n];\n"


def main(arguments: list[str]) -> int:
    files = {TARGET: made(), SENTENCES: made_sentences()}
    if arguments == ["update"]:
        for path, text in files.items():
            path.write_text(text)
        return 0
    if arguments == ["check"]:
        return int(any(path.read_text() != text for path, text in files.items()))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
