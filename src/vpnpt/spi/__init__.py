# SPDX-License-Identifier: GPL-2.0-or-later
"""Who owns an inbound SPI of a server with several clients. Pure: events in, actions out, no clock of its own."""
