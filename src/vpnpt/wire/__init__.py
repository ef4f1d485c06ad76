# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes to events and back: pure codecs, no sockets."""
