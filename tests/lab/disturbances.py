# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that get in the tunnels' way: floods of made-up keys, the router's own VPN with the same server, and what WAN links do."""
from __future__ import annotations

import itertools
import json
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.lab.topology import Lab

ROOT = Path(__file__).parents[2]
ROUTER_SPI, SERVER_SPI = 0x0A0A0A0A, 0x0B0B0B0B
ROUTER_COOKIE = b"routerIK"
UPLINKS = {"wan": "203.0.113.254", "wan2": "203.0.114.254"}


class Disturbances:
    """Verbs for a Stage."""

    lab: Lab
    stock: bool
    do_stream: Any
    patience: float
    _router_sequence = itertools.count(1)
    _heard: dict[str, int]
    _rules: list[dict[str, Any]]

    def do_flood(self, who: str, to: str, count: int, first_spi: int = 0x0F000000) -> dict[str, Any]:
        """Sends `count` ESP packets, each with an SPI that nobody knows; 'wan' is the router's WAN address."""
        sender = self.lab.host(who)
        address = self.lab.router.wan_address if to == "wan" else self.lab.host(to).address
        for number in range(count):
            sender.protocol(50).send(struct.pack(">II", first_spi + number * 7919 % 0xFFFFFF, 1) + bytes(48), address)
            if number % 64 == 0:
                self.lab.pump.drain()
        self.lab.pump.drain()
        return {}

    def do_storm(self, spoofed: str, seconds: float = 3.0, every: float = 0.02) -> dict[str, Any]:
        """Random SPIs in a server's name at full speed, while all tunnels stream. Results as of `stream`, and of the daemon:

        grown: MB of memory more than before; lines: written to the log meanwhile.
        """
        before, said = self._daemon_memory(), len(self.lab.router.log_text().splitlines())
        storm = self.lab.isp.spawn(sys.executable, "-m", "tests.lab.storm", str(seconds), self.lab.host(spoofed).address,
                                   self.lab.router.wan_address, "1", stdout=subprocess.PIPE, cwd=str(ROOT), anywhere=True)
        results = self.do_stream(seconds=seconds, every=every)
        sent, _ = storm.communicate()
        results["made up"] = int(sent)
        # What is still queued for the daemon comes first.
        self.lab.pump.run_for(0.5)
        if not self.stock:
            results["grown"] = round(self._daemon_memory() - before, 1)
            results["lines"] = len(self.lab.router.log_text().splitlines()) - said
        return results

    def do_renumber(self, to: str) -> dict[str, Any]:
        """The provider gives the WAN another address, and netifd's hotplug scripts have the daemon reload.

        The kernel has a worker of its own forget the flows of the old one (nf_nat_masquerade.c): it gets its time.
        """
        router = self.lab.router
        old = _whole(router.wan_address)
        router.change_wan_address(to)
        router.wait_until(lambda: not any(map(old.search, router.conntrack_list())))
        if not self.stock:
            router.vpnpt("reload")
        return {}

    def do_flap(self) -> dict[str, Any]:
        """The WAN link goes down and comes back with the same address."""
        router = self.lab.router
        for command in (f"link set {router.wan_device} down", f"link set {router.wan_device} up"):
            router.run("ip", *command.split())
        router.wait_until(lambda: router.run("ip", "route", "replace", "default", "via", UPLINKS["wan"], check=False).returncode == 0)
        if not self.stock:
            router.vpnpt("reload")
        return {}

    def do_route(self, to: str, by: str) -> dict[str, Any]:
        """A server is reached by another uplink from now on, as mwan3 does it: what conntrack knows is forgotten."""
        self.lab.router.run("ip", "route", "replace", f"{self.lab.host(to).address}/32", "via", UPLINKS[by])
        self.lab.router.conntrack_flush()
        return {}

    def do_heard(self, at: str) -> dict[str, Any]:
        """From which addresses a server has heard ESP since it was last asked. Results: sources, in order."""
        packets = self.lab.host(at).packets
        sources = {packet.src for packet in packets[self._heard.get(at, 0):] if packet.proto == 50}
        self._heard[at] = len(packets)
        return {"sources": " ".join(sorted(sources))}

    def do_remnants(self, of: str) -> dict[str, Any]:
        """What the router still knows of an address that it had. Results: keys (of our maps), entries (of conntrack)."""
        ours = "" if self.stock else self.lab.router.run("nft", "list", "table", "ip", "vpnpt").stdout
        whole = _whole(of)
        return {"keys": len(whole.findall(ours)), "entries": sum(bool(whole.search(line)) for line in self.lab.router.conntrack_list())}

    def _daemon_memory(self) -> float:
        daemon = self.lab.router.daemon
        if daemon is None:
            return 0.0
        for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def do_nft(self, command: str) -> dict[str, Any] | None:
        """Somebody else changes vpnpt's tables on the router; 'HANDLE(text)' stands for the handle of the rule with that comment."""
        if self.stock:
            return None
        self._rules = self._our_rules()
        before, found, rest = command.partition("HANDLE(")
        if found:
            text, _, after = rest.partition(")")
            listed = self.lab.router.run("nft", "-a", "list", "ruleset").stdout.splitlines()
            (line,) = [line for line in listed if f'comment "vpnpt: {text}"' in line]
            command = f"{before}{line.rpartition('# handle ')[2]}{after}"
        self.lab.router.nft(command + "\n")
        return {}

    def do_rules(self, becomes: str = "whole", within: float = 1.0) -> dict[str, Any] | None:
        """Waits until our rules are as they were before the last step `nft`. Results: rules: whole | changed; drift: none | told."""
        if self.stock:
            return None

        def state() -> tuple[str, str]:
            return "whole" if self._our_rules() == self._rules else "changed", "told" if self._ask("status")["drift"] else "none"

        self.lab.router.wait_until(lambda: state() == (becomes, "none" if becomes == "whole" else "told"), within)
        rules, drift = state()
        return {"rules": rules, "drift": drift}

    def do_changed(self, **texts: str) -> dict[str, Any] | None:
        """How many changes that `vpnpt changes` tells have a text in them, or a text in what made them; by a name each."""
        if self.stock:
            return None
        told = self._ask("changes")["changes"]
        return {name: sum(text in f"{item['what']}: {item['text']} ({item['how']})" for item in told) for name, text in texts.items()}

    def _ask(self, method: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lab.router.vpnpt(method, "--json"))
        return found

    def _our_rules(self) -> list[dict[str, Any]]:
        """The rules and chains of our tables as the kernel lists them, without handles."""
        listed = json.loads(self.lab.router.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
        ours = [body for item in listed for kind, body in item.items() if kind in ("rule", "chain") and body["table"] == "vpnpt"]
        return [{key: value for key, value in body.items() if key != "handle"} for body in ours]

    def do_router_sa(self, to: str, count: int = 3) -> dict[str, Any]:
        """The router's own VPN with a server: IKE and ESP both ways. Results: out, back: all | what was missed."""
        router, server = self.lab.router, self.lab.host(to)
        missed: dict[str, list[str]] = {"out": [], "back": []}
        ours, theirs = router.protocol(50), server.protocol(50)
        message = ROUTER_COOKIE + bytes(8) + struct.pack(">BBBBII", 0x2E, 0x20, 37, 8, next(self._router_sequence), 28)
        if not hasattr(self, "_router_ike"):
            self._router_ike = router.udp(500)
        self._router_ike.send(message, server.address, 500)
        if not server.wait_for(lambda packet: message in packet.payload):
            missed["out"].append("ike")
        server_ike = struct.pack(">HHHH", 500, 500, 8 + len(message), 0) + message
        heard = len(self._router_ike.inbox)
        server.send_raw(_ipv4(server.address, router.wan_address, 17, server_ike))
        if not self.lab.pump.run(lambda: len(self._router_ike.inbox) > heard):
            missed["back"].append("ike")
        for _ in range(count):
            number = next(self._router_sequence)
            mark = b"router %08d" % number
            ours.send(struct.pack(">II", SERVER_SPI, number) + mark, server.address)
            if not server.wait_for(lambda packet, mark=mark: mark in packet.payload):
                missed["out"].append(f"esp {number}")
            theirs.send(struct.pack(">II", ROUTER_SPI, number) + mark, router.wan_address)
            if not self.lab.pump.run(lambda mark=mark: any(mark in item[0] for item in ours.inbox)):
                missed["back"].append(f"esp {number}")
        return {way: ", ".join(names) or "all" for way, names in missed.items()}


def _ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, socket.inet_aton(source),
                       socket.inet_aton(destination)) + payload


def _whole(address: str) -> re.Pattern[str]:
    """Finds this address, and none that it is a part of."""
    return re.compile(rf"(?<![\d.]){re.escape(address)}(?![\d.])")
