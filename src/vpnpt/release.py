# SPDX-License-Identifier: GPL-2.0-or-later
"""Which OpenWrt this is."""
from __future__ import annotations

import contextlib

RELEASE = "/etc/openwrt_release"


def release() -> str:
    """OpenWrt's release, as `24.10.2`; '' on another system, 'SNAPSHOT' on a development build."""
    with contextlib.suppress(OSError), open(RELEASE, encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition("=")
            if name.strip() == "DISTRIB_RELEASE":
                return value.strip().strip("'\"")
    return ""
