# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench.sessions [COUNT]`: what 1,000 sessions cost the daemon, and how long it takes to list them.

Half of them are ESP with SPIs of their own, the other half WireGuard; four clients, as many servers as are needed, whose packets vanish in
the core. The daemon is the real one; ubus's form of the answer is made by its own encoder.
"""
from __future__ import annotations

import json
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.sandbox import enter_sandbox
from tests.lab.topology import Lab

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from vpnpt.daemon import control
from vpnpt.wire import ubus

if TYPE_CHECKING:
    from tests.lab.host import Host

CLIENTS = 4
FIRST_SERVER = int(IPv4Address("198.18.0.1"))


def rss(pid: int, field: str = "VmRSS") -> float:
    """Megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def begin(client: Host, first: int, count: int) -> None:
    """Sessions of one client, half ESP, half WireGuard, each with another server."""
    esp, udp = client.protocol(50), client.udp()
    for number in range(first, first + count):
        server = str(IPv4Address(FIRST_SERVER + number))
        if number % 2:
            udp.send(bytes(148), server, 51820)
        else:
            for sequence in (1, 2):  # the first one of a pair is not learned: the firewall may stop it
                esp.send((0x10000 + number).to_bytes(4, "big") + sequence.to_bytes(4, "big") + bytes(80), server)


def measure(count: int) -> dict[str, float]:
    """Figures by name; sizes in kB or MB, times in ms."""
    with Lab(clients=CLIENTS, servers=1, router="vpnpt", config="config 1 ipsec\nconfig 1 wireguard\n", ipv6=False) as lab:
        lab.isp.run("nft", "-f", "-", text='table ip void {\n chain in {\n  type filter hook prerouting priority raw; policy accept;\n'
                                           '  ip daddr 198.18.0.0/15 drop\n }\n}\n')

        def ask(method: str) -> dict[str, Any]:
            return control.call(str(lab.router.run_dir), {"method": method})

        assert lab.router.daemon is not None
        pid = lab.router.daemon.pid
        ask("status")
        ask("sessions")
        figures = {"before": rss(pid)}
        for index, client in enumerate(lab.clients):
            begin(client, index * count // CLIENTS, count // CLIENTS)
            lab.pump.run_for(1.0)
        lab.router.wait_until(lambda: len(lab.router.conntrack_list()) >= count, 20)
        lab.pump.run_for(2.0)
        figures["at rest"] = rss(pid)
        times = []
        for _ in range(5):
            began = time.monotonic()
            answer = ask("sessions")
            times.append(time.monotonic() - began)
        figures |= {"sessions": len(answer["sessions"]), "answer": min(times) * 1000, "json": len(json.dumps(answer)) / 1000,
                    "after": rss(pid), "peak": rss(pid, "VmHWM")}
        began = time.monotonic()
        packed = ubus.table(ubus.ATTR_DATA, answer)
        figures |= {"blob": len(packed) / 1000, "encoding": (time.monotonic() - began) * 1000}
        figures["with SPIs"] = sum("spis_out" in one["details"] for one in answer["sessions"])
        return figures


def table(found: dict[str, float]) -> list[str]:
    """Lines for people."""
    return [f"{found['sessions']:.0f} sessions ({found['with SPIs']:.0f} with SPIs): vpnptd's memory {found['before']:.1f} MB before, "
            f"{found['at rest']:.1f} MB with them, {found['after']:.1f} MB after five times `sessions` (peak {found['peak']:.1f} MB)",
            f"`sessions` answers in {found['answer']:.0f} ms, {found['json']:.0f} kB of JSON; on ubus {found['blob']:.0f} kB of 1,048, "
            f"{found['encoding']:.0f} ms to encode"]


if __name__ == "__main__":
    enter_sandbox()
    print("\n".join(table(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))))
