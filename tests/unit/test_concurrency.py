"""Fair shares: who is let in, who isn't, and what it costs to ask."""

import random

from ingress.hooks.concurrency import ConcurrencyLimiter, ConcurrencyLimiters, Limits
from tests.support.calls import count_calls


def entered(limiter: ConcurrencyLimiter, times: int) -> int:
    """How many of `times` were let in."""
    return sum(limiter.acquire() is None for _ in range(times))


def test_without_limits_all_requests_are_admitted() -> None:
    limiters = ConcurrencyLimiters(Limits())
    assert entered(limiters.of("p", "a"), 10_000) == 10_000


def test_one_account_alone_may_have_everything_and_leaves_room_when_others_come() -> None:
    limiters = ConcurrencyLimiters(Limits(shared=10))
    a, b, c = (limiters.of("p", name) for name in "abc")
    assert entered(a, 20) == 10
    assert a.acquire() == "account over its share"
    assert entered(b, 20) == 5  # an equal share of ten among two, whatever the other holds
    assert entered(c, 20) == 3
    for _ in range(10):
        a.release()
    assert limiters.accounts == 2
    assert entered(a, 20) == 3
    assert b.acquire() == "account over its share"


def test_every_account_may_have_one_request_in_progress() -> None:
    limiters = ConcurrencyLimiters(Limits(shared=2))
    assert [entered(limiters.of("p", str(n)), 3) for n in range(20)] == [2] + [1] * 19


def test_the_limit_of_one_account_holds_for_each() -> None:
    limiters = ConcurrencyLimiters(Limits(account=3))
    a, b = limiters.of("p", "a"), limiters.of("other", "a")
    assert (entered(a, 5), entered(b, 5)) == (3, 3)
    assert a.acquire() == "account over its limit"
    a.release()
    assert a.acquire() is None


def test_counts_return_to_zero() -> None:
    limiters = ConcurrencyLimiters(Limits(account=7, shared=20))
    inside: list[ConcurrencyLimiter] = []
    for _ in range(20_000):
        if inside and random.random() < 0.5:
            inside.pop(random.randrange(len(inside))).release()
        elif (limiter := limiters.of("p", str(random.randrange(9)))).acquire() is None:
            inside.append(limiter)
        assert limiters.count == len(inside)
        assert limiters.accounts == len(set(inside))
    for limiter in inside:
        limiter.release()
    assert (limiters.count, limiters.accounts) == (0, 0)


def test_a_request_costs_two_calls_whatever_others_have_in_progress() -> None:
    limiters = ConcurrencyLimiters(Limits(account=100, shared=1000))
    limiter = limiters.of("p", "a")

    def pair() -> None:
        limiter.acquire()
        limiter.release()

    alone = count_calls(pair)
    assert alone == {"ConcurrencyLimiter.acquire": 1, "ConcurrencyLimiter.release": 1}
    for n in range(500):
        assert entered(limiters.of("p", str(n)), 1) == 1
    assert count_calls(pair) == alone
