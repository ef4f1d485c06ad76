# SPDX-License-Identifier: GPL-2.0-or-later
"""Our views, drawn over a thin stand-in for LuCI's loader, of recorded answers: runs wherever there is a Chromium."""
