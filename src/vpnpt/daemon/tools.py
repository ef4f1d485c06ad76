# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of package vpnpt-tools: what nobody needs for packets to pass. Handlers are as in api.py, and import what they need when they
are asked: most routers never need it."""
from __future__ import annotations

import os
import time

from ..model import PROTOCOLS
from .child import Aside  # at once: where descriptors are scarce, it can't be read later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .context import Context, Handler
    from .pending import Pending


def _doctor(context: Context, _arguments: Mapping[str, str]) -> Pending:
    def examine() -> dict[str, Any]:
        # Here, in the child: the daemon need not carry these modules.
        from ..gather import examine as gather
        return gather(context.service, context.feed)

    context.feed.learn()  # who was refused
    if context.aside is None:
        context.aside = Aside(context.selector)
    return context.aside.run(examine)


def _why(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Begins a watch over a client (and server), asks how far one is, or ends it."""
    if context.watches is None:
        from .why import Watches
        context.watches = Watches(context.service, context.feed, Aside(context.selector), context.selector)
    return context.watches.handle(arguments)


def _metrics(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"text": metrics(context)}


def metrics(context: Context) -> str:
    """The state as Prometheus reads it."""
    from .exporter import collect
    return collect(context.service, context.feed, context.log, context.status())


def _changes(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Newest first."""
    if context.service.history is None:
        return {"changes": []}
    history = context.service.history.history
    found = context.log.since("changes", reversed(history.answer()), history.count, arguments)
    found["changes"].reverse()
    return found


def _throughput(context: Context, _arguments: Mapping[str, str]) -> dict[str, Any]:
    return context.counting.sums.answer() if context.counting is not None else {"hours": [], "days": []}


def count(context: Context) -> float:
    """Adds what has passed since the last time; in how many seconds to call again."""
    if context.counting is None:
        from .throughput import Counting
        context.counting = Counting(context.service, context.feed)
    return context.counting.sample()


def news(context: Context, found: dict[str, Any], since: str) -> dict[str, Any]:
    """Of a table of sessions what is new; since: the last answer's `revision`, '' at first."""
    if context.revisions is None:
        from ..sessions.revisions import Revisions
        context.revisions = Revisions(f"{os.getpid()}-{int(time.time())}")
    return context.revisions.answer(found, since) | {"capped": found["capped"]}


def _block(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    return _deny(context, arguments, blocked=True)


def _unblock(context: Context, arguments: Mapping[str, str]) -> dict[str, Any]:
    return _deny(context, arguments, blocked=False)


def _deny(context: Context, arguments: Mapping[str, str], *, blocked: bool) -> dict[str, Any]:
    """Adds a client to a protocol's deny_src, or takes it out, in the committed configuration, which is then put in force."""
    from ..config.values import BadValue, source
    from ..router import uciedit

    name, config = arguments.get("protocol", ""), context.service.config
    if name not in PROTOCOLS:
        return {"error": f"which protocol? one of {', '.join(PROTOCOLS)}"}
    try:
        client = source(arguments.get("client", "").partition("/")[0]).text
    except BadValue:
        return {"error": "whose? give a client by its address or MAC"}
    if blocked and config is not None and config.behaviour(name) == "ignore":
        return {"error": f"{name} is left alone (when_disabled is ignore): enable it, or block it for all"}
    try:
        changed = uciedit.edit_list(context.service.config_dir, name, "deny_src", client, present=blocked)
    except (OSError, ValueError) as error:
        return {"error": f"the configuration can't be written: {error}"}
    if changed and not context.reload():
        return {"error": context.service.problem}
    return {"blocked": blocked, "client": client, "protocol": name, "changed": changed}


HANDLERS: Mapping[str, Handler] = {
    "doctor": _doctor, "why": _why, "changes": _changes, "metrics": _metrics, "throughput": _throughput, "block": _block,
    "unblock": _unblock}
