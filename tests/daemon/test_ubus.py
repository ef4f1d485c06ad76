# SPDX-License-Identifier: GPL-2.0-or-later
"""Our client of ubusd, against a stand-in for it that says what the real one says, or dies, or talks nonsense."""
from __future__ import annotations

import os
import selectors
import socket
from typing import TYPE_CHECKING, Any

import pytest

from vpnpt.daemon import ubus
from vpnpt.daemon.api import HANDLERS
from vpnpt.daemon.log import Log
from vpnpt.daemon.pending import Pending
from vpnpt.wire import ubus as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OBJECT = 0x1BFFBF53


class Bus:
    """The daemon's side (`client`, run by `turn`) and ubusd's (`accept`, `say`, `hear`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], dict[str, Any] | Pending] = lambda request: {"asked": request["method"]}
        self.retries: list[float] = []
        self.selector = selectors.DefaultSelector()
        self.client = ubus.Ubus(self.selector, Log("error"), self._handle, self.retries.append, str(path))
        self.peer: socket.socket | None = None
        self.listener: socket.socket | None = None
        self._heard = bytearray()

    def _handle(self, request: dict[str, Any]) -> dict[str, Any] | Pending:
        self.calls.append(request)
        return self.answer(request)

    def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()

    def accept(self) -> None:
        assert self.listener is not None
        self.peer = self.listener.accept()[0]
        self.peer.settimeout(0.2)
        self._heard.clear()

    def say(self, *packed: bytes) -> None:
        assert self.peer is not None
        self.peer.sendall(b"".join(packed))
        self.turn()

    def turn(self) -> None:
        while events := self.selector.select(0.02):
            for key, _ in events:
                key.data()

    def hear(self) -> list[wire.Message]:
        assert self.peer is not None
        while True:
            try:
                data = self.peer.recv(1 << 20)
            except TimeoutError:
                return list(wire.split(self._heard))
            if not data:
                return list(wire.split(self._heard))
            self._heard += data
            self.turn()

    def up(self) -> None:
        """Until the object is there."""
        self.client.connect()
        self.accept()
        self.say(wire.message(wire.HELLO, 0, 7))
        (add,) = self.hear()
        assert (add.type, add.text(wire.ATTR_OBJPATH)) == (wire.ADD_OBJECT, "vpnpt")
        assert wire.decode_table(add.attrs[wire.ATTR_SIGNATURE])["kill"] == dict.fromkeys(("session", "client", "protocol"), wire.STRING)
        self.say(wire.message(wire.DATA, add.seq, 0, wire.number(wire.ATTR_OBJID, OBJECT)),
                 wire.message(wire.STATUS, add.seq, 0, wire.number(wire.ATTR_STATUS, 0)))

    def call(self, method: str, arguments: dict[str, Any], object_: int = OBJECT) -> list[wire.Message]:
        self.say(wire.message(wire.INVOKE, 5, 99, wire.number(wire.ATTR_OBJID, object_), wire.text(wire.ATTR_METHOD, method),
                              wire.table(wire.ATTR_DATA, arguments)))
        return self.hear()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    found = Bus(tmp_path / "sock")
    found.listen()
    yield found
    found.client.close()
    for sock in (found.peer, found.listener):
        if sock is not None:
            sock.close()


def test_a_call(bus: Bus) -> None:
    bus.up()
    data, status = bus.call("status", {"ubus_rpc_session": "0" * 32})
    assert (data.type, data.seq, data.peer, data.number(wire.ATTR_OBJID)) == (wire.DATA, 5, 99, OBJECT)
    assert wire.decode_table(data.attrs[wire.ATTR_DATA]) == {"asked": "status"}
    assert (status.type, status.seq, status.peer, status.number(wire.ATTR_STATUS)) == (wire.STATUS, 5, 99, wire.OK)
    assert bus.calls == [{"method": "status"}], "what a method does not know never reaches it"


@pytest.mark.parametrize(("method", "arguments", "status"), [
    ("nonsense", {}, wire.METHOD_NOT_FOUND), ("kill", {"client": 5}, wire.INVALID_ARGUMENT)])
def test_a_call_that_is_wrong(bus: Bus, method: str, arguments: dict[str, Any], status: int) -> None:
    bus.up()
    (answer,) = bus.call(method, arguments)
    assert answer.number(wire.ATTR_STATUS) == status and not bus.calls


def test_arguments_are_optional(bus: Bus) -> None:
    bus.up()
    assert bus.call("kill", {}) and bus.call("kill", {"session": "ipsec-1", "client": "192.168.1.2", "ubus_rpc_session": "0" * 32})
    assert bus.calls == [{"method": "kill"}, {"method": "kill", "session": "ipsec-1", "client": "192.168.1.2"}]


def test_every_handler_is_on_ubus() -> None:
    assert list(ubus.METHODS) == list(HANDLERS)


def test_another_ones_object(bus: Bus) -> None:
    bus.up()
    assert not bus.call("status", {}, object_=1) and not bus.calls


def test_a_long_answer(bus: Bus) -> None:
    """More than the socket takes at once: the rest follows, and the loop does not wait for it."""
    bus.up()
    bus.answer = lambda _: {"sessions": ["x" * 1000] * 900}
    bus.say(wire.message(wire.INVOKE, 5, 99, wire.number(wire.ATTR_OBJID, OBJECT), wire.text(wire.ATTR_METHOD, "sessions"),
                         wire.table(wire.ATTR_DATA, {})))  # comes back, though nobody reads yet
    assert bus.client._outbound, "the rest waits for its turn"
    data, status = bus.hear()
    assert wire.decode_table(data.attrs[wire.ATTR_DATA]) == bus.answer({}) and status.type == wire.STATUS


def test_an_answer_that_ubus_can_not_carry(bus: Bus) -> None:
    """A list is cut, and the answer says so; what is no list can't be helped."""
    bus.up()
    bus.answer = lambda _: {"now": 5, "sessions": [f"{number:01000d}" for number in range(1100)], "ended": ["x"] * 3}
    data, status = bus.call("sessions", {})
    found = wire.decode_table(data.attrs[wire.ATTR_DATA])
    assert found == {"now": 5, "sessions": bus.answer({})["sessions"][:550], "ended": ["x"] * 3, "left_out": 550}
    assert status.number(wire.ATTR_STATUS) == wire.OK
    bus.answer = lambda _: {"text": "x" * (1 << 20)}
    (status,) = bus.call("metrics", {})
    assert status.number(wire.ATTR_STATUS) == wire.UNKNOWN_ERROR


def test_an_answer_that_comes_later(bus: Bus) -> None:
    bus.up()
    pending = Pending()
    bus.answer = lambda request: pending if request["method"] == "doctor" else {"asked": request["method"]}
    assert not bus.call("doctor", {})
    assert len(bus.call("status", {})) == 2, "others are answered meanwhile"
    pending.settle({"found": 1})
    data, status = bus.hear()
    assert wire.decode_table(data.attrs[wire.ATTR_DATA]) == {"found": 1} and data.peer == 99
    assert status.number(wire.ATTR_STATUS) == wire.OK


def test_an_answer_that_comes_after_ubusd_has_gone(bus: Bus) -> None:
    """The one that came since does not know who asked."""
    bus.up()
    pending = Pending()
    bus.answer = lambda request: pending
    bus.call("doctor", {})
    assert bus.peer is not None
    bus.peer.close()
    bus.turn()
    bus.up()
    pending.settle({"found": 1})
    assert not bus.hear()


def test_an_event(bus: Bus) -> None:
    bus.client.event("vpnpt.alert", {"code": "EARLY"})
    bus.up()
    bus.client.event("vpnpt.alert", {"code": "FULL"})
    (event,) = bus.hear()
    assert (event.type, event.number(wire.ATTR_OBJID), event.text(wire.ATTR_METHOD)) == (wire.INVOKE, wire.EVENT_OBJECT, "send")
    assert wire.decode_table(event.attrs[wire.ATTR_DATA]) == {"id": "vpnpt.alert", "data": {"code": "FULL"}}


def test_ubusd_dies_and_returns(bus: Bus) -> None:
    bus.up()
    assert bus.peer is not None and bus.listener is not None
    bus.peer.close()
    bus.listener.close()
    bus.turn()
    assert bus.retries == [ubus.RETRY_FIRST] and not bus.selector.get_map(), "nothing is left to be read for ever"
    bus.client.event("vpnpt.alert", {})
    bus.client.connect()
    bus.client.connect()
    assert bus.retries == [1, 2, 4], "less and less often"
    bus.listen()
    bus.up()
    assert bus.call("status", {}) and bus.retries == [1, 2, 4]
    assert bus.peer is not None
    bus.peer.close()
    bus.turn()
    assert bus.retries[3:] == [ubus.RETRY_FIRST], "soon again, after it had worked"


def test_no_ubusd_at_all(tmp_path: Path) -> None:
    bus = Bus(tmp_path / "nowhere")
    for _ in range(10):
        bus.client.connect()
    assert bus.retries[-1] == ubus.RETRY_LAST and not bus.selector.get_map()
    bus.client.close()


@pytest.mark.parametrize("noise", [b"\xff" * 64, bytes.fromhex("000000006a0a493900000003"), os.urandom(16) + b"\xff" * 4096])
def test_nonsense_is_hung_up_on(bus: Bus, noise: bytes) -> None:
    bus.up()
    bus.say(b"\x01" + noise)
    assert bus.retries and not bus.selector.get_map()


def test_one_who_does_not_read(bus: Bus) -> None:
    bus.up()
    for _ in range(ubus.BACKLOG // 100_000 + 5):
        bus.client.event("vpnpt.alert", {"text": "x" * 100_000})
    assert bus.retries, "its share of memory is bounded"


def test_a_refused_object(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.client = ubus.Ubus(bus.selector, Log("warning"), lambda _: {}, bus.retries.append, str(bus.path))
    bus.client.connect()
    bus.accept()
    bus.say(wire.message(wire.HELLO, 0, 7))
    bus.say(wire.message(wire.STATUS, 1, 0, wire.number(wire.ATTR_STATUS, 6)))
    assert "refuses the object" in capsys.readouterr().err
