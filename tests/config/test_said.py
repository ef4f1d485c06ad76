# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wrong with a configuration, as codes with values: English in the terminal, any language in LuCI."""
from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from buildroot import messages, po
from tests.config.test_config import SHIPPED
from vpnpt.config.compile import compile_config
from vpnpt.config.texts import MEANINGS, SHARED
from vpnpt.model import Diagnostic, Said, joined, plain
from vpnpt.router.devices import resolve_devices

BAD = """package other
option stray 1
confg protocol 'l2tp'
config
config prot\u00f6l
config 'maybe' 'pptp'
config protocol 'ipsce'
config protocol
config zone
config vpnpt 'second'
config vpnpt 'global'
\toption zone_base 40000
\toption zone_count 40000
\toption max_clients 60000
\toption key_timeout 90000
\toption client_timeout 100
\toption fast_timeout 80000
\toption pending_timeout x
\toption unused_days 9999
\toption log_level loud
\toption log_level 'very loud'
\tlist lan_device br-lan
\tlist lan_device eth9+
\tlist lan_device a-name-of-sixteen
\tlist lan_device a/b
\tlist wan_device br-lan
\tlist lan_zone 'a*b'
\toption history relative
\toption metrics_file /etc/vpnpt/.x
\toption colour green
\toption multi_cleint 1
\toption 'on drift' 1
\toption
config 1 'ipsec'
\toption enabled 0
\tlist natt_port 70000
\tlist natt_port 4500
\tlist natt_port 4500
\tlist allow_src 192.168.1.7/24
\tlist deny_src nobody
\tlist deny_src 192.168.1.0/40
\tlist esp_offload 1
\tlist esp_offload 0
config protocol 'openvpn'
\toption port 4500
\toption enabled perhaps
config 'perhaps' 'wireguard'
config protocol 'wireguard' too many
"""
PASSED_ON = {("values.py", "option.unit"),
             ("log.py", "text"), ("apply.py", "problem"), ("apply.py", "self.summary()"), ("apply.py", "item.replace(severity='')"),
             ("loop.py", "self._trouble"), ("spi_driver.py", "action.text")}
"""What is a sentence already, but the first."""
ENDLESS = "config vpnpt 'global\n"


def found(text: str = BAD) -> list[Diagnostic]:
    return compile_config(text, "/etc/config/vpnpt")[1]


def said(value: Any) -> list[Said]:
    """A sentence and all within it."""
    return [value, *(inner for item in value.values.values() for inner in said(item))] if isinstance(value, Said) else []


def test_every_way_of_getting_it_wrong_has_a_translated_template() -> None:
    config, diagnostics = compile_config(BAD, "/etc/config/vpnpt")
    assert config is not None
    everything = [*diagnostics, *found(ENDLESS), *found("\0"), *resolve_devices(config, config_dir="/nowhere", existing=("eth0",))[1]]
    codes = {one.code for item in everything for one in [*said(item.message), *said(item.remedy)]}
    assert len(codes) > 60
    assert codes <= set(messages.sentences())


@pytest.mark.parametrize("language", po.languages())
def test_every_template_in_every_language(language: str) -> None:
    words = po.read(po.APP / f"po/{language}/vpnpt.po")
    for code in messages.sentences():
        assert words.get(code), code
        assert sorted(po.PLACEHOLDER.findall(words[code])) == sorted(po.PLACEHOLDER.findall(code))


def test_a_template_is_written_as_one() -> None:
    """No f-string, no sum: the catalogues could not have it. Units of options are known from their table, as the doctor's texts are."""
    made = {(path.name, ast.unparse(text)) for path in messages.SOURCES.rglob("*.py") for text in messages.templates(path)
            if path.parent.name != "doctor" and not isinstance(text, ast.Constant)}
    assert made == PASSED_ON


def test_the_file_of_templates_is_the_sources_() -> None:
    assert messages.SENTENCES.read_text() == messages.made_sentences(), "run: python -m buildroot.messages update"


def test_a_sentence_is_its_code_with_values() -> None:
    one = joined(Said("valid: {low} to {high}", low=1, high=7), Said("using {value}", value="{x} %s"))
    assert one == "valid: 1 to 7; using {x} %s" and isinstance(one, str)
    assert json.loads(json.dumps(plain(one))) == {"code": "{one}; {other}", "values": {
        "one": {"code": "valid: {low} to {high}", "values": {"low": 1, "high": 7}},
        "other": {"code": "using {value}", "values": {"value": "{x} %s"}}}}


@pytest.mark.parametrize("item", [*found(), *found(ENDLESS)], ids=lambda item: str(item.line))
def test_as_json_it_is_what_the_terminal_shows(item: Diagnostic) -> None:
    shown = json.loads(json.dumps(item.shown()))

    def english(value: Any) -> str:
        if not isinstance(value, dict):
            return str(value)
        return str(value["code"]).format(**{name: english(inner) for name, inner in value["values"].items()})

    words = [f"{name} {value}" for name, value in (("section", f"'{shown['section']}'"), ("option", f"'{shown['option']}'"),
                                                   ("value", shown["value"])) if value not in ("''", None)]
    place = f"{shown['file']}:{shown['line']}" if shown["line"] else shown["file"]
    parts = [shown["severity"], place, " ".join(words), english(shown["message"])]
    assert str(item) == ": ".join(filter(None, parts)) + "; " + english(shown["remedy"])


def test_bytes_that_are_no_text() -> None:
    """JSON and ubus carry them escaped."""
    text = b"config protocol 'ipsec'\n\toption enabled '\xff'\n".decode("utf-8", "surrogateescape")
    (item,) = found(text)
    json.dumps(item.shown()).encode()
    assert item.shown()["value"] == r"'\udcff'"


def test_what_is_shipped_is_right() -> None:
    assert found(Path(SHIPPED).read_text()) == []


def test_no_option_has_two_meanings() -> None:
    assert not [name for section in MEANINGS.values() for name in section if name in SHARED and section is not MEANINGS["global"]]
