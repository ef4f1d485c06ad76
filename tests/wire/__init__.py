# SPDX-License-Identifier: GPL-2.0-or-later
"""Wire codecs: annotated dumps, hostile input, and the real kernel."""
