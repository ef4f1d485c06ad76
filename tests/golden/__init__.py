# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden files: UCI configuration in, ruleset, fw4's rules and warnings out, byte for byte."""
