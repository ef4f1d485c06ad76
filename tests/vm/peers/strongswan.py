# SPDX-License-Identifier: GPL-2.0-or-later
"""strongSwan with NAT traversal, which crosses any NAT router: vpnpt must not stand in its way."""
from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.peers.peer import SERVER_INSIDE, Ipsec

if TYPE_CHECKING:
    from tests.vm.peers.machine import Machine

SETTINGS = """charon {
  install_routes = no
  load = random nonce aes sha1 sha2 hmac gmp kdf drbg kernel-netlink socket-default vici
  filelog { stderr { default = 1 } }
}
"""
CONNECTION = """    %s {
      version = 2
      proposals = aes128-sha256-modp2048
      local_addrs = %s
      remote_addrs = %s
      local { auth = psk
              id = %s }
      remote { auth = psk
               id = %s }
      children { vpn { mode = %s
                       local_ts = %s
                       remote_ts = %s
                       esp_proposals = aes128-sha256 } }
    }
"""


def start_charon(peer: Ipsec, machine: Machine, connections: list[str]) -> None:
    """Starts the daemon of one machine with these connections."""
    machine.write("/etc/swanctl/swanctl.conf", "connections {\n" + "".join(connections) + "}\n"
                  'secrets { ike-1 { secret = "vpnpt" } }\n')
    machine.start("charon", "/usr/lib/ipsec/charon", STRONGSWAN_CONF=machine.write("strongswan.conf", SETTINGS))
    peer.site.need(lambda: machine.run("swanctl", "--stats", check=False).returncode == 0, f"charon of {machine.name} answers")
    machine.run("swanctl", "--load-all", "--noprompt")


class StrongSwan(Ipsec):
    """One charon for each machine."""

    title = "strongSwan IKEv2, NAT-T"
    program = (("/usr/lib/ipsec/charon", "--version"), r"strongSwan (\S+)")
    can_rekey = ("client", "server")

    def serve(self) -> None:
        self.addresses()
        self.start(self.server, [CONNECTION % (client.name, self.server.address, "%any", "server", client.name, "tunnel",
                                               f"{SERVER_INSIDE}/32", f"{self.inside(number)}/32")
                                 for number, client in enumerate(self.site.clients)])

    def start(self, machine: Machine, connections: list[str]) -> None:
        """Starts what keeps this machine's SAs."""
        start_charon(self, machine, connections)

    def prepare(self, number: int) -> None:
        client = self.client(number)
        self.start(client, [CONNECTION % ("vpn", client.address, self.server.address, client.name, "server", "tunnel",
                                          f"{self.inside(number)}/32", f"{SERVER_INSIDE}/32")])

    def connect(self, number: int) -> None:
        self.client(number).start("swanctl", "swanctl", "--initiate", "--child", "vpn", "--timeout", "20")

    def disconnect(self, number: int) -> None:
        self.client(number).run("swanctl", "--terminate", "--ike", "vpn", "--force", "--timeout", "1", check=False)

    def rekey(self, number: int, by: str) -> None:
        machine, name = (self.client(number), "vpn") if by == "client" else (self.server, self.client(number).name)
        if by == "client":
            machine.run("swanctl", "--rekey", "--child", "vpn", check=False)
        else:
            machine.run("swanctl", "--rekey", "--ike", name, "--child", "vpn", check=False)
