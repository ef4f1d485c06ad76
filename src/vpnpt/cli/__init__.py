# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnpt: the command for people. The program is `main.main`."""
