# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP versions 2 and 3: headers, and the AVPs that name tunnels and sessions. Pure; cut or hostile input gives None.

Sources: RFC 2661 section 3.1 and 4.4 (version 2), RFC 3931 sections 3.2.1, 4.1.1, 4.1.2 and 5.4 (version 3).
"""
from __future__ import annotations

import struct

from ..record import Record

# Message types (RFC 2661 section 3.2, RFC 3931 section 3.1)
SCCRQ, SCCRP, SCCCN, STOPCCN, HELLO = 1, 2, 3, 4, 6

# Header bits
_CONTROL, _LENGTH, _SEQUENCE, _OFFSET = 0x8000, 0x4000, 0x0800, 0x0200

# AVP attribute types (vendor 0), and how many bytes each value has
_MESSAGE_TYPE, _TUNNEL, _SESSION, _CONNECTION, _LOCAL_SESSION = 0, 9, 14, 61, 63
_SIZES = {_MESSAGE_TYPE: 2, _TUNNEL: 2, _SESSION: 2, _CONNECTION: 4, _LOCAL_SESSION: 4}
_HIDDEN = 0x4000
_AVP = struct.Struct(">HHH")


class L2tp(Record):
    """An L2TP message.

    tunnel: the receiver's tunnel ID (version 2, 16 bits) or control connection ID (version 3, 32 bits); None in a data message of
    version 3. session: the receiver's session ID; None in a control message of version 3. ns, nr: sequence numbers of a control
    message. message: type of a control message, None when it is only an acknowledgement, hidden, or cut off.
    assigned_tunnel, assigned_session: the IDs that the peer is to use in packets to the sender, None when not given or hidden.
    """

    __slots__ = ("version", "control", "tunnel", "session", "ns", "nr", "message", "assigned_tunnel", "assigned_session")

    def __init__(self, version: int, control: bool, tunnel: int | None, session: int | None, ns: int | None = None,
                 nr: int | None = None, message: int | None = None, assigned_tunnel: int | None = None,
                 assigned_session: int | None = None) -> None:
        self.version = version
        self.control = control
        self.tunnel = tunnel
        self.session = session
        self.ns = ns
        self.nr = nr
        self.message = message
        self.assigned_tunnel = assigned_tunnel
        self.assigned_session = assigned_session


def parse_l2tp_udp(payload: bytes) -> L2tp | None:
    """A UDP 1701 payload."""
    if len(payload) < 2:
        return None
    flags = int.from_bytes(payload[:2], "big")
    if flags & 15 == 2:
        return _control_v2(payload, flags) if flags & _CONTROL else _data_v2(payload, flags)
    if flags & 15 == 3:
        return _control_v3(payload) if flags & _CONTROL else _data_v3(payload[4:])
    return None


def _data_v2(payload: bytes, flags: int) -> L2tp | None:
    at = 4 if flags & _LENGTH else 2
    needed = at + 4 + (4 if flags & _SEQUENCE else 0) + (2 if flags & _OFFSET else 0)
    if len(payload) < needed:
        return None
    tunnel, session = struct.unpack_from(">HH", payload, at)
    return L2tp(2, False, tunnel, session)


def _control_v2(payload: bytes, flags: int) -> L2tp | None:
    """T, L and S must be set; O must not."""
    if len(payload) < 12 or flags & (_LENGTH | _SEQUENCE | _OFFSET) != _LENGTH | _SEQUENCE:
        return None
    length, tunnel, session, ns, nr = struct.unpack_from(">HHHHH", payload, 2)
    if length < 12:
        return None
    avps = _avps(payload[12:length])
    return L2tp(2, True, tunnel, session, ns, nr, avps.get(_MESSAGE_TYPE), avps.get(_TUNNEL), avps.get(_SESSION))


def _data_v3(payload: bytes) -> L2tp | None:
    session = int.from_bytes(payload[:4], "big") if len(payload) >= 4 else 0
    return L2tp(3, False, None, session) if session else None


def _control_v3(payload: bytes) -> L2tp | None:
    if len(payload) < 12:
        return None
    flags, length, connection, ns, nr = struct.unpack_from(">HHIHH", payload)
    wanted = _CONTROL | _LENGTH | _SEQUENCE
    if flags & 15 != 3 or flags & wanted != wanted or length < 12:
        return None
    avps = _avps(payload[12:length])
    return L2tp(3, True, connection, None, ns, nr, avps.get(_MESSAGE_TYPE), avps.get(_CONNECTION), avps.get(_LOCAL_SESSION))


def _avps(data: bytes) -> dict[int, int]:
    """The AVPs of _SIZES by type: the first of each, hidden ones (H bit) left out; reading stops at the first broken one."""
    found: dict[int, int] = {}
    at = 0
    while len(data) - at >= _AVP.size:
        flags, vendor, kind = _AVP.unpack_from(data, at)
        length = flags & 0x3FF
        if length < _AVP.size or length > len(data) - at:
            break
        value = data[at + _AVP.size:at + length]
        if vendor == 0 and not flags & _HIDDEN and len(value) == _SIZES.get(kind):
            found.setdefault(kind, int.from_bytes(value, "big"))
        at += length
    return found
