# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases against the real kernel, each in a process and a network namespace of its own: python -m tests.wire.cases NAME.

See test_wire_kernel.py, which runs them. A case is a function `case_*`; it fails by an exception.
"""
from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time

from vpnpt.kernel import netfilter
from vpnpt.kernel import socket as nlsocket
from vpnpt.kernel.netfilter import Netlink, NetlinkError, NflogGroups, NflogSocket, Overrun
from vpnpt.wire import conntrack, ip, nflog, nftables
from vpnpt.wire import netlink as nl
from vpnpt.wire.nftables import Element, pack_key, pack_zone

from . import kernel

FAMILY, TABLE = nftables.IPV4, "t"
SERVER, CLIENT = bytes([192, 0, 2, 9]), bytes([10, 0, 0, 1])


def delete_table() -> bytes:
    """A request for a batch."""
    return nftables.request(nftables.DELTABLE, 0, FAMILY, nl.text(nftables.TABLE_NAME, TABLE))


def refused(code: int, call: object, *arguments: object, **named: object) -> NetlinkError:
    """Call it; it must be refused with this errno."""
    try:
        call(*arguments, **named)  # type: ignore[operator]
    except NetlinkError as error:
        assert error.errno == code, error
        return error
    raise AssertionError("not refused")


def changes(sock: Netlink) -> list[nftables.Change]:
    found = [nftables.decode_change(item) for item in sock.receive(100_000) if isinstance(item, nl.Message)]
    assert None not in found
    return [change for change in found if change is not None]


def case_elements_that_nft_wrote() -> None:
    with Netlink() as sock:
        by_key = {e.key: e for e in netfilter.dump_elements(sock, FAMILY, TABLE, "key_zone")}
        first = by_key[pack_key(bytes([192, 0, 2, 1]), bytes.fromhex("1122334455667788"))]
        assert nftables.unpack_zone(first.data) == 20480 and first.timeout_ms is None
        assert 3_500_000 < (first.expires_ms or 0) <= 3_600_000
        second = by_key[pack_key(bytes([192, 0, 2, 2]), b"\0\0\0\0\0\0\0\1")]
        assert nftables.unpack_zone(second.data) == 258 and second.timeout_ms == 100_000
        assert 90_000 < (second.expires_ms or 0) <= 100_000
        assert netfilter.dump_elements(sock, FAMILY, TABLE, "zone_key") == [Element(pack_key(pack_zone(20480), SERVER), CLIENT)]
        assert netfilter.dump_elements(sock, FAMILY, TABLE, "clients") == [Element(SERVER, pack_zone(258))]
        assert netfilter.dump_elements(sock, FAMILY, TABLE, "spis") == [Element(pack_key(SERVER, CLIENT, bytes([1, 2, 3, 4])))]
        refused(errno.ENOENT, netfilter.dump_elements, sock, FAMILY, TABLE, "nowhere")


def case_elements_that_nft_reads() -> None:
    with Netlink() as sock:
        netfilter.add_elements(sock, FAMILY, TABLE, "zone_key", [Element(pack_key(pack_zone(61439), SERVER), bytes([10, 0, 0, 2]))])
        assert "61439 . 192.0.2.9 : 10.0.0.2" in kernel.listing("map", "ip", TABLE, "zone_key")
        key = pack_key(SERVER, bytes.fromhex("00000000000000ff"))
        netfilter.add_elements(sock, FAMILY, TABLE, "key_zone", [Element(key, pack_zone(300), 50_000, 20_000)])
        listing = kernel.listing("map", "ip", TABLE, "key_zone")
        assert "192.0.2.9 . 0xff timeout 50s expires 19s" in listing or "0xff timeout 50s expires 20s" in listing, listing
        netfilter.add_elements(sock, FAMILY, TABLE, "spis", [Element(pack_key(SERVER, CLIENT, bytes([0, 0, 1, 0])))])
        assert "192.0.2.9 . 10.0.0.1 . 256" in kernel.listing("set", "ip", TABLE, "spis")
        netfilter.delete_elements(sock, FAMILY, TABLE, "spis", [pack_key(SERVER, CLIENT, bytes([0, 0, 1, 0]))])
        assert "256" not in kernel.listing("set", "ip", TABLE, "spis")


def case_replace_in_one_transaction() -> None:
    with Netlink() as sock:
        other = [Element(SERVER, pack_zone(259))]
        assert refused(errno.EEXIST, netfilter.add_elements, sock, FAMILY, TABLE, "clients", other).index == 0
        sock.transaction([*nftables.delete_elements(FAMILY, TABLE, "clients", [SERVER]),
                          *nftables.add_elements(FAMILY, TABLE, "clients", other)])
        assert netfilter.dump_elements(sock, FAMILY, TABLE, "clients") == other
        netfilter.add_elements(sock, FAMILY, TABLE, "clients", other)
        refused(errno.EEXIST, netfilter.add_elements, sock, FAMILY, TABLE, "clients", other, flags=nl.CREATE | nl.EXCL)


def case_a_refused_transaction_changes_nothing() -> None:
    with Netlink() as sock:
        before = netfilter.dump_elements(sock, FAMILY, TABLE, "clients")
        generation = netfilter.generation(sock)
        error = refused(errno.ENOENT, sock.transaction, [
            *nftables.add_elements(FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(1))]),
            *nftables.delete_elements(FAMILY, TABLE, "clients", [b"\1\2\3\4"]),
            *nftables.add_elements(FAMILY, TABLE, "nowhere", [Element(CLIENT)])])
        assert error.index == 1
        assert netfilter.dump_elements(sock, FAMILY, TABLE, "clients") == before and netfilter.generation(sock) == generation
        wanted = list(nftables.add_elements(FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(1))]))
        refused(errno.ERESTART, sock.transaction, wanted, generation=generation - 1)
        sock.transaction(wanted, generation=generation)
        assert netfilter.generation(sock) == generation + 1
        sock.transaction([])
        assert netfilter.generation(sock) == generation + 1


def case_delete_what_is_not_there() -> None:
    for destroys in (None, False):
        with Netlink() as sock:
            sock.can_destroy = destroys
            netfilter.add_elements(sock, FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(1))])
            refused(errno.ENOENT, netfilter.delete_elements, sock, FAMILY, TABLE, "clients", [b"aaaa", CLIENT], missing_ok=False)
            netfilter.delete_elements(sock, FAMILY, TABLE, "clients", [b"aaaa", CLIENT, b"bbbb"])
            assert [e.key for e in netfilter.dump_elements(sock, FAMILY, TABLE, "clients")] == [SERVER]
            netfilter.delete_elements(sock, FAMILY, TABLE, "clients", [])


def case_sixty_thousand_elements() -> None:
    wanted = {i.to_bytes(4, "big"): pack_zone(i) for i in range(1, 60_001)}
    with Netlink() as sock:
        netfilter.delete_elements(sock, FAMILY, TABLE, "clients", [SERVER])
        netfilter.add_elements(sock, FAMILY, TABLE, "clients", (Element(key, zone, 900_000) for key, zone in wanted.items()))
        found = netfilter.dump_elements(sock, FAMILY, TABLE, "clients")
        assert {e.key: e.data for e in found} == wanted and all(e.timeout_ms == 900_000 for e in found)
        netfilter.delete_elements(sock, FAMILY, TABLE, "clients", wanted)
        assert netfilter.dump_elements(sock, FAMILY, TABLE, "clients") == []


def case_a_change_under_a_dump_starts_it_again() -> None:
    """The kernel marks dumps of tables, chains and rules so, but not those of elements."""
    kernel.load("table ip many {\n" + "".join(f"chain c{i} {{\n}}\n" for i in range(1000)) + "}")
    with Netlink() as sock, Netlink() as other:
        decoded: list[str] = []

        def name(message: nl.Message) -> str:
            if not decoded:
                other.transaction([delete_table()])
            chain = nftables.decode_chain(message)
            assert chain is not None
            decoded.append(chain.name)
            return chain.name

        found = sock.dump(nftables.dump_chains(FAMILY), name)
        assert sorted(found) == sorted(f"c{i}" for i in range(1000)) and 1000 < len(decoded) < 2010


def case_chains_and_tables() -> None:
    with Netlink() as sock:
        chains = {c.name: c for c in netfilter.list_chains(sock, FAMILY, TABLE)}
        assert set(chains) == {"out", "raw", "idle"}
        assert (chains["out"].hook, chains["out"].priority, chains["out"].kind) == (3, -300, "filter")
        assert (chains["idle"].hook, chains["idle"].priority, chains["idle"].kind) == (None, None, "")
        assert netfilter.list_chains(sock, FAMILY, "nowhere") == []
        assert netfilter.table_exists(sock, FAMILY, TABLE) and not netfilter.table_exists(sock, nftables.INET, TABLE)
        sock.transaction([delete_table()])
        assert not netfilter.table_exists(sock, FAMILY, TABLE)
        refused(errno.ENOENT, sock.transaction, [delete_table()])


def case_who_changed_what() -> None:
    with Netlink([netfilter.GROUP_NFTABLES]) as ear, Netlink() as mouth:
        netfilter.add_elements(mouth, FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(9))])
        told = changes(ear)
        assert [(c.verb, c.what, c.family, c.table, c.name) for c in told] == [
            ("new", "element", FAMILY, TABLE, "clients"), ("new", "generation", 0, "", "")]
        assert [(e.key, e.data) for e in told[0].elements] == [(CLIENT, pack_zone(9))] and told[0].port == mouth.port
        netfilter.delete_elements(mouth, FAMILY, TABLE, "clients", [CLIENT])
        assert [(c.verb, c.what, [e.key for e in c.elements]) for c in changes(ear)] == [
            ("del", "element", [CLIENT]), ("new", "generation", [])]
        netfilter.add_elements(ear, FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(9))])
        assert [(c.what, c.port) for c in changes(ear)] == [("element", ear.port), ("generation", ear.port)]
        subprocess.run(["nft", "delete", "table", "ip", TABLE], check=True)
        told = changes(ear)
        assert ("del", "table", TABLE) in [(c.verb, c.what, c.table) for c in told]
        assert told[-1].what == "generation" and told[-1].process == "nft" and told[-1].port != ear.port
        assert told[-1].generation == netfilter.generation(mouth)


def case_elements_of_packets_are_not_told() -> None:
    kernel.load("table ip p { set s { type ipv4_addr; flags dynamic,timeout; timeout 1h; size 16; }\n"
                "chain c { type filter hook output priority 0;\n udp dport 9 add @s { ip daddr }\n }\n}")
    with Netlink([netfilter.GROUP_NFTABLES]) as ear:
        kernel.send_udp(9, b"x")
        assert [e.key for e in netfilter.dump_elements(ear, FAMILY, "p", "s")] == [kernel.LOOPBACK]
        assert changes(ear) == []


def case_requests_between_notifications() -> None:
    with Netlink([netfilter.GROUP_NFTABLES]) as sock, Netlink() as other:
        netfilter.add_elements(other, FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(9))])
        assert netfilter.table_exists(sock, FAMILY, TABLE)
        assert sock.pending == 2
        assert [c.what for c in changes(sock)] == ["element", "generation"] and sock.pending == 0


def case_an_overrun_is_an_item() -> None:
    with Netlink([netfilter.GROUP_NFTABLES], receive_buffer=4096) as ear, Netlink() as mouth:
        netfilter.add_elements(mouth, FAMILY, TABLE, "clients", (Element(i.to_bytes(4, "big"), pack_zone(1)) for i in range(2000)))
        items = ear.receive(100_000)
        assert Overrun() in items and len(items) < 2000
        netfilter.add_elements(mouth, FAMILY, TABLE, "clients", [Element(CLIENT, pack_zone(9))])
        assert [c.what for c in changes(ear)] == ["element", "generation"]
    with Netlink([netfilter.GROUP_NFTABLES], receive_buffer=4096) as ear, Netlink() as mouth:
        more = (Element(b"x" + i.to_bytes(3, "big"), pack_zone(1)) for i in range(2000))
        netfilter.add_elements(mouth, FAMILY, TABLE, "clients", more)
        try:
            netfilter.table_exists(ear, FAMILY, TABLE)
        except NetlinkError as error:
            assert error.errno == errno.ENOBUFS, error  # its answer found no room either
        assert Overrun() in ear.receive(100_000)


def case_after_an_overrun_all_is_read() -> None:
    """Or the kernel goes on to drop what comes, without a word, until somebody has."""
    with NflogSocket(kernel.GROUP, receive_buffer=4096) as log:
        for _ in range(200):
            kernel.send_udp(500, b"x" * 100)
        items = log.receive(1)
        assert items[0] == Overrun() and items.count(Overrun()) == 1 and 1 < len(items) < 200
        assert log.receive() == []
        kernel.send_udp(500, b"heard again")
        assert [isinstance(item, nflog.LogPacket) for item in log.receive()] == [True]


def case_after_an_overrun_the_newest_headers_stay_and_all_whole_packets() -> None:
    """A whole packet is one that we are to deliver."""
    for snaplen, least, most in ((128, 8, 8), (0, 9, 1000)):
        with NflogSocket(kernel.GROUP, snaplen=snaplen, receive_buffer=1 << 16) as log:
            for number in range(1000):
                kernel.send_udp(500, b"%100d" % number)
            items = log.receive(8)
            assert items[0] == Overrun() and least <= len(items) - 1 <= most, (snaplen, len(items))


def case_groups_are_read_in_the_order_of_their_packets() -> None:
    """Whichever is read first, however much each has."""
    kernel.load(f"add rule ip {TABLE} out udp dport 510 log prefix \"ours\" group 11; "
                f"add rule ip {TABLE} out udp dport 511 log prefix \"ours\" group 12")
    groups = NflogGroups()
    with groups.open(11, 0), groups.open(12, 0):
        assert groups.receive() == ([], False)
        # In a user namespace the buffer is the kernel's default: s390x finds room for 818 there.
        for count in (1, 2, 700):
            ports = [510 + number * 7 // 3 % 2 for number in range(count)]
            for port in ports:
                kernel.send_udp(port, b"x")
            found, more = groups.receive()
            assert [packet.group - 11 + 510 for packet in found if isinstance(packet, nflog.LogPacket)] == ports and not more
        assert groups.receive() == ([], False)


def case_logged_packets() -> None:
    with NflogSocket(kernel.GROUP, snaplen=48, flags=nflog.FLAG_SEQUENCE) as log:
        refused(errno.EPERM, NflogSocket, kernel.GROUP)
        began = time.time()
        port = kernel.send_udp(500, b"0123456789" * 10)
        ended = time.time()
        kernel.send_udp(501, b"not logged")
        kernel.send_udp(500, b"second")
        first, second = log.receive()
        assert isinstance(first, nflog.LogPacket) and isinstance(second, nflog.LogPacket)
        assert (first.group, first.prefix) == (kernel.GROUP, "seen")
        assert (first.sequence, second.sequence, len(first.payload)) == (0, 1, 48)
        if first.time is None:  # it is always there since Linux 6.6, before that only if another program wants it
            assert tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 6)
        else:
            assert began - 1e-5 <= first.time <= ended, "when it was logged, not when it is read"
        packet = ip.parse_ipv4(first.payload)
        assert packet is not None and packet.length == 128 and packet.src == packet.dst == kernel.LOOPBACK
        udp = ip.parse_udp(packet.payload)
        assert udp is not None and (udp.sport, udp.dport, udp.length, udp.payload) == (port, 500, 108, b"0123456789" * 2)
        assert log.receive() == []
    with NflogSocket(kernel.GROUP):
        pass


def case_logged_packets_in_one_datagram() -> None:
    with NflogSocket(kernel.GROUP, threshold=3) as log:
        for payload in (b"a", b"b", b"c"):
            kernel.send_udp(500, payload)
        assert [p.payload[-1:] for p in log.receive() if isinstance(p, nflog.LogPacket)] == [b"a", b"b", b"c"]


def case_conntrack_zones() -> None:
    kernel.load(f"add element ip {TABLE} clients {{ 127.0.0.1 : 4660 }}")
    for port in (4499, 4500, 4501, 4502):
        kernel.send_udp(port, b"x")
    with Netlink() as sock:
        flows = {f.orig.dport: f for f in netfilter.dump_conntrack(sock, proto=conntrack.UDP)}
        assert {port: (f.zone, f.orig.zone) for port, f in flows.items()} == {
            4499: (0, None), 4500: (20490, None), 4501: (0, 20491), 4502: (4660, None)}
        netfilter.delete_elements(sock, FAMILY, TABLE, "clients", [kernel.LOOPBACK])
        netfilter.add_elements(sock, FAMILY, TABLE, "clients", [Element(kernel.LOOPBACK, pack_zone(22136))])
        port = kernel.send_udp(4502, b"x")
        assert [f.zone for f in netfilter.dump_conntrack(sock) if f.orig.sport == port] == [22136], "the zone is not in host order"
        for flow in netfilter.dump_conntrack(sock):
            assert netfilter.delete_flow(sock, flow) and not netfilter.delete_flow(sock, flow)
        assert netfilter.dump_conntrack(sock) == []


def case_delete_one_of_two_equal_flows() -> None:
    kernel.load("table ip o { chain c { type filter hook output priority raw;\n"
                " esp spi 1 ct zone set 100\n esp spi 2 ct zone set 200\n }\n}")
    kernel.send_raw(50, bytes.fromhex("0000000100000001"))
    kernel.send_raw(50, bytes.fromhex("0000000200000001"))
    with Netlink() as sock:
        flows = {f.zone: f for f in netfilter.dump_conntrack(sock, proto=conntrack.ESP)}
        assert set(flows) == {100, 200} and flows[100].orig == flows[200].orig and flows[100].orig.sport is None
        assert netfilter.delete_flow(sock, flows[100])
        assert [f.zone for f in netfilter.dump_conntrack(sock, proto=conntrack.ESP)] == [200]
        stale = flows[200].replace(ident=(flows[200].ident or 0) ^ 1)
        assert not netfilter.delete_flow(sock, stale), "deleted an entry with another identity"
        assert netfilter.delete_flow(sock, flows[200])


def case_conntrack_protocols_and_events() -> None:
    with Netlink() as sock, Netlink([conntrack.GROUP_NEW, conntrack.GROUP_UPDATE, conntrack.GROUP_DESTROY]) as ear:
        kernel.ping()
        kernel.send_raw(47, bytes.fromhex("2001880b 0004 abcd 00000000 c0210101"))
        with kernel.tcp() as (here, there):
            flows = {f.orig.proto: f for f in netfilter.dump_conntrack(sock)}
            tcp = flows[conntrack.TCP]
            assert (tcp.orig.sport, tcp.orig.dport, tcp.tcp_state) == (here, there, 3)
            assert tcp.status & (conntrack.SEEN_REPLY | conntrack.ASSURED) == conntrack.SEEN_REPLY | conntrack.ASSURED
            assert tcp.reply is not None and (tcp.reply.sport, tcp.reply.dport) == (there, here)
            assert tcp.packets == (2, 1) and tcp.octets is not None and tcp.octets[0] > 80
            assert 0 < (tcp.timeout_s or 0) <= 432_000 and tcp.helper == ""
            assert flows[conntrack.ICMP].orig.icmp == (8, 0, 0x1234)
            assert flows[conntrack.GRE].orig.dport in (0xABCD, 0)
            assert [f.orig.proto for f in netfilter.dump_conntrack(sock, proto=conntrack.GRE)] == [conntrack.GRE]
            assert all(netfilter.delete_flow(sock, flow) for flow in flows.values())
        events = [conntrack.decode(item) for item in ear.receive() if isinstance(item, nl.Message)]
        kinds = [(e.kind, e.flow.orig.proto) for e in events if e is not None]
        assert None not in events
        for proto in (conntrack.ICMP, conntrack.GRE, conntrack.TCP):
            assert ("new", proto) in kinds and ("destroy", proto) in kinds
            assert kinds.index(("new", proto)) < kinds.index(("destroy", proto))
        assert ("update", conntrack.TCP) in kinds
        assert netfilter.dump_conntrack(sock, family=conntrack.AF_INET6) == []


def case_conntrack_helper_and_ipv6() -> None:
    kernel.load("table inet h { ct helper pptp-h { type \"pptp\" protocol tcp; l3proto ip; }\n"
                "chain c { type filter hook output priority 0;\n tcp dport 1723 ct helper set \"pptp-h\"\n }\n}")
    with Netlink() as sock, kernel.tcp(1723) as (here, _there):
        assert [f.helper for f in netfilter.dump_conntrack(sock) if f.orig.sport == here] == ["pptp"]
        port = kernel.send_udp(4499, b"x", "::1")
        flow = next(f for f in netfilter.dump_conntrack(sock, family=conntrack.AF_INET6) if f.orig.proto == conntrack.UDP)
        assert flow.orig == conntrack.Tuple(b"\0" * 15 + b"\1", b"\0" * 15 + b"\1", conntrack.UDP, port, 4499)
        assert netfilter.delete_flow(sock, flow) and not netfilter.delete_flow(sock, flow)


def case_larger_than_the_send_buffer() -> None:
    """Over net.core.wmem_max it needs the right to force the buffer; without it all is refused."""
    elements = (Element(i.to_bytes(4, "big"), pack_zone(1), 900_000) for i in range(60_000))
    with Netlink() as sock:
        try:
            sock.transaction(nftables.add_elements(FAMILY, TABLE, "clients", elements))
            wanted = 60_001
        except NetlinkError as error:
            assert error.errno == errno.EMSGSIZE
            wanted = 1
        assert len(netfilter.dump_elements(sock, FAMILY, TABLE, "clients")) == wanted


def case_elements_in_parts_that_the_send_buffer_holds() -> None:
    """A machine that gives 16 KiB and no more: elements go in and out all the same, no datagram is longer."""
    nlsocket.SEND_BUFFER, nlsocket.SO_SNDBUFFORCE = 1 << 13, socket.SO_BROADCAST
    keys = [i.to_bytes(4, "big") for i in range(5000)]
    with Netlink() as sock:
        sent: list[int] = []
        send = sock._send

        def measured(packed: bytes) -> None:
            sent.append(len(packed))
            send(packed)

        sock._send = measured  # type: ignore[method-assign]
        assert sock.room == (1 << 14) - nlsocket.SEND_OVERHEAD
        netfilter.add_elements(sock, FAMILY, TABLE, "clients", (Element(key, pack_zone(1), 900_000) for key in keys))
        assert {e.key for e in netfilter.dump_elements(sock, FAMILY, TABLE, "clients")} == {SERVER, *keys}
        netfilter.delete_elements(sock, FAMILY, TABLE, "clients", keys)
        assert [e.key for e in netfilter.dump_elements(sock, FAMILY, TABLE, "clients")] == [SERVER]
        assert sock.room * 3 // 4 < max(sent) <= sock.room and len(sent) > 12


def case_extended_error_text() -> None:
    with Netlink() as sock:
        broken = nftables.request(nftables.NEWTABLE, nl.CREATE, FAMILY, nl.text(nftables.TABLE_NAME, "x" * 1000))
        error = refused(errno.ERANGE, sock.transaction, [broken])
        assert error.index == 0 and error.strerror != ""


CASES = sorted(name for name in globals() if name.startswith("case_"))

if __name__ == "__main__":
    kernel.prepare()
    kernel.load(kernel.TABLE)
    globals()[sys.argv[1]]()
