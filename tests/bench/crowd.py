# SPDX-License-Identifier: GPL-2.0-or-later
"""Many clients without many namespaces: their packets are made by one, in front of a router whose daemon is dead.

    crowd 10.77.0.0/16 ── c1 ── br-lan router wan ── isp ── s1 ── 198.18.0.0/15, a server for each client

A server for each, because a stock router serves one client of a server. Both ends drop what reaches them at their device: what is measured
is what the router does, not what two more hosts do with answers that nobody wants.
"""
from __future__ import annotations

import contextlib
import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from vpnpt.ruleset.offload import Way, render

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.topology import Lab

KINDS = ("esp out", "esp in", "ike out", "l2tp out", "gre out", "udp", "tcp")
VPN = KINDS[:5]
PAYLOAD = 200
CLIENTS, SERVERS = int(IPv4Address("10.77.0.1")), int(IPv4Address("198.18.0.1"))
DROP = """table netdev bench {
	chain silence {
		type filter hook ingress device "eth0" priority 0; policy accept;
		meta protocol ip drop
	}
}
"""
AT_ONCE = 250
"""Clients that begin within a moment: ruleset/zones.py lets a burst of 300 be behind one Ethernet address."""
OPENWRT = {"nf_conntrack_acct": 1, "nf_conntrack_checksum": 0}
"""What bears on the cost of a packet in OpenWrt's /etc/sysctl.d/11-nf-conntrack.conf."""
SYN, SYN_ACK, ACK, DATA = 2, 0x12, 0x10, 0x18


class Crowd:
    """`count` clients, each with all kinds of traffic to a server of its own."""

    def __init__(self, lab: Lab, count: int) -> None:
        self.lab, self.count = lab, count
        self.client, self.server = lab.clients[0], lab.servers[0]
        self.wan = lab.router.wan_address
        for name, value in OPENWRT.items():
            lab.router.sysctl(f"net/netfilter/{name}", value)
        with contextlib.suppress(FileNotFoundError):  # no br_netfilter, as on OpenWrt: bridges do not call the firewall anyway
            lab.router.sysctl("net/bridge/bridge-nf-call-iptables", 0)
        # On the wire, as clients are: the short way takes nobody who is behind another router.
        lab.router.run("ip", "route", "add", "10.77.0.0/16", "dev", lab.router.lan_device)
        hardware = next(word for word in self.client.run("ip", "link", "show", "eth0").stdout.split() if word.count(":") == 5)
        lab.router.run("ip", "-batch", "-", text="".join(
            f"neigh replace {IPv4Address(CLIENTS + number)} lladdr {hardware} dev {lab.router.lan_device} nud permanent\n"
            for number in range(count)))
        lab.isp.run("ip", "route", "add", "198.18.0.0/15", "via", self.server.address)
        for host in (self.client, self.server):
            lab.barrier(self.client, self.server)
            host.quiet()
        for host in (self.client, self.server):
            host.run("nft", "-f", "-", text=DROP)

    def short_way(self) -> str:
        """The table of the short way with all keys of ESP, as the daemon would have made it."""
        lan, wan = self.lab.router.lan_device, self.lab.router.wan_devices[0]
        text = render([Way(source=lan, target=wan, gateway=self.lab.isp.address, mtu=1500, outbound=True),
                       Way(source=wan, target=lan, gateway="", mtu=1500, outbound=False)])
        for number in range(self.count):
            client, server, spi = IPv4Address(CLIENTS + number), IPv4Address(SERVERS + number), 0x1000000 + number
            text += f"add element netdev vpnpt way0 {{ {client} . {server} . {spi:#x} : {self.wan} }}\n"
            text += f"add element netdev vpnpt way1 {{ {server} . {self.wan} . {spi + 0x1000000:#x} : {client} }}\n"
        return text

    def sender(self, kind: str) -> tuple[Host, Host]:
        """Who sends, and whose device receives."""
        return (self.server, self.client) if kind.endswith(" in") else (self.client, self.server)

    def packets(self, kind: str, payload: int = PAYLOAD) -> list[bytes]:
        """One of each client."""
        return [self._packet(kind, number, payload) for number in range(self.count)]

    def establish(self) -> None:
        """One packet each way of every kind, client after client, so that each answer finds its client waiting alone."""
        for number in range(self.count):
            if number % AT_ONCE == 0:
                self._new_hardware()
            for kind in ("esp", "ike", "l2tp", "udp"):
                self.client.send_raw(self._packet(f"{kind} out", number, 40))
                self.server.send_raw(self._packet(f"{kind} in", number, 40))
            self.client.send_raw(self._packet("gre out", number, 40))
            self.client.send_raw(self._packet("tcp", number, 0, SYN))
            self.server.send_raw(self._packet("tcp in", number, 0, SYN_ACK))
            self.client.send_raw(self._packet("tcp", number, 0, ACK))
        self.lab.pump.run_for(0.05)

    def zoned(self) -> int:
        """How many clients have a zone."""
        listed = self.lab.router.run("nft", "list", "map", "ip", "vpnpt", "client_zone").stdout
        return listed.count(" expires ")

    def _new_hardware(self) -> None:
        """What vpnpt remembers of the sender's Ethernet address goes: it lets 20 new clients a second be behind one, and in a network
        each has its own."""
        self.lab.router.run("nft", "flush", "set", "ip", "vpnpt", "rate_mac", check=False)

    def _packet(self, kind: str, number: int, payload: int, flags: int = DATA) -> bytes:
        inward = kind.endswith(" in")
        client, server = str(IPv4Address(CLIENTS + number)), str(IPv4Address(SERVERS + number))
        name, data = kind.split()[0], bytes(payload)
        cookie, spi = struct.pack(">II", 0xC00C1E, number), 0x1000000 + number + 0x1000000 * inward
        port = 20000 + number
        bodies = {
            "esp": (50, struct.pack(">II", spi, 9) + data),
            "ike": (17, _udp(500, 500, cookie + bytes(8) + struct.pack(">BBBBII", 1, 0x10, 5, 0, 1, 28) + data)),
            "l2tp": (17, _udp(1701, 1701, struct.pack(">HHHH", 0x4002, 8 + payload, 1 + number, 1) + data)),
            "gre": (47, struct.pack(">BBHHH", 0x30, 1, 0x880B, payload, 1 + number) + bytes(4) + data),
            "udp": (17, _udp(7777, port, data) if inward else _udp(port, 7777, data)),
            "tcp": (6, struct.pack(">HHIIBBHHH", *((80, port, 0, 1) if inward else (port, 80, flags != SYN, flags != SYN)), 0x50, flags,
                                   60000, 0, 0) + data)}
        protocol, body = bodies[name]
        return _ipv4(server, self.wan, protocol, body) if inward else _ipv4(client, server, protocol, body)


def _udp(source: int, destination: int, data: bytes) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(data), 0) + data


def _ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, socket.inet_aton(source),
                       socket.inet_aton(destination)) + payload
