# SPDX-License-Identifier: GPL-2.0-or-later
"""Options, the UCI text, and what is compiled from it."""
from __future__ import annotations

from vpnpt.config.compile import compile_config
from vpnpt.model import Config


def default_config() -> Config:
    """What counts where the file says nothing."""
    config, _ = compile_config("")
    assert config is not None
    return config
