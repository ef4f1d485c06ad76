# SPDX-License-Identifier: GPL-2.0-or-later
"""PPTP (RFC 2637): a control connection on TCP 1723 and PPP frames in GRE version 1, for one host each.

A frame says in clear for which client it is, as the data of a real one would by failing its checksum at anyone else's PPP.
"""
from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.lab.packets import PROTO_GRE
from tests.lab.peers.ledger import gre_payload

if TYPE_CHECKING:
    from tests.lab.host import Host, Stream
    from tests.lab.peers.ledger import Ledger

PORT = 1723
MAGIC = 0x1A2B3C4D
START_REQUEST, START_REPLY, STOP_REQUEST, STOP_REPLY, ECHO_REQUEST, ECHO_REPLY = 1, 2, 3, 4, 5, 6
CALL_REQUEST, CALL_REPLY, CALL_CLEAR, CALL_DISCONNECT, SET_LINK_INFO = 7, 8, 12, 13, 15
HEADER = struct.Struct(">HHIHH")
START = struct.Struct(">HBBIIHH64s64s")
REQUEST = struct.Struct(">HHIIIIHHHH64s64s")
REPLY = struct.Struct(">HHBBHIHHI")
_serial = itertools.count(1)


@dataclass
class Call:
    """One call on one side. peer: the other host's name; call_id: ours, put by the peer into GRE to us; peer_call_id: theirs."""

    peer: str
    address: str
    call_id: int
    stream: Stream = field(repr=False)
    peer_call_id: int = 0
    up: bool = False
    ended: str = ""
    sequence: int = 0
    received: int = 0
    highest: int = -1
    echoes: int = 0


class _Side:
    """What client and server share: framing of the control connection, GRE in and out."""

    def __init__(self, host: Host, ledger: Ledger, first_call_id: int) -> None:
        self.host = host
        self.ledger = ledger
        self.calls: list[Call] = []
        self.foreign: list[tuple[str, bytes]] = []
        self._call_ids = itertools.count(first_call_id)
        host.protocol(PROTO_GRE).on_receive = self._on_gre

    def send_data(self, call: Call, size: int = 64) -> bytes:
        """Sends one PPP frame over a call and returns it."""
        frame = b"\xff\x03\x00\x21" + self.ledger.content(size)
        acknowledge = call.highest >= 0
        header = struct.pack(">BBHHHI", 0x30, 0x81 if acknowledge else 0x01, 0x880B, len(frame), call.peer_call_id, call.sequence)
        if acknowledge:
            header += struct.pack(">I", call.highest)
        call.sequence += 1
        self.ledger.sent(frame, "gre", self.host.name, call.peer)
        self.host.protocol(PROTO_GRE).send(header + frame, call.address)
        return frame

    def _on_gre(self, data: bytes, address: str, port: int) -> None:
        if len(data) < 12 or data[1] & 7 != 1:
            self.foreign.append(("gre", data))
            return
        call_id, sequence = struct.unpack_from(">HI", data, 6)
        frame = gre_payload(data)
        for call in self.calls:
            if call.call_id == call_id and call.address == address and self._owns(call, frame):
                call.highest = max(call.highest, sequence)
                call.received += 1
                self.ledger.used(frame, self.host.name)
                return
        self.foreign.append(("gre", data))

    def _owns(self, call: Call, frame: bytes) -> bool:
        """Whether a frame is for this end of this call, which PPP's own state tells in reality."""
        entry = self.ledger.entries.get(frame)
        return entry is not None and entry.owner == self.host.name and entry.source == call.peer

    def _read(self, stream: Stream) -> None:
        while len(stream.received) >= HEADER.size:
            length, _, magic, kind, _ = HEADER.unpack_from(stream.received)
            if magic != MAGIC or length < HEADER.size:
                stream.close(reset=True)
                return
            if len(stream.received) < length:
                return
            body = bytes(stream.received[HEADER.size:length])
            del stream.received[:length]
            if kind == ECHO_REQUEST:
                _send(stream, ECHO_REPLY, body + b"\1\0\0\0")
            else:
                self._on_control(stream, kind, body)

    def _on_control(self, stream: Stream, kind: int, body: bytes) -> None:
        raise NotImplementedError

    def _call_of(self, stream: Stream, call_id: int = -1, peer_call_id: int = -1) -> Call | None:
        return next((call for call in self.calls if call.stream is stream and not call.ended and call_id in (-1, call.call_id)
                     and peer_call_id in (-1, call.peer_call_id)), None)


class PptpServer(_Side):
    """Takes calls. forced_call_id: the call ID of every call of ours, instead of one each. names: peer names by source order."""

    def __init__(self, host: Host, ledger: Ledger, first_call_id: int = 100) -> None:
        super().__init__(host, ledger, first_call_id)
        host.listen(PORT, self._on_connect)

    def call_from(self, name: str) -> Call:
        """The newest call of a client. Raises LookupError."""
        return next(call for call in reversed(self.calls) if call.peer == name)

    def disconnect(self, call: Call) -> None:
        """Ends a call from this side."""
        _send(call.stream, CALL_DISCONNECT, struct.pack(">HBBHH128s", call.call_id, 4, 0, 0, 0, b""))
        call.ended = "disconnected"

    def _on_connect(self, stream: Stream) -> None:
        stream.on_data = lambda: self._read(stream)

    def _on_control(self, stream: Stream, kind: int, body: bytes) -> None:
        if kind == START_REQUEST:
            _send(stream, START_REPLY, START.pack(0x0100, 1, 0, 3, 3, 1, 1, b"server", b"lab"))
        elif kind == CALL_REQUEST:
            fields = REQUEST.unpack(body)
            # The number to dial tells the server's bookkeeping who calls; a real one learns it by PPP authentication.
            call = Call(fields[10].rstrip(b"\0").decode(), stream.peer[0], next(self._call_ids), stream, fields[0], up=True)
            self.calls.append(call)
            _send(stream, CALL_REPLY, REPLY.pack(call.call_id, call.peer_call_id, 1, 0, 0, 100_000_000, 64, 0, 0))
        elif kind == CALL_CLEAR:
            call_id = struct.unpack_from(">H", body)[0]
            if call := self._call_of(stream, peer_call_id=call_id):
                self.disconnect(call)
        elif kind == STOP_REQUEST:
            _send(stream, STOP_REPLY, b"\1\0\0\0")
            stream.close()


class PptpClient(_Side):
    """Makes calls, by default all with the same call ID on every client, as clients behind one NAT do choose alike."""

    def __init__(self, host: Host, ledger: Ledger, first_call_id: int = 0) -> None:
        super().__init__(host, ledger, first_call_id)

    def start(self, server: PptpServer, call_id: int | None = None) -> Call:
        """Opens a control connection and, when that stands, a call."""
        stream = self.host.connect(server.host.address, PORT)
        call = self._call(server.host.name, server.host.address, stream, call_id)
        stream.on_data = lambda: self._read(stream)
        stream.when_connected(lambda: _send(stream, START_REQUEST, START.pack(0x0100, 0, 0, 3, 3, 0, 1, b"client", b"lab")))
        return call

    def second_call(self, first: Call, call_id: int | None = None) -> Call:
        """Another call on the same control connection."""
        call = self._call(first.peer, first.address, first.stream, call_id)
        self._request(call)
        return call

    def dial(self, server: PptpServer, call_id: int | None = None, timeout: float = 1.0) -> Call | None:
        """`start`, and the loop until the call is up; None when it is not in time (seconds)."""
        call = self.start(server, call_id)
        return call if self.host.pump.run(lambda: call.up or call.stream.closed, timeout) and call.up else None

    def echo(self, call: Call) -> None:
        """A keep-alive on the control connection; `call.echoes` counts the answers."""
        _send(call.stream, ECHO_REQUEST, struct.pack(">I", next(_serial)))

    def clear(self, call: Call) -> None:
        """Asks the server to end the call; its answer ends it."""
        _send(call.stream, CALL_CLEAR, struct.pack(">HH", call.call_id, 0))

    def stop(self, call: Call) -> None:
        """Ends the control connection in an orderly way."""
        _send(call.stream, STOP_REQUEST, b"\1\0\0\0")

    def _call(self, peer: str, address: str, stream: Stream, call_id: int | None) -> Call:
        call = Call(peer, address, next(self._call_ids) if call_id is None else call_id, stream)
        self.calls.append(call)
        return call

    def _request(self, call: Call) -> None:
        name = self.host.name.encode()
        _send(call.stream, CALL_REQUEST,
              REQUEST.pack(call.call_id, call.call_id, 300, 100_000_000, 3, 3, 64, 0, len(name), 0, name, b""))

    def _on_control(self, stream: Stream, kind: int, body: bytes) -> None:
        if kind == START_REPLY:
            for call in self.calls:
                if call.stream is stream and not call.up:
                    self._request(call)
        elif kind == CALL_REPLY:
            fields = REPLY.unpack(body)
            call = self._call_of(stream, call_id=fields[1])
            if call and fields[2] == 1:
                call.peer_call_id, call.up = fields[0], True
                _send(stream, SET_LINK_INFO, struct.pack(">HHII", call.peer_call_id, 0, 0xFFFFFFFF, 0xFFFFFFFF))
        elif kind == CALL_DISCONNECT:
            # Ours or theirs: Linux's helper puts our call ID where the RFC (section 2.13) has the server's (pptp_inbound_pkt).
            call_id = struct.unpack_from(">H", body)[0]
            if call := self._call_of(stream, peer_call_id=call_id) or self._call_of(stream, call_id=call_id):
                call.ended, call.up = "disconnected", False
        elif kind == ECHO_REPLY and (call := self._call_of(stream)):
            call.echoes += 1


def _send(stream: Stream, kind: int, body: bytes) -> None:
    stream.send(HEADER.pack(HEADER.size + len(body), 1, MAGIC, kind, 0) + body)
