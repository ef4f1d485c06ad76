# SPDX-License-Identifier: GPL-2.0-or-later
"""When packets passed of which we read later: by the kernel's time, in seconds of our own clock."""
from __future__ import annotations

from vpnpt.daemon.moments import LATE, Moments

BEGAN = 1_700_000_000.0


def moments(ours: float = 50.0) -> Moments:
    """At this time of our clock it is BEGAN by that of the day."""
    found = Moments(lambda: BEGAN)
    found.look(lambda: ours)
    return found


def test_what_waited_for_us_passed_when_the_kernel_says() -> None:
    found = moments()
    assert [found.of(BEGAN + passed, 51.0) for passed in (0.25, 0.5, 0.75)] == [50.25, 50.5, 50.75]


def test_it_never_goes_back_and_is_never_in_the_future() -> None:
    found = moments()
    assert found.of(BEGAN + 0.5, 51.0) == 50.5
    assert found.of(BEGAN + 0.4, 51.0) == 50.5, "two processors"
    assert found.of(BEGAN + 3.0, 51.0) == 51.0, "somebody has put the clock of the day back"


def test_without_a_time_it_is_now_or_that_of_the_one_before() -> None:
    """What leaves the router has none; it must not make those that come after it, and waited as well, come at once."""
    found = moments()
    assert found.of(None, 51.0) == 51.0
    assert [found.of(logged, 51.0) for logged in (BEGAN + 0.25, None, BEGAN + 0.5)] == [50.25, 50.25, 50.5]
    assert Moments().of(BEGAN, 51.0) == 51.0, "not looked yet"


def test_who_sets_the_clock_of_the_day_does_not_make_it_last_year() -> None:
    assert moments().of(BEGAN - LATE - 1, 50.0) == 50.0


def test_a_look_that_was_interrupted_does_not_count() -> None:
    times = iter((60.0, 60.2))
    found = moments()
    found.look(lambda: next(times))
    assert found.of(BEGAN + 0.25, 51.0) == 50.25
