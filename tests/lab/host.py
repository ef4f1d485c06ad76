# SPDX-License-Identifier: GPL-2.0-or-later
"""One host of the lab: a network namespace, its addresses, and sockets in it that the lab's one process holds."""
from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING

from tests.lab import sandbox
from tests.lab.packets import PROTO_AH, PROTO_ESP, PROTO_GRE, PROTO_L2TP, Captured

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.lab.pump import Pump

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_DONT = 10, 23, 0
SO_RCVBUFFORCE = 33
# Without a socket for them the kernel answers "protocol unreachable", which no VPN host would do.
SINKS = (PROTO_ESP, PROTO_AH, PROTO_GRE, PROTO_L2TP)


class Datagrams:
    """A UDP or raw socket: what arrives is kept in `inbox` as (data, source address, source port), in order.

    on_receive: called with the same three for each one. Raw IPv4 sockets hand over the packet without its IP header.
    """

    def __init__(self, host: Host, sock: socket.socket, strip_header: bool = False) -> None:
        self.host = host
        self.sock = sock
        self.inbox: list[tuple[bytes, str, int]] = []
        self.on_receive: Callable[[bytes, str, int], None] | None = None
        self._strip = strip_header
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        sock.setblocking(False)
        host.pump.register(sock, self._read)

    @property
    def port(self) -> int:
        """The local port."""
        return int(self.sock.getsockname()[1])

    def send(self, data: bytes, address: str, port: int = 0) -> None:
        """Sends one datagram; larger than the MTU it leaves in fragments. Raises OSError when the kernel refuses it."""
        self.sock.sendto(data, (address, port))

    def _read(self) -> None:
        while True:
            try:
                data, source = self.sock.recvfrom(65535)
            except (BlockingIOError, ConnectionError):
                return
            if self._strip:
                data = data[(data[0] & 15) * 4:]
            item = (data, source[0], source[1])
            self.inbox.append(item)
            if self.on_receive:
                self.on_receive(*item)

    def close(self) -> None:
        """Closes the socket; what was received stays readable."""
        self.host.pump.unregister(self.sock)
        self.sock.close()


class Stream:
    """One TCP connection. `received` grows; `on_data` is called at each growth; `closed` says how it ended: 'eof', 'reset'."""

    def __init__(self, host: Host, sock: socket.socket, connecting: bool = False) -> None:
        self.host = host
        self.sock = sock
        self.received = bytearray()
        self.connected = not connecting
        self.closed = ""
        # Nagle would add 40 ms to every exchange of small messages.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.on_data: Callable[[], None] | None = None
        self._on_connected: Callable[[], None] | None = None
        sock.setblocking(False)
        if connecting:
            host.pump.register(sock, self._connected, selectors.EVENT_WRITE)
        else:
            host.pump.register(sock, self._read)

    def when_connected(self, callback: Callable[[], None]) -> None:
        """Calls back as soon as the connection stands."""
        self._on_connected = callback
        if self.connected:
            callback()

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other end, as this end sees them."""
        name = self.sock.getpeername()
        return str(name[0]), int(name[1])

    def _connected(self) -> None:
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._end("reset" if error in (104, 111) else os.strerror(error))
            return
        self.connected = True
        self.host.pump.modify(self.sock, self._read, selectors.EVENT_READ)
        if self._on_connected:
            self._on_connected()

    def send(self, data: bytes) -> bool:
        """Sends all of it, or says that the connection is gone."""
        if self.closed or not self.connected:
            return False
        try:
            self.sock.sendall(data)
        except OSError as error:
            self._end("reset" if isinstance(error, ConnectionError) else str(error))
            return False
        return True

    def _read(self) -> None:
        while not self.closed:
            try:
                data = self.sock.recv(65535)
            except BlockingIOError:
                return
            except OSError as error:
                self._end("reset" if isinstance(error, ConnectionError) else str(error))
                return
            if not data:
                self._end("eof")
                return
            self.received += data
            if self.on_data:
                self.on_data()

    def _end(self, how: str) -> None:
        self.closed = self.closed or how
        self.host.pump.unregister(self.sock)

    def close(self, reset: bool = False) -> None:
        """Closes with FIN, or with RST."""
        if self.sock.fileno() < 0:
            return
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end("closed")
        self.sock.close()


class Host:
    """A machine in the lab. address, address6: its own; name: that of its network namespace."""

    def __init__(self, name: str, pump: Pump, address: str = "", address6: str = "") -> None:
        self.name = name
        self.pump = pump
        self.address = address
        self.address6 = address6
        self.namespace = sandbox.open_namespace(name)
        self.packets: list[Captured] = []
        self.on_packet: list[Callable[[Captured], None]] = []
        self._raw: dict[int, socket.socket] = {}
        self._protocols: dict[tuple[int, bool], Datagrams] = {}
        self._open: list[Any] = []
        self._capturing = False

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}>"

    # programs

    def run(self, *args: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a program in this namespace. Raises RuntimeError with its messages when it fails."""
        with sandbox.inside(self.namespace):
            result = subprocess.run(args, input=text, capture_output=True, text=True, check=False)
        if check and result.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(args)}: status {result.returncode}\n{result.stderr}{result.stdout}")
        return result

    def spawn(self, *args: str, anywhere: bool = False, **options: Any) -> subprocess.Popen[Any]:
        """Starts a program in this namespace; it ends with the lab. anywhere: it may use every processor, not only the lab's."""
        with sandbox.inside(self.namespace):
            return subprocess.Popen(args, preexec_fn=_child if anywhere else sandbox.die_with_parent, **options)

    def sysctl(self, name: str, value: object) -> None:
        """Sets one, by its path under /proc/sys. Raises OSError where /proc/sys cannot be written."""
        with sandbox.inside(self.namespace), open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write(str(value))

    # sending and receiving

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in this namespace."""
        with sandbox.inside(self.namespace):
            return socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)

    def send_raw(self, packet: bytes) -> None:
        """Sends a whole IPv4 or IPv6 packet, with any source address. Raises OSError (EMSGSIZE above the MTU)."""
        version = packet[0] >> 4
        if version not in self._raw:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            self._raw[version] = self.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        if version == 4:
            self._raw[4].sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
        else:
            self._raw[6].sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))

    def protocol(self, number: int, ipv6: bool = False) -> Datagrams:
        """The raw socket of an IP protocol, made at the first call: the kernel builds the IP header and reassembles."""
        key = (number, ipv6)
        if key not in self._protocols:
            family = socket.AF_INET6 if ipv6 else socket.AF_INET
            sock = self.socket(family, socket.SOCK_RAW, number)
            _allow_fragments(sock, family)
            self._protocols[key] = Datagrams(self, sock, strip_header=not ipv6)
        return self._protocols[key]

    def udp(self, port: int = 0, ipv6: bool = False) -> Datagrams:
        """A UDP socket bound to a port. Raises OSError when the port is taken."""
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        sock = self.socket(family, socket.SOCK_DGRAM)
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _allow_fragments(sock, family)
        sock.bind(("", port))
        datagrams = Datagrams(self, sock)
        self._open.append(datagrams)
        return datagrams

    def connect(self, address: str, port: int, source_port: int = 0) -> Stream:
        """Starts a TCP connection; `connected` or `closed` tell later how it went."""
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source_port:
            sock.bind(("", source_port))
        sock.setblocking(False)
        sock.connect_ex((address, port))
        stream = Stream(self, sock, connecting=True)
        self._open.append(stream)
        return stream

    def listen(self, port: int, on_connect: Callable[[Stream], None], ipv6: bool = False) -> None:
        """Accepts TCP connections until the lab ends."""
        sock = self.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        sock.listen(512)
        sock.setblocking(False)

        def accept() -> None:
            with contextlib.suppress(BlockingIOError):
                stream = Stream(self, sock.accept()[0])
                self._open.append(stream)
                on_connect(stream)

        self.pump.register(sock, accept)
        self._open.append(sock)

    def sockets(self) -> list[socket.socket]:
        """The sockets that were opened as such: listeners and captures."""
        return [item for item in self._open if isinstance(item, socket.socket)]

    # looking

    def capture(self, ipv6: bool = True) -> None:
        """Starts to keep every IP packet that arrives in `packets`, and mutes the kernel's protocol-unreachable answers."""
        if self._capturing:
            return
        self._capturing = True
        for ethertype in (ETH_P_IP, ETH_P_IPV6) if ipv6 else (ETH_P_IP,):
            sock = self.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype))
            with contextlib.suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
            sock.setblocking(False)
            self.pump.register(sock, lambda sock=sock: self._read_capture(sock))
            self._open.append(sock)
        for number in SINKS:
            self.protocol(number)
            if ipv6:
                self.protocol(number, ipv6=True)

    def _read_capture(self, sock: socket.socket) -> None:
        while True:
            try:
                data, place = sock.recvfrom(65535)
            except OSError:
                return
            if place[2] == socket.PACKET_OUTGOING:
                continue
            packet = Captured(time.monotonic(), data)
            self.packets.append(packet)
            for callback in self.on_packet:
                callback(packet)

    def received(self, predicate: Callable[[Captured], Any], since: int = 0) -> list[Captured]:
        """The packets that arrived so far (from index `since` on) for which the predicate holds."""
        return [packet for packet in self.packets[since:] if predicate(packet)]

    def wait_for(self, predicate: Callable[[Captured], Any], timeout: float = 2.0, since: int = 0) -> Captured | None:
        """The first packet for which the predicate holds, waiting for it; None when it did not come in time (seconds)."""
        seen = since
        found: list[Captured] = []

        def arrived() -> bool:
            nonlocal seen
            while seen < len(self.packets):
                seen += 1
                if predicate(self.packets[seen - 1]):
                    found.append(self.packets[seen - 1])
                    return True
            return False

        return found[0] if self.pump.run(arrived, timeout) else None

    def quiet(self) -> None:
        """Closes every socket, for a benchmark: what arrives from now on costs nothing, and nothing answers it but the kernel."""
        for item in [*self._open, *self._protocols.values()]:
            if isinstance(item, socket.socket):
                self.pump.unregister(item)
            item.close()
        self._open.clear()
        self._protocols.clear()

    def close(self) -> None:
        """Closes every socket; the namespace itself is the lab's."""
        for item in [*self._open, *self._protocols.values(), *self._raw.values()]:
            if isinstance(item, socket.socket):
                self.pump.unregister(item)
            item.close()
        os.close(self.namespace)


def _child() -> None:
    """A program that ends with the lab, and may use every processor."""
    sandbox.die_with_parent()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _allow_fragments(sock: socket.socket, family: int) -> None:
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT)
