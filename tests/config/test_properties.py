# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for any configuration: whatever is right counts, nothing raises; and the tables of options are whole."""
from hypothesis import given
from hypothesis import strategies as st

from tests.config import default_config
from tests.config.test_config import good
from vpnpt.config.compile import compile_config
from vpnpt.config.options import OPTIONS
from vpnpt.config.texts import MEANINGS, SHARED, meaning
from vpnpt.config.ucitext import parse
from vpnpt.config.values import FALSE_WORDS, PARSERS, TRUE_WORDS
from vpnpt.model import PROTOCOLS, Global, Protocol


def test_the_tables_are_whole():
    assert list(OPTIONS) == ["global", *PROTOCOLS]
    for section, table in OPTIONS.items():
        model = Global if section == "global" else Protocol
        assert len({option.name for option in table}) == len(table)
        for option in table:
            assert option.kind in PARSERS
            assert option.closed in ("", *option.choices)
            assert (option.field or option.name) in model.__slots__
            assert meaning(section, option.name).endswith(".")
            assert option.kind not in ("int", "port") or option.low < option.high
            assert option.kind != "choice" or option.default in ("", *option.choices)
    assert {(section, name) for section, found in MEANINGS.items() for name in [*found, *(SHARED if section != "global" else ())]} == {
        (section, option.name) for section, table in OPTIONS.items() for option in table}
    assert not Global.DEFAULTS and {option.target for option in OPTIONS["global"]} == set(Global.__slots__)
    assert {option.target for table in OPTIONS.values() for option in table} == {*Global.__slots__, *Protocol.__slots__} - {"name"}


SOURCES = ["192.168.1.0/24", "192.168.1.9", "2001:db8::/32", "00:00:5e:00:53:01"]
WORDS = {"bool": st.sampled_from(TRUE_WORDS + FALSE_WORDS), "zone": st.text("abc-1", min_size=1, max_size=5).map("z".__add__),
         "device": st.text("abc-.1@", min_size=1, max_size=14), "source": st.sampled_from(SOURCES)}


def words(section, option):
    if option.kind == "choice":
        return st.sampled_from(option.choices)
    if option.kind == "port":  # no two protocols the same
        first = 5000 + 8000 * PROTOCOLS.index(section)
        return st.integers(first, first + 7999).map(str)
    if option.kind == "int":
        return st.integers(option.low, option.high).map(str)
    return WORDS[option.kind]


@st.composite
def sections(draw, names=("pptp", "l2tp", "ipsec", "openvpn", "wireguard")):
    """Text of valid protocol sections, and the values in it by section and field."""
    lines, expected = [], {}
    for name in draw(st.lists(st.sampled_from(names), unique=True)):
        lines.append(f"config protocol '{name}'")
        expected[name] = {}
        for option in draw(st.lists(st.sampled_from(OPTIONS[name]), unique_by=lambda option: option.name)):
            chosen = draw(st.lists(words(name, option), min_size=1, max_size=3 if option.many else 1, unique=True))
            lines += [f"\t{'list' if option.many else 'option'} {option.name} '{word}'" for word in chosen]
            values = tuple(PARSERS[option.kind](word, option) for word in chosen)
            expected[name][option.field or option.name] = values if option.many else values[0]
    return "\n".join(lines) + "\n", expected


@given(sections())
def test_what_is_written_is_what_counts(case):
    text, expected = case
    config = good(text)
    for name, protocol in config.protocols.items():
        assert protocol == default_config().protocols[name].replace(**expected.get(name, {}))


PIECES = st.sampled_from(
    ["config ", "config vpnpt 'global'\n", "\n", "'", '"', " ", "\\", ";", "#", *(f"config protocol '{name}'\n" for name in PROTOCOLS),
     *(f"config {word} 'ipsec'\n" for word in ("1", "0", "2")),
     *(f"option {option.name} " for table in OPTIONS.values() for option in table),
     *(f"list {option.name} " for table in OPTIONS.values() for option in table),
     "1\n", "0\n", "65535\n", "lan\n", "br-lan\n", "192.168.1.1/24\n", "::/0\n", "block\n", "'\udcff'\n", "''\n", "é\n"])


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
def test_never_raises_and_says_why(text):
    config, diagnostics = compile_config(text)
    assert (config is None) == any(diagnostic.severity == "error" for diagnostic in parse(text).diagnostics)
    for diagnostic in diagnostics:
        assert diagnostic.remedy
        assert "\n" not in str(diagnostic)
    if config:
        general = config.general
        assert 1 <= general.zone_base <= general.zone_base + general.zone_count - 1 <= 65535
        assert general.max_clients <= general.zone_count
        assert general.fast_timeout * 2 <= general.key_timeout <= general.client_timeout
        hash(config)
        for transports in (("pptp", "openvpn"), ("l2tp", "ipsec", "openvpn", "wireguard")):
            ports = [port for name in transports for port in set(config.protocols[name].ports)]
            assert len(ports) == len(set(ports))


@given(st.binary(max_size=200))
def test_never_raises_on_bytes(data):
    compile_config(data.decode("utf-8", "surrogateescape"))
