"""Moments of reception: never back within a process, and never far ahead of the database."""

from datetime import UTC, datetime, timedelta

from ingress.hooks.clock import MAX_HELD, ReceiveClock
from schemas import clocks

PRESENT = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Wall:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_time_does_not_go_back_and_every_moment_is_another_microsecond() -> None:
    wall = Wall()
    clock = ReceiveClock(wall)
    moments = [clock.now() for _ in range(1000)]
    wall.now -= MAX_HELD - 1
    moments += [clock.now() for _ in range(1000)]
    micros = [int(moment * 1e6 + 0.5) for moment in moments]
    assert micros == sorted(set(micros))
    wall.now += MAX_HELD
    assert clock.now() == wall.now


def test_a_clock_that_was_a_day_ahead_does_not_freeze_time() -> None:
    wall = Wall()
    clock = ReceiveClock(wall)
    wall.now += 86400
    assert clock.now() == wall.now
    wall.now -= 86400
    assert clock.now() == wall.now


def test_only_a_moment_that_is_more_than_a_minute_ahead_of_the_database_is_ahead() -> None:
    near, far = PRESENT + timedelta(seconds=clocks.MAX_AHEAD), PRESENT + timedelta(seconds=clocks.MAX_AHEAD + 0.001)
    assert not clocks.is_ahead(near, PRESENT)
    assert clocks.is_ahead(far, PRESENT)
    assert not clocks.is_ahead(PRESENT - timedelta(days=1000), PRESENT)
