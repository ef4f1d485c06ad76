# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon knows of itself, and the system it runs on. Pure."""
from __future__ import annotations

from ..model import PROTOCOLS
from .dated import ENDED
from .facts import finding
from .said import say, several
from .traffic import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts, Finding, LeftOut

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
        yield finding("CONFIG", say("config"), facts.problem)
    if facts.config is None:
        return
    if not facts.in_place:
        yield finding("RULES_MISSING", say("rules-missing"), say("rules-missing-seen"))
    if facts.drift:
        yield finding("RULES_CHANGED", say("rules-changed"), facts.drift)
    for item in facts.diagnostics:
        if item.severity == "warning" or not facts.problem:  # with errors in it, it may be in force: what they are about is closed
            yield finding("CONFIG_WARNING", say("config-warning"), item, item.remedy)
    if not facts.notices:
        yield finding("NOTICES_MISSING", say("notices-missing"), say("notices-missing-seen"))


def _kernel(facts: Facts) -> Iterator[Finding]:
    for item in facts.missing:
        yield finding("KERNEL_FEATURE", say("kernel-feature", feature=item.feature, needed=item.needed_for),
                      say("kernel-feature-seen"), say("kernel-feature-do", package=item.package))
    if facts.helper_missing:
        yield finding("PPTP_HELPER_MISSING", say("helper-missing"), say("helper-missing-seen"), say("helper-missing-do"))
    version = _version(facts.kernel)
    if version and version < OLDEST_KERNEL:
        yield finding("KERNEL_OLD", say("kernel-old", version=facts.kernel), say("kernel-old-seen", version=facts.kernel))


def _version(text: str) -> tuple[int, int] | None:
    words = text.split("-")[0].split("+")[0].split(".")
    return (int(words[0]), int(words[1])) if len(words) > 1 and words[0].isdigit() and words[1].isdigit() else None


def _release(facts: Facts) -> Iterator[Finding]:
    series = facts.release.partition(".")[0]
    if series in ENDED:
        yield finding("RELEASE_EOL", say("release-eol", release=facts.release, when=ENDED[series]),
                      say("release-eol-seen", release=facts.release))


def _room(facts: Facts) -> Iterator[Finding]:
    count, limit = facts.conntrack
    if limit and count >= NEARLY * limit:
        yield finding("CONNTRACK_FULL", say("conntrack-full", percent=count * 100 // limit),
                      say("conntrack-full-seen", count=count, limit=limit))
    refused = facts.counters.get("clients_full", (0, 0))[0]
    if refused:
        yield finding("CLIENTS_FULL", say("clients-full"), say("clients-full-seen", packets=refused))
    yield from _left_out(facts)
    for name, (used, size) in sorted(facts.fill.items()):
        if size and used >= NEARLY * size:
            yield finding("MAPS_FULL", say("maps-full", name=name), say("maps-full-seen", used=used, size=size))


def _left_out(facts: Facts) -> Iterator[Finding]:
    """Hosts without a zone, by why they have none."""
    used, size = facts.fill.get("client_zone", (0, 0))
    by: dict[str, list[LeftOut]] = {}
    for host in facts.left_out:
        served = not host.device or facts.devices is None or host.device in facts.devices.lan
        by.setdefault("" if served else host.device, []).append(host)
    for device, hosts in by.items():
        case = "left-out" if device else "left-out-full" if size and used >= size else "left-out-rate"
        values = {"device": device} if device else {}
        yield finding("HOSTS_LEFT_OUT", say(case, clients=several(text(host.client) for host in hosts), **values),
                      say("left-out-seen", servers=several(text(host.server) for host in hosts)), say(f"{case}-do", **values))


def _protocols(facts: Facts) -> Iterator[Finding]:
    if facts.config is None:
        return
    if facts.helps("pptp"):
        yield finding("WEAK_PPTP", say("weak-pptp"), say("weak-pptp-seen"))
    days = facts.config.general.unused_days
    for name in PROTOCOLS if days else ():
        last = facts.usage.get(name)
        in_use = any(protocol == name for protocol, _ in facts.flows)
        if last is not None and not in_use and facts.helps(name) and facts.now - last >= days * DAY:
            yield finding("UNUSED", say("unused", protocol=name, days=(facts.now - last) // DAY),
                          say("unused-seen", protocol=name))
