# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN and WireGuard: they cross NAT by themselves, and vpnpt must leave them alone."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from tests.vm.peers.peer import SERVER_INSIDE, Peer

if TYPE_CHECKING:
    from tests.vm.peers.machine import Machine
    from tests.vm.peers.site import Site


class OpenVpn(Peer):
    """UDP, certificates that are known by their fingerprints."""

    modules: ClassVar[tuple[str, ...]] = ("tun",)

    title = "OpenVPN"
    program = (("openvpn", "--version"), r"OpenVPN (\S+)")

    def serve(self) -> None:
        prints = [self._certificate(client) for client in self.site.clients]
        own = self._certificate(self.server)
        for client in self.site.clients:
            client.write("known", own)
        self._start(self.server, ["--mode", "server", "--tls-server", "--dh", "none", "--topology", "subnet",
                                  "--server", "10.99.0.0", "255.255.0.0"], "".join(prints))

    def _certificate(self, machine: Machine) -> str:
        """Makes one; returns its fingerprint, as a line."""
        key, certificate = str(machine.directory / "key.pem"), str(machine.directory / "cert.pem")
        machine.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                    "-subj", f"/CN={machine.name}", "-keyout", key, "-out", certificate)
        return machine.run("openssl", "x509", "-in", certificate, "-noout", "-sha256", "-fingerprint").stdout.partition("=")[2]

    def _start(self, machine: Machine, options: list[str], prints: str) -> None:
        config = machine.write("openvpn.conf", f"dev tun\nproto udp\ncert {machine.directory}/cert.pem\nkey {machine.directory}/key.pem\n"
                               f"verb 3\nping 10\n<peer-fingerprint>\n{prints}</peer-fingerprint>\n")
        machine.run("sh", "-c", "mkdir -p /dev/net && [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200")
        machine.start("openvpn", "openvpn", "--config", config, *options)

    def inside(self, number: int) -> str:
        found = re.search(r"\btun\d+\s+inet ([\d.]+)/", self.client(number).host.run("ip", "-o", "-4", "addr").stdout)
        return found[1] if found else super().inside(number)

    def connect(self, number: int) -> None:
        client = self.client(number)
        known = (client.directory / "known").read_text()
        self._start(client, ["--client", "--nobind", "--remote", self.server.address, "1194"], known)

    def up(self, number: int) -> bool:
        """Started for good, and has an address."""
        log = self.client(number).log("openvpn")
        return log.rfind("Initialization Sequence Completed") > log.rfind("OpenVPN 2")

    def disconnect(self, number: int) -> None:
        self.client(number).kill("openvpn")
        self.site.wait(lambda: not self.client(number).processes("openvpn"), 10)


class WireGuard(Peer):
    """The kernel's."""

    modules: ClassVar[tuple[str, ...]] = ("wireguard",)

    title = "WireGuard"
    program = (("wg", "--version"), r"v(\S+)")

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._keys: dict[str, str] = {}

    def _device(self, machine: Machine, inside: str, *options: str) -> None:
        machine.host.run("ip", "link", "add", "wg0", "type", "wireguard")
        secret = machine.run("wg", "genkey").stdout
        self._keys[machine.name] = machine.run("wg", "pubkey", text=secret).stdout.strip()
        machine.run("wg", "set", "wg0", "private-key", machine.write("wg.key", secret), *options)
        machine.host.run("ip", "addr", "add", f"{inside}/16", "dev", "wg0")
        machine.host.run("ip", "link", "set", "wg0", "up")

    def serve(self) -> None:
        self._device(self.server, SERVER_INSIDE, "listen-port", "51820")

    def connect(self, number: int) -> None:
        client = self.client(number)
        if client.host.run("ip", "link", "show", "wg0", check=False).returncode:
            self._device(client, self.inside(number))
        self.server.run("wg", "set", "wg0", "peer", self._keys[client.name], "allowed-ips", f"{self.inside(number)}/32")
        client.run("wg", "set", "wg0", "peer", self._keys["s1"], "endpoint", f"{self.server.address}:51820",
                   "allowed-ips", f"{SERVER_INSIDE}/32", "persistent-keepalive", "1")

    def up(self, number: int) -> bool:
        """A handshake has been made."""
        return any(line.split()[1] != "0" for line in self.client(number).run("wg", "show", "wg0", "latest-handshakes").stdout.splitlines())

    def disconnect(self, number: int) -> None:
        self.client(number).host.run("ip", "link", "del", "wg0", check=False)
