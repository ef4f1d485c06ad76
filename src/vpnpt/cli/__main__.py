# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m vpnpt.cli`: the command from a checkout."""

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
