# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP version 2 (RFC 2661): tunnels and sessions over UDP 1701, for one host each.

Messages are not retransmitted: what is lost stays lost, so that scenarios can see it.
"""
from __future__ import annotations

import itertools
import os
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.lab.peers.ledger import l2tp_payload

if TYPE_CHECKING:
    from tests.lab.host import Datagrams, Host
    from tests.lab.peers.ledger import Ledger

PORT = 1701
SO_NO_CHECK = 11
SCCRQ, SCCRP, SCCCN, STOPCCN, HELLO, ICRQ, ICRP, ICCN = 1, 2, 3, 4, 6, 10, 11, 12
AVP_TYPE, AVP_VERSION, AVP_FRAMING, AVP_HOST, AVP_TUNNEL, AVP_CHALLENGE, AVP_SESSION = 0, 2, 3, 7, 9, 11, 14


@dataclass
class Tunnel:
    """One tunnel with one session, on one side. tunnel_id, session_id: ours; peer_*: what we put into headers."""

    peer: str
    address: str
    port: int
    tunnel_id: int
    session_id: int = 0
    peer_tunnel_id: int = 0
    peer_session_id: int = 0
    up: bool = False
    ended: bool = False
    hellos: int = 0
    sent: int = 0
    expected: int = 0
    received: int = 0
    ports: list[int] = field(default_factory=list)


class _Side:
    """What client and server share."""

    def __init__(self, host: Host, ledger: Ledger, port: int) -> None:
        self.host = host
        self.ledger = ledger
        self.tunnels: list[Tunnel] = []
        self.foreign: list[tuple[str, bytes]] = []
        self.socket = host.udp(port)
        self.socket.on_receive = self._on_datagram

    def send_data(self, tunnel: Tunnel, size: int = 64) -> bytes:
        """Sends one PPP frame over a session and returns it."""
        frame = b"\xff\x03\x00\x21" + self.ledger.content(size)
        header = struct.pack(">HHHH", 0x4002, 8 + len(frame), tunnel.peer_tunnel_id, tunnel.peer_session_id)
        self._send(tunnel, header + frame, "l2tp")
        return frame

    def hello(self, tunnel: Tunnel) -> None:
        """A keep-alive; the other side acknowledges it, which `hellos` counts."""
        self._control(tunnel, HELLO)

    def stop(self, tunnel: Tunnel) -> None:
        """Ends the tunnel."""
        self._control(tunnel, STOPCCN, avp(AVP_TUNNEL, struct.pack(">H", tunnel.tunnel_id)), avp(1, struct.pack(">H", 1)))
        tunnel.up, tunnel.ended = False, True

    def _outgoing(self, tunnel: Tunnel) -> Datagrams:
        return self.socket

    def _send(self, tunnel: Tunnel, data: bytes, kind: str) -> None:
        self.ledger.sent(l2tp_payload(data), kind, self.host.name, tunnel.peer)
        self._outgoing(tunnel).send(data, tunnel.address, tunnel.port)

    def _control(self, tunnel: Tunnel, kind: int, *avps: bytes, session: int = 0) -> None:
        # The challenge makes each message unlike any other, as real ones are by authentication.
        body = avp(AVP_TYPE, struct.pack(">H", kind)) + b"".join(avps) + avp(AVP_CHALLENGE, os.urandom(16))
        header = struct.pack(">HHHHHH", 0xC802, 12 + len(body), tunnel.peer_tunnel_id, session, tunnel.sent, tunnel.expected)
        tunnel.sent = (tunnel.sent + 1) & 0xFFFF
        self._send(tunnel, header + body, "l2tp-control")

    def _acknowledge(self, tunnel: Tunnel) -> None:
        header = struct.pack(">HHHHHH", 0xC802, 12, tunnel.peer_tunnel_id, 0, tunnel.sent, tunnel.expected)
        self._outgoing(tunnel).send(header, tunnel.address, tunnel.port)

    def _on_datagram(self, data: bytes, address: str, port: int) -> None:
        if len(data) < 8:
            return
        flags, _, tunnel_id, session_id = struct.unpack_from(">HHHH", data)
        control = bool(flags & 0x8000)
        avps = parse_avps(data[12:]) if control else {}
        kind = int.from_bytes(avps.get(AVP_TYPE, b""), "big")
        entry = self.ledger.entries.get(l2tp_payload(data))
        tunnel = self._tunnel_for(tunnel_id, kind, avps, address, port)
        if tunnel is None or (entry and (entry.owner, entry.source) != (self.host.name, tunnel.peer)):
            self.foreign.append(("l2tp", data))
            return
        tunnel.ports.append(port)
        if not control:
            if session_id == tunnel.session_id:
                tunnel.received += 1
                self.ledger.used(l2tp_payload(data), self.host.name)
            else:
                self.foreign.append(("l2tp", data))
            return
        if not avps:
            tunnel.hellos += 1
            return
        self.ledger.used(l2tp_payload(data), self.host.name)
        tunnel.expected = (int.from_bytes(data[8:10], "big") + 1) & 0xFFFF
        self._on_control(tunnel, kind, avps, session_id)

    def _tunnel_for(self, tunnel_id: int, kind: int, avps: dict[int, bytes], address: str, port: int) -> Tunnel | None:
        return next((tunnel for tunnel in self.tunnels if tunnel.tunnel_id == tunnel_id and not tunnel.ended), None)

    def _on_control(self, tunnel: Tunnel, kind: int, avps: dict[int, bytes], session_id: int) -> None:
        if kind == STOPCCN:
            tunnel.up, tunnel.ended = False, True
        self._acknowledge(tunnel)


class L2tpServer(_Side):
    """Answers tunnels. answer_port: the source port of its answers (RFC 2661 section 8.1 lets it choose); to_1701: it always
    sends to port 1701, whatever port the client has. unsummed: without UDP checksums, as xl2tpd.
    """

    def __init__(self, host: Host, ledger: Ledger, answer_port: int = PORT, to_1701: bool = False, unsummed: bool = False) -> None:
        super().__init__(host, ledger, PORT)
        self._to_1701 = to_1701
        self._answer = self.socket if answer_port == PORT else host.udp(answer_port)
        self._answer.on_receive = self._on_datagram
        if unsummed:
            self._answer.sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        self._ids = itertools.count(1001)

    def tunnel_from(self, name: str) -> Tunnel:
        """The newest tunnel of a client. Raises StopIteration."""
        return next(tunnel for tunnel in reversed(self.tunnels) if tunnel.peer == name)

    def _outgoing(self, tunnel: Tunnel) -> Datagrams:
        return self._answer

    def _tunnel_for(self, tunnel_id: int, kind: int, avps: dict[int, bytes], address: str, port: int) -> Tunnel | None:
        if kind == SCCRQ:
            tunnel = Tunnel(avps[AVP_HOST].decode(), address, PORT if self._to_1701 else port, next(self._ids))
            tunnel.peer_tunnel_id = int.from_bytes(avps[AVP_TUNNEL], "big")
            self.tunnels.append(tunnel)
            return tunnel
        return super()._tunnel_for(tunnel_id, kind, avps, address, port)

    def _on_control(self, tunnel: Tunnel, kind: int, avps: dict[int, bytes], session_id: int) -> None:
        if kind == SCCRQ:
            self._control(tunnel, SCCRP, avp(AVP_VERSION, b"\1\0"), avp(AVP_FRAMING, b"\0\0\0\3"), avp(AVP_HOST, b"server"),
                          avp(AVP_TUNNEL, struct.pack(">H", tunnel.tunnel_id)))
        elif kind == ICRQ:
            tunnel.session_id, tunnel.peer_session_id = next(self._ids), int.from_bytes(avps[AVP_SESSION], "big")
            self._control(tunnel, ICRP, avp(AVP_SESSION, struct.pack(">H", tunnel.session_id)), session=tunnel.peer_session_id)
        elif kind == ICCN:
            tunnel.up = True
            self._acknowledge(tunnel)
        else:
            super()._on_control(tunnel, kind, avps, session_id)


class L2tpClient(_Side):
    """Begins tunnels, from port 1701 by default (0: any port)."""

    def __init__(self, host: Host, ledger: Ledger, port: int = PORT) -> None:
        super().__init__(host, ledger, port)

    def start(self, server: L2tpServer, tunnel_id: int = 0) -> Tunnel:
        """Sends SCCRQ; the answers take it from there. tunnel_id: ours, random when 0."""
        tunnel = Tunnel(server.host.name, server.host.address, PORT, tunnel_id or random.randrange(1, 0x10000),
                        random.randrange(1, 0x10000))
        self.tunnels.append(tunnel)
        self._control(tunnel, SCCRQ, avp(AVP_VERSION, b"\1\0"), avp(AVP_FRAMING, b"\0\0\0\3"),
                      avp(AVP_HOST, self.host.name.encode()), avp(AVP_TUNNEL, struct.pack(">H", tunnel.tunnel_id)))
        return tunnel

    def dial(self, server: L2tpServer, tunnel_id: int = 0, timeout: float = 1.0) -> Tunnel | None:
        """`start`, and the loop until the session is up on both sides; None when it is not in time (seconds)."""
        tunnel = self.start(server, tunnel_id)
        return tunnel if self.host.pump.run(lambda: self.up(server), timeout) else None

    def up(self, server: L2tpServer) -> bool:
        """Whether both sides hold the newest tunnel."""
        ours = self.tunnels[-1]
        return ours.up and any(theirs.up and theirs.peer == self.host.name and theirs.tunnel_id == ours.peer_tunnel_id
                               for theirs in server.tunnels)

    def _on_control(self, tunnel: Tunnel, kind: int, avps: dict[int, bytes], session_id: int) -> None:
        if kind == SCCRP:
            tunnel.peer_tunnel_id = int.from_bytes(avps[AVP_TUNNEL], "big")
            # Where the answer came from is where the tunnel lives from now on.
            tunnel.port = tunnel.ports[-1]
            self._control(tunnel, SCCCN)
            self._control(tunnel, ICRQ, avp(AVP_SESSION, struct.pack(">H", tunnel.session_id)), avp(15, b"\0\0\0\1"))
        elif kind == ICRP:
            tunnel.peer_session_id = int.from_bytes(avps[AVP_SESSION], "big")
            tunnel.up = True
            self._control(tunnel, ICCN, avp(24, b"\0\0\0\1"), avp(19, b"\0\0\0\3"), session=tunnel.peer_session_id)
        else:
            super()._on_control(tunnel, kind, avps, session_id)


def avp(number: int, value: bytes) -> bytes:
    """One mandatory attribute (RFC 2661 section 4.1)."""
    return struct.pack(">HHH", 0x8000 | (6 + len(value)), 0, number) + value


def parse_avps(data: bytes) -> dict[int, bytes]:
    """The attributes by number; what is cut off is left out."""
    result = {}
    while len(data) >= 6:
        length = int.from_bytes(data[:2], "big") & 0x3FF
        if length < 6 or length > len(data):
            break
        result[int.from_bytes(data[4:6], "big")] = data[6:length]
        data = data[length:]
    return result
