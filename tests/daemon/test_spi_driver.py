# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tracker makes of the kernel's notices, over real maps: a namespace with our ruleset and two clients in it."""
from __future__ import annotations

import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.config import default_config
from vpnpt.daemon.log import Log
from vpnpt.daemon.spi_driver import Tracker
from vpnpt.kernel.netfilter import get_element
from vpnpt.model import Devices
from vpnpt.ruleset import compile_ruleset, notices
from vpnpt.ruleset.maps import LIST, SLOTS
from vpnpt.spi.evidence import MEASURED, Server
from vpnpt.spi.messages import Assign, Counted, Fan, Tick
from vpnpt.wire.ike import AUTH, CREATE_CHILD, MAIN, QUICK, RESPONSE, SA_INIT
from vpnpt.wire.nflog import LogPacket
from vpnpt.wire.nftables import IPV4, pack_key, pack_zone, unpack_zone

if TYPE_CHECKING:
    from tests.golden.kernel import Kernel

WAN, SERVER = bytes([203, 0, 113, 1]), bytes([198, 51, 100, 11])
CLIENT, ZONE = bytes([192, 168, 1, 101]), 20500
COOKIE, COOKIE2 = b"initiate", b"responds"


@pytest.fixture
def tracker(kernel: Kernel) -> Tracker:
    """Of a router that knows one client."""
    kernel.clear()
    kernel.load(compile_ruleset(default_config(), Devices(lan=("br-lan",), wan=("wan",)), helper=False).render())
    kernel.load(f"add element ip vpnpt client_zone {{ 192.168.1.101 : {ZONE} }}\n"
                f"add element ip vpnpt zone_client {{ {ZONE} : 192.168.1.101 }}\n")
    return Tracker(kernel.netlink, Log(syslog=False), time.monotonic)


def say(tracker: Tracker, exchange: int, number: int, *, outward: bool, response: bool = False, version: int = 2,
        notice: str = notices.EXCHANGE) -> None:
    """A message of an exchange passes, as the rules log it: on the slow path its IP ID holds the zone, in the kernel's byte order."""
    tracker.on_notice(LogPacket(notices.GROUP, notice, ike_packet(exchange, number, outward=outward, response=response, version=version)))


def ike_packet(exchange: int, number: int, *, outward: bool, response: bool = False, version: int = 2) -> bytes:
    """Of the client and the server."""
    ike = struct.pack(">8s8sBBBBII", COOKIE, COOKIE2, 0, version << 4, exchange, RESPONSE * response, number, 28)
    udp = struct.pack(">HHHH", 500, 500, 8 + len(ike), 0) + ike
    ident = int.from_bytes(ZONE.to_bytes(2, sys.byteorder), "big")
    source, destination = (CLIENT, SERVER) if outward else (SERVER, WAN)
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), ident, 0, 64, 17, 0, source, destination) + udp


def needs(tracker: Tracker) -> int:
    """How many SPIs the client is taken to wait for."""
    return tracker.engine.servers[SERVER].pairs[CLIENT].needs()


def test_the_first_exchanges_of_both_ends_are_two(tracker: Tracker) -> None:
    """Either end counts its IKEv2 exchanges from 0 (RFC 7296 section 2.2): equal numbers are not one exchange."""
    say(tracker, CREATE_CHILD, 0, outward=True)
    say(tracker, CREATE_CHILD, 0, outward=False)
    assert needs(tracker) == 0, "neither has been answered"
    say(tracker, CREATE_CHILD, 0, outward=False, response=True)
    assert needs(tracker) == 1
    say(tracker, CREATE_CHILD, 0, outward=True, response=True)
    assert needs(tracker) == 2


def test_a_repeated_answer_entitles_to_nothing_more(tracker: Tracker) -> None:
    for _ in range(2):
        say(tracker, CREATE_CHILD, 7, outward=True)
        say(tracker, CREATE_CHILD, 7, outward=False, response=True)
    assert needs(tracker) == 1


def test_ike_auth_in_many_messages_makes_one_child(tracker: Tracker) -> None:
    """EAP takes several exchanges (RFC 7296 section 2.16)."""
    for number in range(1, 6):
        say(tracker, AUTH, number, outward=True)
        say(tracker, AUTH, number, outward=False, response=True)
    assert needs(tracker) == 1


def test_quick_mode_is_named_at_random(tracker: Tracker) -> None:
    """IKEv1 has no flag for answers: an exchange is over when both ends have spoken (RFC 2409 section 5.5)."""
    for outward in (False, True, False):
        say(tracker, QUICK, 0xABCD1234, outward=outward, version=1)
    assert needs(tracker) == 1
    for outward in (True, False, True):
        say(tracker, QUICK, 0x99, outward=outward, version=1)
    assert needs(tracker) == 2


def test_the_first_answer_tells_how_far_away_the_server_is(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may compute for long before it answers a later exchange; the first one it answers at once."""
    now = [1000.0]
    monkeypatch.setattr(tracker, "_clock", lambda: now[0])

    def take(exchange: int, seconds: float, out: str, back: str) -> float:
        say(tracker, exchange, 0, outward=True, notice=out)
        now[0] += seconds
        say(tracker, exchange, 0, outward=False, response=True, notice=back)
        return tracker.engine.servers[SERVER].round_trip

    assert take(AUTH, 0.3, notices.EXCHANGE, notices.EXCHANGE) == pytest.approx(0.3), "as long as nothing better is known"
    assert take(SA_INIT, 0.02, notices.LEARNED, notices.ANSWERED) == pytest.approx(0.02)
    assert take(CREATE_CHILD, 0.3, notices.EXCHANGE, notices.EXCHANGE) == pytest.approx(0.02), "computing makes no way longer"
    assert take(MAIN, 0.5, notices.LEARNED, notices.ANSWERED) == pytest.approx(0.022), "a lost one, or another way: little by little"
    now[0] += 2 * MEASURED
    assert take(MAIN, 0.1, notices.LEARNED, notices.ANSWERED) == pytest.approx(0.1), "what is old counts no more"
    assert take(MAIN, 0.1, notices.ANSWERED, notices.ANSWERED) == pytest.approx(0.1), "an answer to nothing"


def test_it_tells_that_by_when_packets_passed(tracker: Tracker) -> None:
    """We may come to read of them later: on a slow router that would make every server a slow one, and who asks when, unclear."""
    passed, asked = time.time(), ike_packet(SA_INIT, 0, outward=True)
    answered = ike_packet(SA_INIT, 0, outward=False, response=True)
    tracker.on_notices([LogPacket(notices.GROUP, notices.LEARNED, asked, time=passed - 0.32)])
    tracker.on_notices([LogPacket(notices.GROUP, notices.EXCHANGE, ike_packet(AUTH, 1, outward=True), time=passed - 0.31),
                        LogPacket(notices.GROUP, notices.ANSWERED, answered, time=passed - 0.3)])
    assert tracker.engine.servers[SERVER].round_trip == pytest.approx(0.02, abs=0.002)


def test_a_server_without_clients_is_not_remembered(tracker: Tracker) -> None:
    """Nothing would ever take it out again."""
    say(tracker, SA_INIT, 0, outward=True, notice=notices.LEARNED)
    say(tracker, SA_INIT, 0, outward=False, response=True, notice=notices.ANSWERED)
    assert not tracker.engine.servers


def esp(source: bytes, destination: bytes, spi: bytes, sequence: int, notice: str, *, zone: int = ZONE, group: int = notices.GROUP,
        ) -> LogPacket:
    """An ESP packet as the rules log it."""
    ident = int.from_bytes(zone.to_bytes(2, "big"), sys.byteorder)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 60, ident, 0, 64, 50, 0, source, destination)
    return LogPacket(group, notice, head + spi + sequence.to_bytes(4, "big") + bytes(32))


SECOND, SECOND_ZONE = bytes([192, 168, 1, 102]), 20501


@pytest.fixture
def contended(tracker: Tracker, kernel: Kernel) -> Tracker:
    """Of a router on which two clients talk with one server."""
    kernel.load(f"add element ip vpnpt client_zone {{ 192.168.1.102 : {SECOND_ZONE} }}\n"
                f"add element ip vpnpt zone_client {{ {SECOND_ZONE} : 192.168.1.102 }}\n"
                "add element ip vpnpt pairs { 192.168.1.101 . 198.51.100.11, 192.168.1.102 . 198.51.100.11 }\n"
                "add element ip vpnpt client0 { 198.51.100.11 : 192.168.1.101 }\n"
                "add element ip vpnpt client1 { 198.51.100.11 : 192.168.1.102 }\n"
                "add element ip vpnpt slot1 { 198.51.100.11 }\n")
    return tracker


def all_notices() -> list[LogPacket]:
    """Each kind about ESP once; of one SPI, both clients of which wait for one."""
    out = [esp(client, SERVER, b"out" + client[3:], 1, notices.SPI_OUT, zone=zone)
           for client, zone in ((CLIENT, ZONE), (SECOND, SECOND_ZONE))]
    return [esp(CLIENT, SERVER, b"out\1", 1, notices.PAIRED), *out,
            esp(SERVER, WAN, b"new1", 2, notices.SHARED), esp(SERVER, WAN, b"new1", 3, notices.SHARED),
            esp(SERVER, WAN, b"new1", 4, notices.FANNED), esp(SERVER, WAN, b"new2", 1, notices.SAME_SPI),
            esp(SERVER, WAN, b"new3", 2, notices.SPI_TAKEN)]


def test_no_map_is_dumped_for_a_notice(contended: Tracker, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan makes notices as fast as the rules let it, and maps as large as they may be: only single keys are asked for."""
    def dump(*_arguments: object) -> None:
        raise AssertionError("a map was dumped")

    monkeypatch.setattr(kernel.netlink, "dump", dump)
    contended.on_notices(all_notices())
    assert set(contended.engine.servers[SERVER].pairs) == {CLIENT, SECOND}
    assert set(contended.engine.servers[SERVER].open[b"new1"].candidates) == {CLIENT, SECOND}


def test_who_waits_is_asked_of_the_kernel(contended: Tracker, kernel: Kernel) -> None:
    """No notice told of it: it was beyond the rate, or lost."""
    kernel.load(f"add element ip vpnpt waiting {{ 198.51.100.11 . {SECOND_ZONE} }}\n")
    contended.on_notices([esp(SERVER, WAN, b"new1", 2, notices.SHARED)])
    found = get_element(kernel.netlink, IPV4, "vpnpt", "spi_zone", SERVER + b"new1")
    assert found is not None
    assert unpack_zone(found.data) == SECOND_ZONE


def test_a_list_that_the_kernel_has_lost_is_written_again(contended: Tracker, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """No packet renews one: it ends if the daemon has not written it for long. A packet that was copied to all tells of that."""
    now = [1000.0]
    monkeypatch.setattr(contended._lists, "_clock", lambda: now[0])
    contended.on_notices(all_notices())

    def places() -> list[bytes]:
        return contended._learned.fans().get((SERVER, b"new1"), [])[:2]

    listed = places()
    assert set(listed) == {CLIENT, SECOND}
    kernel.load("flush set ip vpnpt listed\n")
    contended.on_notices([esp(SERVER, WAN, b"new1", 5, notices.SHARED)])
    assert not places(), "it may have come before the list was written"
    now[0] += 20
    contended.on_notices([esp(SERVER, WAN, b"new1", 6, notices.SHARED)])
    assert places() == listed
    kernel.load("flush map ip vpnpt fan0\n")
    contended.on_notices([esp(SERVER, WAN, b"new1", 7, notices.FANNED)])
    assert places() == [b"", listed[1]], "what is in force is seldom written"
    now[0] += LIST / 4
    contended.on_notices([esp(SERVER, WAN, b"new1", 8, notices.FANNED)])
    assert places() == listed


def test_a_client_that_came_while_its_server_s_were_written_is_one(contended: Tracker, kernel: Kernel) -> None:
    kernel.load("delete element ip vpnpt client1 { 198.51.100.11 : 192.168.1.102 }\ndelete element ip vpnpt slot1 { 198.51.100.11 }\n")
    assert contended._learned.slots(SERVER) == [CLIENT]
    contended.on_notices([esp(SECOND, SERVER, b"out2", 1, notices.PAIRED, zone=SECOND_ZONE)])
    assert contended._learned.slots(SERVER) == [CLIENT, SECOND] and contended._learned.is_contended(SERVER)
    contended.refuse([(SECOND, SERVER)])
    contended.on_notices([esp(SECOND, SERVER, b"out2", 1, notices.PAIRED, zone=SECOND_ZONE)])
    assert contended._learned.slots(SERVER) == [CLIENT], "this notice is older than the refusal"


def test_lost_notices_are_made_up_for(contended: Tracker, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The maps are read again, but not more often than every few seconds, however often notices are lost."""
    now = [1000.0]
    monkeypatch.setattr(contended, "_clock", lambda: now[0])
    reads: list[float] = []
    resync = contended.resync
    monkeypatch.setattr(contended, "resync", lambda: (reads.append(now[0]), resync()))
    for step in range(100):
        now[0] = 1000.0 + step * 0.1
        contended.overrun()
        due = contended.next_deadline()
        if due is not None and due <= now[0]:
            contended.tick()
    assert 2 <= len(reads) <= 6, reads
    assert set(contended.engine.servers[SERVER].pairs) == {CLIENT, SECOND}


@pytest.mark.parametrize("can_destroy", [None, False], ids=["this kernel", "before Linux 6.3"])
def test_thousands_are_refused_at_once(tracker: Tracker, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, can_destroy: bool | None) -> None:
    """The maps are read once, and where the kernel can, changed by a few transactions; with one older than that by one for each pair."""
    count = 200
    servers = [f"198.51.{number >> 8}.{number & 255}" for number in range(count)]
    kernel.load(f"add element ip vpnpt client_zone {{ 192.168.1.102 : {SECOND_ZONE} }}\n" + "".join(
        f"add element ip vpnpt pairs {{ 192.168.1.101 . {server}, 192.168.1.102 . {server} }}\n"
        f"add element ip vpnpt client0 {{ {server} : 192.168.1.101 }}\nadd element ip vpnpt client1 {{ {server} : 192.168.1.102 }}\n"
        f"add element ip vpnpt slot1 {{ {server} }}\nadd element ip vpnpt contended {{ 0x{socket.inet_aton(server).hex()} }}\n"
        for server in servers))
    kernel.netlink.can_destroy = can_destroy
    asked: list[int] = []
    send = kernel.netlink._send
    monkeypatch.setattr(kernel.netlink, "_send", lambda packed: (asked.append(len(packed)), send(packed)))
    tracker.refuse({(SECOND, socket.inet_aton(server)) for server in servers})
    assert kernel.netlink.can_destroy is False or len(asked) < count
    found = tracker._learned
    assert found.clients() == {socket.inet_aton(server): [CLIENT] for server in servers}
    assert not found.contended() and len(found.pairs()) == count
    assert all(get_element(kernel.netlink, IPV4, "vpnpt", "ended", pack_key(socket.inet_aton(server), pack_zone(SECOND_ZONE)))
               for server in servers)
    tracker.refuse({(CLIENT, socket.inet_aton(server)) for server in servers})
    assert not found.clients() and not found.pairs()
    kernel.netlink.can_destroy = None


def test_who_talks_with_a_crowded_server(tracker: Tracker, kernel: Kernel) -> None:
    """Beyond the slots the pairs tell; a slot whose client has gone is none."""
    clients = [f"192.168.1.{number}" for number in range(10, 23)]
    pairs = ", ".join(f"{client} . 198.51.100.11" for client in clients[1:])
    kernel.load(f"add element ip vpnpt pairs {{ {pairs} }}\nadd element ip vpnpt crowded {{ 198.51.100.11 }}\n" + "".join(
        f"add element ip vpnpt client{slot} {{ 198.51.100.11 : {clients[slot]} }}\n" for slot in range(SLOTS)))
    found = tracker._learned.clients()[SERVER]
    assert found[:SLOTS - 1] == [socket.inet_aton(client) for client in clients[1:SLOTS]]
    assert set(found[SLOTS - 1:]) == {socket.inet_aton(client) for client in clients[SLOTS:]}


def test_what_is_no_ike_is_none(tracker: Tracker) -> None:
    tracker.on_notice(LogPacket(notices.GROUP, notices.EXCHANGE, b"\x45garbage"))
    assert SERVER not in tracker.engine.servers


def test_packets_copied_before_an_spi_was_given_away_write_nothing(tracker: Tracker, kernel: Kernel) -> None:
    """On a slow router there are hundreds of them in the queue by then."""
    spi = b"\0\0\x12\x34"

    def after(action: Assign | Fan, when: float) -> bool:
        """Is it written, once it was gone?"""
        kernel.load("flush map ip vpnpt spi_zone")
        tracker._do(action, when)
        return get_element(kernel.netlink, IPV4, "vpnpt", "spi_zone", pack_key(SERVER, spi)) is not None

    given, old = Assign(server=SERVER, spi=spi, client=CLIENT, credit=False), time.monotonic()
    assert after(given, old)
    assert not after(given, old)
    assert after(given, time.monotonic()), "a packet that was copied since"
    assert after(given.replace(credit=True), old), "it counts as an answer"
    tracker._do(Fan(server=SERVER, spi=spi, clients=(CLIENT,), spills=False), old)
    assert after(given, old), "it was not its own meanwhile"
    tracker.resync()
    assert after(given, old), "who knows what is in the maps"


def test_what_the_kernel_has_counted_is_read_while_it_is_silent(kernel: Kernel, tracker: Tracker) -> None:
    """Of servers about which it was asked to be: each open SPI's packets, and each client's."""
    events = []
    tracker.engine.handle = lambda event, now: events.append(event) or []  # type: ignore[method-assign, func-returns-value]
    tracker.engine.servers[SERVER] = Server()
    kernel.load("add element ip vpnpt copied { 198.51.100.11 . 0x01020304 counter packets 7 bytes 700, "
                "198.51.100.12 . 0x01020305 counter packets 8 bytes 800 }\n"
                "add element ip vpnpt sending { 192.168.1.101 . 198.51.100.11 counter packets 9 bytes 900, "
                "192.168.1.102 . 198.51.100.12 counter packets 10 bytes 1000 }\n")
    tracker.tick()
    assert [type(event) for event in events] == [Tick], "nobody was asked to be silent"
    tracker.hush([SERVER], 1.0)
    tracker.tick()
    assert events[1] == Counted(server=SERVER, came={bytes([1, 2, 3, 4]): 7}, sent={CLIENT: 9})
    deadline = tracker.next_deadline()
    assert deadline is not None and 0 < deadline - time.monotonic() < 60
    tracker.tick()
    assert [type(event) for event in events[2:]] == [Tick, Tick], "not again at once"
