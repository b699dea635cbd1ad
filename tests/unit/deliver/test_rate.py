"""The token bucket that limits rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.deliver.rate import Bucket


def test_without_a_rate_nothing_is_delayed() -> None:
    bucket = Bucket(None)
    for _ in range(10_000):
        assert bucket.delay(0) == 0
        bucket.take(0)


@pytest.mark.parametrize(
    ("rate", "burst", "delay"),
    [(1, 1, 1), (10, 10, 0.1), (0.5, 1, 2), (0.1, 1, 10), (2.5, 2, 0.2), (1000, 1000, 0.001)],
)
def test_a_burst_of_one_second_then_the_rate(rate: float, burst: int, delay: float) -> None:
    bucket = Bucket(rate, now=50)
    for _ in range(burst):
        assert bucket.delay(50) == 0
        bucket.take(50)
    assert bucket.delay(50) == pytest.approx(delay)
    assert bucket.delay(50 + delay / 2) == pytest.approx(delay / 2)
    assert bucket.delay(50 + delay) == 0


def test_no_more_than_a_burst_accumulates() -> None:
    bucket = Bucket(2, now=0)
    for _ in range(2):
        assert bucket.delay(1e6) == 0
        bucket.take(1e6)
    assert bucket.delay(1e6) == pytest.approx(0.5)


def test_a_token_that_is_taken_too_early_is_owed() -> None:
    bucket = Bucket(1, now=0)
    bucket.take(0)
    bucket.take(0)
    assert bucket.delay(0) == pytest.approx(2)


def test_a_clock_that_steps_back_adds_no_tokens() -> None:
    bucket = Bucket(1, now=10)
    bucket.take(10)
    bucket.take(5)
    assert bucket.delay(10) == pytest.approx(2)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_an_invalid_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="max_rate"):
        Bucket(rate)


@given(rate=st.floats(0.01, 1000), steps=st.lists(st.floats(0, 10), max_size=60))
def test_the_delay_is_always_long_enough_and_the_rate_holds(rate: float, steps: list[float]) -> None:
    bucket, now = Bucket(rate, now=0), 0.0
    for taken, step in enumerate(steps, start=1):
        now += step
        now += bucket.delay(now)
        assert bucket.delay(now) == 0
        bucket.take(now)
        assert taken <= max(1, rate) + rate * now + 1e-6
