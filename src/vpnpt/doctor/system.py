# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon knows of itself, and the system it runs on. Pure."""
from __future__ import annotations

from ..model import PROTOCOLS
from .dated import ENDED
from .facts import finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding

OLDEST_KERNEL = (5, 15)
NEARLY = 0.9
DAY = 86400


def findings(facts: Facts) -> Iterator[Finding]:
    """All that these facts say."""
    yield from _daemon(facts)
    yield from _kernel(facts)
    yield from _release(facts)
    yield from _room(facts)
    yield from _protocols(facts)


def _daemon(facts: Facts) -> Iterator[Finding]:
    if facts.problem:
        yield finding("CONFIG", "The configuration could not be put in force.", facts.problem)
    if facts.config is None:
        return
    if not facts.in_place:
        yield finding("RULES_MISSING", "vpnpt's tables are not in the kernel.", "`nft list tables` shows no table `vpnpt`")
    if facts.drift:
        yield finding("RULES_CHANGED", "vpnpt's tables are not as it loaded them.", facts.drift)
    for item in facts.diagnostics:
        if item.severity == "warning":
            yield finding("CONFIG_WARNING", "Something in the configuration was not understood.", str(item), item.remedy)
    if not facts.notices:
        yield finding("NOTICES_MISSING", "The kernel's notices can't be had.", "an NFLOG group could not be bound when the daemon started")


def _kernel(facts: Facts) -> Iterator[Finding]:
    for item in facts.missing:
        yield finding("KERNEL_FEATURE", f"The kernel lacks {item.feature}, which {item.needed_for} needs.",
                      "it refuses a rule that uses it", f"opkg install {item.package}, from OpenWrt 25.12 on: apk add {item.package}")
    if facts.helper_missing:
        yield finding("PPTP_HELPER_MISSING", "PPTP does not pass: the kernel has no helper for it.",
                      "it refuses a rule with the conntrack helper pptp",
                      "opkg install kmod-nf-nathelper-extra, from OpenWrt 25.12 on: apk add kmod-nf-nathelper-pptp")
    version = _version(facts.kernel)
    if version and version < OLDEST_KERNEL:
        yield finding("KERNEL_OLD", f"Linux {facts.kernel} is older than any that vpnpt was tried with.",
                      f"the kernel says it is {facts.kernel}")


def _version(text: str) -> tuple[int, int] | None:
    words = text.split("-")[0].split("+")[0].split(".")
    return (int(words[0]), int(words[1])) if len(words) > 1 and words[0].isdigit() and words[1].isdigit() else None


def _release(facts: Facts) -> Iterator[Finding]:
    series = facts.release.partition(".")[0]
    if series in ENDED:
        yield finding("RELEASE_EOL", f"OpenWrt {facts.release} has had no security fixes since {ENDED[series]}.",
                      f"/etc/openwrt_release: DISTRIB_RELEASE is {facts.release}")


def _room(facts: Facts) -> Iterator[Finding]:
    count, limit = facts.conntrack
    if limit and count >= NEARLY * limit:
        yield finding("CONNTRACK_FULL", f"{count * 100 // limit} % of the connections that the kernel can track are in use.",
                      f"nf_conntrack_count {count} of nf_conntrack_max {limit}")
    refused = facts.counters.get("clients_full", (0, 0))[0]
    if refused:
        yield finding("CLIENTS_FULL", "IPsec clients were refused: as many as max_clients allows are being served.",
                      f"{refused} packets refused since the tables were made")
    for name, (used, size) in sorted(facts.fill.items()):
        if size and used >= NEARLY * size:
            yield finding("MAPS_FULL", f"The kernel's map {name} is nearly full.", f"{used} elements of {size}")


def _protocols(facts: Facts) -> Iterator[Finding]:
    if facts.config is None:
        return
    if facts.helps("pptp"):
        yield finding("WEAK_PPTP", "PPTP is switched on. Whoever listens can break its encryption.", "vpnpt.pptp is on")
    days = facts.config.general.unused_days
    for name in PROTOCOLS if days else ():
        last = facts.usage.get(name)
        in_use = any(protocol == name for protocol, _ in facts.flows)
        if last is not None and not in_use and facts.helps(name) and facts.now - last >= days * DAY:
            yield finding("UNUSED", f"{name} is switched on, and nobody has used it for {(facts.now - last) // DAY} days.",
                          f"no flow of {name} since then")
