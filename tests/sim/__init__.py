# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulator of contended servers: thousands of clients against a model of the kernel and the real engine, with ground truth."""
