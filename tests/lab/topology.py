# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's network, as one context manager.

    c1 192.168.1.101 ─┐                                                                  ┌─ s1 198.51.100.11
       2001:db8:1::101│ br-lan                                wan                        │     2001:db8:5::11
    c2 192.168.1.102 ─┼────────── router ───────────────────────────────── isp ──────────┼─ s2 198.51.100.12
    ...               │ 192.168.1.1      203.0.113.1     203.0.113.254    198.51.100.254 │  ...
    cN 192.168.1.10N ─┘ 2001:db8:1::1    2001:db8:ffff::1     2001:db8:ffff::fe          └─ sN 198.51.100.1N

Each name is a network namespace; clients hang on the router's bridge by a veth pair, servers on a bridge of `isp`, which
just routes. The router masquerades IPv4 and routes IPv6 (2001:db8:1::/64) without NAT, behind an fw4-like firewall. With more
than 140 clients the LAN is 10.20.0.0/16 and clients are 10.20.1.1, 10.20.1.2, ...

With two uplinks the router has wan2, 203.0.114.1, by which it reaches s2, s4 and so on. With a guest zone the last client hangs on br-guest
and is 192.168.3.101.
"""
from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import sandbox
from tests.lab.host import Host
from tests.lab.peers.ledger import Ledger
from tests.lab.pump import Pump
from tests.lab.router import Router

if TYPE_CHECKING:
    from typing import Self

SMALL_LAN = 140
SECOND_WAN, GUEST, GUEST_ADDRESS = "wan2", "br-guest", "192.168.3.101"
PROBE_PORT = 33434
BARRIER_PORT = 39999
_numbers = itertools.count(1)


class Lab:
    """Brings the network up and takes it down; `clients`, `servers`, `router` and `isp` are its hosts.

    uplinks: 1 or 2. guest: whether the last client is a guest, in a zone of its own (without IPv6).
    mode: 'stock', 'vpnpt' (the daemon runs in the router with `config`) or 'nft:FILE' (that ruleset is loaded instead).
    ipv6: None means only for up to 32 clients, as it makes large labs slow. Raises RuntimeError with the programs' messages.
    """

    def __init__(self, clients: int = 3, servers: int = 2, router: str = "stock", config: str = "", lan_device: str = "br-lan",
                 wan_device: str = "wan", ipv6: bool | None = None, ipsec_rules: bool = False, offload: bool = False,
                 uplinks: int = 1, guest: bool = False) -> None:
        self.mode = router
        self.ledger = Ledger()
        self.config = config
        self.ipv6 = clients <= 32 if ipv6 is None else ipv6
        self.pump = Pump()
        self.directory = sandbox.RUN / "vpnpt-lab" / str(next(_numbers))
        self.clients: list[Host] = []
        self.servers: list[Host] = []
        self._counts = (clients, servers)
        self._devices = (lan_device, wan_device)
        self._firewall = {"ipsec_rules": ipsec_rules, "offload": offload}
        self._second, self._guest = uplinks > 1, guest
        self._affinity: set[int] = set()
        self._probe = itertools.count(1)
        self._reflectors: set[str] = set()

    def __enter__(self) -> Self:
        sandbox.enter_sandbox()
        # On one processor packets cannot overtake each other between two sends, which the barriers rely on.
        self._affinity = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self._affinity)})
        try:
            self._build()
            self._start_router()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # building

    def _build(self) -> None:
        count, servers = self._counts
        lan_device, wan_device = self._devices
        names = ["router", "isp", *(f"s{n}" for n in range(1, servers + 1)), *(f"c{n}" for n in range(1, count + 1))]
        _ip("", [f"netns add {name}" for name in names])
        small = count <= SMALL_LAN
        router_address, prefix = ("192.168.1.1", 24) if small else ("10.20.0.1", 16)
        first = int(IPv4Address("192.168.1.101" if small else "10.20.1.1"))
        self.directory.mkdir(parents=True)
        self.router = Router("router", self.pump, self.directory, lan_device, wan_device, "203.0.113.1",
                             address=router_address, address6="2001:db8:1::1", **self._firewall,
                             further_wans=(SECOND_WAN,) if self._second else (), guest=GUEST if self._guest else "")
        self.isp = Host("isp", self.pump, "203.0.113.254", "2001:db8:ffff::fe")
        self.servers = [Host(f"s{n}", self.pump, f"198.51.100.{10 + n}", f"2001:db8:5::{10 + n}") for n in range(1, servers + 1)]
        self.clients = [Host(f"c{n}", self.pump, str(IPv4Address(first + n - 1)), f"2001:db8:1::{100 + n}")
                        for n in range(1, count + 1)]
        if self._guest:
            self.clients[-1].address = GUEST_ADDRESS
        for host in self.hosts:
            self._prepare(host)
        self._forwarding(self.router)
        self._forwarding(self.isp)
        links = [f"link add {lan_device} type bridge mcast_snooping 0", "link set lo up",
                 f"addr add {router_address}/{prefix} dev {lan_device}",
                 f"link add {wan_device} type veth peer name eth0 netns isp", f"addr add 203.0.113.1/24 dev {wan_device}"]
        if self.ipv6:
            links += [f"addr add 2001:db8:1::1/64 dev {lan_device} nodad", f"addr add 2001:db8:ffff::1/64 dev {wan_device} nodad"]
        links += [f"link add lan{n} up master {lan_device} type veth peer name eth0 netns c{n}" for n in range(1, count + 1)]
        links += [f"link set {lan_device} up", f"link set {wan_device} up", "route add default via 203.0.113.254"]
        if self._guest:
            links += [f"link add {GUEST} type bridge mcast_snooping 0", f"addr add 192.168.3.1/24 dev {GUEST}",
                      f"link set lan{count} master {GUEST}", f"link set {GUEST} up"]
        if self._second:
            links += [f"link add {SECOND_WAN} type veth peer name eth1 netns isp", f"addr add 203.0.114.1/24 dev {SECOND_WAN}",
                      f"link set {SECOND_WAN} up"]
            links += [f"route add {server.address}/32 via 203.0.114.254" for server in self.servers[1::2]]
        links += ["route add default via 2001:db8:ffff::fe"] if self.ipv6 else []
        core = ["link set lo up", "link add br0 type bridge mcast_snooping 0", "addr add 198.51.100.254/24 dev br0",
                "addr add 203.0.113.254/24 dev eth0"]
        core += [f"link add srv{n} up master br0 type veth peer name eth0 netns s{n}" for n in range(1, servers + 1)]
        core += ["link set br0 up", "link set eth0 up"]
        if self._second:
            core += ["addr add 203.0.114.254/24 dev eth1", "link set eth1 up"]
        if self.ipv6:
            core += ["addr add 2001:db8:5::fe/64 dev br0 nodad", "addr add 2001:db8:ffff::fe/64 dev eth0 nodad",
                     "route add 2001:db8:1::/64 via 2001:db8:ffff::1"]
        # The end of a link that is set up last has its carrier at once, so addresses are usable when the batch is done.
        _ip("router", [line for line in links if not line.startswith(("route", "route"))])
        _ip("isp", core)
        for host in self.servers:
            self._leaf(host, 24, "198.51.100.254", "2001:db8:5::fe")
        for host in self.clients:
            self._leaf(host, prefix, "192.168.3.1" if host.address == GUEST_ADDRESS else router_address, "2001:db8:1::1")
        _ip("router", [line for line in links if line.startswith(("route", "route"))])

    def _prepare(self, host: Host) -> None:
        """What must be set before the host has a device."""
        with sandbox.inside(host.namespace):
            for name in ("accept_dad", "accept_ra", "router_solicitations"):
                _sysctl(f"ipv6/conf/default/{name}", 0)
            if not self.ipv6:
                _sysctl("ipv6/conf/default/disable_ipv6", 1)

    def _forwarding(self, host: Host) -> None:
        with sandbox.inside(host.namespace):
            _sysctl("ipv4/ip_forward", 1, needed=True)
            _sysctl("ipv6/conf/all/forwarding", 1)
            for name in ("all", "default"):
                _sysctl(f"ipv4/conf/{name}/rp_filter", 0)
                _sysctl(f"ipv4/conf/{name}/send_redirects", 0)
            _sysctl("ipv4/icmp_ratelimit", 0)
            _sysctl("ipv4/neigh/default/gc_thresh3", 4096)

    def _leaf(self, host: Host, prefix: int, gateway: str, gateway6: str) -> None:
        lines = ["link set lo up", f"addr add {host.address}/{prefix} dev eth0", "link set eth0 up",
                 f"route add default via {gateway}"]
        if self.ipv6:
            lines.insert(1, f"addr add {host.address6}/64 dev eth0 nodad")
            lines.append(f"route add default via {gateway6}")
        _ip(host.name, lines)
        host.capture(ipv6=self.ipv6)
        self.ledger.watch(host)
        # A host that has the port open does not answer "port unreachable", and it counts what comes.
        host.udp(BARRIER_PORT)

    def _start_router(self) -> None:
        self.router.fw4_restart()
        if self.mode == "vpnpt":
            self.router.start_vpnpt(self.config)
        elif self.mode.startswith("nft:"):
            self.router.nft(Path(self.mode[4:]).read_text())
        elif self.mode != "stock":
            raise ValueError(f"unknown router '{self.mode}': stock, vpnpt or nft:FILE")

    # using

    @property
    def hosts(self) -> list[Host]:
        """Every host, the router included."""
        return [self.router, self.isp, *self.servers, *self.clients]

    def host(self, name: str) -> Host:
        """By name: 'c1', 's2', 'router', 'isp'. Raises KeyError."""
        return {host.name: host for host in self.hosts}[name]

    def barrier(self, client: Host, server: Host, timeout: float = 2.0) -> bool:
        """Sends a marked probe from client to server and back; whether it came.

        What was sent on the same way before it has then arrived, or never will (unless userspace in the router holds it).
        """
        if server.name not in self._reflectors:
            self._reflectors.add(server.name)
            echo = server.udp(PROBE_PORT)
            echo.on_receive = lambda data, address, port: echo.send(data, address, port)
        mark = b"barrier %d" % next(self._probe)
        socket = client.udp()
        socket.send(mark, server.address, PROBE_PORT)
        arrived = self.pump.run(lambda: any(item[0] == mark for item in socket.inbox), timeout)
        socket.close()
        self.pump.drain()
        return arrived

    def close(self) -> None:
        """Takes everything down; what the process leaves behind by being killed, the kernel takes down."""
        for host in self.hosts if hasattr(self, "isp") else []:
            host.close()
        self.pump.close()
        names = [path.name for path in (sandbox.RUN / "netns").iterdir()]
        with contextlib.suppress(RuntimeError):
            _ip("", [f"netns del {name}" for name in names])
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._affinity:
            os.sched_setaffinity(0, self._affinity)


def _ip(namespace: str, lines: list[str]) -> None:
    """One run of ip for many commands. Raises RuntimeError with its messages."""
    options = ["-n", namespace] if namespace else []
    result = subprocess.run(["ip", *options, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"ip {' '.join(options)}: {result.stderr}{result.stdout}")


def _sysctl(path: str, value: int, needed: bool = False) -> None:
    """Sets one in the network namespace of this process, where this kernel has it."""
    try:
        Path("/proc/sys/net", path).write_text(str(value))
    except OSError:
        if needed:
            raise
