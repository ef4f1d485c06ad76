# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that make a router ill, and the doctor that is to see it."""
from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.topology import Lab

ROOT = Path(__file__).parents[2]
# Files are laid over /etc in a mount namespace that only the daemon sees; "$1" holds them.
OVERLAY = 'mkdir -p "$1/work" && mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc && shift && exec "$@"'
# What a kernel without something would say, whatever else it is asked.
REFUSES = """#!/bin/sh
for last in "$@"; do :; done
[ "$last" = - ] || exec NFT "$@"
text="$(mktemp)"
cat >"$text"
if grep -q 'WHAT' "$text"; then
  echo 'Error: Could not process rule: No such file or directory' >&2
  rm "$text"
  exit 1
fi
NFT "$@" <"$text"
status=$?
rm "$text"
exit $status
"""


class Ailments:
    """Verbs for a Stage. `diagnoses`: of each visit which codes were to be found, and which were."""

    lab: Lab
    stock: bool
    diagnoses: list[tuple[set[str], set[str]]]
    _chosen: Any

    def do_doctor(self, *codes: str, find: tuple[str, ...] = (), says: str = "") -> dict[str, Any] | None:
        """What the doctor finds: exactly these codes. says: a text in what it says of them.

        Results: code: found | missing; unexpected: what else was found, and why.
        """
        if self.stock:
            return None
        answer = self.lab.router.ask(method="doctor")
        if "error" in answer:
            return {"answer": answer["error"]}
        wanted, findings = {*codes, *find}, answer["findings"]
        found = {finding["code"] for finding in findings}
        self.diagnoses.append((wanted, found))
        results = {code: "found" if code in found else "missing" for code in wanted}
        others = [f"{item['code']}: {item['text']} ({item['evidence']})" for item in findings if item["code"] not in wanted]
        if others:
            results["unexpected"] = "; ".join(others)
        if says:
            everything = " ".join(f"{item['text']} {item['evidence']} {item['remedy']}" for item in findings)
            results["says"] = "found" if says in everything else f"not in: {everything}"
        return results

    def do_ask(self, **request: str) -> dict[str, Any] | None:
        """Asks the daemon, whatever it answers."""
        if not self.stock:
            self.lab.router.ask(**request)
        return {}

    # what the user, the firewall or the system does

    def do_nft(self, text: str) -> dict[str, Any]:
        """Loads rules of the user's own."""
        self.lab.router.nft(text)
        return {}

    def do_write(self, **packages: str) -> dict[str, Any]:
        """Writes UCI packages beside vpnpt's."""
        for name, text in packages.items():
            (self.lab.router.config_dir / name).write_text(text)
        return {}

    def do_wan(self, address: str = "", mtu: int = 0, state: str = "") -> dict[str, Any]:
        """Another address, MTU or state of the WAN device."""
        router = self.lab.router
        if address:
            router.run("ip", "addr", "add", f"{address}/24", "dev", router.wan_device)
            router.run("ip", "addr", "del", f"{router.wan_address}/24", "dev", router.wan_device)
        if mtu:
            router.run("ip", "link", "set", router.wan_device, "mtu", str(mtu))
        if state:
            router.run("ip", "link", "set", router.wan_device, state)
        return {}

    def do_bridge(self, calls_firewall: bool) -> dict[str, Any]:
        """Whether the LAN's bridge hands packets to the firewall (net.bridge.bridge-nf-call-iptables): not on OpenWrt."""
        self.lab.router.bridge_calls_firewall(yes=calls_firewall)
        return {}

    def do_ip(self, what: str) -> dict[str, Any]:
        """Runs `ip` in the router."""
        self.lab.router.run("ip", *what.split())
        return {}

    def do_serve(self, proto: str, port: int) -> dict[str, Any]:
        """A program of the router's own listens."""
        router = self.lab.router
        if proto == "udp":
            router.udp(port)
        else:
            router.listen(port, lambda stream: None)
        return {}

    def do_daemon(self, etc: dict[str, str] | None = None, old_kernel: bool = False, no_helper: bool = False, group: int = 0,
                  state: dict[str, int] | None = None, no_netdev: bool = False, without: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """Starts the daemon anew in another world.

        etc: files below /etc that only it sees. old_kernel: `uname` says 2.6. no_helper: the kernel refuses PPTP's helper (a program
        in nft's place says so). no_netdev: it refuses chains of family netdev. group: this NFLOG group is another program's. state: days
        since each protocol was used. without: files of the program that are not there, as if their package were not installed.
        """
        if self.stock:
            return None
        router, wrapper = self.lab.router, list[str]()
        router.kill_vpnpt()
        if etc:
            for name, text in etc.items():
                path = router.directory / "over" / "etc" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            wrapper += ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(router.directory / "over")]
        if without:
            hidden = " && ".join(f"mount --bind /dev/null {ROOT / 'src/vpnpt' / name}" for name in without)
            wrapper += ["unshare", "--mount", "sh", "-c", hidden + ' && exec "$@"', "sh"]
        if old_kernel:
            wrapper += ["setarch", "--uname-2.6"]
        if no_helper or no_netdev:
            real = subprocess.run(["sh", "-c", "command -v nft"], capture_output=True, text=True, check=True).stdout.strip()
            self._program("nft", REFUSES.replace("NFT", real).replace("WHAT", 'type "pptp"' if no_helper else "^table netdev"))
        if group:
            self._taken = router.spawn(sys.executable, "-c", "import sys; from vpnpt.kernel.netfilter import NflogSocket; "
                                         "log = NflogSocket("
                                       f"{group}); print('bound', flush=True); sys.stdin.read()", stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, cwd=str(ROOT / "src"))
            self._taken.stdout.readline()
        if state:
            usage = {name: int(time.time()) - days * 86400 for name, days in state.items()}
            (router.run_dir / "usage").write_text(json.dumps(usage))
        router.start_vpnpt((router.config_dir / "vpnpt").read_text(), wrapper=wrapper)
        return {}

    def _program(self, name: str, text: str) -> None:
        path = self.lab.router.directory / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def do_lose_tables(self) -> dict[str, Any] | None:
        """The program nft is gone, and so are vpnpt's tables."""
        if self.stock:
            return None
        self._program("nft", "#!/bin/sh\nexit 127\n")
        for family in ("ip", "ip6"):
            self.lab.router.run("nft", "delete", "table", family, "vpnpt", check=False)
        return self.lab_said("RESTORE")

    def do_lose_include(self) -> dict[str, Any]:
        """The firewall is loaded without what vpnpt has it include."""
        for path in (self.lab.router.run_dir / "fw4").glob("*.nft"):
            path.unlink()
        self.lab.router.fw4_reload()
        return {}

    def lab_said(self, text: str) -> dict[str, Any]:
        """Waits for a line of the daemon's log."""
        return {"log": "found" if self.lab.router.wait_until(lambda: text in self.lab.router.log_text(), 10) else "missing"}

    # what happens on the way

    def do_isp(self, match: str, verdict: str = "drop", hook: str = "forward priority -10") -> dict[str, Any]:
        """The provider stops what matches."""
        self.lab.isp.run("nft", "-f", "-", text="table inet block {\nchain block {\n"
                         f"type filter hook {hook}\n{match} {verdict}\n}}\n}}\n")
        return {}

    def do_tell(self, who: Any, to: str, port: int, count: int = 3, answered: bool = True, proto: str = "udp") -> dict[str, Any]:
        """Datagrams from clients to a server's port, which answers them or not. Results: client: arrived | failed."""
        server = self.lab.host(to)
        if not hasattr(server, "listening"):
            server.listening = {}
        if port not in server.listening:
            server.listening[port] = server.udp(port)
        there = server.listening[port]
        there.on_receive = (lambda data, address, source: there.send(data, address, source)) if answered else None
        results = {}
        for client in self._clients(who):
            socket = client.udp()
            for number in range(count):
                socket.send(_question(port, number), server.address, port)
                self.lab.pump.run(lambda socket=socket, number=number: len(socket.inbox) > number, 0.5 if answered else 0.05)
            results[client.name] = "arrived" if not answered or socket.inbox else "failed"
        return results

    def do_knock(self, who: Any, to: str, port: int, count: int = 3) -> dict[str, Any]:
        """Datagrams to a port at which nobody listens: the server's kernel says so. Results: client: told | nothing."""
        results = {}
        for client in self._clients(who):
            mark = len(client.packets)
            sockets = [client.udp() for _ in range(count)]
            for number, sock in enumerate(sockets):
                sock.send(_question(port, number), self.lab.host(to).address, port)
            told = self.lab.pump.run(lambda client=client, mark=mark: client.received(lambda packet: packet.proto == 1, mark), 1)
            results[client.name] = "told" if told else "nothing"
        return results

    def do_send(self, who: Any, count: int = 3, outward: bool = True) -> dict[str, Any]:
        """Data on tunnels, without waiting for it to arrive."""
        for tunnel in self._chosen(who):
            for _ in range(count):
                tunnel.send(outward, 64)
                self.lab.pump.drain()
        return {}

    def _clients(self, who: Any) -> list[Host]:
        from tests.lab.verbs import _names

        return [self.lab.host(name) for name in _names(who)]

    def do_open(self, source: str, to: str, port: int) -> dict[str, Any]:
        """Begins a TCP connection, and waits a moment."""
        stream = self.lab.host(source).connect(self.lab.host(to).address, port)
        self.lab.pump.run(lambda: stream.connected or stream.closed, 3.5)
        return {"tcp": "connected" if stream.connected else "refused" if stream.closed else "timeout"}

    def do_fill_conntrack(self, who: str, to: str) -> dict[str, Any]:
        """Opens as many flows as nine tenths of the router's conntrack table."""
        room = int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
        sender = self.lab.host(who).spawn(sys.executable, "-m", "tests.lab.manyflows", self.lab.host(to).address, str(room * 19 // 20),
                                          cwd=str(ROOT), anywhere=True)
        return {"sender": "done" if sender.wait(120) == 0 else "failed"}


def _question(port: int, number: int) -> bytes:
    """What is sent to this port; to 500 an IKEv2 SA is begun (RFC 7296 section 3.1): the doctor is asked about IKE alone."""
    if port == 500:
        return struct.pack(">QQBBBBII", 0xC00C1E00 + number, 0, 33, 0x20, 34, 8, 0, 60) + bytes(32)
    return b"datagram %d" % number
