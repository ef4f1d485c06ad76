# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG: configuration of a group and the packets that `log group N` sends. Pure.

Source: include/uapi/linux/netfilter/nfnetlink_log.h; every number in an attribute is big-endian.
"""
from __future__ import annotations

import struct

from ..record import Record
from . import netlink as nl

MSG_PACKET, MSG_CONFIG = 0, 1
# enum nfulnl_msg_config_cmds; closing the socket unbinds
BIND = 1
COPY_PACKET = 2
# enum nfulnl_attr_config
CFG_CMD, CFG_MODE, CFG_NLBUFSIZ, CFG_TIMEOUT, CFG_QTHRESH, CFG_FLAGS = 1, 2, 3, 4, 5, 6
# enum nfulnl_attr_type
(PACKET_HDR, MARK, TIMESTAMP, IFINDEX_INDEV, IFINDEX_OUTDEV, HWADDR, PAYLOAD, PREFIX, SEQ, CT) = (1, 2, 3, 4, 5, 8, 9, 10, 12, 18)
# Values of CFG_FLAGS. The kernel refuses FLAG_CONNTRACK with EOPNOTSUPP where NETFILTER_NETLINK_GLUE_CT is not built.
FLAG_SEQUENCE, FLAG_SEQUENCE_GLOBAL, FLAG_CONNTRACK = 1, 2, 4


class LogPacket(Record):
    """A logged packet. group: 0..65535. hook: NF_INET_* (0 prerouting .. 4 postrouting). ethertype: 0x0800 for IPv4.

    indev, outdev: interface index, 0 when there is none. hwaddr: the sender's link-layer address, b'' when unknown.
    payload: from the network header, cut at the group's snaplen. timestamp_us: microseconds of the epoch, None unless the
    kernel stamped the packet. sequence: counts per group, wraps at 2^32, None unless FLAG_SEQUENCE. conntrack: the attributes
    of the packet's conntrack entry for `conntrack.decode_attributes`, None unless FLAG_CONNTRACK and an entry was attached.
    """

    __slots__ = ("group", "family", "hook", "ethertype", "prefix", "indev", "outdev", "mark", "hwaddr", "payload", "timestamp_us",
                 "sequence", "conntrack")

    def __init__(self, group: int, family: int, hook: int, ethertype: int, prefix: str, indev: int, outdev: int, mark: int,
                 hwaddr: bytes, payload: bytes, timestamp_us: int | None, sequence: int | None, conntrack: bytes | None) -> None:
        self.group = group
        self.family = family
        self.hook = hook
        self.ethertype = ethertype
        self.prefix = prefix
        self.indev = indev
        self.outdev = outdev
        self.mark = mark
        self.hwaddr = hwaddr
        self.payload = payload
        self.timestamp_us = timestamp_us
        self.sequence = sequence
        self.conntrack = conntrack


def config(group: int, *attrs: bytes, family: int = 0) -> bytes:
    """A configuration request; the kernel acknowledges it."""
    return nl.generic(nl.ULOG, MSG_CONFIG, nl.ACK, family, *attrs, resource=group)


def bind(group: int) -> bytes:
    """Receive what is logged to this group; EPERM if another socket has it."""
    return config(group, nl.attribute(CFG_CMD, bytes([BIND])))


def options(group: int, snaplen: int, threshold: int = 1, timeout_cs: int = 1, flags: int = 0,
            buffer: int | None = None) -> bytes:
    """How a bound group delivers.

    snaplen: bytes of each packet, 0: as many as fit. threshold: packets that are collected before they are sent; 1: at once.
    timeout_cs: the longest a packet waits for others, in 1/100 s. buffer: size of the kernel's collecting buffer in bytes.
    """
    attrs = [nl.attribute(CFG_MODE, struct.pack(">IBB", snaplen, COPY_PACKET, 0)), nl.be32(CFG_TIMEOUT, timeout_cs),
             nl.be32(CFG_QTHRESH, threshold), nl.be16(CFG_FLAGS, flags)]
    if buffer is not None:
        attrs.append(nl.be32(CFG_NLBUFSIZ, buffer))
    return config(group, *attrs)


def decode(msg: nl.Message) -> LogPacket | None:
    """The packet in an NFULNL_MSG_PACKET message; None for another kind, a broken message, or one without payload."""
    if msg.kind != nl.ULOG << 8 | MSG_PACKET:
        return None
    parsed = nl.nfgenmsg(msg.body)
    if parsed is None:
        return None
    family, group, data = parsed
    attrs = nl.attributes(data)
    if attrs is None or len(attrs.get(PACKET_HDR, b"")) < 4 or PAYLOAD not in attrs:
        return None
    ethertype, hook = struct.unpack_from(">HB", attrs[PACKET_HDR])
    return LogPacket(group, family, hook, ethertype, nl.string(attrs.get(PREFIX)), nl.number(attrs.get(IFINDEX_INDEV), 4) or 0,
                     nl.number(attrs.get(IFINDEX_OUTDEV), 4) or 0, nl.number(attrs.get(MARK), 4) or 0, _hwaddr(attrs.get(HWADDR)),
                     attrs[PAYLOAD], _timestamp(attrs.get(TIMESTAMP)), nl.number(attrs.get(SEQ), 4), attrs.get(CT))


def _hwaddr(data: bytes | None) -> bytes:
    """struct nfulnl_msg_packet_hw: length, padding, 8 bytes."""
    if data is None or len(data) < 4:
        return b""
    length = int.from_bytes(data[:2], "big")
    return data[4:4 + length] if length <= min(8, len(data) - 4) else b""


def _timestamp(data: bytes | None) -> int | None:
    """struct nfulnl_msg_packet_timestamp: seconds and microseconds, 64 bits each."""
    if data is None or len(data) != 16:
        return None
    seconds, micros = struct.unpack(">QQ", data)
    return int(seconds * 1_000_000 + micros)
