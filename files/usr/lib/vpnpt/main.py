# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts a program of the package: `main.py daemon|cli ARGUMENTS`.

The sources are one package for every version of Python. What is compiled of them is kept in RAM, so that the next start is
quick, the flash is spared, and nothing is left behind; OpenWrt's Python would not keep it at all.
"""
import sys

sys.dont_write_bytecode = False
sys.pycache_prefix = "/var/run/vpnpt/bytecode"
sys.path.insert(0, __file__.rpartition("/")[0])

PROGRAMS = {"daemon": "vpnpt.daemon.loop", "cli": "vpnpt.cli.main"}
name = PROGRAMS[sys.argv.pop(1)]
__import__(name)  # importlib would be four more modules
sys.exit(sys.modules[name].main())
