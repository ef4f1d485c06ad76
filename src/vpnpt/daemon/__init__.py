# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnptd: wires the kernel, the router and the pure rooms together. `main` is the program."""

from __future__ import annotations

from .loop import main

__all__ = ["main"]
