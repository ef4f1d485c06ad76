# SPDX-License-Identifier: GPL-2.0-or-later
"""PPP in PPTP (pptp-linux, pptpd) and in L2TP (xl2tpd)."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from tests.vm.peers.peer import SERVER_INSIDE, Peer

if TYPE_CHECKING:
    from tests.vm.peers.machine import Machine

SECRETS = "* * vpnpt *\n"
# MPPE as every Windows client asks for it; what it compresses with is gone where the packet before was lost: stateless.
PPTP_OPTIONS = "nodefaultroute\nnobsdcomp\nnodeflate\nnovj\nmtu 1400\nmru 1400\nlcp-echo-interval 0\n"


def ppp_address(machine: Machine) -> str:
    """The address of a client's PPP device, '' while there is none."""
    found = re.search(r"\bppp\d+\s+inet (\S+) peer", machine.host.run("ip", "-o", "-4", "addr").stdout)
    return found[1] if found else ""


class Ppp(Peer):
    """Addresses are the server's to give: a client's is known when its device is there."""

    modules: ClassVar[tuple[str, ...]] = ("ppp_generic", "ppp_async", "ppp_mppe", "l2tp_ppp")

    def inside(self, number: int) -> str:
        return ppp_address(self.client(number)) or super().inside(number)

    def up(self, number: int) -> bool:
        address = ppp_address(self.client(number))
        return bool(address) and f" peer {address}/" in self.server.host.run("ip", "-o", "-4", "addr").stdout


class Pptp(Ppp):
    """pptp-linux counts its call IDs from the process ID, so that here all clients choose the same."""

    title = "PPTP (pptp-linux, pptpd)"
    program = (("pptpd", "--version"), r"v(\S+)")

    def serve(self) -> None:
        self.server.write("/etc/ppp/chap-secrets", SECRETS)
        options = self.server.write("options", PPTP_OPTIONS + "name server\nrequire-mschap-v2\nrequire-mppe-128\nnodetach\n"
                                    "logfile /dev/stderr\n")
        config = self.server.write("pptpd.conf", f"ppp /usr/sbin/pppd\noption {options}\nlocalip {SERVER_INSIDE}\nremoteip 10.99.7.10-60\n")
        self.server.start("pptpd", "pptpd", "--fg", "--conf", config, "--option", options, "--noipparam")

    def prepare(self, number: int) -> None:
        self.client(number).write("/etc/ppp/chap-secrets", SECRETS)

    def connect(self, number: int) -> None:
        client = self.client(number)
        options = client.write("options", PPTP_OPTIONS + f"name {client.name}\nremotename server\nnoauth\nrequire-mppe-128\nnodetach\n"
                               f'pty "pptp {self.server.address} --nolaunchpppd --loglevel 0"\n')
        client.start("pppd", "pppd", "file", options)

    def disconnect(self, number: int) -> None:
        self.client(number).kill("pppd")
        self.site.wait(lambda: not self.client(number).processes("pppd"), 10)


class L2tp(Ppp):
    """xl2tpd on both ends, data by the kernel."""

    title = "L2TP (xl2tpd)"
    program = (("xl2tpd", "--version"), r"xl2tpd-(\S+)")

    def serve(self) -> None:
        options = self.server.write("options", "noauth\nmtu 1400\nmru 1400\nlcp-echo-interval 0\nlogfile /dev/stderr\n")
        self._start(self.server, f"[lns default]\nip range = 10.99.7.10-10.99.7.60\nlocal ip = {SERVER_INSIDE}\npppoptfile = {options}\n"
                    "require authentication = no\n")

    def port(self, number: int) -> int:
        """The client's own."""
        return 1701

    def _start(self, machine: Machine, section: str, port: int = 1701) -> None:
        config = machine.write("xl2tpd.conf", f"[global]\nport = {port}\naccess control = no\n{section}")
        machine.run("mkdir", "-p", "/run/xl2tpd")
        machine.start("xl2tpd", "xl2tpd", "-D", "-c", config, "-C", "/run/xl2tpd/control", "-p", "/run/xl2tpd.pid")
        self.site.need(lambda: (machine.directory / "run/xl2tpd/control").exists(), f"xl2tpd of {machine.name} listens")

    def prepare(self, number: int) -> None:
        client = self.client(number)
        options = client.write("options", f"noauth\nname {client.name}\nmtu 1400\nmru 1400\nlcp-echo-interval 0\nlogfile /dev/stderr\n")
        self._start(client, f"[lac vpn]\nlns = {self.server.address}\npppoptfile = {options}\nrequire authentication = no\n",
                    self.port(number))

    def connect(self, number: int) -> None:
        self.client(number).run("sh", "-c", "echo c vpn >/run/xl2tpd/control")

    def disconnect(self, number: int) -> None:
        self.client(number).run("sh", "-c", "echo d vpn >/run/xl2tpd/control", check=False)
        self.site.wait(lambda: not ppp_address(self.client(number)), 10)
