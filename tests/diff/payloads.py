# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of each packet, from a plan's seed: the same on both routers. Each carries a mark by which it is known wherever it turns up."""
from __future__ import annotations

import hashlib
import random
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.diff.plan import Flow, Step

MARK = re.compile(rb"<<(\d+)>>")
# what: exchange type of IKEv1, of IKEv2, and whether it is encrypted
EXCHANGES = {"init": (2, 34, 0), "init2": (2, 34, 0), "auth": (2, 35, 1), "aggressive": (4, 34, 0), "child": (32, 36, 1),
             "info": (5, 37, 1), "delete": (5, 37, 1)}
INITIATOR, RESPONSE, ENCRYPTED = 0x08, 0x20, 0x01
SCCRQ, SCCRP, SCCCN, HELLO, ICRQ, ICRP, ICCN = 1, 2, 3, 6, 10, 11, 12


def mark(number: int) -> bytes:
    """How the packet of a step is known."""
    return b"<<%d>>" % number


def token(seed: int, *parts: object, size: int = 8) -> bytes:
    """Bytes that are as good as random, and always the same for the same arguments."""
    return hashlib.sha256(repr((seed, *parts)).encode()).digest()[:size]


def udp_payload(seed: int, name: str, flow: Flow, step: Step, number: int) -> bytes:
    """What the step sends on a UDP flow."""
    chance = random.Random(f"{seed} {name} {number}")
    if flow["kind"] == "ike":
        return ike(seed, flow.get("of", name), flow, step, number, chance)
    if flow["kind"] == "l2tp":
        return l2tp(seed, name, step, number)
    head = HEADS[flow["kind"]](seed, name, step, number, chance)
    return head + chance.randbytes(chance.choice((8, 40, 400))) + mark(number)


def ike(seed: int, name: str, flow: Flow, step: Step, number: int, chance: random.Random) -> bytes:
    """An IKE message (RFC 7296 section 3.1): `gen` counts the IKE SAs of a flow, `start` says who began this one.

    `cookie` makes two flows use the same one. No server gives it to two SAs that it begins itself.
    """
    version, what, answer, gen = flow.get("version", 2), step["what"], step.get("answer", False), step.get("gen", 0)
    initiator = step["by"] == step.get("start", "a")
    begins = flow[step.get("start", "a")]
    icookie = token(seed, name if begins.startswith("s") else flow.get("cookie", name), gen, "i")
    rcookie = bytes(8) if what in ("init", "aggressive") and not answer else token(seed, name, gen, "r")
    exchange_1, exchange_2, encrypted = EXCHANGES[what]
    if version == 1:
        exchange, flags = exchange_1, ENCRYPTED if encrypted else 0
        message_id = 0 if exchange in (2, 4) else int.from_bytes(token(seed, name, gen, "m", step.get("id", 0), size=4), "big") | 1
    else:
        exchange, message_id = exchange_2, step.get("id", 0)
        flags = (INITIATOR if initiator else 0) | (RESPONSE if answer else 0)
    body = chance.randbytes(step.get("size", chance.choice((60, 120, 300)))) + mark(number)
    following = 46 if encrypted and version == 2 else 8 if encrypted else 33 if version == 2 else 1
    header = struct.pack(">8s8sBBBBII", icookie, rcookie, following, version << 4, exchange, flags, message_id, 28 + len(body))
    return bytes(4) * bool(flow.get("natt")) + header + body


def esp(seed: int, name: str, flow: Flow, step: Step, number: int, sequence: int) -> bytes:
    """An ESP packet without its IP header; `gen` counts the SAs, `spi` makes two flows use the same one."""
    spi = token(seed, flow.get("spi", name), step["by"], step.get("gen", 0), size=4)
    return bytes([spi[0] | 0x40]) + spi[1:] + struct.pack(">I", sequence) + token(seed, number, size=32) + mark(number)


def l2tp(seed: int, name: str, step: Step, number: int) -> bytes:
    """An L2TP version 2 message (RFC 2661 section 3.1). what: sccrq, sccrp, scccn, hello, icrq, icrp, iccn or data."""
    by, what = step["by"], step["what"]
    ids = {side: struct.unpack(">HH", token(seed, name, side, size=4)) for side in "ab"}
    tunnel, session = ids["b" if by == "a" else "a"]
    if what == "data":
        frame = b"\xff\x03\x00\x21" + token(seed, number, size=32) + mark(number)
        return struct.pack(">HHHH", 0x4002, 8 + len(frame), tunnel | 1, session | 1) + frame
    kind = {"sccrq": SCCRQ, "sccrp": SCCRP, "scccn": SCCCN, "hello": HELLO, "icrq": ICRQ, "icrp": ICRP, "iccn": ICCN}[what]
    avps = [(0, struct.pack(">H", kind))]
    if what in ("sccrq", "sccrp"):
        avps += [(2, b"\x01\x00"), (3, bytes(4)), (9, struct.pack(">H", ids[by][0] | 1))]
    if what in ("icrq", "icrp"):
        avps += [(14, struct.pack(">H", ids[by][1] | 1))]
    avps += [(7, b"host " + mark(number))]
    body = b"".join(struct.pack(">HHH", 0x8000 | 6 + len(value), 0, kind) + value for kind, value in avps)
    tunnel = 0 if what == "sccrq" else tunnel | 1
    return struct.pack(">HHHHHH", 0xC802, 12 + len(body), tunnel, 0, step.get("ns", 0), step.get("nr", 0)) + body


def _wg(seed: int, name: str, step: Step, number: int, chance: random.Random) -> bytes:
    mine, theirs = (token(seed, name, side, size=4) for side in (("a", "b") if step["by"] == "a" else ("b", "a")))
    kind = step.get("what", "data")
    if kind == "hello":
        return b"\1\0\0\0" + mine + chance.randbytes(100)
    return b"\2\0\0\0" + mine + theirs + chance.randbytes(40) if kind == "answer" else b"\4\0\0\0" + theirs + struct.pack("<Q", number)


def _quic(seed: int, name: str, step: Step, number: int, chance: random.Random) -> bytes:
    identity = token(seed, name, step["by"])
    return b"\xc3\0\0\0\1\x08" + identity + b"\0" if step.get("what") in ("hello", "answer") else b"\x43" + identity + chance.randbytes(2)


def _openvpn(seed: int, name: str, step: Step, number: int, chance: random.Random) -> bytes:
    if step.get("what") in ("hello", "answer"):
        return (b"\x38" if step["what"] == "hello" else b"\x40") + token(seed, name, step["by"]) + bytes(5)
    return struct.pack(">II", 0x48000001, number)


def _random(seed: int, name: str, step: Step, number: int, chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 3, 12, 28, 64)))


def _dns(seed: int, name: str, step: Step, number: int, chance: random.Random) -> bytes:
    return chance.randbytes(2) + (b"\1\0" if step["by"] == "a" else b"\x81\x80") + b"\0\1\0\0\0\0\0\0"


HEADS = {"wg": _wg, "quic": _quic, "openvpn": _openvpn, "random": _random, "dns": _dns}
