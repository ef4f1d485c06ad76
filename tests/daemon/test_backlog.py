# SPDX-License-Identifier: GPL-2.0-or-later
"""More notices than can be handled: a few at a time, and without what is old and tells little."""
from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from vpnpt.daemon.backlog import AT_ONCE, FRESH, MOST, SILENCE, TURN, Notices, loudest, thinned
from vpnpt.daemon.moments import Moments
from vpnpt.kernel.netfilter import NflogGroups, Overrun
from vpnpt.ruleset import notices
from vpnpt.wire.nflog import LogPacket

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIAL = count(1)
READ = 3000
"""Notices that one look at the groups gives, at most."""


def notice(prefix: str = notices.FANNED, spi: int = 7, sequence: int = 2, *, group: int = notices.GROUP, proto: int = 50) -> LogPacket:
    """Of a server's packet, or a client's."""
    packet = bytes(9) + bytes([proto]) + bytes(2) + b"\x0a\0\0\1\x0a\0\0\2" + spi.to_bytes(4, "big") + sequence.to_bytes(4, "big")
    return LogPacket(group, prefix, packet, sequence=next(SERIAL))


def test_the_newest_stay_and_of_the_older_each_spi_s_first() -> None:
    old = [notice(prefix, spi) for _ in range(50) for spi in (1, 2) for prefix in (notices.FANNED, notices.SHARED, notices.SPI_OUT)]
    new = [notice() for _ in range(FRESH)]
    assert thinned([*old, *new]) == [*old[:6], *new]


@pytest.mark.parametrize("one", [
    notice(notices.EXCHANGE), notice(notices.PAIRED), notice(notices.SPI_TAKEN), notice(notices.SAME_SPI), notice(notices.LEARNED),
    notice(notices.FANNED, sequence=1), notice(notices.SHARED, group=notices.GROUP_WHOLE), notice(notices.SHARED, proto=17), Overrun(),
], ids=["exchange", "pair", "taken", "same SPI", "round trip", "an SA begins", "to be delivered", "IKE", "overrun"])
def test_what_is_decided_or_begins_or_is_to_be_delivered_stays(one: LogPacket | Overrun) -> None:
    assert thinned([one, one, *(notice() for _ in range(FRESH))])[:2] == [one, one]


@pytest.fixture
def arriving(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LogPacket | Overrun]]:
    """What the kernel has for us."""
    found: list[LogPacket | Overrun] = []

    def receive(_groups: NflogGroups, _enough: int) -> tuple[list[LogPacket | Overrun], bool]:
        now, found[:] = found[:READ], found[READ:]
        return now, bool(found)

    monkeypatch.setattr(NflogGroups, "receive", receive)
    yield found


def test_a_few_at_a_time_in_their_order(arriving: list[LogPacket | Overrun]) -> None:
    everything = [notice(notices.EXCHANGE) for _ in range(3 * MOST)]
    arriving += everything
    groups, heard, turns = Notices(lambda servers, seconds: None), list[LogPacket | Overrun](), 0
    more = True
    while more:
        found, more = groups.receive()
        assert 0 < len(found) <= TURN
        heard, turns = heard + found, turns + 1
    assert heard == everything and turns == 3 * MOST // TURN
    assert groups.receive() == ([], False)


def test_as_many_as_may_wait_are_left_as_they_are(arriving: list[LogPacket | Overrun]) -> None:
    everything: list[LogPacket | Overrun] = [notice() for _ in range(MOST)]
    arriving += everything
    groups, heard = Notices(lambda servers, seconds: None), list[LogPacket | Overrun]()
    while found := groups.receive()[0]:
        heard += found
    assert heard == everything
    arriving += [notice() for _ in range(MOST + 1)]
    assert len(groups.receive()[0]) == TURN
    left = 0
    while found := groups.receive()[0]:
        left += len(found)
    assert left == 1 + FRESH - TURN


def test_a_flood_that_can_t_be_thinned_waits_in_the_kernel(arriving: list[LogPacket | Overrun]) -> None:
    """Each packet with an SPI of its own: who is slow remembers no more of them."""
    everything = [notice(spi=spi) for spi in range(10 * READ)]
    arriving += everything
    groups, heard, most = Notices(lambda servers, seconds: None), list[LogPacket | Overrun](), 0
    while found := groups.receive()[0]:
        heard += found
        most = max(most, 10 * READ - len(arriving) - len(heard))
    assert heard == everything and most < MOST + READ


def test_what_waits_has_passed_when_it_was_read(arriving: list[LogPacket | Overrun], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.6 the kernel tells no times, and later none of what leaves the router: that has the time of what came before it."""
    day = count(100.0)
    monkeypatch.setattr("time.time", lambda: next(day))
    told, untold = notice(), [notice() for _ in range(2 * TURN)]
    told.time = 7.0
    arriving += untold
    groups, heard = Notices(lambda servers, seconds: None), list[LogPacket | Overrun]()
    for _ in range(2):
        heard += groups.receive()[0]
    arriving += [told, notice()]
    heard += groups.receive()[0]
    assert [one.time for one in heard if isinstance(one, LogPacket)] == [100.0] * (2 * TURN) + [7.0, 7.0]


def test_one_without_a_time_takes_none_from_those_after_it(arriving: list[LogPacket | Overrun], monkeypatch: pytest.MonkeyPatch) -> None:
    """A new pair is told of when its packet leaves the router, without a time. What else was read then has passed before we read."""
    clock = 50.0
    monkeypatch.setattr("time.time", lambda: clock + 1000.0)
    arriving += [notice(notices.PAIRED), notice(), notice(notices.PAIRED), notice()]
    for one, told in zip(arriving, (None, 1049.2, None, 1049.6), strict=True):
        if isinstance(one, LogPacket):
            one.time = told
    moments, found = Moments(lambda: clock + 1000.0), Notices(lambda servers, seconds: None).receive()[0]
    moments.look(lambda: clock)
    assert [round(moments.of(one.time, clock), 3) for one in found if isinstance(one, LogPacket)] == [49.2, 49.2, 49.2, 49.6]


SERVER, OTHER = b"\x0a\0\0\1", b"\x0a\0\0\2"
"""Who sends what `notice` makes, and to whom."""


def test_the_kernel_is_to_be_silent_about_whom_it_tells_most_of() -> None:
    inward, outward = [notice() for _ in range(TURN)], [notice(notices.SPI_OUT) for _ in range(TURN + 1)]
    begins = [notice(notices.SPI_TAKEN) for _ in range(2 * TURN)]
    assert loudest([*inward, *outward, *begins, Overrun()]) == [OTHER]
    assert loudest([*inward, notice()]) == [SERVER]


@pytest.mark.parametrize("each", [0.00001, 0.0005, 0.006, 0.06], ids=["PC", "router", "slow router", "very slow router"])
def test_silence_is_for_twice_as_long_as_the_notices_take(arriving: list[LogPacket | Overrun], monkeypatch: pytest.MonkeyPatch,
                                                          each: float) -> None:
    """Who keeps up hears everything."""
    now, asked = 100.0, list[tuple[list[bytes], float]]()
    monkeypatch.setattr("time.monotonic", lambda: now)
    groups = Notices(lambda servers, seconds: asked.append((list(servers), seconds)))
    for _ in range(20):
        arriving += [notice() for _ in range(READ)]
        now += each * len(groups.receive()[0])
    expected = min(SILENCE, 2 * each * FRESH)
    assert asked == [] if expected < AT_ONCE else max(seconds for _, seconds in asked) == pytest.approx(expected, rel=0.7)
    assert all(servers == [SERVER] and 0 < seconds <= SILENCE for servers, seconds in asked)
