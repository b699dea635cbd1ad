"""When the next attempt is due."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Delivery
from workers.deliver.schedule import RetryPolicy

SCHEDULE = Delivery().schedule
DEFAULT = RetryPolicy(tuple(SCHEDULE))
ENDLESS = RetryPolicy(tuple(SCHEDULE), 900)


def after(attempt: int, policy: RetryPolicy = DEFAULT, *, retry_after: float | None = None) -> float | None:
    return policy.next_attempt(attempt, retry_after=retry_after, jitter=0.0)


def test_the_default_schedule_is_the_table_of_the_docstring() -> None:
    delays = [after(attempt) for attempt in range(10)]
    assert delays == SCHEDULE
    assert list(accumulate(delay or 0 for delay in delays)) == [
        0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105,
    ]  # fmt: skip
    assert 272105 == 3 * 86400 + 3 * 3600 + 35 * 60 + 5
    rows = [line for line in (RetryPolicy.__doc__ or "").splitlines() if line.strip()[2:3].isdigit()]
    assert [float(row.split("|")[2].replace(",", "")) for row in rows] == SCHEDULE


@pytest.mark.parametrize(
    ("attempt", "retry_after", "expected"),
    [
        (1, None, 5), (1, 2, 5), (1, 60, 60), (1, 1e9, 86400), (2, 299, 300), (2, 301, 301), (9, 10, 86400),
        (10, None, None), (10, 60, None), (11, None, None), (99, None, None), (1, 0, 5),
    ],
)  # fmt: skip
def test_a_later_retry_after_wins_and_adds_no_attempt(
    attempt: int, retry_after: float | None, expected: float | None
) -> None:
    assert after(attempt, retry_after=retry_after) == expected


@pytest.mark.parametrize(
    ("attempt", "retry_after", "expected"),
    [(0, None, 0), (1, None, 900), (10, None, 900), (5000, None, 900), (3, 1000, 1000), (3, 10, 900)],
)
def test_an_interval_repeats_without_end(attempt: int, retry_after: float | None, expected: float) -> None:
    assert after(attempt, ENDLESS, retry_after=retry_after) == expected


def test_a_schedule_of_one_entry_or_none_means_one_attempt() -> None:
    for policy in (RetryPolicy(()), RetryPolicy((0.0,))):
        assert policy.next_attempt(0, retry_after=None, jitter=1) == 0
        assert policy.next_attempt(1, retry_after=5, jitter=1) is None


@given(
    schedule=st.lists(st.floats(0, 1e6), min_size=2, max_size=12),
    jitter=st.floats(-1, 1),
    retry_after=st.none() | st.floats(0, 1e6),
    forever=st.booleans(),
    data=st.data(),
)
def test_jitter_stays_within_a_tenth_and_never_comes_before_a_retry_after(
    schedule: list[float], jitter: float, retry_after: float | None, forever: bool, data: st.DataObject
) -> None:
    attempt = data.draw(st.integers(1, len(schedule) - 1))
    policy = RetryPolicy(tuple(schedule), 900 if forever else None)
    delay = policy.next_attempt(attempt, retry_after=retry_after, jitter=jitter)
    planned = 900 if forever else schedule[attempt]
    requested = min(retry_after or 0, 86400)
    assert delay is not None
    assert delay >= requested
    assert delay == requested or planned * 0.9 * (1 - 1e-9) <= delay <= planned * 1.1 * (1 + 1e-9)
