"""Shares: stable by item, true to the weights."""

from collections import Counter

import pytest

from workers.route.ustore.split import Shares, point


@pytest.mark.parametrize(
    "weights", [{"2": 70, "5": 30}, {"a": 1, "b": 1, "c": 2}, {"a": 0.5, "b": 0, "c": 9.5}, {"a": 3}]
)
@pytest.mark.parametrize("first", [1, 3087, 5_000_000])
def test_ten_thousand_items_come_within_two_percent_of_the_weights(weights: dict[str, float], first: int) -> None:
    shares = Shares(weights)
    counted = Counter(shares.choose(str(first + number)) for number in range(10_000))
    for name, weight in weights.items():
        assert abs(counted[name] / 10_000 - weight / sum(weights.values())) <= 0.02


def test_the_same_item_always_goes_the_same_way() -> None:
    # Not only in this process: these are what every worker on every machine must find.
    shares = Shares({"2": 70, "5": 30})
    assert [shares.choose(name) for name in ("3087", "3088", "3089", "3092", "x")] == ["5", "2", "2", "5", "2"]
    assert point("3087") == pytest.approx(0.8375681548871143)


def test_a_weight_of_zero_gets_nothing() -> None:
    shares = Shares({"a": 0, "b": 1})
    assert {shares.choose(str(number)) for number in range(1000)} == {"b"}


def test_points_lie_between_zero_and_one() -> None:
    assert all(0 <= point(str(number)) < 1 for number in range(1000))
