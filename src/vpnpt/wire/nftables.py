# SPDX-License-Identifier: GPL-2.0-or-later
"""nf_tables messages: set elements in and out, tables and chains, transactions, change notifications. Pure.

Source: include/uapi/linux/netfilter/nf_tables.h. Every number in an attribute is big-endian. Keys and data are what the
kernel's registers hold: addresses, SPIs, ports and raw payload as on the wire, but a `ct zone` or a `meta mark` in the
**host's** order. In a concatenation each field is padded with zeros to 4 bytes; a single field is not padded.
"""
from __future__ import annotations

import struct

from ..record import Record
from . import netlink as nl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Families (include/uapi/linux/netfilter.h, enum NFPROTO_*)
UNSPEC, INET, IPV4, ARP, NETDEV, BRIDGE, IPV6 = 0, 1, 2, 3, 5, 7, 10
FAMILIES = {INET: "inet", IPV4: "ip", ARP: "arp", NETDEV: "netdev", BRIDGE: "bridge", IPV6: "ip6"}

# enum nf_tables_msg_types
NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN = 3, 4
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
NEWGEN, GETGEN = 15, 16
NEWOBJ, GETOBJ = 18, 19
NEWFLOWTABLE, GETFLOWTABLE = 22, 23
DESTROYSETELEM = 30  # Linux 6.3 and newer: like DEL, but a missing key is no error

BATCH_BEGIN, BATCH_END = 0x10, 0x11
BATCH_GENID = 1

# Attributes, without their prefix NFTA_
TABLE_NAME = 1  # in every message about something in a table
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_TYPE = 1, 3, 4, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
LIST_TABLE, LIST_SET, LIST_ELEMENTS, LIST_ELEM = 1, 2, 3, 1  # NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM
ELEM_KEY, ELEM_DATA, ELEM_TIMEOUT, ELEM_EXPIRATION, ELEM_EXPR, ELEM_EXPRESSIONS = 1, 2, 4, 5, 7, 11  # NFTA_SET_ELEM_*
EXPR_NAME, EXPR_DATA, COUNTER_BYTES, COUNTER_PACKETS = 1, 2, 1, 2
DATA_VALUE = 1
OBJ_TABLE, OBJ_NAME, OBJ_TYPE, OBJ_DATA, OBJ_COUNTER = 1, 2, 3, 4, 1
GEN_ID, GEN_PROC_PID, GEN_PROC_NAME = 1, 2, 3

# One NEWSETELEM message carries at most this much of elements: an attribute ends at 64 KiB.
CHUNK = 0xF000
REQUEST_OVERHEAD = nl.HEADER.size + nl.GENERIC.size + nl.ATTRIBUTE.size

_NEW_KINDS = {0: "table", 3: "chain", 6: "rule", 9: "set", 12: "element", 15: "generation", 18: "object", 22: "flowtable"}
_DEL_KINDS = {2: "table", 5: "chain", 8: "rule", 11: "set", 14: "element", 20: "object", 24: "flowtable",
              26: "table", 27: "chain", 28: "rule", 29: "set", 30: "element", 31: "object", 32: "flowtable"}
# The attribute that holds the name of the changed object, by kind of notification.
_NAME_ATTRIBUTE = {"chain": 3, "rule": 2, "set": 2, "element": 2, "object": 2, "flowtable": 2}


class Element(Record):
    """A set or map element. key: the packed key, see `pack_key`; data: the packed value of a map, None for a set.

    timeout_ms: its own lifetime, None: the set's default (or none at all). expires_ms: what is left of it, None: never ends.
    When adding, expires_ms shortens the first life of an element, for restoring one; it needs timeout_ms or a set's default.
    counted: packets and bytes, of an element with a counter, only when reading.
    """

    __slots__ = ("key", "data", "timeout_ms", "expires_ms", "counted")

    def __init__(self, key: bytes, data: bytes | None = None, timeout_ms: int | None = None,
                 expires_ms: int | None = None, counted: tuple[int, int] | None = None) -> None:
        self.counted = counted
        self.key = key
        self.data = data
        self.timeout_ms = timeout_ms
        self.expires_ms = expires_ms


class Chain(Record):
    """A chain. hook: NF_INET_* number and priority: of a base chain, else None; kind: 'filter', 'nat', 'route' or ''."""

    __slots__ = ("family", "table", "name", "hook", "priority", "kind")

    def __init__(self, family: int, table: str, name: str, hook: int | None, priority: int | None, kind: str) -> None:
        self.family = family
        self.table = table
        self.name = name
        self.hook = hook
        self.priority = priority
        self.kind = kind


class Change(Record):
    """A change of nftables (group NFNLGRP_NFTABLES). Elements that packets add raise no notification.

    verb: 'new' or 'del'. what: 'table', 'chain', 'rule', 'set', 'element', 'object', 'flowtable', or 'generation', which ends
    a transaction and carries no table but the writer's process name and id (as the first pid namespace numbers it).
    name: of the chain, set or object; a rule's chain. port: the netlink port of the socket that made the change, see `Netlink.port`.
    """

    __slots__ = ("verb", "what", "family", "table", "name", "elements", "generation", "process", "process_id", "port")

    def __init__(self, verb: str, what: str, family: int, table: str = "", name: str = "", elements: tuple[Element, ...] = (),
                 generation: int | None = None, process: str = "", process_id: int | None = None, port: int = 0) -> None:
        self.verb = verb
        self.what = what
        self.family = family
        self.table = table
        self.name = name
        self.elements = elements
        self.generation = generation
        self.process = process
        self.process_id = process_id
        self.port = port


def pack_zone(zone: int) -> bytes:
    """A conntrack zone, 0..65535, as a key field or as map data: 2 bytes in host order."""
    return struct.pack("=H", zone)


def unpack_zone(field: bytes | None) -> int | None:
    """The zone in a field of 2 bytes (or in its padded 4, as a concatenation keeps it), else None."""
    if field is None or len(field) not in (2, 4):
        return None
    return int(struct.unpack_from("=H", field)[0])


def pack_key(*fields: bytes) -> bytes:
    """The key made of these fields: a single one as it is, several each padded to a multiple of 4 bytes."""
    if len(fields) == 1:
        return fields[0]
    return b"".join(field + b"\0" * (-len(field) & 3) for field in fields)


def unpack_key(key: bytes, *sizes: int) -> tuple[bytes, ...] | None:
    """The fields of a key by their sizes in bytes, without padding; None if the key has another length."""
    if len(sizes) == 1:
        return (key,) if len(key) == sizes[0] else None
    if len(key) != sum(size + 3 & ~3 for size in sizes):
        return None
    fields = []
    at = 0
    for size in sizes:
        fields.append(key[at:at + size])
        at += size + 3 & ~3
    return tuple(fields)


def request(operation: int, flags: int, family: int, *attrs: bytes) -> bytes:
    """A packed nf_tables request; REQUEST is added to the flags."""
    return nl.generic(nl.NFTABLES, operation, flags, family, *attrs)


def batch(requests: Iterable[bytes], generation: int | None = None) -> list[bytes]:
    """The requests between BATCH_BEGIN and BATCH_END: one transaction, sent as one datagram.

    generation: if given, the kernel answers ERESTART unless this is still the ruleset's generation (see `decode_generation`).
    """
    genid = nl.be32(BATCH_GENID, generation) if generation is not None else b""
    begin = nl.GENERIC.pack(UNSPEC, 0, nl.NFTABLES)
    return [nl.message(BATCH_BEGIN, nl.REQUEST, begin + genid), *requests, nl.message(BATCH_END, nl.REQUEST, begin)]


def dump_elements(family: int, table: str, name: str) -> bytes:
    """Ask for all elements of a set or map."""
    return request(GETSETELEM, nl.DUMP, family, nl.text(LIST_TABLE, table), nl.text(LIST_SET, name))


def get_element(family: int, table: str, name: str, key: bytes) -> bytes:
    """Ask for one element by its key: a NEWSETELEM message, or ENOENT."""
    wanted = nl.nested(LIST_ELEMENTS, _pack_element(Element(key)))
    return request(GETSETELEM, 0, family, nl.text(LIST_TABLE, table), nl.text(LIST_SET, name), wanted)


def add_elements(family: int, table: str, name: str, elements: Iterable[Element], flags: int = nl.CREATE,
                 most: int = CHUNK) -> Iterator[bytes]:
    """NEWSETELEM requests for a batch, as few as their size allows. most: bytes of one.

    flags: CREATE, or CREATE | EXCL to fail with EEXIST where the key exists. Without EXCL an existing element keeps its
    timer (Linux before 6.12), and one with other data still fails with EEXIST: delete first to replace.
    """
    return _elements(NEWSETELEM, flags, family, table, name, map(_pack_element, elements), most)


def delete_elements(family: int, table: str, name: str, keys: Iterable[bytes], destroy: bool = False, most: int = CHUNK) -> Iterator[bytes]:
    """DELSETELEM requests: one missing key fails the batch with ENOENT, unless destroy is set (Linux 6.3 and newer)."""
    packed = (_pack_element(Element(key)) for key in keys)
    return _elements(DESTROYSETELEM if destroy else DELSETELEM, 0, family, table, name, packed, most)


def _elements(operation: int, flags: int, family: int, table: str, name: str, packed: Iterable[bytes], most: int) -> Iterator[bytes]:
    head = nl.text(LIST_TABLE, table) + nl.text(LIST_SET, name)
    room = min(CHUNK, most - len(head) - REQUEST_OVERHEAD)
    chunk: list[bytes] = []
    size = 0
    for element in packed:
        if size + len(element) > room and chunk:
            yield request(operation, flags, family, head, nl.nested(LIST_ELEMENTS, *chunk))
            chunk, size = [], 0
        chunk.append(element)
        size += len(element)
    if chunk:
        yield request(operation, flags, family, head, nl.nested(LIST_ELEMENTS, *chunk))


def _pack_element(element: Element) -> bytes:
    parts = [nl.nested(ELEM_KEY, nl.attribute(DATA_VALUE, element.key))]
    if element.data is not None:
        parts.append(nl.nested(ELEM_DATA, nl.attribute(DATA_VALUE, element.data)))
    if element.timeout_ms is not None:
        parts.append(nl.be64(ELEM_TIMEOUT, element.timeout_ms))
    if element.expires_ms is not None:
        parts.append(nl.be64(ELEM_EXPIRATION, element.expires_ms))
    return nl.nested(LIST_ELEM, *parts)


def get_table(family: int, table: str) -> bytes:
    """Ask for one table: a NEWTABLE message, or ENOENT."""
    return request(GETTABLE, 0, family, nl.text(TABLE_NAME, table))


def dump_chains(family: int = UNSPEC) -> bytes:
    """Ask for all chains of a family; the kernel does not filter by table."""
    return request(GETCHAIN, nl.DUMP, family)


def get_generation() -> bytes:
    """Ask for the ruleset's generation."""
    return request(GETGEN, 0, UNSPEC)


def _attributes(msg: nl.Message, operation: int | None = None) -> tuple[int, dict[int, bytes]] | None:
    if msg.kind >> 8 != nl.NFTABLES or (operation is not None and msg.kind & 0xFF != operation):
        return None
    parsed = nl.nfgenmsg(msg.body)
    attrs = nl.attributes(parsed[2]) if parsed is not None else None
    return None if parsed is None or attrs is None else (parsed[0], attrs)


def decode_elements(msg: nl.Message) -> list[Element] | None:
    """The elements in one NEWSETELEM or DELSETELEM message: one part of a dump, or of a notification.

    Elements without a key (a catch-all, the end mark of an interval set) are left out; a verdict is no data.
    """
    if msg.kind & 0xFF not in (NEWSETELEM, DELSETELEM, DESTROYSETELEM):
        return None
    parsed = _attributes(msg)
    return None if parsed is None else _decode_list(parsed[1].get(LIST_ELEMENTS, b""))


def _decode_list(data: bytes) -> list[Element] | None:
    items = nl.split(data)
    if items is None:
        return None
    found = []
    for _kind, item in items:
        attrs = nl.attributes(item)
        if attrs is None:
            return None
        key = _value(attrs.get(ELEM_KEY))
        if key:
            found.append(Element(key, _value(attrs.get(ELEM_DATA)), nl.number(attrs.get(ELEM_TIMEOUT), 8),
                                 nl.number(attrs.get(ELEM_EXPIRATION), 8), _counted(attrs)))
    return found


def _counted(attrs: dict[int, bytes]) -> tuple[int, int] | None:
    """Packets and bytes of an element's counter; one expression stands alone, several in a list."""
    alone = attrs.get(ELEM_EXPR)
    for expression in [alone] if alone is not None else [item for _, item in nl.split(attrs.get(ELEM_EXPRESSIONS, b"")) or ()]:
        inside = nl.attributes(expression) or {}
        if nl.string(inside.get(EXPR_NAME)) == "counter":
            return _numbers(inside.get(EXPR_DATA))
    return None


def _numbers(data: bytes | None) -> tuple[int, int] | None:
    """A counter's packets and bytes."""
    numbers = nl.attributes(data) or {}
    packets, octets = nl.number(numbers.get(COUNTER_PACKETS), 8), nl.number(numbers.get(COUNTER_BYTES), 8)
    return None if packets is None or octets is None else (packets, octets)


def _value(data: bytes | None) -> bytes | None:
    """NFTA_DATA_VALUE out of a nested nft_data."""
    attrs = nl.attributes(data)
    return attrs.get(DATA_VALUE) if attrs else None


def decode_chain(msg: nl.Message) -> Chain | None:
    """A chain out of a NEWCHAIN message."""
    parsed = _attributes(msg, NEWCHAIN)
    if parsed is None or CHAIN_TABLE not in parsed[1] or CHAIN_NAME not in parsed[1]:
        return None
    family, attrs = parsed
    hook = nl.attributes(attrs.get(CHAIN_HOOK)) or {}
    priority = nl.number(hook.get(HOOK_PRIORITY), 4)
    if priority is not None and priority >= 1 << 31:
        priority -= 1 << 32
    return Chain(family, nl.string(attrs[CHAIN_TABLE]), nl.string(attrs[CHAIN_NAME]), nl.number(hook.get(HOOK_NUMBER), 4),
                 priority, nl.string(attrs.get(CHAIN_TYPE)))


def dump_counters(family: int, table: str) -> bytes:
    """Ask for the named counters of a table."""
    return request(GETOBJ, nl.DUMP, family, nl.text(OBJ_TABLE, table), nl.be32(OBJ_TYPE, OBJ_COUNTER))


def decode_counter(msg: nl.Message) -> tuple[str, str, tuple[int, int]] | None:
    """A named counter out of a NEWOBJ message: table, name, packets and bytes."""
    parsed = _attributes(msg, NEWOBJ)
    attrs = parsed[1] if parsed is not None else {}
    if nl.number(attrs.get(OBJ_TYPE), 4) != OBJ_COUNTER:
        return None
    numbers = _numbers(attrs.get(OBJ_DATA))
    return None if numbers is None else (nl.string(attrs.get(OBJ_TABLE)), nl.string(attrs.get(OBJ_NAME)), numbers)


def decode_generation(msg: nl.Message) -> int | None:
    """The generation number in a NEWGEN message, 0 .. 2^32 - 1."""
    parsed = _attributes(msg, NEWGEN)
    return nl.number(parsed[1].get(GEN_ID), 4) if parsed is not None else None


def decode_change(msg: nl.Message) -> Change | None:
    """Decodes a notification; None for a broken one, and for kinds that we do not follow (trace)."""
    operation = msg.kind & 0xFF
    verb = "new" if operation in _NEW_KINDS else "del"
    what = _NEW_KINDS.get(operation) or _DEL_KINDS.get(operation)
    parsed = _attributes(msg)
    if what is None or parsed is None:
        return None
    family, attrs = parsed
    if what == "generation":
        return Change(verb, what, family, generation=nl.number(attrs.get(GEN_ID), 4), process=nl.string(attrs.get(GEN_PROC_NAME)),
                      process_id=nl.number(attrs.get(GEN_PROC_PID), 4), port=msg.pid)
    if TABLE_NAME not in attrs:
        return None
    elements = _decode_list(attrs.get(LIST_ELEMENTS, b"")) if what == "element" else []
    if elements is None:
        return None
    return Change(verb, what, family, nl.string(attrs[TABLE_NAME]), nl.string(attrs.get(_NAME_ATTRIBUTE.get(what, 0))),
                  tuple(elements), port=msg.pid)
