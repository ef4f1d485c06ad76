# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor's sentences for LuCI: resources/vpnpt/messages.js, made from src/vpnpt/doctor/texts.py.

usage: python -m buildroot.messages [update | check]
"""
from __future__ import annotations

import sys

from buildroot.recipe import TOP

TARGET = TOP / "luci-app/luci-app-vpnpt/htdocs/luci-static/resources/vpnpt/messages.js"
HEAD = """/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

/* What the router says, by code. Made by `python -m buildroot.messages update` from src/vpnpt/doctor/texts.py: change it there. */

const TEXTS = {
"""
TAIL = """};

/* A sentence of the router ({ code, values }, text, a number or a list of these) in the reader's language.
 * other: what to say where this page does not know the code. */
function text(said, other) {
	if (Array.isArray(said))
		return said.map(one => text(one)).join(', ');

	if (said == null || typeof(said) != 'object')
		return String(said ?? other ?? '');

	const template = TEXTS[said.code];

	if (template == null)
		return other ?? String(said.code);

	const found = template.replace(/\\{(\\w+)\\}/g, (all, name) => said.values?.[name] != null ? text(said.values[name]) : all);

	/* What a sentence begins with may be the name of a thing. */
	return template.startsWith('{rule}') || template.startsWith('{clients}') ? found.charAt(0).toUpperCase() + found.slice(1) : found;
}

return baseclass.extend({ text });
"""


def made() -> str:
    sys.path.insert(0, str(TOP / "src"))
    from vpnpt.doctor.texts import TEXTS

    quoted = {code: text.replace("\\", "\\\\").replace("'", "\\'") for code, text in TEXTS.items()}
    lines = [f"\t'{code}': _('{text}')" for code, text in quoted.items()]
    return HEAD + ",\n".join(lines) + "\n" + TAIL


def main(arguments: list[str]) -> int:
    if arguments == ["update"]:
        TARGET.write_text(made())
        return 0
    if arguments == ["check"]:
        return int(TARGET.read_text() != made())
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
