"""Limits that several owners share."""

from hypothesis import given
from hypothesis import strategies as st

from workers.deliver.shares import FairLimit


def take_all(limit: FairLimit, owner: str) -> int:
    count = 0
    while limit.try_take(owner):
        count += 1
    return count


def test_one_owner_leaves_something_for_the_next() -> None:
    limit = FairLimit(100)
    assert take_all(limit, "greedy") == 50
    assert take_all(limit, "second") == 25
    assert take_all(limit, "third") >= 10
    for _ in range(50):
        limit.release("greedy")
    assert limit.try_take("second")


def test_an_owner_that_holds_nothing_is_never_refused() -> None:
    limit = FairLimit(10)
    assert limit.try_take("large", 1000)
    assert not limit.try_take("large", 1)
    assert limit.try_take("other", 1000)
    limit.release("large", 1000)
    limit.release("other", 1000)
    assert limit.total == 0


def test_among_the_parts_of_an_owner_one_that_holds_nothing_has_priority() -> None:
    limit = FairLimit(64)
    held = 0
    while limit.try_take("owner", 4, part="hangs"):
        held += 4
    assert held <= 32
    assert limit.try_take("owner", 4, part="another")


def test_a_thousand_parts_of_one_owner_stay_within_the_limit() -> None:
    """With 1,000 subscriptions and bodies of 1 MiB, at most 64 MiB are held instead of a gigabyte."""
    limit = FairLimit(64 << 20)
    taken = sum(limit.try_take("owner", 1 << 20, part=n) for n in range(1000))
    assert 32 <= taken <= 64


def test_one_waiting_callback_of_each_owner_is_called_at_a_time() -> None:
    limit = FairLimit(4)
    while limit.try_take("a"):
        pass
    called: list[str] = []
    limit.when_free("a", "a1", lambda: called.append("a1"))
    limit.when_free("a", "a2", lambda: called.append("a2"))
    limit.when_free("b", "b1", lambda: called.append("b1"))
    limit.when_free("b", "gone", lambda: called.append("gone"))
    limit.forget("b", "gone")
    limit.release("a")
    assert called == ["a1", "b1"]
    limit.release("a")
    assert called == ["a1", "b1", "a2"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.sampled_from([None, 1, 2])), max_size=40))
def test_everything_that_is_taken_and_released_leaves_nothing(steps: list[tuple[str, int, int | None]]) -> None:
    limit = FairLimit(50)
    taken = [(owner, amount, part) for owner, amount, part in steps if limit.try_take(owner, amount, part=part)]
    assert limit.total == sum(amount for _, amount, _ in taken) <= 50 + 3 * 30
    for owner, amount, part in taken:
        limit.release(owner, amount, part=part)
    assert limit.total == 0
    assert all(limit.try_take(owner, 50) for owner in "abc")
