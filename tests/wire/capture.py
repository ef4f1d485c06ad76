# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes dumps/nft-*, nflog-* and ct-* anew from the running kernel: PYTHONPATH=src unshare -n python -m tests.wire.capture

The machine's byte order is in them, and its clock, ports and conntrack identities: look at the difference before you commit it.
"""
from __future__ import annotations

import struct
import subprocess

from vpnpt.kernel import netfilter
from vpnpt.wire import conntrack, nflog, nftables
from vpnpt.wire import netlink as nl

from . import hexdump, kernel

_ELEMENTS = {(1,): "NFTA_SET_ELEM_LIST_TABLE", (2,): "NFTA_SET_ELEM_LIST_SET", (3,): "NFTA_SET_ELEM_LIST_ELEMENTS",
             (3, 1): "NFTA_LIST_ELEM", (3, 1, 1): "NFTA_SET_ELEM_KEY", (3, 1, 1, 1): "NFTA_DATA_VALUE",
             (3, 1, 2): "NFTA_SET_ELEM_DATA", (3, 1, 2, 1): "NFTA_DATA_VALUE", (3, 1, 4): "NFTA_SET_ELEM_TIMEOUT",
             (3, 1, 5): "NFTA_SET_ELEM_EXPIRATION"}
_CHAIN = {(1,): "NFTA_CHAIN_TABLE", (2,): "NFTA_CHAIN_HANDLE", (3,): "NFTA_CHAIN_NAME", (4,): "NFTA_CHAIN_HOOK",
          (4, 1): "NFTA_HOOK_HOOKNUM", (4, 2): "NFTA_HOOK_PRIORITY", (5,): "NFTA_CHAIN_POLICY", (6,): "NFTA_CHAIN_USE",
          (7,): "NFTA_CHAIN_TYPE"}
_TUPLE = {(1,): "CTA_TUPLE_IP", (1, 1): "CTA_IP_V4_SRC", (1, 2): "CTA_IP_V4_DST", (2,): "CTA_TUPLE_PROTO",
          (2, 1): "CTA_PROTO_NUM",
          (2, 2): "CTA_PROTO_SRC_PORT", (2, 3): "CTA_PROTO_DST_PORT", (2, 4): "CTA_PROTO_ICMP_ID", (2, 5): "CTA_PROTO_ICMP_TYPE",
          (2, 6): "CTA_PROTO_ICMP_CODE", (3,): "CTA_TUPLE_ZONE"}
_FLOW = {(1,): "CTA_TUPLE_ORIG", (2,): "CTA_TUPLE_REPLY", (3,): "CTA_STATUS", (7,): "CTA_TIMEOUT", (8,): "CTA_MARK",
         (9,): "CTA_COUNTERS_ORIG",
         (10,): "CTA_COUNTERS_REPLY", (11,): "CTA_USE", (12,): "CTA_ID", (18,): "CTA_ZONE",
         **{(way, *path): name for way in (1, 2) for path, name in _TUPLE.items()},
         **{(way, kind): name for way in (9, 10) for kind, name in ((1, "CTA_COUNTERS_PACKETS"), (2, "CTA_COUNTERS_BYTES"))}}
_LOG = {(1,): "NFULA_PACKET_HDR", (3,): "NFULA_TIMESTAMP", (4,): "NFULA_IFINDEX_INDEV",
        (8,): "NFULA_HWADDR", (9,): "NFULA_PAYLOAD", (10,): "NFULA_PREFIX", (12,): "NFULA_SEQ", (15,): "NFULA_HWTYPE",
        (16,): "NFULA_HWHEADER", (17,): "NFULA_HWLEN"}
_GENERATION = {(1,): "NFTA_GEN_ID", (2,): "NFTA_GEN_PROC_PID", (3,): "NFTA_GEN_PROC_NAME"}


def names(kind: int) -> dict[tuple[int, ...], str]:
    if kind >> 8 == nl.CTNETLINK:
        return _FLOW
    if kind >> 8 == nl.ULOG:
        return _LOG
    return {3: _CHAIN, 5: _CHAIN, 12: _ELEMENTS, 14: _ELEMENTS, 15: _GENERATION}.get(kind & 255, {})


def annotate(data: bytes, known: dict[tuple[int, ...], str], path: tuple[int, ...], lines: list[str]) -> None:
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        here = (*path, kind & nl.TYPE_MASK)
        indent = "  " * len(here)
        lines.append(f"{indent}{data[at:at + 4].hex(' ', 2)}  # {known.get(here, f'attribute {here[-1]}')}")
        end = at + (length + 3 & ~3)
        # nf_tables does not set the NESTED bit
        if kind & nl.NESTED or any(other[:-1] == here for other in known):
            annotate(data[at + 4:at + length], known, here, lines)
        elif length > 4:
            shown = data[at + 4:at + length].rstrip(b"\0").decode("latin-1")
            note = f"  # {shown}" if len(shown) > 2 and shown.isascii() and shown.isprintable() else ""
            lines += [f"{indent}  {row}{note}" for row in rows(data[at + 4:end])]
        at = end


def rows(data: bytes) -> list[str]:
    return [data[at:at + 32].hex(" ", 2) for at in range(0, len(data), 32)]


def save(name: str, title: str, messages: list[nl.Message]) -> None:
    lines = [f"# {title}"]
    for message in messages:
        header = nl.HEADER.pack(nl.HEADER.size + len(message.body), message.kind, message.flags, message.seq, message.pid)
        lines.append(f"{header.hex(' ', 2)}  # nlmsghdr: subsystem {message.kind >> 8}, operation {message.kind & 255}")
        if message.kind < nl.MIN_TYPE:
            lines.append(f"{message.body.hex(' ', 2)}  # errno, and what follows")
            continue
        lines.append(f"{message.body[:4].hex(' ', 2)}  # nfgenmsg")
        annotate(message.body[4:], names(message.kind), (), lines)
    (hexdump.DUMPS / f"{name}.dump").write_text("\n".join(lines) + "\n")


def collect(sock: netfilter.Netlink, packed: bytes) -> list[nl.Message]:
    found: list[nl.Message] = []
    sock.dump(packed, found.append, found.clear)
    return found


def heard(sock: netfilter.Netlink) -> list[nl.Message]:
    return [message for message in sock.receive() if isinstance(message, nl.Message)]


def main() -> None:
    kernel.prepare()
    ask, tables = netfilter.Netlink(), netfilter.Netlink([netfilter.GROUP_NFTABLES])
    flows = netfilter.Netlink([conntrack.GROUP_NEW, conntrack.GROUP_UPDATE, conntrack.GROUP_DESTROY])
    kernel.load(kernel.TABLE)
    save("nft-new-table", "what listeners hear of nft -f: a table, sets, elements, chains, rules, the generation", heard(tables))
    for name in ("key_zone", "zone_key", "clients"):
        save(f"nft-elements-{name}", f"GETSETELEM dump of {name}, see TABLE in kernel.py",
             collect(ask, nftables.dump_elements(nftables.IPV4, "t", name)))
    save("nft-chains", "GETCHAIN dump", collect(ask, nftables.dump_chains(nftables.IPV4)))
    save("nft-generation", "GETGEN", [m for m in [ask.request(nftables.get_generation())] if m])
    with netfilter.Netlink() as raw:
        raw._send(nl.with_sequence(nftables.get_table(nftables.IPV4, "nowhere"), 7))
        save("nft-error", "GETTABLE of a table that is not there: NLMSG_ERROR", list(nl.messages(raw._datagram() or b"")))
    log = netfilter.NflogSocket(kernel.GROUP, snaplen=64, flags=nflog.FLAG_SEQUENCE)
    kernel.send_udp(500, b"x" * 100)
    save("nflog-packet", "log prefix \"seen\" group 7, snaplen 64", heard(log._netlink))
    kernel.send_udp(4500, b"y")
    kernel.send_udp(4501, b"z")
    kernel.send_raw(50, bytes.fromhex("01020304 00000001 aabbccdd"))
    kernel.ping()
    save("ct-dump", "IPCTNL_MSG_CT_GET dump: UDP in zones 0, 20490 and, one way only, 20491; ESP; ICMP",
         collect(ask, conntrack.dump()))
    for flow in netfilter.dump_conntrack(ask):
        netfilter.delete_flow(ask, flow)
    save("ct-events", "NEW, UPDATE and DESTROY", heard(flows))
    subprocess.run(["nft", "delete", "table", "ip", "t"], check=True)
    save("nft-delete-table", "what nft delete table tells listeners", heard(tables))


if __name__ == "__main__":
    main()
