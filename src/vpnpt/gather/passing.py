# SPDX-License-Identifier: GPL-2.0-or-later
"""What of one client's VPN passes where: counted by the kernel in a table of its own, for as long as somebody watches.

Four places: asked (came from the client), left (went out, after all rules), came (back from the server), delivered (to the client).
The rules accept, change and queue nothing. They count by server, IP protocol and the server's port.
"""
from __future__ import annotations

import json
import socket
import time

from .. import process
from ..doctor.passage import Passage, enough
from ..kernel import nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..model import Config

TABLE = "vpnpt_why"
SIZE = 256
"""Servers and ports that are told apart; what is beyond is not counted."""
PERIOD = 1.0
"""Seconds between two looks."""
NUMBERS = {"tcp": 6, "udp": 17, "esp": 50, "ah": 51, "gre": 47, "l2tp": 115, "icmp": 1}
GONE = f"table inet {TABLE} {{\n}}\ndelete table inet {TABLE}\n"


def table(config: Config, client: bytes, server: bytes) -> str:
    """The text that makes the table anew. server: b'' for all. With a server everything to it is counted, else VPNs alone."""
    family = "ip" if len(client) == 4 else "ip6"
    who = socket.inet_ntop(socket.AF_INET if len(client) == 4 else socket.AF_INET6, client)
    there = socket.inet_ntop(socket.AF_INET if len(server) == 4 else socket.AF_INET6, server) if server else ""
    ports = {name: protocol.ports for name, protocol in config.protocols.items()}
    udp = _set((500, *ports["ipsec"], *ports["l2tp"], *ports["openvpn"], *ports["wireguard"]))
    tcp = _set((4500, *ports["pptp"], *ports["openvpn"]))
    lines = []
    for name, hook, priority, way, whose in (
            ("asked", "prerouting", -350, "daddr", (f"{family} saddr {who}",)),
            ("left", "postrouting", 350, "daddr", (f"ct direction original ct original {family} saddr {who}",
                                                    f"ct direction reply ct reply {family} saddr {who}")),
            ("came", "prerouting", -150, "saddr", (f"ct direction reply ct original {family} saddr {who}",
                                                    f"ct direction original ct reply {family} saddr {who}")),
            ("delivered", "postrouting", 350, "saddr", (f"{family} daddr {who}",))):
        port = "dport" if way == "daddr" else "sport"
        address = f"type {'ipv4' if family == 'ip' else 'ipv6'}_addr . inet_proto"
        lines += [f"set {name}_ports {{\n{address} . inet_service\nsize {SIZE}\nflags dynamic\n}}",
                  f"set {name}_plain {{\n{address}\nsize {SIZE}\nflags dynamic\n}}",
                  f"chain {name} {{\ntype filter hook {hook} priority {priority}; policy accept;"]
        for match in whose:
            first = f"{match} {family} {way} {there}" if there else match
            count = f"update @{name}_ports {{ {family} {way} . meta l4proto . th {port} counter }}"
            if there:
                lines.append(f"{first} meta l4proto {{ tcp, udp }} {count}")
            else:
                lines += [f"{first} udp {port} {udp} {count}", f"{first} tcp {port} {tcp} {count}"]
            lines.append(f"{first} meta l4proto {{ esp, ah, gre, 115 }} update @{name}_plain {{ {family} {way} . meta l4proto counter }}")
        lines.append("}")
    return f"{GONE}table inet {TABLE} {{\n" + "\n".join(lines) + "\n}\n"


def watch(config: Config, client: bytes, server: bytes, seconds: float, tell: Callable[[list[dict[str, Any]], float], None]) -> None:
    """Until enough was seen to judge, or the time is over. tell: gets the passages, and the seconds that are left. Raises NftError."""
    nft.load(table(config, client, server))
    try:
        began, first = time.monotonic(), 0.0
        known: dict[tuple[str, int, int], Passage] = {}
        while True:
            for passage in read(config):
                known[passage.key] = passage.at_least(known.get(passage.key))
            now = time.monotonic()
            if known and not first:
                first = now
            found = sorted(known.values(), key=lambda one: one.key)
            tell([passage.shown() for passage in found], max(0.0, began + seconds - now))
            if now - began >= seconds or (first and enough(found, now - first)):
                return
            time.sleep(PERIOD)
    finally:
        remove()


def remove() -> None:
    """The table is gone, if it was there."""
    process.run(["nft", "-f", "-"], input=GONE.encode(), timeout=nft.TIMEOUT)


def read(config: Config) -> list[Passage]:
    """What was counted so far."""
    result = process.run(["nft", "-j", "-n", "list", "table", "inet", TABLE], timeout=nft.TIMEOUT)
    found: dict[tuple[str, int, int], dict[str, int]] = {}
    try:
        items = json.loads(result.stdout)["nftables"]
    except (ValueError, KeyError):
        return []
    for item in items:
        content = item.get("set")
        for element in content.get("elem", ()) if content else ():
            parts = element["elem"]["val"]["concat"]
            proto = parts[1] if isinstance(parts[1], int) else NUMBERS.get(parts[1]) or int(parts[1])
            place = found.setdefault((parts[0], proto, int(parts[2]) if len(parts) > 2 else 0), {})
            place[content["name"].partition("_")[0]] = element["elem"]["counter"]["packets"]
    return [Passage.of(config, server, proto, port, counts) for (server, proto, port), counts in found.items()]


def _set(numbers: tuple[int, ...]) -> str:
    return "{ " + ", ".join(map(str, dict.fromkeys(numbers))) + " }"
