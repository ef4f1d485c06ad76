# SPDX-License-Identifier: GPL-2.0-or-later
"""What others did to our tables (drift), and what changed between two states (changes). Pure."""
