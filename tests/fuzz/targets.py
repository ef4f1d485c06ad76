# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fuzzed: every decoder of wire/, the UCI parser with all that follows from it, the control socket, the drivers.

Each target's `run` also checks what it promises: a rule text of one line a rule, an answer to each request, state that stays bounded.
"""
from __future__ import annotations

import contextlib
import io
import json
import selectors
import shutil
import socket
import struct
import subprocess
import tempfile
import zlib
from errno import EEXIST, ENOENT, ENOSPC
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.attack import forge
from tests.fuzz.engine import Target
from tests.wire import hexdump
from vpnpt.config import ucitext
from vpnpt.config.compile import compile_config
from vpnpt.daemon.api import HANDLERS, answer
from vpnpt.daemon.apply import Service
from vpnpt.daemon.context import Context
from vpnpt.daemon.control import SOCKET, ControlServer
from vpnpt.daemon.log import Log
from vpnpt.daemon.sessions_feed import SessionsFeed
from vpnpt.daemon.spi_driver import Tracker
from vpnpt.kernel.netfilter import NetlinkError
from vpnpt.model import PROTOCOLS, Devices
from vpnpt.router.uciedit import edited
from vpnpt.ruleset import compile_ruleset, forward_rules, notices
from vpnpt.wire import conntrack, esp, ike, ip, l2tp, nflog, nftables, nftrules, rtnetlink, ubus, xfrm
from vpnpt.wire import netlink as nl
from vpnpt.wire.nflog import LogPacket
from vpnpt.wire.nftables import Element, pack_key, pack_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

ROOT = Path(__file__).resolve().parents[2]
SERVER, WAN = "198.51.100.11", "203.0.113.1"
CLIENTS = ("192.168.1.101", "192.168.1.102", "192.168.1.103")
ZONES = dict(zip(CLIENTS, (20500, 20501, 20502), strict=True))
DEVICES = Devices(lan=("br-lan",), wan=("wan",))
DECODERS = (nl.acknowledgement, nflog.decode, conntrack.decode, nftables.decode_elements, nftables.decode_chain, nftables.decode_change,
            nftables.decode_generation, nftrules.decode_table, nftrules.decode_chain, nftrules.decode_rule, rtnetlink.decode_neighbour,
            xfrm.decode)


KINDS = (nl.ERROR, nl.DONE, 0x10, 28, 0x100, 0x102, 0x400, *(0xA00 + number for number in (0, 3, 6, 12, 14, 15)))


def _netlink(data: bytes) -> None:
    for message in nl.messages(data):
        # As the kind that it says it is, and as one of the decoders' own.
        for kind in (message.kind, KINDS[zlib.crc32(message.body) % len(KINDS)]):
            message.kind = kind
            for decode in DECODERS:
                decode(message)


def _netlink_corpus() -> list[bytes]:
    found = [hexdump.read(name) for prefix in ("ct-", "nft-", "nflog-") for name in hexdump.names(prefix)]
    neighbour = struct.pack("=BxxxiHBB", 2, 3, 2, 0, 1) + nl.attribute(1, bytes([192, 168, 1, 5])) + nl.attribute(2, bytes(6))
    rule = nl.text(1, "vpnpt") + nl.text(2, "esp") + nl.be64(3, 7) + nl.nested(4, nl.nested(1, nl.text(1, "counter"))) + \
        nl.attribute(7, b"\0\x05vpnpt")
    association = bytearray(xfrm.INFO.size)
    xfrm.INFO.pack_into(association, 0, bytes([203, 0, 113, 1]) + bytes(12), b"\1\2\3\4", 50, bytes([198, 51, 100, 11]) + bytes(12), 2)
    found += [nl.message(28, 0, neighbour), nl.generic(nl.NFTABLES, 6, 0, 2, rule), nl.message(xfrm.NEW_SA, 0, bytes(association)),
              nl.message(nl.ERROR, nl.ACK_TLVS, struct.pack("=i", -17) + nl.HEADER.pack(16, 0, 0, 1, 0) + nl.text(1, "exists"))]
    return found


def _packets(data: bytes) -> None:
    for decode in (esp.parse_esp, ike.parse_ike, l2tp.parse_l2tp_udp, ip.parse_udp):
        decode(data)
    packet = ip.parse_ipv4(data)
    if packet is not None:
        datagram = ip.parse_udp(packet.payload)
        for payload in (packet.payload, *((datagram.payload,) if datagram is not None else ())):
            for decode in (esp.parse_esp, ike.parse_ike, l2tp.parse_l2tp_udp, ip.parse_udp):
                decode(payload)


def _ubus(data: bytes) -> None:
    buffer = bytearray(data)
    try:
        for message in ubus.split(buffer):
            for attribute, content in message.attrs.items():
                message.number(attribute)
                message.text(attribute)
                table = ubus.decode_table(content)
                ubus.message(ubus.DATA, message.seq, message.peer, ubus.table(ubus.ATTR_DATA, table))
    except ubus.Malformed:
        pass


def _ubus_corpus() -> list[bytes]:
    value = {"method": "status", "n": 1, "long": 1 << 40, "f": 1.5, "yes": True, "none": None, "list": [1, "a", {"b": [2]}],
             "ubus_rpc_session": "0" * 32}
    return [ubus.message(kind, 7, 3, ubus.number(ubus.ATTR_OBJID, 9), ubus.text(ubus.ATTR_METHOD, "block"),
                         ubus.table(ubus.ATTR_DATA, value))
            for kind in (ubus.INVOKE, ubus.STATUS, ubus.DATA)]


def _config(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    document = ucitext.parse(text, "vpnpt")
    config, diagnostics = compile_config(text)
    for one in (*document.diagnostics, *diagnostics):
        assert str(one).isprintable(), "a message is one line of plain text"
    if config is None:
        return
    compiled = compile_ruleset(config, DEVICES)
    for line in (compiled.render() + forward_rules(config, DEVICES)).splitlines():
        plain = line.replace("\t", "")
        assert plain.isascii() and (plain.isprintable() or not plain), f"in the rules: {line!r}"


def _edit(data: bytes) -> None:
    """Whatever the file says: a value that is put into it comes out again, or the file is left alone."""
    text = data.decode("utf-8", "surrogateescape")
    for present in (True, False):
        try:
            result = edited(text, "ipsec", "deny_src", "192.168.1.20", present=present)
        except ValueError:
            continue
        ucitext.parse(result)


def _config_corpus() -> list[bytes]:
    cases = [(ROOT / "files" / "etc" / "config" / "vpnpt").read_bytes()]
    cases += [b"config vpnpt 'global'\n\toption enabled '1'\n\tlist lan_zone 'lan'\n\toption history '/etc/vpnpt/history'\n"
              b"\toption max_clients '64'\n",
              b"config protocol 'ipsec'\n\toption enabled '1'\n\tlist allow_src '192.168.1.0/24'\n\tlist deny_src '00:00:5e:00:53:01'\n"
              b"\toption natt_port '4500'\n\tlist allow_src '2001:db8::/32'\n", b"config 1 'l2tp'\n\tlist port '1701'\nconfig 0 pptp\n",
              b'package vpnpt\nc t "n" ; o a b\\\nc # x\nl d "e\\"f"\n']
    return cases


class Nowhere(io.TextIOBase):
    """What the log says, unread."""

    def write(self, text: str) -> int:
        return len(text)


class Control:
    """The control server before the daemon's real handlers, state, files and kernel, in a loop of its own making.

    Each input is what one peer sends. Now and again all begins anew, as answers and lists that grow take ever longer.
    """

    UCI = "config vpnpt 'global'\n\tlist lan_device 'br-lan'\n\tlist wan_device 'wan'\n\toption history '/etc/vpnpt/history'\n\n" \
          "# a note\nconfig 1 'ipsec'\n\tlist deny_src '192.168.1.66'\n\nconfig 1 'l2tp'\n"
    KEPT = [line for line in UCI.splitlines() if "deny_src" not in line]
    FLOWS = [(client, port) for client in CLIENTS for port in (500, 4500, 1701)]
    ANEW = 400

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="vpnpt-fuzz-")
        self._nowhere = Nowhere()
        self._inputs = 0

    def _begin(self) -> None:
        for folder in ("config", "run", "state"):
            shutil.rmtree(Path(self._directory.name, folder), ignore_errors=True)
            Path(self._directory.name, folder).mkdir()
        config, run, state = (str(Path(self._directory.name, folder)) for folder in ("config", "run", "state"))
        self._file = Path(config, "vpnpt")
        self._file.write_text(self.UCI)
        for client, port in self.FLOWS:
            subprocess.run(["conntrack", "-I", "-p", "udp", "-s", client, "-d", SERVER, "--sport", str(port), "--dport", str(port),
                            "-r", SERVER, "-q", WAN, "-t", "3000"], check=False, capture_output=True)  # it may be there
        self._selector = selectors.EpollSelector()
        log = Log()
        self._service = Service(config, run, log, state)
        self._feed = SessionsFeed(self._service, log, lambda _event: None, lambda _what, _seconds: None)
        self._context = Context(self._service, lambda: self._service.apply("fuzz"), log, self._selector, self._feed)
        assert self._context.reload(), self._service.problem
        self._feed.listen()
        self._path = str(Path(run, SOCKET))
        self._server = ControlServer(self._path, self._selector, lambda request: answer(self._context, request))

    def _end(self) -> None:
        if self._context.watches is not None:
            self._context.watches.close()
        while len(self._selector.get_map()) > 1:  # children that still have something to say
            self._turn(0.1)
        self._server.close()
        self._feed.close()
        self._service.stop()
        self._selector.close()

    def _turn(self, wait: float = 0) -> None:
        while ready := self._selector.select(wait):
            for key, _ in ready:
                key.data()
            wait = 0

    def run(self, data: bytes) -> None:
        with contextlib.redirect_stderr(self._nowhere):
            if self._inputs % self.ANEW == 0:
                if self._inputs:
                    self._end()
                self._begin()
            self._inputs += 1
            self._ask(data)

    def request(self, data: bytes) -> None:
        """An input is a method, names and values, with zeros between: what is spoiled in it stays a request that somebody answers."""
        method, *rest = data.decode("utf-8", "surrogateescape").split("\0")
        arguments = {_one_of(ARGUMENTS, name): value for name, value in zip(rest[::2], rest[1::2], strict=False)}
        if len(data) % 8:  # of the others most would be refused for their protocol
            arguments["protocol"] = _one_of(PROTOCOLS, arguments.get("protocol", ""))
        self.run(json.dumps({"method": _one_of(HANDLERS, method), **arguments}).encode() + b"\n")

    def _ask(self, data: bytes) -> None:
        heard = bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(self._path)
            for start in (0, len(data) // 2):
                try:
                    peer.sendall(data[:len(data) // 2] if not start and len(data) > 1 else data[start:])
                except OSError:
                    break
                self._turn()
                if len(data) <= 1:
                    break
            if b"\n" in data and len(data) < 60_000:
                peer.setblocking(False)
                while not heard.endswith(b"\n"):  # of a child it comes later, and a long one in pieces
                    with contextlib.suppress(BlockingIOError):
                        heard += peer.recv(65536)
                    self._turn(0 if heard else 0.05)
        self._turn()
        if heard:
            assert isinstance(json.loads(heard, parse_constant=_no_number), dict), "one answer, an object"
        assert not self._service.problem, "what was asked keeps no configuration from being in force"
        text = self._file.read_text()
        config, diagnostics = compile_config(text)
        assert config is not None and not diagnostics, "nor spoils the file"
        lines = iter(text.splitlines())
        assert all(line in lines for line in self.KEPT), "nor what others wrote there, in its order"


def _one_of(known: Collection[str], spoiled: str) -> str:
    """A name as it is, or the one that a spoiled name stands for."""
    return spoiled if spoiled in known else sorted(known)[zlib.crc32(spoiled.encode("utf-8", "surrogateescape")) % len(known)]


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


class FakeKernel:
    """The elements of our maps, as netlink would give them; it refuses at times, as a kernel does under `fw4 flush` or with a full set."""

    can_destroy: bool | None = True

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        addresses = {name: socket.inet_aton(name) for name in CLIENTS}
        self.maps: dict[str, dict[bytes, Element]] = {
            "client_zone": {addresses[name]: Element(addresses[name], pack_zone(zone)) for name, zone in ZONES.items()},
            "zone_client": {pack_zone(zone): Element(pack_zone(zone), addresses[name]) for name, zone in ZONES.items()},
            "pairs": {key: Element(key) for key in (pack_key(address, socket.inet_aton(SERVER)) for address in addresses.values())}}
        for number, name in enumerate(CLIENTS):
            self.maps[f"client{number}"] = {socket.inet_aton(SERVER): Element(socket.inet_aton(SERVER), addresses[name])}

    def _may_refuse(self) -> None:
        if self._rng.random() < 0.02:
            raise NetlinkError(self._rng.choice((ENOENT, EEXIST, ENOSPC)))

    def dump(self, packed: bytes, decode: Callable[[nl.Message], Any], limit: int | None = None) -> list[Any]:
        self._may_refuse()
        found: list[Any] = []
        for request in nl.messages(packed):
            parsed = nl.nfgenmsg(request.body)
            attributes = nl.attributes(parsed[2]) if parsed is not None else None
            if not attributes or request.kind != nl.NFTABLES << 8 | nftables.GETSETELEM:
                continue
            name = nl.string(attributes.get(nftables.LIST_SET))
            for message in nftables.add_elements(nftables.IPV4, "vpnpt", name, self.maps.get(name, {}).values()):
                made = decode(next(iter(nl.messages(message))))
                if made is not None:
                    found.append(made)
        return found[:limit]

    def transaction(self, requests: Iterable[bytes], generation: int | None = None) -> None:
        self._may_refuse()
        for message in (message for request in requests for message in nl.messages(request)):
            parsed = nl.nfgenmsg(message.body)
            attributes = nl.attributes(parsed[2]) if parsed is not None else None
            if not attributes:
                continue
            held = self.maps.setdefault(nl.string(attributes.get(nftables.LIST_SET)), {})
            for element in nftables.decode_elements(message) or ():
                if message.kind & 0xFF == nftables.NEWSETELEM:
                    held[element.key] = element
                else:
                    held.pop(element.key, None)

    def request(self, _packed: bytes) -> nl.Message | None:
        raise NetlinkError(ENOENT)


PREFIXES = tuple(sorted({value for name, value in vars(notices).items() if name.isupper() and isinstance(value, str)}))
STEP = struct.Struct(">BBH")
"""Before each packet of a story: which notice, which group, milliseconds that pass."""


class Driver:
    """The drivers of SPIs and L2TP. An input is a story: packets that the rules logged, one after another, and time that passes."""

    def __init__(self) -> None:
        self._log = Log(syslog=False)
        self._log.write = lambda *_arguments, **_more: None  # type: ignore[method-assign]
        self._begin()

    def _begin(self) -> None:
        self._now, self._inputs = 1000.0, 0
        self._kernel = FakeKernel(Random(1))
        self._tracker = Tracker(self._kernel, self._log, lambda: self._now)  # type: ignore[arg-type]

    def run(self, data: bytes) -> None:
        self._inputs += 1
        if self._inputs % 500 == 0:
            self._begin()
        at = 0
        while at + STEP.size + 2 <= len(data):
            which, group, wait = STEP.unpack_from(data, at)
            length = int.from_bytes(data[at + 4:at + 6], "big")
            packet = data[at + 6:at + 6 + length]
            at += 6 + length
            self._now += wait / 1000
            numbers = (notices.GROUP, notices.GROUP_WHOLE, notices.GROUP_SPILLED)
            notice = LogPacket(numbers[group % 3], PREFIXES[which % len(PREFIXES)], packet)
            self._tracker.on_notice(notice)
            due = self._tracker.next_deadline()
            if due is not None and (due <= self._now or group & 0x10):
                self._now = max(self._now, due)
                self._tracker.tick()
            if group & 0x20:
                self._tracker.housekeep()
            if group & 0x40:
                self._tracker.resync()
        # What a few packets a story leave behind can't be much, however often they are told.
        assert sum(len(found) for found in self._kernel.maps.values()) < 60_000


def _step(prefix: str, packet: bytes, wait: int = 5, group: int = 0) -> bytes:
    return STEP.pack(PREFIXES.index(prefix), group, wait) + len(packet).to_bytes(2, "big") + packet


def _zoned(packet: bytes, client: str) -> bytes:
    """On the slow path the IP ID holds the zone, in host order."""
    return packet[:4] + pack_zone(ZONES[client]) + packet[6:]


def _stories() -> list[bytes]:
    one, two = CLIENTS[:2]
    spi, cookie = 0x11223344, 0x1122334455667788
    begin = [_step(notices.PAIRED, forge.esp(client, SERVER, spi)) for client in CLIENTS]
    exchange = [_step(notices.EXCHANGE, _zoned(forge.udp(one, SERVER, 500, 500, forge.ike(cookie, 5, kind, 8, 3)), one)) +
                _step(notices.EXCHANGE, _zoned(forge.udp(SERVER, WAN, 500, 500, forge.ike(cookie, 5, kind, 0x20, 3)), one), 40)
                for kind in (34, 35, 36, 37, 32)]
    first = [_step(notices.LEARNED, forge.udp(one, SERVER, 500, 500, forge.ike(cookie)))]
    if hasattr(notices, "ANSWERED"):
        first.append(_step(notices.ANSWERED, forge.udp(SERVER, WAN, 500, 500, forge.ike(cookie, 5, flags=0x20)), 20))
    out = [_step(notices.SPI_OUT, _zoned(forge.esp(client, SERVER, spi + number), client)) for number, client in enumerate(CLIENTS)]
    back = [_step(prefix, _zoned(forge.esp(SERVER, WAN, spi + 16 + number, sequence), two), 10, group)
            for prefix, group in ((notices.SHARED, 1), (notices.FANNED, 1), (notices.FANNED, 2), (notices.SPI_TAKEN, 0),
                                  (notices.SAME_SPI, 0))
            for number in range(3) for sequence in (1, 2, 9)]
    cookies = [_step(notices.SHARED, forge.udp(SERVER, WAN, 500, 500, forge.ike(cookie + number)), 3, 1) for number in range(4)]
    made = [_step(notices.L2TP, forge.udp(client, SERVER, 1701, 1701, forge.l2tp(kind, 0, 0, 70 + number)))
            for number, client in enumerate(CLIENTS) for kind in (1, 3, 4, 10)]
    answers = [_step(prefix, forge.udp(SERVER, WAN, 4444, 1701, forge.l2tp(kind, 70, 5, 9)), 5, 1)
               for prefix in (notices.L2TP_HELD, notices.L2TP_PASSED, notices.L2TP_MOVED) for kind in (2, 4, 11)]
    parts = [begin, exchange, first, out, back, cookies, made, answers]
    whole = [b"".join(part) for part in parts]
    return [*whole, b"".join(whole[:5]), b"".join((*begin, *out, *back[:6])), b"".join((*made, *answers))]


UCI_WORDS = (b"config ", b"option ", b"list ", b"\n", b"'", b'"', b"\\", b"#", b";", b"vpnpt", b"protocol", b"global", b"ipsec", b"pptp",
             b"enabled", b"allow_src", b"deny_src", b"lan_device", b"lan_zone", b"history", b"zone_base", b"max_clients", b"port",
             b"\xff", b"\xc3\xa9", b"\0", b"0", b"-1", b"65536", b"1e9", b"0x10", b"192.168.1.0/33", b"::/0", b"\xe2\x80\xae",
             b"\r", b"1_000", "²".encode())
REQUESTS: tuple[dict[str, str], ...] = (
    *({"method": name} for name in HANDLERS), *({"method": name, "since": ""} for name in ("sessions", "events", "changes")),
    {"method": "kill", "client": CLIENTS[0]}, {"method": "kill", "client": CLIENTS[1], "protocol": "l2tp"},
    {"method": "kill", "session": "1"},
    *({"method": name, "client": client, "protocol": "ipsec"} for name in ("block", "unblock")
      for client in ("192.168.1.66", "192.168.1.20/24", "00:00:5e:00:53:01", "2001:db8::7")),
    {"method": "why", "client": CLIENTS[0], "server": SERVER, "seconds": "1"}, {"method": "why", "client": "nobody"},
    {"method": "why", "watch": "1-1"}, {"method": "why", "watch": "1-1", "cancel": "1"})
ARGUMENTS = sorted({name for request in REQUESTS for name in request} - {"method"})
JSON_WORDS = (*(f'"{word}"'.encode() for word in (*HANDLERS, *PROTOCOLS, *ARGUMENTS, "method", "", CLIENTS[0], SERVER, "2001:db8::1", "0",
                                                  "1", "10000000000")), b", ", b": ",
              b'{"method": "', b'"}', b"[", b"{", b"\n", b"1e999", b"null", b"true", b'"\\ud800"', b"-", b"NaN", b"\xff", b'{"a":')


def targets() -> list[Target]:
    """All of them, fresh. Needs the sandbox: the driver's sockets are real, though nothing listens."""
    packets = [hexdump.read(name) for prefix in ("ip-", "ike", "l2tp") for name in hexdump.names(prefix)]
    packets += [forge.esp(CLIENTS[0], SERVER, 5), forge.udp(CLIENTS[0], SERVER, 500, 500, forge.ike(7)),
                forge.udp(CLIENTS[0], SERVER, 1701, 1701, forge.l2tp(1, assigned=7))]
    requests = [*(json.dumps(request).encode() + b"\n" for request in REQUESTS), b"[1, 2.5, null]\n"]
    parts = ["\0".join((request["method"], *(part for item in request.items() if item[0] != "method" for part in item))).encode()
             for request in REQUESTS]
    return [Target("netlink", _netlink_corpus(), _netlink, slow=4), Target("packets", packets, _packets),
            Target("ubus", _ubus_corpus(), _ubus, slow=4),
            Target("config", _config_corpus(), _config, UCI_WORDS, slow=40), Target("edit", _config_corpus(), _edit, UCI_WORDS, slow=30),
            Target("control", requests, Control().run, JSON_WORDS, slow=40),
            Target("requests", parts, Control().request, tuple(word.strip(b'"') for word in JSON_WORDS), slow=200),
            Target("driver", _stories(), Driver().run, slow=150)]
