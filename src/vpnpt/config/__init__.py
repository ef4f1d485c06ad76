# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text → Config, and what is wrong with it. Pure: no file is opened here."""
