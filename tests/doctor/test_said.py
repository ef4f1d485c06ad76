# SPDX-License-Identifier: GPL-2.0-or-later
"""Sentences as codes with values: English in the terminal, the same code for the browser."""
from __future__ import annotations

import json
import re
import string

import pytest

from vpnpt.doctor.codes import CODES
from vpnpt.doctor.said import english, say, several
from vpnpt.doctor.texts import TEXTS
from vpnpt.model import plain


def test_nested() -> None:
    said = say("blocks", rule=say("rule-comment", name="kids"), kinds=("ESP", say("over-ipv6", kind="IKE")))
    assert english(said) == "Rule 'kids' stops ESP, IKE over IPv6 between LAN and WAN."
    assert json.loads(json.dumps(plain(said))) == {"code": "blocks", "values": {
        "rule": {"code": "rule-comment", "values": {"name": "kids"}},
        "kinds": ["ESP", {"code": "over-ipv6", "values": {"kind": "IKE"}}]}}


def test_what_a_router_says_is_no_template() -> None:
    assert english(say("rule-comment", name="{where} %s")) == "rule '{where} %s'"


@pytest.mark.parametrize(("code", "values"), [("nothing-like-it", {}), ("rule-comment", {})])
def test_an_unknown_code_or_a_missing_value_is_an_error(code: str, values: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        say(code, **values)


def test_several() -> None:
    assert english(several(["a", "b", "a"])) == "a, b" and english(several("abcdef")) == "a, b, c, d and 2 more"


def test_every_code_has_its_remedy() -> None:
    assert {f"do-{code}" for code in CODES} <= set(TEXTS)


@pytest.mark.parametrize("code", TEXTS)
def test_places_have_names(code: str) -> None:
    """As LuCI's own replacement knows them."""
    for _, name, form, conversion in string.Formatter().parse(TEXTS[code]):
        assert name is None or (name.isidentifier() and not form and not conversion)


def test_no_number_stands_before_a_plural() -> None:
    """`1 packets`: a number goes to the end, or is followed by a unit."""
    assert [code for code, text in TEXTS.items()
            if re.search(r"\{(?:packets|flows|attempts|asked|left|came|delivered|seconds)\} (?:packets|flows|seconds)\b", text)] == []
