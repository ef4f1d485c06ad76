# SPDX-License-Identifier: GPL-2.0-or-later
"""Which L2TP tunnel belongs to which client. Pure: events in, actions out, no clock of its own."""
