"""Everything known of one order, by any of its names."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from schemas.allocation import ItemAllocation
from storage import trace
from tests.support.storing import at, incoming, unreadable
from workers.store import isolate

ORDER = {"channelOrderId": "STO1", "warehouseOrderId": "W1", "lineItems": [{"id": "1", "sku": "A", "quantity": 1.50}]}
CARTON = {"channelOrderId": "STO1", "warehouseOrderId": "W1", "id": "S1"}
BARE = {"warehouseOrderId": "W1", "id": "S2"}


async def keys(database: asyncpg.Connection, name: str) -> set[str]:
    return {f"{document['type']} {document['key']}" for document in (await trace.trace(database, name))["documents"]}


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> list[Any]:
    batch = [
        incoming("channelape", "stock_transfer_order", ORDER, seconds=1),
        incoming("channelape", "stock_transfer_order", ORDER, seconds=2),
        incoming("channelape", "stock_transfer_order", {**ORDER, "status": "SHIPPED"}, seconds=3),
        incoming("channelape", "ship_confirmation", CARTON, seconds=4),
        incoming("channelape", "ship_confirmation", BARE, seconds=5),
        incoming("apicbase", "purchase_order", {"id": "I1", "order_number": "PO-1"}, seconds=6),
        incoming(
            "ustore",
            "manufacturer_allocation",
            {"Order": {"@OrderId": "5295", "OrderProducts": {"OrderProduct": {"@id": "3087"}}}},
            seconds=7,
            allocations=[ItemAllocation("3087", "2", "the rest", "5 km")],
        ),
        unreadable(b'{"orderNo": "Q-1"', "not JSON", seconds=8),
    ]
    await isolate.write_isolating(pool, batch)
    return batch


async def test_a_transfer_order_is_traced_with_its_related_documents(
    database: asyncpg.Connection, stored: list[Any]
) -> None:
    assert await keys(database, "STO1") == {"channelape.stock_transfer_order STO1", "channelape.ship_confirmation S1"}
    cartons = {"channelape.ship_confirmation S1", "channelape.ship_confirmation S2"}
    assert await keys(database, "W1") == {"channelape.stock_transfer_order STO1", *cartons}
    assert await keys(database, "PO-1") == {"apicbase.purchase_order I1"}
    assert await keys(database, "nobody") == set()


@pytest.mark.parametrize("name", [" STO1 ", "STO1\u200e", "\u202aSTO1\u202c\n", "\ufeffSTO1"])
async def test_blanks_around_the_key_are_ignored(database: asyncpg.Connection, stored: list[Any], name: str) -> None:
    assert await keys(database, name) == await keys(database, "STO1") != set()


async def test_a_key_of_blanks_finds_nothing(database: asyncpg.Connection, stored: list[Any]) -> None:
    assert await trace.trace(database, " \u200e ") == {"key": "", "documents": [], "quarantine": []}


async def test_each_time_received_and_every_version(database: asyncpg.Connection, stored: list[Any]) -> None:
    order = next(
        document for document in (await trace.trace(database, "STO1"))["documents"] if document["key"] == "STO1"
    )
    assert (order["platform"], order["account"]) == ("channelape", "acme")
    assert [(row["received_at"], row["message_id"]) for row in order["receipts"]] == [
        (at(n), stored[n - 1].message_id) for n in (1, 2, 3)
    ]
    assert order["receipts"][0]["traceparent"] == stored[0].envelope.traceparent
    assert [(row["version"], row["times_received"], row["flags"]) for row in order["versions"]] == [
        (1, 2, []),
        (2, 1, ["revised"]),
    ]
    assert order["versions"][0]["lines"] == [{"id": "1", "article": "A", "quantity": 1.5}]


async def test_a_receipt_that_names_another_transfer_has_moved(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    bodies: list[Any] = [
        {**CARTON, "channelOrderId": transfer, "status": str(n), "additionalFields": {"receipt_id": "R9"}}
        for n, transfer in enumerate(["STO1", "STO1", "STO2", None, "STO2"])
    ]
    for n, body in enumerate(bodies):
        await isolate.write_isolating(pool, [incoming("channelape", "receipt_confirmation", body, seconds=n)])
    (receipt,) = (await trace.trace(database, "R9"))["documents"]
    assert [version["flags"] for version in receipt["versions"]] == [[], [], ["moved"], [], []]


async def test_by_the_id_of_a_message_or_a_version(database: asyncpg.Connection, stored: list[Any]) -> None:
    assert await keys(database, str(stored[1].message_id)) == {"channelape.stock_transfer_order STO1"}
    version = await database.fetchval("SELECT id FROM crossdock.events WHERE key = 'I1'")
    assert await keys(database, str(version).upper()) == {"apicbase.purchase_order I1"}


async def test_message_ids_that_tell_their_time(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    message_id = UUID(f"{int(at(0).timestamp() * 1000):012x}70008000000000000001")
    message = incoming("apicbase", "purchase_order", {"id": "I7"}, seconds=1, number=message_id.int)
    await isolate.write_isolating(pool, [message])
    assert message_id.version == 7
    assert await keys(database, str(message_id)) == {"apicbase.purchase_order I7"}
    assert await keys(database, "ffffffff-ffff-7fff-8fff-ffffffffffff") == set()


async def test_a_trace_shows_allocations_and_notified_manufacturers(
    database: asyncpg.Connection, stored: list[Any]
) -> None:
    (order,) = (await trace.trace(database, "5295"))["documents"]
    assert order["allocations"] == [
        {
            "order_product_id": "3087",
            "manufacturer_id": "2",
            "rule": "the rest",
            "detail": "5 km",
            "allocated_at": at(7),
        }
    ]
    (record,) = order["records"]
    assert record["announced"] == ["2"]
    assert record["items"] == [{"item": "3087", "manufacturer": "2", "rule": "the rest", "detail": "5 km"}]


@pytest.mark.parametrize("name", ["Q-1", "by id"])
async def test_a_trace_shows_quarantined_messages(database: asyncpg.Connection, stored: list[Any], name: str) -> None:
    result = await trace.trace(database, str(stored[-1].message_id) if name == "by id" else name)
    assert result["documents"] == []
    assert [(row["id"], row["reason"]) for row in result["quarantine"]] == [(stored[-1].message_id, "not JSON")]


@pytest.mark.parametrize("name", ["\0", "%", "'; DROP TABLE x", "\ufffd" * 3000])
async def test_unknown_names_find_nothing(database: asyncpg.Connection, stored: list[Any], name: str) -> None:
    result = await trace.trace(database, name)
    assert (result["documents"], result["quarantine"]) == ([], [])
