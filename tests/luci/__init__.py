# SPDX-License-Identifier: GPL-2.0-or-later
"""The LuCI app: in the real LuCI where LUCI_ROOT names one, among LuCI's own code with LUCI_SOURCE, and everywhere over a stand-in."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
