"""Who is told what, and what holds, as pure functions of the records of one order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

from schemas.allocation import ItemAllocation
from workers.store.allocations import Record, announce, event_id, holding, news

START = datetime(2026, 11, 1, tzinfo=UTC)
V1, V2 = UUID(int=1), UUID(int=2)


def record(second: int, version: UUID = V1, announced: tuple[str, ...] | None = None, **places: str) -> Record:
    """`places`: item to manufacturer, perhaps `manufacturer/rule`."""
    items = []
    for item, where in places.items():
        manufacturer, _, rule = where.partition("/")
        items.append(ItemAllocation(item, manufacturer, rule))
    return Record(START + timedelta(seconds=second), UUID(int=second), version, tuple(items), announced)


def told(known: Sequence[Record], *new: Record) -> list[tuple[str, ...] | None]:
    return [one.announced for one in announce(known, new)]


def held(*records: Record) -> dict[str, tuple[str, int]]:
    return {
        item: (one.manufacturer, int((since - START).total_seconds()))
        for item, (since, one) in holding(records).items()
    }


def test_the_first_record_tells_everyone_who_got_an_item() -> None:
    assert told([], record(1, a="2", b="5", c="2")) == [("2", "5")]


def test_only_those_whose_items_changed_are_told() -> None:
    before = record(1, announced=("2", "5"), a="2", b="5", c="2")
    assert told([before], record(2, a="2", b="5", c="2")) == [()]
    assert told([before], record(2, a="2", b="5", c="7")) == [("2", "7")]
    assert told([before], record(2, a="7", b="5", c="7")) == [("7",)]  # 2 has lost all it had


def test_a_new_version_of_the_order_is_news_to_all_of_them() -> None:
    assert told([record(1, announced=("2",), a="2")], record(2, V2, a="2")) == [("2",)]


def test_a_record_that_comes_after_a_newer_one_tells_nobody() -> None:
    assert told([record(5, announced=("2",), a="2")], record(1, a="7")) == [None]
    assert told([], record(1, a="7"), record(5, a="2")) == [None, ("2",)]


def test_news_is_against_what_was_told_and_not_against_what_only_was() -> None:
    known = [record(1, announced=("2",), a="2"), record(3, announced=None, a="7")]
    assert told(known, record(9, a="7")) == [("7",)]


def test_a_rule_is_no_news() -> None:
    assert news([ItemAllocation("a", "2", "x")], [ItemAllocation("a", "2", "y")]) == ()


def test_what_holds_is_the_newest_record_since_it_first_said_so() -> None:
    records = record(1, a="2", b="5"), record(2, a="2", b="2"), record(3, a="2", b="5"), record(4, a="2", b="5")
    for order in permutations(records):
        assert held(*order) == {"a": ("2", 1), "b": ("5", 3)}
    assert held(*records, record(5, b="5")) == {"b": ("5", 3)}
    assert held(*records, record(5, a="2/lamination", b="5")) == {"a": ("2", 5), "b": ("5", 3)}
    assert held() == {}


def test_event_ids_are_of_version_manufacturer_and_items() -> None:
    ids = {event_id(version, who, items) for version in (V1, V2) for who in "25" for items in (["a"], ["a", "b"])}
    assert len(ids) == 8
    assert event_id(V1, "2", ["a"]) == event_id(V1, "2", ("a",))
