# SPDX-License-Identifier: GPL-2.0-or-later
"""One face for the tunnels of all protocols, so that scenarios can bring up, use and watch any of them alike."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lab.peers.ike import NONE
from tests.lab.peers.ipsec import Endpoint, Session
from tests.lab.peers.l2tp import L2tpClient, L2tpServer
from tests.lab.peers.pptp import Call, PptpClient, PptpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.host import Host
    from tests.lab.topology import Lab


class Peers:
    """The VPN programs of each host, made when they are first needed. options: for the servers, by protocol."""

    def __init__(self, lab: Lab, options: dict[str, Any]) -> None:
        self.lab = lab
        self._options = options
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, kind: str, host: Host, **client_options: Any) -> Any:
        """The program of one kind ('ipsec', 'pptp', 'l2tp') on one host."""
        key = (kind, host.name)
        if key not in self._made:
            self._made[key] = self._make(kind, host, client_options)
        return self._made[key]

    def _make(self, kind: str, host: Host, client_options: dict[str, Any]) -> Any:
        ledger = self.lab.ledger
        server = host in self.lab.servers
        options = self._options if server else client_options
        if kind == "ipsec":
            return Endpoint(host, ledger, [client.name for client in self.lab.clients] if server else None, **options)
        classes: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {"pptp": (PptpClient, PptpServer),
                                                                             "l2tp": (L2tpClient, L2tpServer)}
        return classes[kind][server](host, ledger, **options)


class Tunnel:
    """A client's way to a server. name: what scenarios call it."""

    kind = ""

    def __init__(self, name: str, client: Host, server: Host, peers: Peers, **options: Any) -> None:
        self.name = name
        self.client = client
        self.server = server
        self.options = options
        self.ours: Any = peers.get(self.program, client, **self.program_options(options))
        self.theirs: Any = peers.get(self.program, server)

    @property
    def program(self) -> str:
        """The kind of program that both ends run."""
        return self.kind

    @staticmethod
    def program_options(options: dict[str, Any]) -> dict[str, Any]:
        """Takes out of a tunnel's options what belongs to the client's program."""
        return {}

    def start(self) -> None:
        """Sends the first message."""
        raise NotImplementedError

    def up(self) -> bool:
        """Whether both ends are ready for data."""
        raise NotImplementedError

    def send(self, outward: bool, size: int) -> None:
        """Sends one data packet, from the client or from the server."""
        raise NotImplementedError


class IpsecTunnel(Tunnel):
    """IKE and ESP."""

    kind = "ipsec"

    @property
    def session(self) -> Session:
        """The client's side."""
        return self.ours.sessions[self.server.name]

    @property
    def server_session(self) -> Session:
        """The server's side. Raises KeyError before the server has heard of the client."""
        return self.theirs.sessions[self.client.name]

    def start(self) -> None:
        self.ours.start(self.theirs, **self.options)

    def up(self) -> bool:
        return self.ours.up(self.theirs)

    def send(self, outward: bool, size: int) -> None:
        if outward:
            self.ours.send_esp(self.session, size)
        else:
            self.theirs.send_esp(self.server_session, size)

    def by(self, who: str) -> tuple[Endpoint, Session]:
        """The end that acts, 'client' or 'server'."""
        return (self.ours, self.session) if who == "client" else (self.theirs, self.server_session)

    def ike_matches(self) -> bool:
        """Whether both ends hold the same newest IKE SA, complete."""
        ours, theirs = self.session.ike, self.server_session.ike
        return (ours.icookie, ours.rcookie) == (theirs.icookie, theirs.rcookie) and NONE not in (ours.icookie, ours.rcookie) \
            and ours.established and theirs.established


class ManualTunnel(IpsecTunnel):
    """ESP with keys set by hand."""

    kind = "manual"

    @property
    def program(self) -> str:
        return "ipsec"

    def start(self) -> None:
        number = self.client.address.rpartition(".")[2]
        self.ours.manual(self.theirs, self.options.get("spi_in", 0x10000 + int(number)),
                         self.options.get("spi_out", 0x20000 + int(number)), self.options.get("ipv6", False))


class PptpTunnel(Tunnel):
    """A call."""

    kind = "pptp"
    call: Call | None = None

    def start(self) -> None:
        first = self.options.get("second_call_of")
        self.call = self.ours.second_call(self.ours.calls[0], self.options.get("call_id")) if first else \
            self.ours.start(self.theirs, self.options.get("call_id"))

    def up(self) -> bool:
        return bool(self.call and self.call.up)

    @property
    def server_call(self) -> Call:
        """The server's side of the call, which alone knows whose it is by the number that was dialled."""
        calls = [call for call in self.ours.calls if call.peer == self.server.name]
        return [call for call in self.theirs.calls if call.peer == self.client.name][calls.index(self.call)]

    def send(self, outward: bool, size: int) -> None:
        if outward:
            self.ours.send_data(self.call, size)
        else:
            self.theirs.send_data(self.server_call, size)


class L2tpTunnel(Tunnel):
    """A tunnel with one session."""

    kind = "l2tp"

    @staticmethod
    def program_options(options: dict[str, Any]) -> dict[str, Any]:
        return {"port": options.pop("port")} if "port" in options else {}

    def start(self) -> None:
        self.tunnel = self.ours.start(self.theirs, **self.options)

    def up(self) -> bool:
        return self.ours.up(self.theirs)

    def send(self, outward: bool, size: int) -> None:
        if outward:
            self.ours.send_data(self.tunnel, size)
        else:
            self.theirs.send_data(self.theirs.tunnel_from(self.client.name), size)


KINDS = {cls.kind: cls for cls in (IpsecTunnel, ManualTunnel, PptpTunnel, L2tpTunnel)}
