# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text. What is expected was recorded from `uci export FILE` of openwrt/uci, except for what it refuses."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnpt.config import ucitext


def content(text):
    document = ucitext.parse(text)
    sections = [(section.type, section.name, {option.name: list(option.values) if option.is_list else option.values[0]
                                              for option in section.options.values()}) for section in document.sections]
    return sections, [str(diagnostic) for diagnostic in document.diagnostics]


SAME_AS_UCI = {
    "plain": ("config t n\n\toption a b\n", [("t", "n", {"a": "b"})]),
    "no line feed at the end": ("config t n\noption a b", [("t", "n", {"a": "b"})]),
    "quotes": ("config 't' \"n\"\n option 'a' \"b c\"\n option d 'e f'\n", [("t", "n", {"a": "b c", "d": "e f"})]),
    "quotes within a word": ("config t\n option a x'y z'\"w\"v\n", [("t", "", {"a": "xy zwv"})]),
    "quote as uci export writes it": ("config t\n option a 'it'\\''s'\n", [("t", "", {"a": "it's"})]),
    "nothing is special in single quotes": ("config t\n option a 'a\\b\"c#d;e'\n", [("t", "", {"a": "a\\b\"c#d;e"})]),
    "backslash in double quotes": ('config t\n option a "a\\"b\\\\c\\n"\n', [("t", "", {"a": 'a"b\\cn'})]),
    "backslash outside": ("config t\n option a b\\ c\\#d\n", [("t", "", {"a": "b c#d"})]),
    "line goes on": ("config t\n option a b\\\nc\n", [("t", "", {"a": "bc"})]),
    "line goes on in double quotes": ('config t\n option a "b\\\nc"\n', [("t", "", {"a": "bc"})]),
    "value of several lines": ("config t\n option a 'b\n c'\n option d e\n", [("t", "", {"a": "b\n c", "d": "e"})]),
    "comments": ("# x\nconfig t # y\n  # z\n option a b#c\n option d '#'\n", [("t", "", {"a": "b", "d": "#"})]),
    "carriage returns": ("config t n\r\n\toption a b\r\n", [("t", "n", {"a": "b"})]),
    "several commands": ("config t 'n' ; option a 'b'; list c d\n", [("t", "n", {"a": "b", "c": ["d"]})]),
    "first letters": ("p x\nc t n\no a b\nl c d\n", [("t", "n", {"a": "b", "c": ["d"]})]),
    "package": ("package vpnpt\n\nconfig t 'n'\n", [("t", "n", {})]),
    "anonymous sections": ("config t\nconfig u\nconfig t ''\n", [("t", "", {}), ("u", "", {}), ("t", "", {})]),
    "same name is the same section": ("config t n\noption a 1\nconfig u\nconfig t n\noption b 2\n",
                                      [("t", "n", {"a": "1", "b": "2"}), ("u", "", {})]),
    "list": ("config t\nlist a b\nlist a 'c d'\nlist a b\n", [("t", "", {"a": ["b", "c d", "b"]})]),
    "list after option": ("config t\noption a b\nlist a c\n", [("t", "", {"a": ["b", "c"]})]),
    "empty option": ("config t\noption a ''\noption b\n", [("t", "", {})]),
    "empty list entry": ("config t\nlist a ''\n", [("t", "", {"a": [""]})]),
    "any printable type": ("config 1 n\nconfig a-b.c\n", [("1", "n", {}), ("a-b.c", "", {})]),
    "nothing": ("", []),
    "blank": (" \n\t\n\r\n", []),
}


@pytest.mark.parametrize("case", SAME_AS_UCI)
def test_reads_as_uci_does(case):
    text, expected = SAME_AS_UCI[case]
    assert content(text) == (expected, [])


REPORTED = {
    "option twice": ("config t n\noption a b\noption a c\n", [("t", "n", {"a": "c"})],
                     ["warning: f:3: section 'n' option 'a': already set in line 2; write it once; using 'c'"]),
    "option after list": ("config t n\nlist a b\noption a c\n", [("t", "n", {"a": "c"})],
                          ["warning: f:3: section 'n' option 'a': already set in line 2; write it once; using 'c'"]),
    "empty option after another": ("config t n\noption a b\noption a ''\n", [("t", "n", {"a": "b"})],
                                   ["warning: f:3: section 'n' option 'a': already set in line 2; write it once; using 'b'"]),
    "types differ": ("config t n\noption a b\nconfig u n\n", [("u", "n", {"a": "b"})],
                     ["warning: f:3: section 'n': type 'u' here, but 't' in line 1; write the section once; using 'u'"]),
    "unknown command": ("config t n\noptoin a b\noption c d\n", [("t", "n", {"c": "d"})],
                        ["warning: f:2: 'optoin' is not a command; valid: package, config, option, list; the line is skipped"]),
    "misspelt config": ("config t n\nconfg t m\noption c d\nconfig t o\n", [("t", "n", {}), ("t", "o", {})],
                        ["warning: f:2: 'confg' is not a command; valid: package, config, option, list; the line is skipped, "
                         "and the options after it"]),
    "keyword alone": ("config t n\noption\nlist\n", [("t", "n", {})],
                      ["warning: f:2: 'option' wants a name and a value; the line is skipped",
                       "warning: f:3: 'list' wants a name and a value; the line is skipped"]),
    "option before a section": ("option a b\nconfig t n\n", [("t", "n", {})],
                                ["warning: f:1: 'option' before the first 'config' line; put it into a section; the line is skipped"]),
    "too many words": ("config t n\noption a b c\noption d e\n", [("t", "n", {"a": "b", "d": "e"})],
                       ["warning: f:2: too many words; quote a value that has blanks in it; what is too much is left out"]),
    "config without type": ("config t n\nconfig ''\noption a b\n", [("t", "n", {})],
                            ["warning: f:2: 'config' wants a type; the whole section is skipped"]),
    "bad section name": ("config t n-m\noption a b\n", [],
                         ["warning: f:1: section name 'n-m' has a character that is not allowed; valid: letters, digits and '_'; "
                          "the whole section is skipped"]),
    "bad type": ("config 't u'\noption a b\n", [],
                 ["warning: f:1: section type 't u' has a character that is not allowed; valid: printable ASCII without blanks; "
                  "the whole section is skipped"]),
    "bad option name": ("config t n\noption a-b c\n", [("t", "n", {})],
                        ["warning: f:2: option name 'a-b' has a character that is not allowed; valid: letters, digits and '_'; "
                         "the line is skipped"]),
    "bad package": ("package a.b\n", [], ["warning: f:1: 'package' wants a name of letters, digits, '_' and '-'; the line is skipped"]),
    "semicolon that touches": ("config t n; option a b\n", [("t", "n", {})],
                               ["warning: f:1: uci drops what follows a ';' that touches an unquoted word; put a blank before the "
                                "';'"]),
    "no end of a single quote": ("config t n\noption a 'b\noption c d\n", [("t", "n", {})],
                                 ["error: f:2: the quote ' that opens here has no end; close it; until then nothing after it can "
                                  "be read"]),
    "no end of a double quote": ('config t "n', [],
                                 ['error: f:1: the quote " that opens here has no end; close it; until then nothing after it can '
                                  "be read"]),
    "NUL": ("config t n\n\0", [], ["error: f:2: has a NUL byte; this is not a text file; write it anew"]),
}


@pytest.mark.parametrize("case", REPORTED)
def test_names_what_is_wrong(case):
    text, sections, messages = REPORTED[case]
    found, _ = content(text)
    assert [str(diagnostic) for diagnostic in ucitext.parse(text, "f").diagnostics] == messages
    if messages[-1].startswith("warning"):
        assert found == sections


def test_gives_up_on_what_is_no_uci_file():
    diagnostics = ucitext.parse("<html>\n" * 1000, "f").diagnostics
    assert len(diagnostics) == 22
    assert str(diagnostics[-1]) == "error: f:21: more than 20 bad lines; this does not look like a UCI file; write it anew"


def test_labels_and_lines():
    sections = ucitext.parse("config t\n\nconfig t n\nconfig t\n option a 'x\ny'\n option b c\n").sections
    assert [(section.label, section.line) for section in sections] == [("@t[0]", 1), ("n", 3), ("@t[2]", 4)]
    assert [(option.name, option.line) for option in sections[2].options.values()] == [("a", 5), ("b", 7)]


def test_long_values_take_linear_time():
    text = "config t n\noption a '" + "x" * 50 + "\n" * 200_000 + "'\n"
    assert len(ucitext.parse(text).sections[0].options["a"].values[0]) == 200_050


FRAGMENTS = st.sampled_from(["config ", "option ", "list ", "package ", "'", '"', "\\", "\n", " ", ";", "#", "a", "1", "\t", "\r\n",
                             "config t n\n", "\toption a 'b'\n", "'\\''", "\0", "\udcff", "\u2028"])


@given(st.one_of(st.text(), st.lists(FRAGMENTS, max_size=60).map("".join)))
def test_never_raises(text):
    for diagnostic in ucitext.parse(text, "f").diagnostics:
        assert "\n" not in str(diagnostic)


@given(st.binary())
def test_never_raises_on_bytes(data):
    ucitext.parse(data.decode("utf-8", "surrogateescape"))


NAMES = st.text("abcXYZ019_", min_size=1, max_size=8)
TYPES = st.text("abc019-.@!", min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20)
OPTIONS = st.dictionaries(NAMES, VALUES | st.lists(VALUES, min_size=1, max_size=3), max_size=4)


def export(sections):
    """As uci_export_package() of libuci's file.c writes it."""
    def quote(value):
        return "'" + value.replace("'", "'\\''") + "'"
    lines = ["package f", ""]
    for kind, name, options in sections:
        lines.append(f"config {kind}" + (f" '{name}'" if name else ""))
        for option, value in options.items():
            lines += [f"\tlist {option} {quote(item)}" for item in value] if isinstance(value, list) else \
                     [f"\toption {option} {quote(value)}"]
        lines.append("")
    return "\n".join(lines) + "\n"


@given(st.lists(st.tuples(TYPES, st.just("") | NAMES, OPTIONS), max_size=5))
def test_reads_what_uci_exports(sections):
    names = [name for _, name, _ in sections]
    sections = [section for i, section in enumerate(sections) if not section[1] or section[1] not in names[:i]]
    assert content(export(sections)) == (sections, [])
