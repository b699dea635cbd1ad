"""Any order, repetition, splitting and interleaving of the same deliveries gives exactly the same rows."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.allocation import ItemAllocation
from storage import pool as pools
from tests.support.storing import everything, incoming, rows, unreadable
from workers.store import isolate
from workers.store.prepare import Incoming
from workers.store.versions import Receipt, derive_versions

HOUR = 3600.0
TABLES = "documents, receipts, versions, allocation_records, allocated_items, quarantined"
DELIVERIES = settings(
    max_examples=50,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

moments = st.one_of(
    st.integers(0, 12).map(float),  # crowded, so that some are equal
    st.sampled_from([20 * HOUR, 24 * HOUR, 25 * HOUR, 44 * HOUR, 49 * HOUR, 70 * HOUR]),
)


def _transfer(key: str, content: int, spaced: bool) -> tuple[str, str, bytes]:
    order = {
        "channelOrderId": key,
        "warehouseOrderId": f"W{key}",
        "additionalFields": {"note_attributes_ship_from": "1", "note_attributes_ship_to": "2"},
        "lineItems": [{"id": "000010", "sku": "A", "quantity": content}],
    }
    return "channelape", "stock_transfer_order", _json(order, spaced)


def _receipt(key: str, content: int, spaced: bool) -> tuple[str, str, bytes]:
    receipt = {
        "id": "1",
        "channelOrderId": key,
        "additionalFields": {
            "receipt_id": f"R{key}",
            "note_attributes_ship_from": str(content),
            "note_attributes_ship_to": "1",
        },
        "lineItems": [{"id": "000010", "sku": "A", "quantity": 9, "additionalFields": {"received_qty": str(content)}}],
    }
    return "channelape", "receipt_confirmation", _json(receipt, spaced)


def _order(key: str, content: int, spaced: bool) -> tuple[str, str, bytes]:
    number = key if spaced else f'"{key}"'  # without quotes it is the broken JSON of the documentation
    items = f'[{{"skuNr": "A&B", "itemQuantity": {content}, "itemPrice": 1.10, "itemTotal": 2.0}}]'
    return "ecomnow", "notification", f'{{"orderNo": {number}, "type": "new_order", "items": {items}}}'.encode()


def _cancellation(key: str, content: int, spaced: bool) -> tuple[str, str, bytes]:
    items = [{"skuNr": "A&B", "itemQuantity": content}, {"skuNr": "C", "itemQuantity": 1}]
    return "ecomnow", "notification", _json({"orderNo": key, "type": "order_cancellation", "items": items}, spaced)


def _purchase(key: str, content: int, spaced: bool) -> tuple[str, str, bytes]:
    package = {"quantity_ordered": content, "supplier_package": {"supplier_article_number": "ART-1"}}
    return "apicbase", "purchase_order", _json({"id": key, "order_number": "PO", "packages": [package]}, spaced)


def _json(value: Any, spaced: bool) -> bytes:
    raw = msgspec.json.encode(value)
    return msgspec.json.format(raw, indent=2) if spaced else raw


posts = st.tuples(
    st.sampled_from([_transfer, _receipt, _order, _cancellation, _purchase]),
    st.sampled_from(["1000-1", "1000-2"]),
    st.integers(1, 3),
    st.booleans(),
    moments,
)


def _messages(drawn: Sequence[Any]) -> list[Incoming]:
    messages = []
    for number, (kind, key, content, spaced, seconds) in enumerate(drawn, 1):
        platform, event, raw = kind(key, content, spaced)
        messages.append(incoming(platform, event, raw, seconds=seconds, number=number))
    return messages


def _requests(drawn: Sequence[Any], first: int) -> list[Incoming]:
    """uStore: the request, and the route worker's note on it under the same id."""
    messages = []
    for number, (content, manufacturer, noted, seconds) in enumerate(drawn, first):
        items = [{"@id": str(item), "Quantities": {"TotalUnits": "1"}} for item in range(1, content + 1)]
        body = {"Order": {"@OrderId": "77", "OrderProducts": {"OrderProduct": items}}}
        message = incoming("ustore", "manufacturer_allocation", body, seconds=seconds, number=number)
        messages.append(message)
        if noted:
            places = [ItemAllocation(str(item), manufacturer, "the rest") for item in range(1, content + 1)]
            messages.append(msgspec.structs.replace(message, allocations=places))
    return messages


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Incoming], list[list[Incoming]], list[list[Incoming]]]:
    """Messages, and two workers' batches that deliver each at least once."""
    messages = _messages(draw(st.lists(posts, max_size=14)))
    orders = st.tuples(st.integers(1, 2), st.sampled_from(["2", "5"]), st.booleans(), moments)
    messages += _requests(draw(st.lists(orders, max_size=4)), len(messages) + 1)
    messages += [unreadable(b"\0 no order", "no order", number=900 + n) for n in range(draw(st.integers(0, 1)))]
    if not messages:
        return [], [], []
    extra = draw(st.lists(st.sampled_from(messages), max_size=6))
    queue = draw(st.permutations([*messages, *extra]))
    workers: tuple[list[list[Incoming]], list[list[Incoming]]] = ([], [])
    while queue:
        size = draw(st.integers(1, len(queue)))
        workers[draw(st.integers(0, 1))].append(list(queue[:size]))
        queue = queue[size:]
    return messages, *workers


async def _empty(pool: asyncpg.Pool) -> None:
    await pool.execute(f"TRUNCATE {', '.join('crossdock.' + name for name in TABLES.split(', '))}")


async def _work(pool: asyncpg.Pool, batches: list[list[Incoming]]) -> None:
    for batch in batches:
        await isolate.write_isolating(pool, batch)


@pytest.mark.timeout(180)
@DELIVERIES
@given(drawn=deliveries())
async def test_any_order_repetition_batching_and_interleaving_gives_the_same_rows(
    database_url: str, drawn: tuple[list[Incoming], list[list[Incoming]], list[list[Incoming]]]
) -> None:
    messages, first, second = drawn
    pool = await pools.create_pool(database_url, size=2)
    try:
        await _empty(pool)
        await _work(
            pool, [[message] for message in sorted(messages, key=lambda m: (m.envelope.received_at, m.message_id))]
        )
        in_order = await everything(pool)
        await _empty(pool)
        await asyncio.gather(_work(pool, first), _work(pool, second))
        assert await everything(pool) == in_order
        _agree(messages, await rows(pool, "events"))
    finally:
        await pool.close()


def _agree(messages: Sequence[Incoming], events: Sequence[dict[str, Any]]) -> None:
    """The rows are those of the pure function over all receipts."""
    receipts: dict[tuple[str, str, str, str], set[Receipt]] = {}
    windows: dict[tuple[str, str, str, str], float | None] = {}
    raws = {}
    for message in messages:
        if message.document is not None:
            reading, envelope = message.document.reading, message.envelope
            key = (envelope.platform, envelope.account, reading.type, reading.key)
            receipts.setdefault(key, set()).add(
                Receipt(envelope.received_at, message.message_id, message.document.digest)
            )
            windows[key] = reading.repeat_window
            raws[message.message_id] = message.raw
    expected = {
        run.id: (
            run.number,
            run.first.received_at,
            run.times_received,
            run.last_received_at,
            raws[run.first.message_id],
        )
        for key, posted in receipts.items()
        for run in derive_versions(key, posted, windows[key])
    }
    assert {
        row["id"]: (row["version"], row["received_at"], row["times_received"], row["last_received_at"], row["raw"])
        for row in events
    } == expected
