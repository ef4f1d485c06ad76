# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec endpoints: IKE version 1 and 2, rekeying, DPD, ESP plain or in UDP, on a client or on a server.

One `Endpoint` per host. A client starts with `negotiate`; a server knows its clients by their secrets and answers to wherever a
request came from. Which message answers which stands in ANSWERS; what an arriving one changes, in the `_on_*` methods.
"""
from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lab.packets import PROTO_ESP
from tests.lab.peers.esp import Child
from tests.lab.peers.ike import NON_ESP_MARKER, NONE, IkeSa, Message, secret_of

if TYPE_CHECKING:
    from tests.lab.host import Datagrams, Host
    from tests.lab.peers.ledger import Ledger

ANSWERS = {"main1": "main2", "main2": "main3", "main3": "main4", "main4": "main5", "main5": "main6",
           "aggressive1": "aggressive2", "aggressive2": "aggressive3", "quick1": "quick2", "quick2": "quick3",
           "init1": "init2", "init2": "auth1", "auth1": "auth2", "child1": "child2", "rekey1": "rekey2", "dpd1": "dpd2"}
CREATES_IKE = ("main1", "aggressive1", "init1")
OFFERS_CHILD = ("quick1", "auth1", "child1")
ACCEPTS_CHILD = ("quick2", "auth2", "child2")
# From here on a NAT-T initiator uses port 4500 (RFC 3947 section 4, RFC 7296 section 2.23).
FLOATS = ("main5", "aggressive3", "auth1")


@dataclass
class Session:
    """One side's view of a client-server pair.

    peer: the other host's name; address: where it is seen; ports: the UDP port at which it was last seen, by our own port (500
    or 4500); seen: every source port it was seen with, in order; transport: the port of ours that IKE uses now.
    """

    client: str
    peer: str
    address: str
    secret: bytes = field(repr=False)
    version: int = 2
    natt: bool = False
    transport: int = 500
    cipher: str = "gcm"
    ports: dict[int, int] = field(default_factory=lambda: {500: 500, 4500: 4500})
    seen: list[int] = field(default_factory=list)
    sas: list[IkeSa] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    offers: dict[int, int] = field(default_factory=dict)
    wants_child: bool = True
    dpd_answers: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def ike(self) -> IkeSa:
        """The newest IKE SA. Raises IndexError before there is one."""
        return self.sas[-1]

    @property
    def child(self) -> Child:
        """The newest ESP association. Raises IndexError before there is one."""
        return self.children[-1]


class Endpoint:
    """The IPsec of one host. strict_port: ignores IKE from a source port other than 500 and 4500, as old concentrators do.

    hasty: clients to which it sends a packet with new keys just before the answer that makes these, as programs do that are asked for
    something at that moment; nobody can open that one, and no ledger knows it.
    foreign: what arrived that no key here opens, as (protocol, data).
    """

    def __init__(self, host: Host, ledger: Ledger, names: list[str] | None = None, strict_port: bool = False,
                 hasty: tuple[str, ...] = ()) -> None:
        self.host = host
        self.ledger = ledger
        self.strict_port, self.hasty = strict_port, hasty
        self.sessions: dict[str, Session] = {}
        self.foreign: list[tuple[str, bytes]] = []
        self.refused = 0
        self._secrets = {name: secret_of(name) for name in names or []}
        self._udp: dict[tuple[int, bool], Datagrams] = {}
        for ipv6 in (False, True) if host.address6 else (False,):
            host.protocol(PROTO_ESP, ipv6).on_receive = self._on_esp
            for port in (500, 4500):
                socket = host.udp(port, ipv6)
                socket.on_receive = lambda data, address, source, port=port: self._on_udp(port, data, address, source)
                self._udp[port, ipv6] = socket

    # scripts

    def start(self, server: Endpoint, version: int = 2, natt: bool = False, aggressive: bool = False, start_port: int = 500,
              ipv6: bool = False, cipher: str = "gcm", **options: Any) -> Session:
        """Sends the first message to a server; the answers take it from there. options: spi (ours, forced), size (of IKE)."""
        name = self.host.name
        address = server.host.address6 if ipv6 else server.host.address
        session = Session(name, server.host.name, address, secret_of(name), version, natt or start_port == 4500, start_port,
                          cipher, options=options)
        self.sessions[server.host.name] = session
        self.begin_ike(session, aggressive)
        return session

    def negotiate(self, server: Endpoint, timeout: float = 1.0, **options: Any) -> Session | None:
        """`start`, and the loop until the ESP association stands on both sides; None when it does not in time (seconds)."""
        session = self.start(server, **options)
        return session if self.host.pump.run(lambda: self.up(server), timeout) else None

    def up(self, server: Endpoint) -> bool:
        """Whether this client and the server both hold the newest association."""
        ours, theirs = self.sessions.get(server.host.name), server.sessions.get(self.host.name)
        return bool(ours and theirs and ours.children and theirs.children and ours.child.spi_in == theirs.child.spi_out)

    def manual(self, server: Endpoint, spi_in: int, spi_out: int, ipv6: bool = False) -> Session:
        """Manual keys on both sides, no IKE (RFC 4301 section 4.5.1)."""
        name = self.host.name
        sessions = []
        for endpoint, peer, address, pair in ((self, server.host, server.host.address6 if ipv6 else server.host.address,
                                               (spi_in, spi_out)), (server, self.host, "", (spi_out, spi_in))):
            session = Session(name, peer.name, address, secret_of(name))
            session.children.append(Child(session.secret, *pair))
            endpoint.sessions[peer.name] = session
            sessions.append(session)
        sessions[1].address = server.host.address6 and ipv6 and self.host.address6 or "203.0.113.1"
        return sessions[0]

    def begin_ike(self, session: Session, aggressive: bool = False) -> None:
        """Starts a new IKE SA with a cookie of ours, from either side: the first, a reauthentication, or an IKEv1 rekey."""
        sa = IkeSa(os.urandom(8), NONE, session.version, initiator=True)
        session.sas.append(sa)
        kind = "init1" if session.version == 2 else "aggressive1" if aggressive else "main1"
        self._send(session, sa, kind, sa.take_id() if session.version == 2 else 0)

    def rekey_child(self, session: Session, spi: int = 0) -> None:
        """Offers a new pair of ESP SAs; the old ones stay until `drop_old`."""
        sa = session.ike
        message_id = sa.take_id()
        kind = "quick1" if session.version == 1 else "child1"
        self._send(session, sa, kind, message_id, spi=self._offer(session, message_id, spi))

    def rekey_ike(self, session: Session) -> None:
        """IKEv2: new cookies inside CREATE_CHILD_SA. IKEv1: a new main mode with a cookie of this side."""
        if session.version == 1:
            session.wants_child = False
            self.begin_ike(session)
            return
        sa = session.ike
        self._send(session, sa, "rekey1", sa.take_id(), cookie=os.urandom(8).hex())

    def dpd(self, session: Session, size: int = 0) -> None:
        """Asks whether the peer is there; `session.dpd_answers` counts what comes back."""
        self._send(session, session.ike, "dpd1", session.ike.take_id(), size=size)

    def drop_old(self, session: Session) -> None:
        """Tells the peer that all but the newest associations are deleted."""
        session.children = session.children[-1:]
        self._send(session, session.ike, "delete1", session.ike.take_id(), keep=session.child.spi_in)

    def send_esp(self, session: Session, size: int = 64, child: Child | None = None) -> bytes:
        """Sends one sealed packet over the newest (or the given) association and returns it, from the SPI on."""
        packet = (child or session.child).seal(size)
        self.ledger.sent(packet, "nat-t" if session.natt else "esp", self.host.name, session.peer)
        ipv6 = ":" in session.address
        if session.natt:
            self._udp[4500, ipv6].send(packet, session.address, session.ports[4500])
        else:
            self.host.protocol(PROTO_ESP, ipv6).send(packet, session.address)
        return packet

    # arrivals

    def _on_esp(self, data: bytes, address: str, port: int) -> None:
        for session in self.sessions.values():
            for child in session.children:
                if child.open(data) is not None:
                    session.address = address
                    self.ledger.used(data, self.host.name)
                    return
        self.foreign.append(("esp", data))

    def _on_udp(self, own_port: int, data: bytes, address: str, port: int) -> None:
        if own_port == 4500 and data[:4] != NON_ESP_MARKER:
            if len(data) > 8:
                self._on_esp(data, address, port)
            return
        name, session, message = self._decode(data.removeprefix(NON_ESP_MARKER) if own_port == 4500 else data)
        if message is None:
            self.foreign.append(("ike", data))
            return
        if self.strict_port and port not in (500, 4500):
            self.refused += 1
            return
        self.ledger.used(data, self.host.name)
        if session is None:
            session = Session(name, name, address, self._secrets[name], message.version)
            self.sessions[name] = session
        session.address, session.ports[own_port], session.transport = address, port, own_port
        session.natt = session.natt or own_port == 4500
        session.seen.append(port)
        self._on_message(session, message)

    def _decode(self, data: bytes) -> tuple[str, Session | None, Message | None]:
        """Whose secret opens a message: a pair we know, or (on a server) a client that has the right to begin one."""
        for name, session in self.sessions.items():
            if message := Message.decode(data, session.secret):
                return name, session, message
        for name, secret in self._secrets.items():
            if name not in self.sessions and (message := Message.decode(data, secret)):
                return name, None, message
        return "", None, None

    def _on_message(self, session: Session, message: Message) -> None:
        kind = message.kind
        if kind in CREATES_IKE:
            session.sas.append(IkeSa(message.icookie, os.urandom(8), message.version, initiator=False))
            session.version, session.cipher = message.version, message.body.get("cipher", "gcm")
        sa = next((sa for sa in session.sas if sa.icookie == message.icookie), None)
        if sa is None:
            self.foreign.append(("ike", b""))
            return
        if sa.rcookie == NONE:
            sa.rcookie = message.rcookie
        if kind in OFFERS_CHILD:
            self._on_offer(session, sa, message)
        elif kind in ACCEPTS_CHILD:
            self._on_accept(session, sa, message)
        elif kind in ("rekey1", "rekey2"):
            self._on_rekey(session, sa, message)
        elif kind == "delete1":
            session.children = [child for child in session.children if child.spi_out == message.body["keep"]]
        elif kind == "dpd2":
            session.dpd_answers += 1
        else:
            self._on_phase1(session, sa, message)

    def _on_phase1(self, session: Session, sa: IkeSa, message: Message) -> None:
        kind = message.kind
        sa.established = kind in ("main5", "main6", "aggressive2", "aggressive3", "init2") or sa.established
        answer = ANSWERS.get(kind)
        if answer in FLOATS and session.natt:
            session.transport = 4500
        if answer == "auth1":
            message_id = sa.take_id()
            self._send(session, sa, answer, message_id, spi=self._offer(session, message_id))
        elif answer:
            self._send(session, sa, answer, message.message_id)
        if kind in ("main6", "aggressive2") and sa.initiator and session.wants_child:
            self.rekey_child(session)

    def _on_offer(self, session: Session, sa: IkeSa, message: Message) -> None:
        spi = session.options.get("spi") or new_spi()
        sa.established = True
        session.children.append(Child(session.secret, spi, message.body["spi"], session.cipher))
        if session.peer in self.hasty and not session.natt:
            self.host.protocol(PROTO_ESP, ":" in session.address).send(session.child.seal(64), session.address)
        self._send(session, sa, ANSWERS[message.kind], message.message_id, spi=spi)

    def _on_accept(self, session: Session, sa: IkeSa, message: Message) -> None:
        spi = session.offers.pop(message.message_id)
        session.children.append(Child(session.secret, spi, message.body["spi"], session.cipher))
        if message.kind == "quick2":
            self._send(session, sa, "quick3", message.message_id)

    def _on_rekey(self, session: Session, sa: IkeSa, message: Message) -> None:
        theirs = bytes.fromhex(message.body["cookie"])
        if message.kind == "rekey1":
            ours = os.urandom(8)
            self._send(session, sa, "rekey2", message.message_id, cookie=ours.hex(), initiator=message.body["cookie"])
            session.sas.append(IkeSa(theirs, ours, 2, initiator=False, established=True))
        else:
            session.sas.append(IkeSa(bytes.fromhex(message.body["initiator"]), theirs, 2, initiator=True, established=True))

    # sending

    def _offer(self, session: Session, message_id: int, spi: int = 0) -> int:
        session.offers[message_id] = spi or session.options.get("spi") or new_spi()
        return session.offers[message_id]

    def _send(self, session: Session, sa: IkeSa, kind: str, message_id: int, size: int = 0, **body: Any) -> None:
        response = kind[-1] == "2"
        if kind in CREATES_IKE:
            body["cipher"] = session.cipher
        message = Message(sa.icookie, sa.rcookie, sa.version, kind, message_id, sa.flags(response), body)
        data = message.encode(session.secret, size or session.options.get("size", 0))
        if session.transport == 4500:
            data = NON_ESP_MARKER + data
        self.ledger.sent(data, "ike", self.host.name, session.peer)
        self._udp[session.transport, ":" in session.address].send(data, session.address, session.ports[session.transport])


def new_spi() -> int:
    """A random SPI outside the reserved range (RFC 4303 section 2.1)."""
    return random.randrange(0x1000, 1 << 32)
