"""Which manufacturers are notified, and which allocations hold, as pure functions of the records of one order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

from schemas.allocation import ItemAllocation
from workers.store.allocations import StoredRecord, changed_manufacturers, current_allocations, with_notified
from workers.store.ids import share_event_id

START = datetime(2026, 11, 1, tzinfo=UTC)
V1, V2 = UUID(int=1), UUID(int=2)


def record(second: int, version: UUID = V1, notified: tuple[str, ...] | None = None, **places: str) -> StoredRecord:
    """`places`: item to manufacturer, perhaps `manufacturer/rule`."""
    items = []
    for item, where in places.items():
        manufacturer, _, rule = where.partition("/")
        items.append(ItemAllocation(item, manufacturer, rule))
    return StoredRecord(START + timedelta(seconds=second), UUID(int=second), version, tuple(items), notified)


def notified(known: Sequence[StoredRecord], *new: StoredRecord) -> list[tuple[str, ...] | None]:
    return [record.notified for record in with_notified(known, new)]


def current(*records: StoredRecord) -> dict[str, tuple[str, int]]:
    return {
        item: (allocation.manufacturer, int((since - START).total_seconds()))
        for item, (since, allocation) in current_allocations(records).items()
    }


def test_the_first_record_notifies_every_manufacturer_that_got_an_item() -> None:
    assert notified([], record(1, a="2", b="5", c="2")) == [("2", "5")]


def test_only_manufacturers_whose_items_changed_are_notified() -> None:
    before = record(1, notified=("2", "5"), a="2", b="5", c="2")
    assert notified([before], record(2, a="2", b="5", c="2")) == [()]
    assert notified([before], record(2, a="2", b="5", c="7")) == [("2", "7")]
    assert notified([before], record(2, a="7", b="5", c="7")) == [("7",)]  # 2 has lost all it had


def test_a_new_version_of_the_order_notifies_all_of_them() -> None:
    assert notified([record(1, notified=("2",), a="2")], record(2, V2, a="2")) == [("2",)]


def test_a_record_that_comes_after_a_newer_one_notifies_none() -> None:
    assert notified([record(5, notified=("2",), a="2")], record(1, a="7")) == [None]
    assert notified([], record(1, a="7"), record(5, a="2")) == [None, ("2",)]


def test_items_are_compared_with_those_of_the_last_notified_record() -> None:
    known = [record(1, notified=("2",), a="2"), record(3, notified=None, a="7")]
    assert notified(known, record(9, a="7")) == [("7",)]


def test_a_changed_rule_alone_notifies_none() -> None:
    assert changed_manufacturers([ItemAllocation("a", "2", "x")], [ItemAllocation("a", "2", "y")]) == ()


def test_the_newest_record_holds_since_the_first_that_agrees_with_it() -> None:
    records = record(1, a="2", b="5"), record(2, a="2", b="2"), record(3, a="2", b="5"), record(4, a="2", b="5")
    for order in permutations(records):
        assert current(*order) == {"a": ("2", 1), "b": ("5", 3)}
    assert current(*records, record(5, b="5")) == {"b": ("5", 3)}
    assert current(*records, record(5, a="2/lamination", b="5")) == {"a": ("2", 5), "b": ("5", 3)}
    assert current() == {}


def test_event_ids_depend_on_version_manufacturer_and_items() -> None:
    ids = {
        share_event_id(version, manufacturer, items)
        for version in (V1, V2)
        for manufacturer in "25"
        for items in (["a"], ["a", "b"])
    }
    assert len(ids) == 8
    assert share_event_id(V1, "2", ["a"]) == share_event_id(V1, "2", ("a",))
