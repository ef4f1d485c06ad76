# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab in a virtual machine, under a kernel that has what the host's may lack; `run` starts it."""
