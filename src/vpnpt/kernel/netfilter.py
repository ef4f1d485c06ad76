# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon asks of the kernel's netfilter, a function each; the socket is in nlsocket.py, the codecs are in wire/.

All of them raise NetlinkError where the kernel refuses.
"""
from __future__ import annotations

import errno

from ..wire import conntrack, nflog, nftables, nftrules
from ..wire import netlink as nl
from .socket import GROUP_NFTABLES as GROUP_NFTABLES
from .socket import Netlink as Netlink
from .socket import NetlinkError as NetlinkError
from .socket import Overrun as Overrun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

# What fits into the send buffer even where the kernel refuses a larger one than net.core.wmem_max (a user namespace).
TRANSACTION_MAX = 1 << 17
DUMP_TRIES = 8
DRAIN = 1000
"""Portions that are read at most, where all are wanted."""


def dump_elements(sock: Netlink, family: int, table: str, name: str) -> list[nftables.Element]:
    """All elements of a set or map. Raises NetlinkError (ENOENT: no such table or set).

    While the kernel resizes its hash table, right after many elements were added, a dump shows some twice and misses as many
    (measured). So one with a duplicate is repeated, and if it never comes to rest, all that was seen is returned.
    """
    found: dict[bytes, nftables.Element] = {}
    seen: list[nftables.Element] = []

    def each(message: nl.Message) -> None:
        seen.extend(nftables.decode_elements(message) or ())

    for _ in range(DUMP_TRIES):
        seen.clear()
        sock.dump(nftables.dump_elements(family, table, name), each, seen.clear)
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
    """Add elements, see `nftables.add_elements`. 128 KiB (about 2,000 elements) are atomic, more go in several transactions."""
    for part in _portions(nftables.add_elements(family, table, name, elements, flags)):
        sock.transaction(part)


def _portions(requests: Iterable[bytes]) -> Iterable[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for one in requests:
        if part and size + len(one) > TRANSACTION_MAX:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one)
    if part:
        yield part


def delete_elements(sock: Netlink, family: int, table: str, name: str, keys: Iterable[bytes], missing_ok: bool = True) -> None:
    """Delete elements by key. missing_ok: a missing key is no error; else it is ENOENT, and its transaction does nothing."""
    keys = list(keys)
    if missing_ok and sock.can_destroy is not False:
        try:
            for part in _portions(nftables.delete_elements(family, table, name, keys, destroy=True)):
                sock.transaction(part)
            sock.can_destroy = True
            return
        except NetlinkError as error:
            # Before Linux 6.3 there is no such message.
            if sock.can_destroy or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            sock.can_destroy = False
    try:
        for part in _portions(nftables.delete_elements(family, table, name, keys)):
            sock.transaction(part)
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


def list_chains(sock: Netlink, family: int, table: str) -> list[nftables.Chain]:
    """The chains of a table; [] if there is no such table."""
    found: list[nftables.Chain] = []

    def each(message: nl.Message) -> None:
        chain = nftables.decode_chain(message)
        if chain is not None and chain.table == table:
            found.append(chain)

    sock.dump(nftables.dump_chains(family), each, found.clear)
    return found


def table_exists(sock: Netlink, family: int, table: str) -> bool:
    """Whether there is such a table."""
    try:
        return sock.request(nftables.get_table(family, table)) is not None
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return False
        raise


def generation(sock: Netlink) -> int:
    """The ruleset's generation: it grows with every transaction of whomever."""
    answer = sock.request(nftables.get_generation())
    number = nftables.decode_generation(answer) if answer is not None else None
    if number is None:
        raise NetlinkError(errno.EPROTO, "no generation in the answer")
    return number


def read_table(sock: Netlink, family: int, table: str) -> nftrules.TableState | None:
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


def _read_table(sock: Netlink, family: int, table: str) -> nftrules.TableState | None:
    answer = sock.request(nftrules.get_table(family, table))
    head = nftrules.decode_table(answer) if answer is not None else None
    if head is None:
        return None
    chains: dict[str, tuple[int, str]] = {}
    rules: dict[str, list[nftrules.Rule]] = {}

    def each_chain(message: nl.Message) -> None:
        chain = nftrules.decode_chain(message)
        if chain is not None and chain[0] == table:
            chains[chain[1]] = chain[2:]

    def each_rule(message: nl.Message) -> None:
        rule = nftrules.decode_rule(message)
        if rule is not None and rule[0] == table:
            rules.setdefault(rule[1], []).append(rule[2])

    sock.dump(nftables.dump_chains(family), each_chain, chains.clear)
    sock.dump(nftrules.dump_rules(family, table), each_rule, rules.clear)
    return nftrules.TableState(handle=head[0], dormant=head[1], chains={
        name: (handle, policy, tuple(rules.get(name, ()))) for name, (handle, policy) in chains.items()})


def dump_conntrack(sock: Netlink, family: int = conntrack.AF_INET, proto: int | None = None, sport: int | None = None,
                   dport: int | None = None, limit: int = 1 << 20) -> list[conntrack.Flow]:
    """The conntrack entries of a family (a protocol, a port), the first `limit` that the kernel has.

    Entries may be seen twice or not at all while the table is resized.
    """
    found: list[conntrack.Flow] = []

    def each(message: nl.Message) -> None:
        event = conntrack.decode(message) if len(found) < limit else None
        if event is not None and proto in (None, event.flow.orig.proto) and sport in (None, event.flow.orig.sport) \
                and dport in (None, event.flow.orig.dport):
            found.append(event.flow)

    sock.dump(conntrack.dump(family, proto, sport, dport), each, found.clear)
    return found


def get_flow(sock: Netlink, family: int, way: conntrack.Tuple) -> conntrack.Flow | None:
    """The conntrack entry in zone 0 that has this tuple in one of its directions."""
    try:
        answer = sock.request(conntrack.get(family, way))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    event = conntrack.decode(answer) if answer is not None else None
    return None if event is None else event.flow


def delete_flow(sock: Netlink, flow: conntrack.Flow) -> bool:
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
        self.malformed = 0
        self._netlink = Netlink(receive_buffer=receive_buffer)
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
        """The packets that have arrived, at most about `limit`; what can't be decoded is counted in `malformed`. Never blocks.

        After an overrun all that have arrived, and the Overrun, once, before them: as long as its queue is not empty, the kernel drops
        more without a word (netlink_overrun()).
        """
        messages = self._netlink.receive(limit)
        found: list[nflog.LogPacket | Overrun] = []
        if Overrun() in messages:
            found.append(Overrun())
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
            elif message.kind != nl.DONE:
                self.malformed += 1
        return found
