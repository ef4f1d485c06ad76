# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs of the ecosystem that talk to us as they talk to everybody: jsonfilter in a shell script, python3-ubus, netjsonconfig.

python3-ubus is a module of the router's Python (PyPI: ubus), netjsonconfig one of this machine's: what is missing is skipped, loudly.
"""
from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vpnpt.config.compile import compile_config

if TYPE_CHECKING:
    from tests.lab.verbs import Stage
    from tests.openwrt.box import Box

OPERATING = Path(__file__).parents[2] / "docs/OPERATING.md"
PYTHON = "python3 -c 'import ubus'"


def example(language: str, word: str) -> str:
    """The block of that language in docs/OPERATING.md that has `word` in it, to be run as it stands there."""
    blocks = OPERATING.read_text().split("```")[1::2]
    (found,) = [block.partition("\n")[2] for block in blocks if block.partition("\n")[0] == language and word in block]
    return found


def test_a_shell_script_with_jsonfilter(box: Box, stage: Stage) -> None:
    assert stage.do_up("c1") == {"c1": "up"}
    stage.do_traffic()
    box.until(lambda: box.sh(example("sh", "jsonfilter")).splitlines() == [box.lab.clients[0].address])


def test_python3_ubus(box: Box, stage: Stage) -> None:
    """A call, and the event of a session that begins."""
    if box.status(PYTHON):
        pytest.skip("the router's Python has no module ubus (python3-ubus): calls and events by it were not tested")
    (box.root / "tmp/script.py").write_text(example("python", "import ubus"))
    box.spawn("sh", "-c", "exec python3 -u /tmp/script.py >/tmp/said 2>&1")
    said = box.root / "tmp/said"
    box.until(lambda: said.exists() and said.read_text().startswith("ipsec help\n"))
    assert stage.do_up("c1") == {"c1": "up"}
    begun = box.until(lambda: [line for line in said.read_text().splitlines()[1:] if line.startswith("vpnpt.session ")])[0]
    assert box.lab.clients[0].address in begun


def test_netjsonconfig_renders_our_file() -> None:
    try:
        library: Any = importlib.import_module("netjsonconfig")
    except ImportError:
        pytest.skip("there is no netjsonconfig (`.venv/bin/pip install netjsonconfig`): what OpenWISP makes of our schema was not tested")
    text = library.OpenWrt(json.loads(example("json", "config_name"))).render()
    assert text.startswith("package vpnpt\n")
    config, diagnostics = compile_config(text.partition("\n")[2], "vpnpt")
    assert config is not None and diagnostics == []
    assert config.general.on_drift == "alert" and config.protocols["ipsec"].enabled
