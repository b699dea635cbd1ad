"""The view `transfers` is what `transfer_progress` and the newest documents come to, in any order of arrival."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import pool as pools
from storage import transfers
from tests.support.storing import incoming, rows
from tests.support.transfers import computed
from workers.store import isolate
from workers.store.prepare import Incoming

TABLES = "documents, receipts, versions, shipments, transfer_changes, transfer_states"
STORIES = settings(
    max_examples=12,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
SUMS = ("ordered", "shipped", "announced", "received", "damaged", "outstanding")
DATES = ("2023-04-08T00:00:00.000Z", "2023-05-01", "2999-01-01T00:00:00+02:00", "soon", None)
COMPUTE = None
"""A step of a worker: compute some of what has changed, instead of storing a batch."""

quantities = st.sampled_from([0, 1, 2, 5, "1,5"])
dates = st.sampled_from(DATES)
references = st.sampled_from(
    [
        {"channelOrderId": "A", "warehouseOrderId": "WA"},
        {"channelOrderId": "B", "warehouseOrderId": "WA"},
        {"channelOrderId": "A"},
        {"warehouseOrderId": "WA"},
        {"warehouseOrderId": "WB"},
        {},
    ]
)


@st.composite
def lines(draw: st.DrawFn, received: bool = False) -> list[dict[str, Any]]:
    """Up to three lines, of an id, of an article alone, or of one that no order has."""
    chosen: list[dict[str, Any]] = []
    for name in draw(st.lists(st.sampled_from(["1", "2", "BLUE", "9"]), max_size=3)):
        line: dict[str, Any] = {"sku": "BLUE" if name in ("1", "BLUE") else "RED", "quantity": draw(quantities)}
        if name != "BLUE":
            line |= {"id": name, "sku": "OTHER" if name == "9" else line["sku"]}
        if received and draw(st.booleans()):
            line["additionalFields"] = {"received_qty": str(draw(st.integers(0, 6))), "damaged_qty": "1"}
        chosen.append(line)
    return chosen


@st.composite
def orders(draw: st.DrawFn, keys: str = "AB") -> tuple[str, dict[str, Any]]:
    """An order, also one that was cancelled: by its status, which changes nothing, or by quantities of zero."""
    key, cancelled = draw(st.sampled_from(keys)), draw(st.booleans())
    ordered_lines = [
        {"id": number, "sku": sku, "quantity": 0 if cancelled else draw(quantities)}
        for number, sku in (("1", "BLUE"), ("2", "RED"))
    ]
    return "stock_transfer_order", {
        "channelOrderId": key,
        "warehouseOrderId": draw(st.sampled_from([f"W{key}", "WX"])),
        "purchaseOrderNumber": draw(st.sampled_from(["4600000039", None])),
        "purchasedAt": "2023-04-01T00:00:00.000Z",
        "status": "CANCELLED" if cancelled else "OPEN",
        "additionalFields": {
            "deliver_by_date": draw(dates),
            "note_attributes_ship_from": draw(st.sampled_from(["969", "819"])),
            "note_attributes_ship_to": "819",
        },
        "lineItems": ordered_lines[: draw(st.integers(0, 2))],
    }


@st.composite
def cartons(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A copy of a carton, with some of its identifiers: a copy that has both shows that two are the same."""
    number = draw(st.sampled_from("112"))
    names = draw(st.sampled_from([("Sscc",), ("LicensePlate",), ("Sscc", "LicensePlate")]))
    body: dict[str, Any] = {
        "id": draw(st.sampled_from(["S1", "S1", "S/2"])),
        "shippedAt": draw(st.sampled_from(["2023-04-01T15:35:00.000Z", "2023-04-02T15:35:00.000Z", None])),
        **draw(references),
        "additionalFields": {"EstimatedArrivalDate": draw(dates), **{name: f"{name}{number}" for name in names}},
        "lineItems": draw(lines()),
    }
    return draw(st.sampled_from(["ship_confirmation", "advanced_ship_notice"])), body


@st.composite
def moved(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Copies of one document that name different transfers."""
    event, body = draw(st.one_of(cartons(), receipts()))
    rest = {name: value for name, value in body.items() if name not in ("channelOrderId", "warehouseOrderId")}
    return [(event, rest | draw(references)) for _ in range(draw(st.integers(0, 3)))]


@st.composite
def receipts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    body = {
        "id": "S1",
        **draw(references),
        "additionalFields": {"receipt_id": draw(st.sampled_from(["R1", "R2"])), "note_attributes_ship_from": "819"},
        "lineItems": draw(lines(received=True)),
    }
    return "receipt_confirmation", body


Step = list[Incoming] | None


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Incoming], list[Step], list[Step]]:
    """Messages, and the steps of two workers that store each of them at least once, in any order."""
    kinds = st.one_of(orders(), cartons(), cartons(), receipts())
    posts = draw(st.lists(st.tuples(kinds, st.integers(0, 9)), min_size=2, max_size=12))
    posts += [(post, draw(st.integers(0, 9))) for post in draw(moved())]
    posts += [(draw(orders(keys=key)), draw(st.integers(0, 9))) for key in draw(st.sampled_from(["AB", "A", ""]))]
    messages = [
        incoming("channelape", event, body, seconds=float(seconds), number=number)
        for number, ((event, body), seconds) in enumerate(posts, 1)
    ]
    queue = draw(st.permutations([*messages, *draw(st.lists(st.sampled_from(messages), max_size=4))]))
    workers: tuple[list[Step], list[Step]] = ([], [])
    while queue:
        size = draw(st.integers(1, min(4, len(queue))))
        steps = workers[draw(st.integers(0, 1))]
        steps.append(list(queue[:size]))
        if draw(st.booleans()):
            steps.append(COMPUTE)
        queue = queue[size:]
    return messages, *workers


async def work(pool: asyncpg.Pool, steps: Sequence[Step]) -> None:
    for step in steps:
        if step is not COMPUTE:
            await isolate.write_isolating(pool, step)
            continue
        async with pool.acquire() as connection:
            await transfers.apply_changes(connection)


async def expected(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    """The rows of `transfers`, from the other views."""
    current = [dict(row) for row in await pool.fetch("SELECT * FROM crossdock.current_events")]
    lines_by_order: dict[str, list[dict[str, Any]]] = {}
    for row in await rows(pool, "transfer_progress"):
        lines_by_order.setdefault(row["channel_order_id"], []).append(row)
    result = []
    for document in current:
        if document["type"] == "channelape.stock_transfer_order":
            linked = [other for other in current if is_linked(other, document)]
            result.append(transfer(document, lines_by_order.get(document["key"], []), linked))
    return sorted(result, key=lambda row: [str(value) for value in row.values()])


def is_linked(other: dict[str, Any], order: dict[str, Any]) -> bool:
    if other["type"] == order["type"]:
        return False
    body = msgspec.json.decode(other["body"])
    if "channelOrderId" in body:
        return bool(body["channelOrderId"] == order["key"])
    return bool(body.get("warehouseOrderId") == msgspec.json.decode(order["body"])["warehouseOrderId"])


def transfer(order: dict[str, Any], progress: list[dict[str, Any]], linked: list[dict[str, Any]]) -> dict[str, Any]:
    body = msgspec.json.decode(order["body"])
    sums = {name: sum((line[name] or 0 for line in progress), Decimal(0)) for name in SUMS}
    lacks = [line["outstanding"] or 0 for line in progress]
    shipments = [other for other in linked if other["type"] != "channelape.receipt_confirmation"]
    due_at = due(shipments) or moment(body["additionalFields"]["deliver_by_date"])
    if sums["received"] > 0:
        state = "received" if not any(lacks) else "partly_received" if max(lacks) > 0 else "over_received"
    else:
        state = "in_transit" if sums["shipped"] > 0 or sums["announced"] > 0 else "ordered"
    return {
        "account": "acme",
        "channel_order_id": order["key"],
        "purchase_order_number": body["purchaseOrderNumber"],
        "ship_from": body["additionalFields"]["note_attributes_ship_from"],
        "ship_to": body["additionalFields"]["note_attributes_ship_to"],
        **sums,
        "cartons": len({other["key"] for other in linked if counts_as_carton(other, body)}),
        "state": state,
        "due_at": due_at,
        "late": due_at is not None and due_at < datetime.now(UTC) and max(lacks, default=0) > 0,
        "placed_at": body["purchasedAt"],
        "last_activity_at": max(document["received_at"] for document in (order, *linked)),
        "flags": flags(order, progress, linked, body),
    }


def due(shipments: list[dict[str, Any]]) -> datetime | None:
    """The newest date of the newest shipment: the one shipped last, as far as that is known."""
    if not shipments:
        return None

    def shipped(document: dict[str, Any]) -> tuple[Any, ...]:
        sent = msgspec.json.decode(document["body"])["shippedAt"]
        at = document["received_at"] if sent is None else datetime.fromisoformat(sent)
        return at, document["received_at"], document["message_id"]

    newest = max(shipments, key=shipped)["key"].split("/")[0]
    for document in sorted(shipments, key=lambda d: (d["received_at"], d["message_id"]), reverse=True):
        at = moment(msgspec.json.decode(document["body"])["additionalFields"]["EstimatedArrivalDate"])
        if at is not None and document["key"].split("/")[0] == newest:
            return at
    return None


def moment(sent: str | None) -> datetime | None:
    if sent is None or sent == "soon":
        return None
    at = datetime.fromisoformat(sent)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def is_ordered(line: dict[str, Any], order: dict[str, Any]) -> bool:
    """Whether the order has a line with this id, or with this article."""
    ordered_lines = order["lineItems"]
    if "id" in line and any(line["id"] == other["id"] for other in ordered_lines):
        return True
    return any(line["sku"] == other["sku"] for other in ordered_lines)


def counts_as_carton(document: dict[str, Any], order: dict[str, Any]) -> bool:
    moved = msgspec.json.decode(document["body"])["lineItems"]
    return document["type"] == "channelape.ship_confirmation" and any(is_ordered(line, order) for line in moved)


def number(value: Any) -> Decimal | None:
    return None if value == "1,5" else Decimal(value)


def flags(
    order: dict[str, Any], progress: list[dict[str, Any]], linked: list[dict[str, Any]], body: dict[str, Any]
) -> list[str]:
    result: list[str] = list(progress[0]["flags"]) if progress else []
    moved = [
        (document["type"] == "channelape.receipt_confirmation", line)
        for document in linked
        for line in msgspec.json.decode(document["body"])["lineItems"]
    ]

    def received(line: dict[str, Any]) -> Decimal | None:
        return number(line.get("additionalFields", {}).get("received_qty", line["quantity"]))

    def short(line: dict[str, Any]) -> bool:
        arrived, sent = received(line), number(line["quantity"])
        return arrived is not None and sent is not None and arrived < sent

    if any(max(line[n] for n in ("shipped", "announced", "received")) > line["ordered"]
           for line in progress if line["ordered"] is not None):  # fmt: skip
        result.append("more_than_ordered")
    if "not_ordered" not in result and any(
        (received(line) if is_receipt else number(line["quantity"])) and not is_ordered(line, body)
        for is_receipt, line in moved
    ):
        result.append("not_ordered")
    if any(line["received"] > max(line["shipped"], line["announced"]) for line in progress):
        result.append("received_before_shipped")
    if any(is_receipt and short(line) for is_receipt, line in moved):
        result.append("short")
    return result


@pytest.mark.timeout(180)
@STORIES
@given(story=stories())
async def test_any_order_of_arrival_gives_the_same_totals_as_the_other_views(
    database_url: str, story: tuple[list[Incoming], list[Step], list[Step]]
) -> None:
    messages, *workers = story
    pool = await pools.create_pool(database_url, size=2)
    try:
        await pool.execute(f"TRUNCATE {', '.join('crossdock.' + name for name in TABLES.split(', '))}")
        await asyncio.gather(*(work(pool, steps) for steps in workers))
        await computed(pool)
        shown = await rows(pool, "transfers")
        assert shown == await expected(pool)
        await pool.execute(f"TRUNCATE {', '.join('crossdock.' + name for name in TABLES.split(', '))}")
        await work(pool, [sorted(messages, key=lambda m: (m.envelope.received_at, m.message_id))])
        await computed(pool)
        assert await rows(pool, "transfers") == shown
    finally:
        await pool.close()
