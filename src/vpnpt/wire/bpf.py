# SPDX-License-Identifier: GPL-2.0-or-later
"""A classic BPF program that passes only conntrack events of flows that may be VPNs; a busy router raises hundreds a second. Pure.

Sources: include/uapi/linux/bpf_common.h and filter.h; SKF_AD_NLATTR and SKF_AD_NLATTR_NEST in net/core/filter.c find an attribute by
its type (in X) from an offset (in A) on, or within the attribute at that offset; 0 if there is none.
"""
from __future__ import annotations

import struct

from . import conntrack as ct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LD_ABS, _LDB_IND, _LDH_IND, _LD_IMM, _LD_MEM = 0x20, 0x50, 0x48, 0x00, 0x60
_LDX_IMM, _LDX_MEM, _ST, _TAX, _JA, _JEQ, _JGT, _JGE, _RET = 0x01, 0x61, 0x02, 0x07, 0x05, 0x15, 0x25, 0x35, 0x06
_NLATTR, _NLATTR_NEST = 0xFFFFF000 + 12, 0xFFFFF000 + 16
_FIRST = 20  # behind nlmsghdr and nfgenmsg
_ALL = 0xFFFFFFFF
RANGES_MAX = 512
"""Ranges of ports that fit below BPF_MAXINSNS (4,096 instructions, up to four a range)."""
_BLOCK = 100  # ranges that jump to the same `return`: a jump reaches 255 instructions


def ranges(ports: Iterable[int], most: int) -> list[tuple[int, int]]:
    """The ports as ranges (first, last), at most so many: those with the smallest gaps between them are joined."""
    found: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if found and port == found[-1][1] + 1:
            found[-1] = (found[-1][0], port)
        else:
            found.append((port, port))
    gaps = sorted(range(1, len(found)), key=lambda at: found[at][0] - found[at - 1][1])
    for at in sorted(gaps[:max(0, len(found) - most)], reverse=True):
        found[at - 1:at + 1] = [(found[at - 1][0], found[at][1])]
    return found


def conntrack_filter(protocols: Iterable[int], udp: Iterable[int], tcp: Iterable[int], most: int = RANGES_MAX // 2) -> bytes:
    """Array of struct sock_filter, in host order. protocols: all flows of these; udp, tcp: those with one of these ports at either end.

    most: ranges of ports of UDP, and of TCP; where there are more, flows of ports between them pass as well. With 1 the program has
    some 60 instructions, which any kernel has room for.
    """
    ports = {ct.UDP: ranges(udp, most), ct.TCP: ranges(tcp, most)}
    program: list[tuple[int, int, int, int]] = []

    def add(code: int, k: int, jt: int = 0, jf: int = 0) -> None:
        program.append((code, jt, jf, k))

    def accept_if(value: int) -> None:
        add(_JEQ, value, 0, 1)
        add(_RET, _ALL)

    def descend(kind: int, how: int = _NLATTR_NEST) -> None:
        """Loads the offset of the attribute of that type into A; without one the event is dropped."""
        add(_LDX_IMM, kind)
        add(_LD_ABS, how)
        add(_JEQ, 0, 0, 1)
        add(_RET, 0)

    def accept_within(wanted: list[tuple[int, int]]) -> None:
        """A: a port."""
        tests: list[tuple[int, int]] = []
        for first, last in wanted:
            tests += [(_JEQ, first)] if first == last else [(_JGE, first), (_JGT, last)]
        for at, (code, port) in enumerate(tests):
            accept = len(tests) - at  # over the tests that are left and the jump behind them
            if code == _JEQ:
                add(code, port, accept, 0)
            elif code == _JGE:
                add(code, port, 0, 1)
            else:
                add(code, port, 0, accept)
        add(_JA, 1)
        add(_RET, _ALL)

    add(_LD_IMM, _FIRST)
    descend(ct.CTA_TUPLE_ORIG, _NLATTR)
    descend(ct.CTA_TUPLE_PROTO)
    add(_ST, 0)
    descend(ct.CTA_PROTO_NUM)
    add(_TAX, 0)
    add(_LDB_IND, 4)
    for protocol in sorted(set(protocols)):
        accept_if(protocol)
    for protocol, wanted in ports.items():
        block: list[tuple[int, int, int, int]] = []
        for kind in (ct.CTA_PROTO_DST_PORT, ct.CTA_PROTO_SRC_PORT):
            before, program = program, block
            add(_LD_MEM, 0)
            descend(kind)
            add(_TAX, 0)
            add(_LDH_IND, 4)
            for at in range(0, len(wanted), _BLOCK):
                accept_within(wanted[at:at + _BLOCK])
            block, program = program, before
        block.append((_RET, 0, 0, 0))
        add(_JEQ, protocol, 1, 0)
        add(_JA, len(block))
        program += block
    add(_RET, 0)
    return b"".join(struct.pack("=HBBI", *one) for one in program)
