# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon asks of the kernel's netfilter, a function each; the codecs are in wire/.

All of them raise NetlinkError where the kernel refuses.
"""
from __future__ import annotations

import errno

from ..wire import conntrack, nflog, nftables, nftrules
from ..wire import netlink as nl
from ..wire.bpf import RANGES_MAX, conntrack_filter
from .socket import NETFILTER, Socket
from .socket import NetlinkError as NetlinkError
from .socket import Overrun as Overrun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Self

    from .socket import Found

GROUP_NFTABLES = 7  # NFNLGRP_NFTABLES, include/uapi/linux/netfilter/nfnetlink.h
TRANSACTION_MAX = 1 << 17
"""Bytes of requests in one transaction, where the send buffer allows as much."""
BATCH_OVERHEAD = 64
"""Bytes for the beginning and the end of a transaction."""
DUMP_TRIES = 8
FILTER_RANGES = (RANGES_MAX // 2, 64, 8, 1)
DRAIN = 1000
"""Reads at most, where a queue is to be emptied."""
HEADERS_MAX = 128
"""Bytes of a packet that are headers, at most."""
PORTIONS = 4
"""Of each log group, before something else has its turn."""
HALF = 1 << 31


class Netlink(Socket):
    """A NETLINK_NETFILTER socket, which can do transactions. Arguments as for `Socket`.

    journal: what transactions have changed, while it is a list and not None.
    """

    def __init__(self, groups: Iterable[int] = (), receive_buffer: int = 0) -> None:
        super().__init__(NETFILTER, groups, receive_buffer)
        self.can_destroy: bool | None = None  # DESTROYSETELEM: None until tried
        self.journal: list[list[bytes]] | None = None

    def transaction(self, requests: Iterable[bytes], generation: int | None = None) -> None:
        """Send nf_tables requests as one transaction: all or nothing. Raises NetlinkError with the first refused one's index.

        generation: see `nftables.batch`; ERESTART if somebody else has changed the ruleset since.
        """
        packed = nftables.batch(requests, generation)
        if len(packed) == 2:
            return
        first = self._next_seq(len(packed))
        errors: list[NetlinkError] = []

        def done(message: nl.Message) -> bool:
            ack = nl.acknowledgement(message)
            if ack is None:
                self._set_aside(message)  # a notification of our own change has our sequence number
            elif ack.errno:
                index = message.seq - first - 1
                errors.append(NetlinkError(ack.errno, ack.text, index if 0 <= index < len(packed) - 2 else None))
            return False

        self._send(b"".join(nl.with_sequence(one, first + at) for at, one in enumerate(packed)))
        self._replies(first, first + len(packed) - 1, done, wait=False)
        if errors:
            raise errors[0]
        if self.journal is not None:
            self.journal.append(packed[1:-1])

    def transactions(self, requests: Callable[[int], Iterable[bytes]]) -> None:
        """As many requests as fit go into each transaction: each is all or nothing, but not all of them together.

        requests: makes them, none longer than so many bytes. Raises NetlinkError; what went before has been done.
        """
        most = min(TRANSACTION_MAX, self.room - BATCH_OVERHEAD)
        part: list[bytes] = []
        size = 0
        for one in requests(most):
            if part and size + len(one) > most:
                self.transaction(part)
                part, size = [], 0
            part.append(one)
            size += len(one)
        self.transaction(part)


def dump_elements(sock: Socket, family: int, table: str, name: str) -> list[nftables.Element]:
    """All elements of a set or map. Raises NetlinkError (ENOENT: no such table or set).

    While the kernel resizes its hash table, right after many elements were added, a dump shows some twice and misses as many
    (measured). So one with a duplicate is repeated, and if it never comes to rest, all that was seen is returned.
    """
    found: dict[bytes, nftables.Element] = {}
    for _ in range(DUMP_TRIES):
        parts = sock.dump(nftables.dump_elements(family, table, name), nftables.decode_elements)
        seen = [element for part in parts for element in part]
        latest = {element.key: element for element in seen}
        if len(latest) == len(seen):
            return seen
        found.update(latest)
    return list(found.values())


def get_element(sock: Netlink, family: int, table: str, name: str, key: bytes) -> nftables.Element | None:
    """One element of a set or map; None if there is no such key, or no such set or table."""
    try:
        answer = sock.request(nftables.get_element(family, table, name, key))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    found = nftables.decode_elements(answer) if answer is not None else None
    return found[0] if found else None


def add_elements(sock: Netlink, family: int, table: str, name: str, elements: Iterable[nftables.Element],
                 flags: int = nl.CREATE) -> None:
    """Add elements, see `nftables.add_elements`. 128 KiB (about 2,000 elements) are atomic, or what the send buffer holds."""
    sock.transactions(lambda most: nftables.add_elements(family, table, name, elements, flags, most))


def delete_elements(sock: Netlink, family: int, table: str, name: str, keys: Iterable[bytes], missing_ok: bool = True) -> None:
    """Delete elements by key. missing_ok: a missing key is no error; else it is ENOENT, and its transaction does nothing."""
    keys = list(keys)
    if missing_ok and sock.can_destroy is not False:
        try:
            sock.transactions(lambda most: nftables.delete_elements(family, table, name, keys, True, most))
            sock.can_destroy = True
            return
        except NetlinkError as error:
            # Before Linux 6.3 there is no such message.
            if sock.can_destroy or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            sock.can_destroy = False
    try:
        sock.transactions(lambda most: nftables.delete_elements(family, table, name, keys, False, most))
    except NetlinkError as error:
        if not missing_ok or error.errno != errno.ENOENT:
            raise
        _delete_each(sock, family, table, name, keys)


def _delete_each(sock: Netlink, family: int, table: str, name: str, keys: list[bytes]) -> None:
    for key in keys:
        try:
            sock.transaction(nftables.delete_elements(family, table, name, [key]))
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise


def list_chains(sock: Socket, family: int, table: str) -> list[nftables.Chain]:
    """The chains of a table; [] if there is no such table."""
    return [chain for chain in sock.dump(nftables.dump_chains(family), nftables.decode_chain) if chain.table == table]


def table_exists(sock: Socket, family: int, table: str) -> bool:
    """Whether there is such a table."""
    try:
        return sock.request(nftables.get_table(family, table)) is not None
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return False
        raise


def counters(sock: Socket, table: str) -> dict[str, tuple[int, int]]:
    """A table's named counters, of IPv4 and IPv6 added up: packets and bytes. Empty where there is no such table."""
    found: dict[str, tuple[int, int]] = {}
    for family in (nftables.IPV4, nftables.IPV6):
        for owner, name, (packets, octets) in sock.dump(nftables.dump_counters(family, table), nftables.decode_counter):
            if owner == table:
                before = found.get(name, (0, 0))
                found[name] = (before[0] + packets, before[1] + octets)
    return found


def delete_tables(sock: Netlink, table: str) -> None:
    """Deletes a table of IPv4 and of IPv6, where it is there. Raises NetlinkError."""
    for family in (nftables.IPV4, nftables.IPV6):
        try:
            sock.transaction([nftables.request(nftables.DELTABLE, 0, family, nl.text(nftables.TABLE_NAME, table))])
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise


def has_flowtable(sock: Socket) -> bool:
    """Is there any flow table (fw4 makes one for flow_offloading)? Not where the kernel knows none."""
    try:
        return bool(sock.dump(nftables.request(nftables.GETFLOWTABLE, nl.DUMP, nftables.UNSPEC), lambda message: message))
    except NetlinkError:
        return False


def generation(sock: Socket) -> int:
    """The ruleset's generation: bumped by every commit, whoever made it."""
    answer = sock.request(nftables.get_generation())
    number = nftables.decode_generation(answer) if answer is not None else None
    if number is None:
        raise NetlinkError(errno.EPROTO, "no generation in the answer")
    return number


def read_table(sock: Socket, family: int, table: str) -> nftrules.TableState | None:
    """What a table does; None if there is none. While others change something it is read again, DUMP_TRIES times."""
    state = None
    for _ in range(DUMP_TRIES):
        before = generation(sock)
        try:
            state = _read_table(sock, family, table)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            state = None
        if generation(sock) == before:
            break
    return state


def _read_table(sock: Socket, family: int, table: str) -> nftrules.TableState | None:
    answer = sock.request(nftrules.get_table(family, table))
    head = nftrules.decode_table(answer) if answer is not None else None
    if head is None:
        return None
    rules: dict[str, list[nftrules.Rule]] = {}
    for owner, chain, rule in sock.dump(nftrules.dump_rules(family, table), nftrules.decode_rule):
        if owner == table:
            rules.setdefault(chain, []).append(rule)
    chains = {name: (handle, policy) for owner, name, handle, policy in sock.dump(nftables.dump_chains(family), nftrules.decode_chain)
              if owner == table}
    return nftrules.TableState(handle=head[0], dormant=head[1], chains={
        name: (handle, policy, tuple(rules.get(name, ()))) for name, (handle, policy) in chains.items()})


def dump_conntrack(sock: Socket, family: int = conntrack.AF_INET, proto: int | None = None, sport: int | None = None,
                   dport: int | None = None) -> list[conntrack.Flow]:
    """The conntrack entries of a family (a protocol, a port). Entries may be seen twice or not at all while the table is resized."""
    return sock.dump(conntrack.dump(family, proto, sport, dport), _matching(proto, sport, dport))


def first_flows(limit: int, made: Callable[[conntrack.Flow], Found | None], family: int, proto: int, sport: int | None,
                dport: int | None) -> list[Found]:
    """What `made` makes of the first entries that the kernel has, unless that is None; so many at most. The rest is not read."""
    matching = _matching(proto, sport, dport)

    def take(message: nl.Message) -> Found | None:
        flow = matching(message)
        return made(flow) if flow is not None else None

    with Netlink() as own:  # closing it ends the kernel's walk through its table
        return own.dump(conntrack.dump(family, proto, sport, dport), take, limit)


def _matching(proto: int | None, sport: int | None, dport: int | None) -> Callable[[nl.Message], conntrack.Flow | None]:
    def matching(message: nl.Message) -> conntrack.Flow | None:
        event = conntrack.decode(message)
        # Kernels before 5.8 do not choose.
        return event.flow if event is not None and proto in (None, event.flow.orig.proto) and sport in (None, event.flow.orig.sport) \
            and dport in (None, event.flow.orig.dport) else None
    return matching


def attach_largest(sock: Socket, protocols: Iterable[int], udp: Collection[int], tcp: Collection[int]) -> int:
    """Attaches the most exact filter for these flows' events that the kernel takes: how many ranges of ports it may tell apart.

    Before Linux 6.7 a filter must fit into net.core.optmem_max. 0: it takes none, all events pass.
    """
    for most in FILTER_RANGES:
        try:
            sock.attach_filter(conntrack_filter(protocols, udp, tcp, most))
        except NetlinkError as error:
            if error.errno != errno.ENOMEM:
                return 0
        else:
            return most
    return 0


def get_flow(sock: Socket, family: int, way: conntrack.Tuple) -> conntrack.Flow | None:
    """The conntrack entry in zone 0 that has this tuple in one of its directions."""
    try:
        answer = sock.request(conntrack.get(family, way))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    event = conntrack.decode(answer) if answer is not None else None
    return None if event is None else event.flow


def delete_flow(sock: Socket, flow: conntrack.Flow) -> bool:
    """Delete this conntrack entry; False if it is gone already."""
    try:
        sock.request(conntrack.delete(flow))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


class NflogSocket:
    """Receives what `log group N` sends. snaplen: bytes kept of each packet. Raises NetlinkError, EPERM if the group is taken."""

    def __init__(self, group: int, snaplen: int = 128, receive_buffer: int = 1 << 20, threshold: int = 1, flags: int = 0) -> None:
        self._netlink, self._headers = Netlink(receive_buffer=receive_buffer), 0 < snaplen <= HEADERS_MAX
        try:
            self._netlink.request(nflog.bind(group))
            self._netlink.request(nflog.options(group, snaplen, threshold, flags=flags))
        except NetlinkError:
            self._netlink.close()
            raise

    def fileno(self) -> int:
        """For a selector."""
        return self._netlink.fileno()

    def close(self) -> None:
        """Give the group up."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def receive(self, limit: int = 256) -> list[nflog.LogPacket | Overrun]:
        """The packets that have arrived, at most about `limit`; what can't be decoded is skipped. Never blocks.

        After an overrun the queue is emptied, whatever the limit, and one Overrun stands before its packets: until the queue is empty
        the kernel drops packets without a further error (netlink_overrun()). Of headers only the newest are kept: who is too slow for them
        gains nothing by more.
        """
        messages = self._netlink.receive(limit)
        found: list[nflog.LogPacket | Overrun] = []
        if Overrun() in messages:
            found.append(Overrun())
            if self._headers:
                messages = [*messages, *self._netlink.newest(limit, DRAIN * limit)][-limit:]
            else:
                for _ in range(DRAIN):
                    more = self._netlink.receive(limit)
                    if not more:
                        break
                    messages += more
        for message in messages:
            if isinstance(message, Overrun):
                continue
            packet = nflog.decode(message)
            if packet is not None:
                found.append(packet)
        return found


class NflogGroups:
    """Several log groups, each read in portions, whose packets are handed out in the order in which the kernel logged them.

    A group alone keeps its order. Of two, the one that is read first would overtake the other.
    """

    def __init__(self) -> None:
        self._logs: list[NflogSocket] = []
        self._held: list[nflog.LogPacket] = []
        self._last = 0  # the count of the packet that was handed out last

    def open(self, group: int, snaplen: int) -> NflogSocket:
        """One group more, for a selector. Raises NetlinkError, EPERM if the group is taken."""
        log = NflogSocket(group, snaplen, flags=nflog.FLAG_SEQUENCE_GLOBAL)
        self._logs.append(log)
        return log

    def receive(self, enough: int = 1 << 30) -> tuple[list[nflog.LogPacket | Overrun], bool]:
        """What has arrived in any group, and whether there is more of it: requests are waiting, too. Never blocks.

        enough: packets after which no further portion is read.
        """
        found: list[nflog.LogPacket | Overrun] = []
        for _ in range(PORTIONS):
            # What a group has and we have not read is later than the last that it gave, or, if it had nothing, than all that we held.
            sure = self._age(self._held[-1]) if self._held else 0
            more = False
            for log in self._logs:
                arrived = log.receive()
                packets = [one for one in arrived if not isinstance(one, Overrun)]
                if len(packets) < len(arrived):
                    found.append(Overrun())
                if packets:
                    more, sure = True, min(sure, self._age(packets[-1]))
                self._held += packets
            self._held.sort(key=self._age)
            ready = [packet for packet in self._held if self._age(packet) <= sure]
            if ready:
                found += ready
                del self._held[:len(ready)]
                self._last = ready[-1].sequence
            if not more or len(found) >= enough:
                break
        return found, bool(self._held)

    def _age(self, packet: nflog.LogPacket) -> int:
        """How many packets later than the last one handed out; the kernel counts to 2^32."""
        return (packet.sequence - self._last + HALF) % (2 * HALF) - HALF
