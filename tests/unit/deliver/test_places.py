"""Which dispatchers are closed to free their places for others."""

import msgspec

from workers.deliver.places import AT_ONCE, choose_to_close


class PlaceHolder(msgspec.Struct, eq=False):
    subscriber: str
    in_flight: int = 1
    is_idle: bool = False
    wait: float = 0.0

    def seconds_until_next_attempt(self, now: float) -> float:
        return self.wait


def test_no_place_is_freed_while_there_are_free_ones() -> None:
    assert choose_to_close([PlaceHolder("a", wait=9.0)] * 5, {"b": 3}, 10, 0.0) == []
    assert choose_to_close([PlaceHolder("a")] * 5, {}, 5, 0.0) == []


def test_dispatchers_that_only_wait_are_closed_first_longest_wait_first() -> None:
    busy, short, long, idle = (
        PlaceHolder("a"),
        PlaceHolder("a", 0, wait=5.0),
        PlaceHolder("a", 0, wait=300.0),
        PlaceHolder("a", 0, True),
    )
    holders = [busy, short, long, idle]
    assert choose_to_close(holders, {"b": 1}, 4, 0.0) == [idle]
    assert choose_to_close(holders, {"a": 2}, 4, 0.0) == [long, idle]
    assert choose_to_close(holders, {"a": 9}, 4, 0.0) == [short, long, idle]


def test_a_subscriber_with_more_than_its_share_loses_places_to_those_with_less() -> None:
    holders = [PlaceHolder("many", in_flight=n) for n in range(9)] + [PlaceHolder("one")]
    (given,) = choose_to_close(holders, {"new": 1, "many": 50}, 10, 0.0)
    assert (given.subscriber, given.in_flight) == ("many", 0)
    assert choose_to_close(holders, {"many": 50}, 10, 0.0) == []


def test_a_subscriber_loses_no_more_than_its_surplus_and_not_all_at_once() -> None:
    holders = [PlaceHolder("many") for _ in range(1000)]
    given = choose_to_close(holders, {"new": 5000}, 1000, 0.0)
    assert len(given) == AT_ONCE
    small = [PlaceHolder("many") for _ in range(10)]
    assert len(choose_to_close(small, {"new": 50}, 10, 0.0)) == 5
