# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of live tunnels, over a stop and a start.

Conntrack's entries outlive our tables. A tunnel whose flow is there already has no first packet, so its pair is not registered again, and
what its server sends is nobody's. So at a stop the maps are written to the run directory, and at a start

- the file is read, if it is of this boot: the time that has passed is taken off, and a map that is of another type now is left out;
- what conntrack's entries in our zones say and the maps do not is added: client, zone and pair, as the rules would have registered them.
  That is all there is after a crash in which the tables were lost too.

Flows in zone 0, which began without us, stay there: conntrack delivers them as before.
"""
from __future__ import annotations

import contextlib
import os
import time

from ..ruleset.maps import SLOTS
from ..sessions.classify import ends
from ..wire.conntrack import DST_NAT, ESP, SEEN_REPLY, SRC_NAT, UDP
from ..wire.nftables import Element, pack_key, pack_zone, unpack_zone
from . import safe_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model import Config
    from ..ruleset import Ruleset
    from ..wire.conntrack import Flow

    Elements = dict[tuple[str, str], list[Element]]

FILE, SEED = "maps", "seed"
LIMIT = 16 << 20
"""Bytes of the file that are read at most."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"
IKE = 500


def save(path: str, elements: Mapping[tuple[str, str], Iterable[Element]], ruleset: Ruleset) -> None:
    """Writes the elements of the collections that `ruleset` has. Raises OSError."""
    lines = [f"vpnpt {_boot()} {int(_now() * 1000)}"]
    for (family, name), found in elements.items():
        kind = _kind(ruleset, family, name)
        if kind:
            lines.append(f"{family} {name} {kind}")
            for one in found:
                data = one.data.hex() if one.data is not None else "-"
                lines.append(f"\t{one.key.hex()} {data} {_number(one.timeout_ms)} {_number(one.expires_ms)}")
    safe_file.replace(path, "\n".join([*lines, "end", ""]).encode())


def load(path: str, ruleset: Ruleset) -> Elements:
    """What `save` wrote, as it is now; nothing if it is of another boot, torn, or not there. The file is used once."""
    try:
        lines = safe_file.read(path, LIMIT).decode("ascii").splitlines()
        safe_file.remove(path)
        head = lines[0].split()
        if head[:2] != ["vpnpt", _boot()] or lines[-1] != "end":
            return {}
        passed = max(0, int(_now() * 1000) - int(head[2]))
        found: Elements = {}
        into: list[Element] | None = None
        for line in lines[1:-1]:
            if not line.startswith("\t"):
                family, name, kind = line.split(" ", 2)
                into = found.setdefault((family, name), []) if kind == _kind(ruleset, family, name) else None
            elif into is not None:
                key, data, timeout, expires = line.split()
                left = None if expires == "-" else int(expires) - passed
                if left is None or left > 0:
                    into.append(Element(bytes.fromhex(key), None if data == "-" else bytes.fromhex(data),
                                        None if timeout == "-" else int(timeout), left))
        return found
    except (OSError, ValueError, IndexError):
        return {}


def add_flows(elements: Elements, flows: Iterable[Flow], config: Config) -> int:
    """Adds the clients and pairs that IPv4 flows in our zones tell of and `elements` lacks; how many pairs. As chain `register` does."""
    of = {name: elements.setdefault(("ip", name), []) for name in (
        "client_zone", "zone_client", "zones", "proven", "pairs", "heard", "servers", "solo", "contended", "crowded",
        *(f"client{slot}" for slot in range(SLOTS)), *(f"slot{slot}" for slot in range(1, SLOTS)))}
    zones = {one.key[:4]: zone for one in of["client_zone"] if (zone := unpack_zone(one.data)) is not None}
    taken = set(zones.values())
    pairs = {one.key for one in of["pairs"]}
    servers = {one.key[:4] for one in of["servers"]}
    clients: dict[bytes, int] = {}
    for slot in range(SLOTS):
        for one in of[f"client{slot}"]:
            clients[one.key[:4]] = slot + 1
    before = len(pairs)
    for flow in flows:
        if not 0 <= flow.zone - config.general.zone_base < config.general.zone_count or not flow.status & (SRC_NAT | DST_NAT):
            continue
        ike = flow.orig.proto == UDP and IKE in (flow.orig.sport, flow.orig.dport)
        if len(flow.orig.src) != 4 or not (ike or flow.orig.proto == ESP):
            continue
        client, server = ends(flow)
        if client not in zones:
            if flow.zone in taken or len(zones) >= config.general.max_clients:
                continue
            zones[client] = flow.zone
            taken.add(flow.zone)
            of["client_zone"].append(Element(client, pack_zone(flow.zone)))
            of["zone_client"].append(Element(pack_zone(flow.zone), client))
            of["zones"].append(Element(pack_zone(flow.zone)))
        key = pack_key(client, server)
        if zones[client] != flow.zone or key in pairs:
            continue
        pairs.add(key)
        of["pairs"].append(Element(key))
        if flow.status & SEEN_REPLY:
            of["heard"].append(Element(pack_key(server, pack_zone(flow.zone))))
            of["proven"].append(Element(client))
        if server not in servers:
            servers.add(server)
            of["servers"].append(Element(server))
            of["solo"].append(Element(server, pack_zone(flow.zone)))
        slot = clients.get(server, 0)
        if slot == 1:
            of["contended"].append(Element(server))
        if slot >= SLOTS:
            of["crowded"].append(Element(server))
            continue
        clients[server] = slot + 1
        if slot:
            of[f"slot{slot}"].append(Element(server))
        of[f"client{slot}"].append(Element(server, client))
    return len(pairs) - before


def zone_seed(run_dir: str) -> int:
    """The seed of the zones (32 bits), the same until the next boot: in the run directory, which only root reads."""
    path = os.path.join(run_dir, SEED)
    with contextlib.suppress(OSError, ValueError):
        boot, _, seed = safe_file.read(path, 128).decode("ascii").strip().partition(" ")
        if boot == _boot():
            return int(seed, 16) & 0xFFFFFFFF
    made = int.from_bytes(os.urandom(4), "big")
    with contextlib.suppress(OSError):  # without it, a new one at the next start: clients that are known keep their zones
        safe_file.replace(path, f"{_boot()} {made:08x}\n".encode())
    return made


def _kind(ruleset: Ruleset, family: str, name: str) -> str:
    """The types of a collection's key and value; '' if there is no such collection."""
    table = ruleset.tables.get(family)
    one = table.collections.get(name) if table is not None else None
    return f"{one.key} : {one.value}" if one is not None else ""


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _boot() -> str:
    with contextlib.suppress(OSError), open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
    return "unknown"


def _now() -> float:
    """Seconds since the boot, those in which the router slept too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def path_in(run_dir: str) -> str:
    """Where the maps are kept."""
    return os.path.join(run_dir, FILE)
