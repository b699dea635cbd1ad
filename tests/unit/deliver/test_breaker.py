"""The circuit breaker as a table of steps, and the results that count as failures."""

import pytest

from workers.deliver.attempt.result import Outcome
from workers.deliver.breaker import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, Breaker, is_failure


@pytest.mark.parametrize(
    ("outcome", "status", "failure"),
    [
        ("delivered", 200, False), ("refused", 400, False), ("refused", 401, False), ("refused", 404, False),
        ("refused", 410, False), ("refused", 302, False), ("refused", 429, True), ("refused", 500, True),
        ("refused", 503, True), ("refused", 599, True), ("refused", None, False), ("timeout", None, True),
        ("timeout", 200, True), ("connection", None, True), ("tls", None, True), ("blocked", None, False),
    ],
)  # fmt: skip
def test_only_failures_of_the_server_count(outcome: Outcome, status: int | None, failure: bool) -> None:
    assert is_failure(outcome, status) is failure


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(THRESHOLD):
        assert breaker.allows(now)
        breaker.started(now)
        breaker.failed(now)
    assert breaker.state == "open"
    return breaker


def states(breaker: Breaker) -> set[str]:
    """Return a set, because mypy would assume after the next call that an assertion about the attribute still holds."""
    return {breaker.state}


def test_the_breaker_opens_at_the_threshold_and_not_before() -> None:
    breaker = Breaker()
    for _ in range(10):
        for _ in range(THRESHOLD - 1):
            breaker.started(0)
            breaker.failed(0)
        assert breaker.state == "closed"
        assert breaker.seconds_until_allowed(0) == 0
        breaker.succeeded()
    opened()


def test_one_probe_is_allowed_after_the_pause() -> None:
    breaker = opened(100)
    assert not breaker.allows(100)
    assert breaker.seconds_until_allowed(100) == FIRST_PAUSE
    assert not breaker.allows(104.9)
    assert breaker.seconds_until_allowed(104) == 1
    assert breaker.allows(105)
    assert breaker.seconds_until_allowed(105) == 0
    breaker.started(105)
    assert states(breaker) == {"half-open"}
    assert not breaker.allows(105)
    assert not breaker.allows(119)
    assert breaker.seconds_until_allowed(105) == FIRST_PAUSE
    breaker.succeeded()
    assert states(breaker) == {"closed"}
    assert breaker.allows(119)


def test_pauses_grow_to_their_limit_and_start_anew_after_a_success() -> None:
    breaker, now, pauses = opened(0), 0.0, []
    for _ in range(40):
        pauses.append(breaker.seconds_until_allowed(now))
        now += pauses[-1]
        assert breaker.allows(now)
        breaker.started(now)
        breaker.failed(now)
    assert pauses[:8] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert set(pauses[8:]) == {LONGEST_PAUSE}
    breaker.succeeded()
    for _ in range(THRESHOLD):
        breaker.failed(now)
    assert breaker.seconds_until_allowed(now) == FIRST_PAUSE


def test_earlier_attempts_do_not_prolong_the_pause_but_may_close_the_breaker() -> None:
    breaker = opened(100)
    breaker.failed(103)
    assert breaker.seconds_until_allowed(103) == 2
    breaker.succeeded()
    assert breaker.state == "closed"


def test_an_abandoned_probe_allows_the_next_one_at_once() -> None:
    breaker = opened(100)
    breaker.started(105)
    breaker.abandoned(106)
    assert breaker.state == "open"
    assert breaker.allows(106)
    breaker.started(106)
    assert not breaker.allows(106)
    breaker.failed(107)
    assert breaker.seconds_until_allowed(107) == 2 * FIRST_PAUSE
    closed = Breaker()
    closed.abandoned(0)
    assert closed.allows(0)


def test_a_probe_whose_end_is_never_recorded_counts_as_lost() -> None:
    breaker = opened(100)
    breaker.started(105)
    assert not breaker.allows(105 + LONGEST_PAUSE - 1)
    assert breaker.seconds_until_allowed(105 + LONGEST_PAUSE - 1) == 1
    assert breaker.allows(105 + LONGEST_PAUSE)
    breaker.started(105 + LONGEST_PAUSE)
    assert not breaker.allows(105 + LONGEST_PAUSE)
