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
_LDX_IMM, _LDX_MEM, _ST, _TAX, _JA, _JEQ, _RET = 0x01, 0x61, 0x02, 0x07, 0x05, 0x15, 0x06
_NLATTR, _NLATTR_NEST = 0xFFFFF000 + 12, 0xFFFFF000 + 16
_FIRST = 20  # behind nlmsghdr and nfgenmsg
_ALL = 0xFFFFFFFF
PORTS_MAX = 512
"""Ports that fit well below BPF_MAXINSNS (4,096 instructions, three a port)."""


def conntrack_filter(protocols: Iterable[int], udp: Iterable[int], tcp: Iterable[int]) -> bytes:
    """An array of struct sock_filter, in host order. protocols: IP protocols of which all flows pass; udp, tcp: ports, at either end.

    With more than PORTS_MAX ports: everything passes.
    """
    ports = {ct.UDP: sorted(set(udp)), ct.TCP: sorted(set(tcp))}
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

    if sum(map(len, ports.values())) > PORTS_MAX:
        add(_RET, _ALL)
        return b"".join(struct.pack("=HBBI", *one) for one in program)
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
            for port in wanted:
                accept_if(port)
            block, program = program, before
        block.append((_RET, 0, 0, 0))
        add(_JEQ, protocol, 1, 0)
        add(_JA, len(block))
        program += block
    add(_RET, 0)
    return b"".join(struct.pack("=HBBI", *one) for one in program)
