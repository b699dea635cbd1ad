"""Which dispatchers make room for others."""

import msgspec

from workers.deliver.places import AT_ONCE, to_give_up


class ConnectionHolder(msgspec.Struct, eq=False):
    subscriber: str
    in_flight: int = 1
    is_idle: bool = False
    wait: float = 0.0

    def resting(self, now: float) -> float:
        return self.wait


def test_nobody_gives_up_a_place_while_there_are_free_ones() -> None:
    assert to_give_up([ConnectionHolder("a", wait=9.0)] * 5, {"b": 3}, 10, 0.0) == []
    assert to_give_up([ConnectionHolder("a")] * 5, {}, 5, 0.0) == []


def test_those_that_only_wait_go_first_the_longest_wait_before_all() -> None:
    busy, short, long, idle = (
        ConnectionHolder("a"),
        ConnectionHolder("a", 0, wait=5.0),
        ConnectionHolder("a", 0, wait=300.0),
        ConnectionHolder("a", 0, True),
    )
    holders = [busy, short, long, idle]
    assert to_give_up(holders, {"b": 1}, 4, 0.0) == [idle]
    assert to_give_up(holders, {"a": 2}, 4, 0.0) == [long, idle]
    assert to_give_up(holders, {"a": 9}, 4, 0.0) == [short, long, idle]


def test_a_subscriber_with_more_than_its_share_makes_room_for_those_with_less() -> None:
    holders = [ConnectionHolder("many", in_flight=n) for n in range(9)] + [ConnectionHolder("one")]
    (given,) = to_give_up(holders, {"new": 1, "many": 50}, 10, 0.0)
    assert (given.subscriber, given.in_flight) == ("many", 0)
    assert to_give_up(holders, {"many": 50}, 10, 0.0) == []


def test_no_more_than_its_surplus_and_not_all_at_once() -> None:
    holders = [ConnectionHolder("many") for _ in range(1000)]
    given = to_give_up(holders, {"new": 5000}, 1000, 0.0)
    assert len(given) == AT_ONCE
    small = [ConnectionHolder("many") for _ in range(10)]
    assert len(to_give_up(small, {"new": 50}, 10, 0.0)) == 5
