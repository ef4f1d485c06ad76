# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m vpnpt.daemon`: vpnptd from a checkout."""

import sys

from .loop import main

if __name__ == "__main__":
    sys.exit(main())
