# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents say, held against the code."""
