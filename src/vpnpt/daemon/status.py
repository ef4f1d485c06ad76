# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon knows, as one snapshot: the shape that ubus, CLI, LuCI and metrics print. Pure."""

from __future__ import annotations

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ..model import Config, Devices, Diagnostic

COUNTED = {"clients": "client_zone", "servers": "servers", "contended": "slot1", "spis": "spi_zone", "cookies": "cookies",
           "l2tp_tunnels": "l2tp_port"}
"""What is counted: the field of the snapshot, and the collection whose elements it counts."""


def snapshot(*, config: Config | None, devices: Devices | None, started: float, pid: int, in_place: bool, problem: str,
             diagnostics: Iterable[Diagnostic], helper_missing: bool, counters: Mapping[str, tuple[int, int]],
             count: Callable[[str], int], last_since: int = 0) -> dict[str, Any]:
    """All fields, always. since: seconds of the epoch. counters: packets refused or not served, since the tables were made.

    in_force: which configuration: `file` (all that it says), `partly` (some of it is wrong: diagnostics), `earlier` (the file can't be
    used now, what was in force is), `last` (at a start with such a file: the last one without an error), `none`. in_force_since: of `last`,
    seconds of the epoch, else 0.

    diagnostics_said: the diagnostics once more, as fields with codes for sentences (model.Diagnostic).

    protocols: by name, `behaviour` (help, block, ignore) and its counters; empty while no configuration is in force.
    """
    diagnostics, protocols = list(diagnostics), {}
    wrong = bool(problem) or any(item.severity == "error" for item in diagnostics)
    in_force = "none" if config is None else "last" if last_since else "earlier" if problem else "partly" if wrong else "file"
    for name in config.protocols if config is not None else ():
        own = {key[len(name) + 1:]: packets for key, (packets, _) in counters.items() if key.startswith(f"{name}_")}
        protocols[name] = {"behaviour": config.behaviour(name) if config is not None else "", "counters": own}
    return {
        "version": __version__, "pid": pid, "since": int(started), "in_place": in_place, "problem": problem,
        "in_force": in_force, "in_force_since": last_since,
        "diagnostics": [str(item) for item in diagnostics], "diagnostics_said": [item.shown() for item in diagnostics],
        "enabled": config is not None and config.general.enabled,
        "lan": list(devices.lan) if devices is not None else [], "wan": list(devices.wan) if devices is not None else [],
        "zones": [zone.as_dict() for zone in devices.found] if devices is not None else [],
        "protocols": protocols, "helper_missing": helper_missing, **{field: count(name) for field, name in COUNTED.items()},
        "copies": counters.get("copies", (0, 0))[0], "clients_full": counters.get("clients_full", (0, 0))[0],
    }
