"""What the route worker answered: each item's manufacturer, and which manufacturers are notified."""

from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from schemas.allocation import ItemAllocation
from tests.support.storing import at, incoming, rows
from workers.store import announce, isolate
from workers.store.prepare import Incoming


def request(
    places: Mapping[str, str] | None, seconds: float, *, rule: str = "the rest", note: str = "", **more: Any
) -> Incoming:
    """An order whose items are `places`' keys; with the route worker's record unless that is None."""
    items = [{"@id": item} for item in places or {"1": "2"}]
    body = {"Order": {"@OrderId": "5295", "CustomConfiguration": note, "OrderProducts": {"OrderProduct": items}}}
    allocations = None if places is None else [ItemAllocation(item, where, rule) for item, where in places.items()]
    return incoming("ustore", "manufacturer_allocation", body, seconds=seconds, allocations=allocations, **more)


async def put(pool: asyncpg.Pool, *batch: Incoming) -> list[tuple[int, tuple[str, ...]]]:
    """Return the version and the manufacturers of each notice."""
    return [(notice.version, notice.manufacturers) for notice in (await isolate.write_isolating(pool, batch)).notices]


async def places(pool: asyncpg.Pool) -> dict[str, tuple[str, float]]:
    """By item: its manufacturer, and since which second."""
    return {
        row["order_product_id"]: (row["manufacturer_id"], (row["allocated_at"] - at(0)).total_seconds())
        for row in await rows(pool, "allocations")
    }


async def test_each_item_has_its_manufacturer_and_each_manufacturer_its_event(pool: asyncpg.Pool) -> None:
    message = request({"3087": "2", "3088": "1", "3089": "2"}, 1)
    written = await isolate.write_isolating(pool, [message])
    assert [(notice.version, notice.manufacturers) for notice in written.notices] == [(1, ("2", "1"))]
    assert len(written.versions) == 1
    assert await rows(pool, "allocations") == [
        {
            "account": "acme",
            "order_id": "5295",
            "order_product_id": item,
            "manufacturer_id": where,
            "rule": "the rest",
            "allocated_at": at(1),
        }
        for item, where in (("3087", "2"), ("3088", "1"), ("3089", "2"))
    ]
    keys = sorted(event.key for event in announce.events(written.versions, written.notices))
    assert keys == [
        "ustore.manufacturer_allocation.acme",
        "ustore.manufacturer_order.acme.1",
        "ustore.manufacturer_order.acme.2",
    ]


@pytest.mark.parametrize("first", ["the request", "the record", "both at once"])
async def test_a_request_and_its_record_are_the_same_post_in_either_order(pool: asyncpg.Pool, first: str) -> None:
    bare, recorded = request(None, 1, number=7), request({"1": "2"}, 1, number=7)
    batches = {
        "the request": [[bare], [recorded]],
        "the record": [[recorded], [bare]],
        "both at once": [[bare, recorded]],
    }[first]
    announced, notices = 0, []
    for batch in batches:
        written = await isolate.write_isolating(pool, batch)
        announced += len(written.versions)
        notices += written.notices
    assert (announced, [notice.manufacturers for notice in notices]) == (1, [("2",)])
    assert [row["times_received"] for row in await rows(pool, "events")] == [1]
    assert await places(pool) == {"1": ("2", 1.0)}


async def test_a_repeat_with_the_same_allocation_changes_nothing_and_notifies_none(pool: asyncpg.Pool) -> None:
    await put(pool, request({"1": "2"}, 1))
    assert await put(pool, request({"1": "2"}, 2), request({"1": "2"}, 3)) == []
    assert await places(pool) == {"1": ("2", 1.0)}
    assert [row["times_received"] for row in await rows(pool, "events")] == [3]


async def test_another_allocation_notifies_the_manufacturers_whose_items_changed(pool: asyncpg.Pool) -> None:
    await put(pool, request({"1": "2", "2": "2", "3": "5", "4": "9"}, 1))
    assert await put(pool, request({"1": "2", "2": "7", "3": "5", "4": "7"}, 2)) == [(1, ("2", "7"))]
    assert await places(pool) == {"1": ("2", 1.0), "2": ("7", 2.0), "3": ("5", 1.0), "4": ("7", 2.0)}


async def test_a_changed_order_notifies_again_and_items_that_left_it_disappear(pool: asyncpg.Pool) -> None:
    await put(pool, request({"1": "2", "2": "5"}, 1))
    assert await put(pool, request({"1": "2"}, 2)) == [(2, ("2",))]
    assert await places(pool) == {"1": ("2", 1.0)}


async def test_the_allocation_received_last_holds_and_a_late_record_notifies_none(pool: asyncpg.Pool) -> None:
    assert await put(pool, request({"1": "5"}, 9)) == [(1, ("5",))]
    assert await put(pool, request({"1": "2"}, 1)) == []
    assert await places(pool) == {"1": ("5", 9.0)}
    assert await put(pool, request({"1": "5"}, 3)) == []
    assert await places(pool) == {"1": ("5", 3.0)}
    assert await put(pool, request({"1": "5"}, 10)) == []


async def test_of_two_answers_in_a_batch_the_later_one_notifies(pool: asyncpg.Pool) -> None:
    assert await put(pool, request({"1": "2"}, 1), request({"1": "2"}, 2)) == [(1, ("2",))]


async def test_a_record_delivered_again_has_the_same_notice(pool: asyncpg.Pool) -> None:
    first = request({"1": "2"}, 1)
    notices = (await isolate.write_isolating(pool, [first])).notices
    await put(pool, request({"1": "5"}, 2))
    again = (await isolate.write_isolating(pool, [first])).notices
    assert [(notice.version_id, notice.manufacturers) for notice in again] == [
        (notice.version_id, notice.manufacturers) for notice in notices
    ]
    assert await places(pool) == {"1": ("5", 2.0)}


async def test_a_changed_rule_with_the_same_manufacturer_notifies_none(pool: asyncpg.Pool) -> None:
    """The manufacturer has its items already; the view says by which rule, and since when."""
    await put(pool, request({"1": "2"}, 1))
    assert await put(pool, request({"1": "2"}, 2, rule="lamination")) == []
    assert [(row["rule"], row["allocated_at"]) for row in await rows(pool, "allocations")] == [("lamination", at(2))]


async def test_the_same_order_of_another_account_is_another_order(pool: asyncpg.Pool) -> None:
    await put(pool, request({"1": "2"}, 1))
    assert await put(pool, request({"1": "5"}, 2, account="other")) == [(1, ("5",))]
    assert {(row["account"], row["manufacturer_id"]) for row in await rows(pool, "allocations")} == {
        ("acme", "2"),
        ("other", "5"),
    }


async def test_items_that_cannot_be_stored_as_they_are(pool: asyncpg.Pool) -> None:
    message = incoming(
        "ustore",
        "manufacturer_allocation",
        {"Order": {"@OrderId": "1", "OrderProducts": {"OrderProduct": {"@id": "1"}}}},
        allocations=[ItemAllocation("a\0b", "2", "r"), ItemAllocation("a\ufffdb", "5", "r")],
    )
    assert (await isolate.write_isolating(pool, [message])).quarantined == 0
    assert await places(pool) == {"a\ufffdb": ("2", 0.0)}


async def test_an_order_without_items_allocates_nothing(pool: asyncpg.Pool) -> None:
    body = {"Order": {"@OrderId": "1"}}
    message = incoming("ustore", "manufacturer_allocation", body, allocations=[])
    assert await put(pool, message) == []
    assert await places(pool) == {}
