# SPDX-License-Identifier: GPL-2.0-or-later
"""libreswan with plain ESP (`encapsulation=no`): the real thing that NAT routers break."""
from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from tests.vm.peers.peer import SERVER_INSIDE, Ipsec

if TYPE_CHECKING:
    import subprocess

    from tests.vm.peers.machine import Machine

PROGRAMS = "/usr/libexec/ipsec"
RUN, NSS = "/run/pluto", "/var/lib/ipsec/nss"
CONNECTION = """
conn {name}
	left={left}
	leftid=@{left_id}
	leftsubnet={left_inside}/32
	right={right}
	rightid=@{right_id}
	rightsubnet={right_inside}/32
	authby=secret
	encapsulation=no
	leftupdown=/bin/true
	auto=ignore
	{version}
"""
VERSIONS = {1: "ikev2=no\n\tike=aes128-sha1;modp2048\n\tphase2alg=aes128-sha1\n\tpfs=no",
            2: "ikev2=insist\n\tike=aes128-sha2;dh19\n\tphase2alg=aes_gcm128"}


class Libreswan(Ipsec):
    """One pluto for each machine; the server knows the clients by their IDs."""

    program = ((f"{PROGRAMS}/pluto", "--version"), r"Libreswan (\S+)")
    can_rekey = ("client", "server")
    rekeys_ike = plain = True
    version = 2

    def serve(self) -> None:
        self.addresses()
        self.server.run("certutil", "-N", "-d", f"sql:{NSS}", "--empty-password")
        names = [client.name for client in self.site.clients]
        self._pluto(self.server, [self._connection(name, self.server.address, "server", SERVER_INSIDE, "%any", name, self.inside(number))
                                  for number, name in enumerate(names)])
        for client in self.site.clients:
            for file in (self.server.directory / NSS.strip("/").replace("/", "-")).iterdir():
                shutil.copy(file, client.directory / NSS.strip("/").replace("/", "-"))

    def _connection(self, name: str, left: str, left_id: str, left_inside: str, right: str, right_id: str, right_inside: str) -> str:
        return CONNECTION.format(name=name, left=left, left_id=left_id, left_inside=left_inside, right=right, right_id=right_id,
                                 right_inside=right_inside, version=VERSIONS[self.version])

    def _pluto(self, machine: Machine, connections: list[str]) -> None:
        config = machine.write("ipsec.conf", "config setup\n\tikev1-policy=accept\n" + "".join(connections))
        secrets = machine.write("ipsec.secrets", ': PSK "vpnpt"\n')
        machine.run("mkdir", "-p", RUN)
        machine.start("pluto", f"{PROGRAMS}/pluto", "--nofork", "--stderrlog", "--config", config, "--secretsfile", secrets,
                      "--nssdir", NSS, "--rundir", RUN, "--no-dnssec", "--nhelpers", "0")
        self.site.need(lambda: self._whack(machine, "--status", check=False).returncode == 0, f"pluto of {machine.name} answers")
        self._whack(machine, "--listen")
        machine.run(f"{PROGRAMS}/addconn", "--config", config, "--ctlsocket", f"{RUN}/pluto.ctl",
                    *(item.split()[1] for item in connections))

    def _whack(self, machine: Machine, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return machine.run(f"{PROGRAMS}/whack", "--rundir", RUN, *args, check=check)

    def prepare(self, number: int) -> None:
        client = self.client(number)
        self._pluto(client, [self._connection("vpn", client.address, client.name, self.inside(number), self.server.address, "server",
                                              SERVER_INSIDE)])

    def connect(self, number: int) -> None:
        self._whack(self.client(number), "--name", "vpn", "--initiate", "--asynchronous")

    def disconnect(self, number: int) -> None:
        # The server, too, or it would begin anew by itself once it has been told to rekey.
        self._whack(self.client(number), "--name", "vpn", "--terminate", check=False)
        self._whack(self.server, "--name", self.client(number).name, "--terminate", check=False)

    def rekey(self, number: int, by: str) -> None:
        # In IKEv1 whoever initiates once more makes a new SA by quick mode.
        self._tell(number, by, "--rekey-ipsec" if self.version == 2 else "--initiate")

    def rekey_ike(self, number: int, by: str) -> None:
        if self.version == 2:
            self._tell(number, by, "--rekey-ike")
            return
        # pluto's --rekey-ike does nothing in IKEv1. There the IKE SA ends and another begins with main mode; the data's keys stay.
        machine, name = self._end(number, by)
        states = self._whack(machine, "--showstates", check=False).stdout
        for state in re.findall(rf'#(\d+): "{name}".*STATE_MAIN_', states):
            self._whack(machine, "--deletestate", state, check=False)
        self._tell(number, by, "--initiate")

    def ike_keys(self, number: int) -> frozenset[str]:
        states = self._whack(self.client(number), "--showstates", check=False).stdout
        return frozenset(re.findall(r"(#\d+): .*(?:ESTABLISHED_IKE_SA|STATE_MAIN_[IR][34])", states))

    def _end(self, number: int, by: str) -> tuple[Machine, str]:
        """One end of a client's tunnel, and what the connection is called there."""
        return (self.client(number), "vpn") if by == "client" else (self.server, self.client(number).name)

    def _tell(self, number: int, by: str, what: str) -> None:
        machine, name = self._end(number, by)
        self._whack(machine, "--name", name, what, "--asynchronous", check=False)


class Ikev1(Libreswan):
    title = "libreswan IKEv1, plain ESP"
    version = 1


class Ikev2(Libreswan):
    title = "libreswan IKEv2, plain ESP"
    version = 2
