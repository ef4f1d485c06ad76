# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/vpnpt.schema.json says of a configuration what config/options.py says.

For fleet tools: the shape is the one that OpenWISP's netjsonconfig renders to UCI (its "All the other settings": a key named after the
package holds a list of sections with config_name, the type, and config_value, the name). `python tests/docs/test_schema.py --write`
makes the file anew.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

import pytest  # noqa: E402
from jsonschema import Draft4Validator, Draft7Validator  # noqa: E402

from vpnpt.config.compile import compile_config  # noqa: E402
from vpnpt.config.options import OPTIONS, Option  # noqa: E402
from vpnpt.config.texts import meaning  # noqa: E402
from vpnpt.config.values import FOLDERS, MAX_DEVICE, MAX_PATH, RESERVED  # noqa: E402

SCHEMA = ROOT / "docs" / "vpnpt.schema.json"
HEX, OCTET = "[0-9a-fA-F]", "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"


# --- from the option tables ------------------------------------------------------------------------------------------------


def _value(option: Option) -> dict[str, Any]:
    """What one value of an option may be."""
    if option.kind == "bool":
        return {"type": "boolean"}
    if option.kind in ("int", "port"):
        return {"type": "integer", "minimum": option.low, "maximum": option.high}
    if option.kind == "choice":
        return {"type": "string", "enum": list(option.choices)}
    if option.kind == "path":
        plain = "(?![.-])[A-Za-z0-9._-]+"
        ending = "(" + "|".join(choice.replace(".", "\\.") for choice in option.choices) + ")" if option.choices else ""
        return {"type": "string", "maxLength": MAX_PATH,
                "pattern": f"^(?!{FOLDERS[0]}/({'|'.join(RESERVED)})$)(/etc/vpnpt|/(var|tmp)/(vpnpt|prometheus)|"
                           f"/mnt/{plain}/vpnpt|/tmp/vpnpt-[A-Za-z0-9._-]*(/{plain})*)/{plain}{'(?<=' + ending + ')' if ending else ''}$"}
    if option.kind == "zone":
        return {"type": "string", "pattern": "^[A-Za-z0-9_.][A-Za-z0-9_.-]*$"}
    if option.kind == "device":
        return {"type": "string", "maxLength": MAX_DEVICE, "pattern": "^(?!\\.\\.?$)[!#-&(-)+-.0-9;-\\[\\]-~]+$"}
    assert option.kind == "source"
    mac = f"{HEX}{{2}}([:-]{HEX}{{2}}){{5}}"
    ipv4 = rf"{OCTET}(\.{OCTET}){{3}}(/([0-9]|[12][0-9]|3[0-2]|{OCTET}(\.{OCTET}){{3}}))?"
    prefix = "(/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?"
    whole = "(?=[^/]*::|([^:/]+:){6,7}[^:/]+(/|$))"  # all eight groups, or :: in the place of some
    ipv6 = f"{whole}({HEX}{{0,4}}:){{2,7}}({HEX}{{0,4}}|{OCTET}(\\.{OCTET}){{3}}){prefix}"
    return {"type": "string", "pattern": f"^({mac}|{ipv4}|{ipv6})$"}


def _property(section: str, option: Option) -> dict[str, Any]:
    found: dict[str, Any] = {"title": option.name, "description": meaning(section, option.name)}
    value = _value(option)
    if option.many:
        found |= {"type": "array", "items": value, "uniqueItems": True}
        found["default"] = list(option.default)
    else:
        found |= value
        if option.default != "":
            found["default"] = option.default
    if option.unit:
        found["description"] += f" In {option.unit}." if option.unit == "seconds" else ""
    return found


def _section(name: str) -> dict[str, Any]:
    types = ["vpnpt"] if name == "global" else ["protocol", "1", "0"]
    about = ("The options of vpnpt as a whole." if name == "global" else
             f"The protocol {name}. The type 1 or 0 is its switch, and wins over the option enabled, which counts with the type protocol.")
    head = {"config_name": {"type": "string", "enum": types, "title": "type of the section"},
            "config_value": {"type": "string", "enum": [name], "title": "name of the section"}}
    return {"title": name, "description": about, "type": "object", "required": ["config_name", "config_value"],
            "additionalProperties": False, "properties": {**head, **{option.name: _property(name, option) for option in OPTIONS[name]}}}


def schema() -> dict[str, Any]:
    """The whole file."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "vpnpt",
            "description": "The UCI package vpnpt, in the shape that OpenWISP's netjsonconfig renders to UCI.", "type": "object",
            "properties": {"vpnpt": {"type": "array", "title": "VPN passthrough", "uniqueItems": True,
                                     "items": {"anyOf": [{"$ref": f"#/definitions/{name}"} for name in OPTIONS]}}},
            "definitions": {name: _section(name) for name in OPTIONS}}


# --- tests -----------------------------------------------------------------------------------------------------------------


def test_the_file_is_what_the_tables_say() -> None:
    assert json.loads(SCHEMA.read_text()) == schema(), "run: python tests/docs/test_schema.py --write"


@pytest.mark.parametrize("validator", [Draft4Validator, Draft7Validator])
def test_it_is_a_schema(validator: type[Draft4Validator] | type[Draft7Validator]) -> None:
    validator.check_schema(schema())


def uci(document: dict[str, Any]) -> str:
    """As netjsonconfig renders it: truth values as 1 and 0, lists as lists."""
    lines = []
    for section in document["vpnpt"]:
        lines.append(f"config {section['config_name']} '{section['config_value']}'")
        for name, value in section.items():
            if isinstance(value, list):
                lines += [f"\tlist {name} '{item}'" for item in value]
            elif not name.startswith("config_"):
                lines.append(f"\toption {name} '{int(value) if isinstance(value, bool) else value}'")
    return "\n".join(lines) + "\n"


def accepted(section: str, **options: Any) -> bool:
    """By the schema."""
    kind = "vpnpt" if section == "global" else "protocol"
    document = {"vpnpt": [{"config_name": kind, "config_value": section, **options}]}
    return Draft7Validator(schema()).is_valid(document)


def compiled(section: str, **options: Any) -> bool:
    """By vpnpt, without a word of complaint."""
    kind = "vpnpt" if section == "global" else "protocol"
    return not compile_config(uci({"vpnpt": [{"config_name": kind, "config_value": section, **options}]}))[1]


ALL = [pytest.param(section, option, id=f"{section}.{option.name}") for section, options in OPTIONS.items() for option in options]
GOOD: dict[str, list[Any]] = {
    "bool": [True, False], "zone": ["guest_2", "a-b.c", "9"],
    "device": ["br-lan", "eth0.2", "pppoe-wan", "wlan0-1", "a@b", "x" * 15],
    "source": ["192.168.1.2", "192.168.1.0/24", "192.168.1.0/255.255.255.0", "2001:db8::1", "2001:db8::/32", "00:00:5e:00:53:01",
               "00-00-5E-00-53-01", "::1", "::ffff:192.0.2.1"],
    "path": [*(f"{folder}/history" for folder in FOLDERS), "/mnt/usb-stick/vpnpt/x", "/var/vpnpt/usage", "/etc/vpnpt/a.b_c-D",
             "/tmp/vpnpt-site/history", "/tmp/vpnpt-a.b/c/d/history"]}
BAD: dict[str, list[Any]] = {
    "bool": ["maybe", 7], "choice": ["", "purple"], "zone": ["-lan", "a/b", "a*"],
    "device": ["br-*", "x" * 16, "a/b", "a:b", ".", "..", 'a"b', "a\\b", ""],
    "source": ["nobody", "192.168.1", "192.168.1.0/33", "256.1.1.1", "host.example", "00:00:5e:00:53", "2001:db8::/129", ""],
    "path": ["history", "/", "/etc/", "/etc/config/vpnpt", "/proc/x", "/etc/vpnpt//b", "/etc/vpnpt/../b", "/etc/vpnpt/./b", "/dev/null",
             "/etc/vpnpt/" + "x" * 200, '/etc/vpnpt/a"b', "/etc/vpnpt", "/etc/vpnpt/", "/etc/vpnpt/a/b", "/var/run/vpnpt/x",
             "/etc/vpnpt/.x",
             "/etc/vpnpt/in-force", "/etc/hotplug.d/iface/99-x", "/etc/init.d/x", "/etc/crontabs/root", "/tmp/dnsmasq.d/x", "/mnt/vpnpt/x",
             "/tmp/vpnpt-x", "/tmp/vpnpt-x/../y", "/tmp/vpnpt-x/.y/z", "/tmp/vpnptx/y",
             "/mnt/../vpnpt/x", "/mnt/-a/vpnpt/x", "/tmp/x", "/var/vpnpt/$(id)", "/var/vpnpt/a b", "/var/vpnpt/a\nb", "/var/vpnpt/\u00e9"]}


def good(option: Option) -> list[Any]:
    if option.kind in ("int", "port"):
        return [option.low, option.high, (option.low + option.high) // 2]
    if option.kind == "choice":
        return list(option.choices)
    if option.kind == "path":
        return [path + ending for path in GOOD["path"] for ending in option.choices or ("",)]
    return GOOD[option.kind]


def bad(option: Option) -> list[Any]:
    if option.kind in ("int", "port"):
        return [option.low - 1, option.high + 1, "many", -1]
    ends = ["/var/x.txt", "/var/prom"] if option.kind == "path" and option.choices else []
    return BAD[option.kind] + ends


@pytest.mark.parametrize(("section", "option"), ALL)
def test_what_the_schema_takes_vpnpt_takes(section: str, option: Option) -> None:
    """Each value alone, in a configuration that says nothing else; options that depend on others may be brought into line."""
    for value in good(option):
        given = {option.name: [value] if option.many else value}
        assert accepted(section, **given), given
        config, diagnostics = compile_config(uci({"vpnpt": [
            {"config_name": "vpnpt" if section == "global" else "protocol", "config_value": section, **given}]}))
        assert config is not None, given
        assert not [item for item in diagnostics if "using" not in item.remedy or option.kind != "int"], (given, diagnostics)


@pytest.mark.parametrize(("section", "option"), ALL)
def test_what_vpnpt_complains_of_the_schema_refuses(section: str, option: Option) -> None:
    for value in bad(option):
        given = {option.name: [value] if option.many else value}
        assert not accepted(section, **given), given
        assert value == "" or not compiled(section, **given), given


@pytest.mark.parametrize(("section", "option"), ALL)
def test_an_option_has_one_value_or_many(section: str, option: Option) -> None:
    value = good(option)[0]
    assert not accepted(section, **{option.name: value if option.many else [value]})


def test_what_there_is_not_is_refused() -> None:
    assert not accepted("global", colour="blue") and not accepted("ipsec", lan_zone=["lan"]) and not accepted("sstp")
    assert accepted("ipsec") and accepted("global")


def test_the_defaults_are_a_configuration() -> None:
    """Everything at its default, both forms of a protocol's section: no complaint, and it means what an empty file means."""
    sections = []
    for name, options in OPTIONS.items():
        section: dict[str, Any] = {"config_name": "vpnpt" if name == "global" else "protocol", "config_value": name}
        for option in options:
            if option.default not in ("", ()):
                section[option.name] = list(option.default) if option.many else option.default
        sections.append(section)
    assert Draft7Validator(schema()).is_valid({"vpnpt": sections})
    assert compile_config(uci({"vpnpt": sections})) == compile_config("")
    assert Draft7Validator(schema()).is_valid({"vpnpt": [{"config_name": "1", "config_value": "ipsec"}]})


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    SCHEMA.write_text(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
