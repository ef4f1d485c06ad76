# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text -> sections, by libuci's own rules (openwrt/uci, file.c and list.c), oddities included.

One parser for the files under /etc/config and for the output of `uci export`:

* a line is `package NAME`, `config TYPE [NAME]`, `option NAME VALUE` or `list NAME VALUE`; the first letter alone will do;
  `;` after a quoted word or after white space starts another command; `#` outside quotes starts a comment, even inside a word;
* a word may mix '...' (nothing is special), "..." and bare text (in both, `\\` keeps the next character, or joins the next
  line when it is the last one on its line); quoted text may run over several lines;
* a byte order mark, which editors of another system put first, is skipped (libuci takes it for the first command);
* sections of the same name are one section: the later type wins, options are added; a later `option` replaces an earlier
  `option` or `list` of that name, a `list` adds to either; an `option` with an empty value counts for nothing.

libuci refuses a whole file for one bad line. Here a bad line is named and skipped (with the whole section, if it was the
section's first line), because a router should rather run with the rest; only where that can't be done sanely (a quote
without end, binary data, too many bad lines) the diagnostic is an error. Nothing in here raises, whatever the text.
"""
from __future__ import annotations

from ..model import Diagnostic, Said, quoted
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Severity

SPACE = " \t\n\v\f\r"  # isspace() in the C locale
NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
KEYWORDS = {"p": "package", "c": "config", "o": "option", "l": "list"}
MAX_BAD_LINES = 20
SKIPPED = Said("the line is skipped")


class OptionText(Record):
    """An option as written. values: one for `option`, one or more for `list`. lines: 1-based, where each of them stands."""

    __slots__ = ("name", "values", "is_list", "lines")
    name: str
    values: tuple[str, ...]
    is_list: bool
    lines: tuple[int, ...]

    @property
    def line(self) -> int:
        """Where it was set last."""
        return self.lines[-1]


class SectionText(Record):
    """A section as written. name: '' if anonymous. index: its place among the sections of its type, from 0.

    options: by name, in the order in which they first appear.
    """

    __slots__ = ("type", "name", "index", "line", "options")
    type: str
    name: str
    index: int
    line: int
    options: dict[str, OptionText]

    @property
    def label(self) -> str:
        """What `uci` calls it: its name, or `@type[index]`."""
        return self.name or f"@{self.type}[{self.index}]"


class Document(Record):
    """A parsed file. package: the last `package` line's name, '' if there is none. diagnostics: in order of lines."""

    __slots__ = ("package", "sections", "diagnostics")
    package: str
    sections: list[SectionText]
    diagnostics: list[Diagnostic]


class _BadLine(Exception):
    """A line that libuci would refuse."""


class _Unterminated(Exception):
    """A quote without end: from here on nothing can be told apart."""


class _Words:
    """The words of one command line after another; the counterpart of libuci's parse context."""

    def __init__(self, text: str) -> None:
        self.lines = _split(text)
        self.line = 0
        self.buf = ""
        self.pos = 0
        self.lost = False  # a `;` cost the rest of the line

    def fetch(self) -> bool:
        """Go to the next line, as uci_getln() does. False at the end of the text."""
        self.buf, self.pos, self.lost = next(self.lines, ""), 0, False
        self.line += bool(self.buf)
        return bool(self.buf)

    def current(self) -> str:
        return self.buf[self.pos:self.pos + 1]

    def skip_space(self) -> None:
        while self.pos < len(self.buf) and self.buf[self.pos] in SPACE:
            self.pos += 1

    def keyword(self) -> str:
        """The next command word, '' if the line is over. libuci cuts it at a blank or a tab, nothing else (strtok)."""
        while self.current() and self.current() in " \t":
            self.pos += 1
        end = self.pos
        while end < len(self.buf) and self.buf[end] not in " \t":
            end += 1
        word = self.buf[self.pos:end]
        self.pos = min(end + 1, len(self.buf))
        return word

    def word(self) -> str:
        """The next argument, '' if there is none."""
        self.skip_space()
        if self.current() == ";":
            self.pos += 1
            return ""
        out: list[str] = []
        bare = True
        while True:
            char = self.current()
            bare = bare and char not in ("'", '"', "\\")
            if char == "'":
                self._single_quoted(out)
            elif char == '"':
                self._double_quoted(out)
            elif char in ("", "#"):
                self.buf = self.buf[:self.pos]
                break
            elif char == ";":
                self._end_at_semicolon(bare)
                break
            elif char != "\\" or self._backslash():
                out.append(self.current())
                self.pos += 1
            if not self.current() or self.current() in SPACE:
                self.pos = min(self.pos + 1, len(self.buf))
                break
        return "".join(out)

    def rest(self) -> str:
        """What is left of the line, up to a comment; moves to its end."""
        left, self.pos = self.buf[self.pos:].split("#")[0].strip(SPACE), len(self.buf)
        return left

    def _end_at_semicolon(self, bare: bool) -> None:
        # libuci ends a word by overwriting the character after it: after a quoted word that is a quote, after a bare one it
        # is the `;` itself, and then the rest of the line is lost to it.
        if bare:
            self.pos += 1
            self.lost = bool(self.rest())

    def _backslash(self) -> bool:
        """Skip a backslash. True: the next character is literal; False: the line goes on in the next one."""
        self.pos += 1
        if self.buf[self.pos:self.pos + 3] in ("", "\n", "\r\n"):
            self.fetch()
            return False
        return True

    def _single_quoted(self, out: list[str]) -> None:
        self.pos += 1
        while (char := self.current()) != "'":
            if char:
                out.append(char)
                self.pos += 1
            elif not self.fetch():
                raise _Unterminated("'")
        self.pos += 1

    def _double_quoted(self, out: list[str]) -> None:
        self.pos += 1
        while (char := self.current()) != '"':
            if not char:
                if not self.fetch():
                    raise _Unterminated('"')
            elif char != "\\" or self._backslash():
                out.append(self.current())
                self.pos += 1
        self.pos += 1


def _split(text: str) -> Iterator[str]:
    """Lines with their line feeds; str.splitlines() would also cut at characters that are data here."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


class _Parser:
    """The commands of a text, applied one by one to the sections read so far."""

    def __init__(self, text: str, file: str) -> None:
        self.words = _Words(text)
        self.file = file
        self.document = Document(package="", sections=[], diagnostics=[])
        self.named: dict[str, SectionText] = {}
        self.counts: dict[str, int] = {}
        self.section: SectionText | None = None
        self.skipping = False  # the section's `config` line was bad: its options belong nowhere
        self.bad = 0

    def run(self) -> Document:
        words = self.words
        while self.bad <= MAX_BAD_LINES and words.fetch():
            words.skip_space()
            line = words.line
            try:
                while (keyword := words.keyword()) and not keyword.startswith("#"):
                    self.command(keyword, line)
                if words.lost:
                    raise _BadLine(Said("uci drops what follows a ';' that touches an unquoted word"), Said("put a blank before the ';'"))
            except _BadLine as error:
                self.bad += 1
                self.note("warning", line, *error.args)
            except _Unterminated as error:
                self.note("error", line, Said("the quote {quote} that opens here has no end", quote=str(error)),
                          Said("close it; until then nothing after it can be read"))
                break
        if self.bad > MAX_BAD_LINES:
            self.note("error", words.line, Said("more than {count} bad lines", count=MAX_BAD_LINES),
                      Said("this does not look like a UCI file; write it anew"))
        return self.document

    def note(self, severity: Severity, line: int, message: Said, remedy: Said = SKIPPED, option: str = "") -> None:
        label = self.section.label if option and self.section else ""
        self.document.diagnostics.append(Diagnostic(severity=severity, file=self.file, line=line, section=label, option=option,
                                                    message=message, remedy=remedy))

    def command(self, keyword: str, line: int) -> None:
        keyword = keyword.strip(SPACE)
        name = KEYWORDS.get(keyword[:1], "")
        if keyword not in (name, keyword[:1]):
            name = ""
        if name == "package":
            self.package()
        elif name == "config":
            self.config(line)
        elif name:
            self.option(line, name)
        elif keyword:
            # It may have been meant as a `config` line: what follows must not end up in the section before.
            meant_config = keyword[0] in "cC"
            if meant_config:
                self.section, self.skipping = None, True
            raise _BadLine(Said("{word} is not a command", word=quoted(keyword)),
                           Said("valid: package, config, option, list; the line is skipped, and the options after it") if meant_config
                           else Said("valid: package, config, option, list; the line is skipped"))

    def package(self) -> None:
        name = self.words.word()
        if not name or not NAME_CHARS.union("-").issuperset(name):
            raise _BadLine(Said("'package' wants a name of letters, digits, '_' and '-'"))
        self.document.package = name
        self.end()

    def config(self, line: int) -> None:
        self.section, self.skipping = None, True
        kind, name = self.words.word(), self.words.word()
        if not kind:
            raise _BadLine(Said("'config' wants a type"), Said("the whole section is skipped"))
        if not all("!" <= char <= "~" for char in kind):
            raise _BadLine(Said("section type {kind} has a character that is not allowed", kind=quoted(kind)),
                           Said("valid: printable ASCII without blanks; the whole section is skipped"))
        if not NAME_CHARS.issuperset(name):
            raise _BadLine(Said("section name {name} has a character that is not allowed", name=quoted(name)),
                           Said("valid: letters, digits and '_'; the whole section is skipped"))
        self.skipping = False
        self.section = self.open_section(kind, name, line)
        self.end()

    def open_section(self, kind: str, name: str, line: int) -> SectionText:
        known = self.named.get(name) if name else None
        if known is not None:
            if known.type != kind:
                self.section = known
                self.document.diagnostics.append(Diagnostic(
                    severity="warning", file=self.file, line=line, section=name,
                    message=Said("type {kind} here, but {other} in line {line}", kind=quoted(kind), other=quoted(known.type),
                                 line=known.line),
                    remedy=Said("write the section once; using {kind}", kind=quoted(kind))))
                known.type, known.line = kind, line
            return known
        section = SectionText(type=kind, name=name, index=self.counts.get(kind, 0), line=line, options={})
        self.counts[kind] = section.index + 1
        self.document.sections.append(section)
        if name:
            self.named[name] = section
        return section

    def option(self, line: int, command: str) -> None:
        name, value = self.words.word(), self.words.word()
        if not name:
            raise _BadLine(Said("{word} wants a name and a value", word=quoted(command)))
        if not NAME_CHARS.issuperset(name):
            raise _BadLine(Said("option name {name} has a character that is not allowed", name=quoted(name)),
                           Said("valid: letters, digits and '_'; the line is skipped"))
        if self.section is not None:
            self.set_option(self.section, line, name, value, command == "list")
        elif not self.skipping:
            raise _BadLine(Said("{word} before the first 'config' line", word=quoted(command)),
                           Said("put it into a section; the line is skipped"))
        self.end()

    def set_option(self, section: SectionText, line: int, name: str, value: str, is_list: bool) -> None:
        known = section.options.get(name)
        lines: tuple[int, ...] = (line,)
        if is_list:
            values, lines = (*known.values, value) if known else (value,), (*known.lines, line) if known else (line,)
        elif known:
            used = value or " ".join(known.values)
            self.note("warning", line, Said("already set in line {line}", line=known.line),
                      Said("write it once; using {value}", value=quoted(used)), option=name)
            values = (value,)
        else:
            values = (value,)
        if not is_list and not value:
            return
        section.options[name] = OptionText(name=name, values=values, is_list=is_list, lines=lines)

    def end(self) -> None:
        """The end of a command: nothing, a comment or a `;`."""
        if self.words.word():
            self.words.rest()
            raise _BadLine(Said("too many words"), Said("quote a value that has blanks in it; what is too much is left out"))


def parse(text: str, file: str = "") -> Document:
    """Read UCI text; `file` is only a name for the diagnostics. Undecodable bytes may be there as surrogate escapes.

    An error among the diagnostics means that the sections are not all there, and should not be used.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problem = Diagnostic(severity="error", file=file, line=line, message=Said("has a NUL byte"),
                             remedy=Said("this is not a text file; write it anew"))
        return Document(package="", sections=[], diagnostics=[problem])
    return _Parser(text.removeprefix("\ufeff"), file).run()
