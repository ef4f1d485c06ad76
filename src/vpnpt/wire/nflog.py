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
CFG_CMD, CFG_MODE, CFG_TIMEOUT, CFG_QTHRESH, CFG_FLAGS = 1, 2, 4, 5, 6
# enum nfulnl_attr_type
PACKET_HDR, TIMESTAMP, PAYLOAD, PREFIX, SEQ, SEQ_GLOBAL = 1, 3, 9, 10, 12, 13
# values of CFG_FLAGS
FLAG_SEQUENCE, FLAG_SEQUENCE_GLOBAL = 1, 2


class LogPacket(Record):
    """A logged packet. group: 0..65535. prefix: what the rule that logged it says. payload: from the network header, cut at the group's
    snaplen. sequence: counts per group (FLAG_SEQUENCE) or over all of them (FLAG_SEQUENCE_GLOBAL), 0 to 2^32 - 1; 0 without. time: when it
    was logged, Unix time in seconds; None of packets that leave the router, and before Linux 6.6 where nobody wants it (nfnetlink_log.c).
    """

    __slots__ = ("group", "prefix", "payload", "sequence", "time")
    DEFAULTS = {"sequence": 0, "time": None}

    def __init__(self, group: int, prefix: str, payload: bytes, sequence: int = 0, time: float | None = None) -> None:
        self.group = group
        self.prefix = prefix
        self.payload = payload
        self.sequence = sequence
        self.time = time


def config(group: int, *attrs: bytes, family: int = 0) -> bytes:
    """A configuration request; the kernel acknowledges it."""
    return nl.generic(nl.ULOG, MSG_CONFIG, nl.ACK, family, *attrs, resource=group)


def bind(group: int) -> bytes:
    """Receive what is logged to this group; EPERM if another socket has it."""
    return config(group, nl.attribute(CFG_CMD, bytes([BIND])))


def options(group: int, snaplen: int, threshold: int = 1, flags: int = 0) -> bytes:
    """How a bound group delivers.

    snaplen: bytes of each packet, 0: as many as fit. threshold: packets that are collected before they are sent, for 10 ms at most;
    1: at once.
    """
    return config(group, nl.attribute(CFG_MODE, struct.pack(">IBB", snaplen, COPY_PACKET, 0)), nl.be32(CFG_TIMEOUT, 1),
                  nl.be32(CFG_QTHRESH, threshold), nl.be16(CFG_FLAGS, flags))


def decode(msg: nl.Message) -> LogPacket | None:
    """The packet in an NFULNL_MSG_PACKET message; None for another kind, a broken message, or one without payload."""
    if msg.kind != nl.ULOG << 8 | MSG_PACKET:
        return None
    parsed = nl.nfgenmsg(msg.body)
    if parsed is None:
        return None
    _, group, data = parsed
    attrs = nl.attributes(data)
    if attrs is None or PACKET_HDR not in attrs or PAYLOAD not in attrs:
        return None
    stamp = attrs.get(TIMESTAMP, b"")
    time = None
    if len(stamp) == 16:
        seconds, micros = struct.unpack(">QQ", stamp)
        time = seconds + micros / 1e6
    return LogPacket(group, nl.string(attrs.get(PREFIX)), attrs[PAYLOAD], nl.number(attrs.get(SEQ_GLOBAL, attrs.get(SEQ)), 4) or 0, time)
