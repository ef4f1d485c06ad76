# SPDX-License-Identifier: GPL-2.0-or-later
"""A small builder of nftables text: a table with its sets, maps, counters and chains, rendered in one deterministic form.

It knows nothing of VPNs. Every rule carries a comment, so that `nft list ruleset` explains itself, and nft 1.0.6 wants a newline
before a chain's closing brace: so nothing here is ever written on one line.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..wire.nftables import Element

TABLE = "vpnpt"
COMMENT_LIMIT = 120
"""nft refuses comments of more than 128 bytes (NFTNL_UDATA_COMMENT_MAXLEN)."""


def names(devices: Iterable[str]) -> str:
    """Device names as one operand: `"wan"`, or `{ "wan", "wan2" }`; a single name is compared, not looked up."""
    quoted = [f'"{name}"' for name in devices]
    return quoted[0] if len(quoted) == 1 else "{ " + ", ".join(quoted) + " }"


def numbers(values: Iterable[int]) -> str:
    """Numbers as one operand: `500`, or `{ 500, 4500 }`."""
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


class Chain:
    """A chain: rules in order, each `match and statement` with the comment that says why."""

    def __init__(self, name: str, hook: str = "") -> None:
        self.name = name
        self.hook = hook
        self.rules: list[str] = []

    def rule(self, text: str, comment: str) -> None:
        """Appends one rule."""
        assert len(comment) <= COMMENT_LIMIT, comment
        self.rules.append(f'{text} comment "vpnpt: {comment}"')

    def render(self) -> list[str]:
        hook = [f"\t\t{self.hook}"] if self.hook else []
        return [f"\tchain {self.name} {{", *hook, *(f"\t\t{rule}" for rule in self.rules), "\t}"]


class Collection:
    """A named set or map, and how the kernel's bytes of its elements read as nft text."""

    def __init__(self, name: str, key: str, value: str, size: int, timeout: int, comment: str) -> None:
        assert len(comment) <= COMMENT_LIMIT, comment
        self.name, self.key, self.value, self.size, self.timeout, self.comment = name, key, value, size, timeout, comment

    def render(self, elements: Iterable[Element] = ()) -> str:
        typeof = f"{self.key} : {self.value}" if self.value else self.key
        lines = [f"\t{'map' if self.value else 'set'} {self.name} {{", f'\t\tcomment "vpnpt: {self.comment}"', f"\t\ttypeof {typeof}",
                 f"\t\tsize {self.size}", "\t\tflags dynamic,timeout", f"\t\ttimeout {self.timeout}s"]
        texts = [text for text in map(self.element_text, elements) if text]
        if texts:
            lines.append(f"\t\telements = {{ {', '.join(texts)} }}")
        return "\n".join([*lines, "\t}"])

    def element_text(self, element: Element) -> str:
        """One element as nft reads it, '' for one that does not fit or has no time left."""
        key = _value_text(self.key, element.key)
        value = _value_text(self.value, element.data) if self.value and element.data is not None else ""
        left = element.expires_ms if element.expires_ms is not None else self.timeout * 1000
        if not key or (self.value and not value) or left < 1000:
            return ""
        return f"{key} timeout {self.timeout}s expires {min(left // 1000, self.timeout)}s" + (f" : {value}" if value else "")


def _value_text(expression: str, data: bytes) -> str:
    """The text of a key or value of the type of `expression`; concatenated fields are padded to 4 bytes each."""
    texts = []
    for field in expression.split(" . "):
        if field.startswith("@"):
            size = int(field.rsplit(",", 1)[1]) // 8
            texts.append(f"{int.from_bytes(data[:size], 'big'):#x}")
        elif field == "ct zone":
            size = 2
            texts.append(str(int.from_bytes(data[:size], sys.byteorder)))
        elif field in ("udp sport", "udp dport"):
            size = 2
            texts.append(str(int.from_bytes(data[:size], "big")))
        elif field == "esp spi":
            size = 4
            texts.append(str(int.from_bytes(data[:size], "big")))
        else:
            size = 4
            texts.append(".".join(str(octet) for octet in data[:size]))
        if len(data) < size:
            return ""
        data = data[(size + 3) & ~3:]
    return " . ".join(texts)


class Table:
    """One `table FAMILY vpnpt`: declarations first, chains after them (leaf chains before those that jump to them is not needed)."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.collections: dict[str, Collection] = {}
        self.objects: list[str] = []
        self.counters: list[str] = []
        self.chains: list[Chain] = []

    def collection(self, name: str, key: str, *, size: int, timeout: int, comment: str, value: str = "") -> None:
        """A set (no value) or map that packets fill: bounded by `size` elements, each dies `timeout` seconds after its last update."""
        self.collections[name] = Collection(name, key, value, size, timeout, comment)

    def _object(self, kind: str, name: str, body: list[str], comment: str) -> None:
        lines = "".join(f"\t\t{line}\n" for line in [f'comment "vpnpt: {comment}"', *body])
        self.objects.append(f"\t{kind} {name} {{\n{lines}\t}}")

    def counter(self, name: str, comment: str) -> None:
        """A named counter: survives a reload, read by status."""
        self.counters.append(name)
        self._object("counter", name, [], comment)

    def helper(self, name: str, kind: str, protocol: str) -> None:
        """A conntrack helper object (nf_conntrack_KIND must be there, or the whole transaction fails)."""
        self._object("ct helper", name, [f'type "{kind}" protocol {protocol}', "l3proto ip"], f"the kernel's {kind} helper")

    def expectation(self, name: str, comment: str) -> None:
        """A conntrack expectation object that expects next to nothing: UDP to port 9 of the same pair, for a second.

        nft sends milliseconds, the kernel reads seconds (nft_ct_expect_obj_init): "1s" stays for 1,000 of them.
        """
        self._object("ct expectation", name, ["protocol udp", "dport 9", "timeout 1ms", "size 1", "l3proto ip"], comment)

    def chain(self, name: str, hook: str = "") -> Chain:
        """A new chain; with `hook` ("filter hook prerouting priority raw; policy accept;") a base chain."""
        made = Chain(name, f"type {hook}" if hook else "")
        self.chains.append(made)
        return made

    def declarations(self) -> str:
        """What can't be changed while it is in use: the collections, as text."""
        return "\n".join(collection.render() for collection in self.collections.values())

    def render(self, elements: Mapping[str, Iterable[Element]] | None = None) -> str:
        """The table's text; `elements` are put into the collections they name, with the time they have left."""
        filled = elements or {}
        parts = [f"table {self.family} {TABLE} {{"]
        parts += (collection.render(filled.get(name, ())) for name, collection in self.collections.items())
        parts += self.objects
        for chain in self.chains:
            parts += chain.render()
        return "\n".join([*parts, "}", ""])
