"""Lines of shipments, notices and receipts whose ids the transfer order does not have."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import pool as pools
from storage.trace import trace
from tests.support.storing import incoming, rows
from tests.support.transfers import carton, progress, receipt, store, transfer
from workers.store import isolate
from workers.store.prepare import Incoming

TABLES = "documents, receipts, versions, shipments"
SUMS = ("shipped", "announced", "received", "damaged")


def item(id_: str | None, sku: str | None, quantity: Any = 4, **more: str) -> dict[str, Any]:
    named = {name: value for name, value in (("id", id_), ("sku", sku)) if value is not None}
    return {**named, "quantity": quantity, "additionalFields": more}


async def test_an_unknown_id_counts_by_its_sku(pool: asyncpg.Pool) -> None:
    """ChannelApe's example (reports.md, row 4), and documents that number lines their way: all was 0."""
    await store(
        pool,
        ("stock_transfer_order", transfer(item("000010", "A"), item("000020", "B"))),
        ("ship_confirmation", carton("C1", item("000090", "A"), item("20", "B", 3))),
        ("advanced_ship_notice", carton("C1", item("000090", "A"))),
        ("receipt_confirmation", receipt("R1", item("10", "A", 4, received_qty="4", damaged_qty="1"))),
    )
    lines = await progress(pool)
    assert [lines["000010"][name] for name in (*SUMS, "outstanding", "cartons")] == [4, 4, 4, 1, 0, 1]
    assert [lines["000020"][name] for name in (*SUMS, "outstanding", "cartons")] == [3, 0, 0, 0, 4, 1]
    assert [row["flags"] for row in lines.values()] == [[], []]
    assert lines["000010"]["first_shipped_at"] is not None
    assert lines["000010"]["last_received_at"] is not None


async def test_a_known_id_wins_and_unknown_ones_fill_what_is_left(pool: asyncpg.Pool) -> None:
    """The report: three lines of one SKU; 12 received under an id of the notice's own counted as none."""
    await store(
        pool,
        ("stock_transfer_order", transfer(*(item(id_, "A") for id_ in ("10", "20", "30")))),
        ("ship_confirmation", carton("C1", item("20", "A", 3))),
        ("ship_confirmation", carton("C2", item(None, "A", 2), item("77", "A", 6))),
        ("advanced_ship_notice", carton("C1", item("90", "A", 14))),
        ("receipt_confirmation", receipt("R1", item("90", "A", 12, received_qty="12", damaged_qty="5"))),
    )
    lines = await progress(pool)
    assert {name: [row[sum_] for sum_ in SUMS] for name, row in lines.items()} == {
        "10": [4, 4, 4, 4],
        "20": [4, 4, 4, 1],
        "30": [3, 6, 4, 0],
    }
    assert {row["cartons"] for row in lines.values()} == {1, 2}


@pytest.mark.parametrize(
    "stray", [item("90", "X"), item("90", None), item(None, "X"), item("10", "A ", 4) | {"id": "X"}]
)
async def test_a_line_that_the_order_does_not_have_is_flagged(pool: asyncpg.Pool, stray: dict[str, Any]) -> None:
    """Goods that fit nowhere counted nowhere, and nothing said so."""
    is_known = stray.get("sku") == "A "
    for event, body in (
        ("ship_confirmation", carton("C1", item("10", "A"), stray)),
        ("advanced_ship_notice", carton("C1", item("10", "A"), stray)),
        ("receipt_confirmation", receipt("R1", item("10", "A"), stray)),
    ):
        await empty(pool)
        await store(pool, (event, body), ("stock_transfer_order", transfer(item("10", "A"), item("20", "B"))))
        assert [row["flags"] for row in (await progress(pool)).values()] == [[] if is_known else ["not_ordered"]] * 2
        async with pool.acquire() as connection:
            documents = (await trace(connection, "STO1"))["documents"]
        flags = {document["type"].partition(".")[2]: document["versions"][0]["flags"] for document in documents}
        assert flags == {event: [] if is_known else ["not_ordered"], "stock_transfer_order": []}


async def test_lines_with_quantity_zero_are_not_flagged(pool: asyncpg.Pool) -> None:
    nothing = receipt("R1", item("90", "X", 0), item("91", "Y", 5, received_qty="0"))
    await store(pool, ("stock_transfer_order", transfer(item("10", "A"))), ("receipt_confirmation", nothing))
    assert (await progress(pool))["10"]["flags"] == []


async def test_a_newer_order_that_has_the_line_takes_it(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        ("ship_confirmation", carton("C1", item("90", "X"))),
        ("stock_transfer_order", transfer(item("10", "A"))),
        ("stock_transfer_order", transfer(item("10", "A"), item("90", "X"))),
    )
    lines = await progress(pool)
    assert {name: (row["shipped"], row["flags"]) for name, row in lines.items()} == {"10": (0, []), "90": (4, [])}


async def test_lines_by_id_and_by_sku_are_added_up_in_linear_time(pool: asyncpg.Pool) -> None:
    """An order of 3,000 lines with cartons that name its ids and others that number their own took seconds."""
    numbers = range(300)
    own = carton("C1", *(item(f"{n:06}", f"S{n}") for n in numbers))
    others = carton("C2", *(item(f"9{n:06}", f"S{n}") for n in numbers))
    ordered = transfer(*(item(f"{n:06}", f"S{n}", 10) for n in numbers))
    await store(
        pool, ("stock_transfer_order", ordered), ("ship_confirmation", own), ("ship_confirmation", others),
        ("receipt_confirmation", receipt("R1", *own["lineItems"], *others["lineItems"])),
    )  # fmt: skip
    assert {(row["shipped"], row["received"], row["cartons"]) for row in (await progress(pool)).values()} == {(8, 8, 2)}
    query = "EXPLAIN (ANALYZE, TIMING OFF) SELECT * FROM crossdock.transfer_progress"
    plan = "\n".join(row[0] for row in await pool.fetch(query))
    in_vain = [int(count) for count in re.findall(r"Rows Removed by Join Filter: (\d+)", plan)]
    assert sum(in_vain) < 10 * len(numbers), plan


moved = st.lists(
    st.builds(item, st.sampled_from([None, "1", "2", "01", "9"]), st.sampled_from(["A", "B", "X"]), st.integers(0, 9)),
    max_size=4,
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[tuple[str, dict[str, Any]]], Sequence[int]]:
    """An order and what was shipped, announced and received of it, and the order in which it arrives."""
    ordered = [item(id_, draw(st.sampled_from("AB")), draw(st.integers(0, 5))) for id_ in ("1", "2", "3")]
    documents = [("stock_transfer_order", transfer(*ordered[: draw(st.integers(1, 3))]))]
    for number, lines in enumerate(draw(st.lists(moved, max_size=4))):
        event = draw(st.sampled_from(["ship_confirmation", "advanced_ship_notice", "receipt_confirmation"]))
        make = receipt if event == "receipt_confirmation" else carton
        documents.append((event, make(f"N{number}", *lines)))
    return documents, draw(st.permutations(range(len(documents))))


@pytest.mark.timeout(120)
@settings(
    max_examples=15,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories())
async def test_everything_counts_once_or_is_flagged_in_any_order_of_arrival(
    database_url: str, story: tuple[list[tuple[str, dict[str, Any]]], Sequence[int]]
) -> None:
    documents, order = story
    messages = [
        incoming("channelape", event, body, seconds=float(number)) for number, (event, body) in enumerate(documents)
    ]
    pool = await pools.create_pool(database_url, size=1)
    try:
        await empty(pool)
        await write(pool, messages)
        shown = await rows(pool, "transfer_progress")
        await empty(pool)
        for number in order:
            await write(pool, [messages[number]])
        assert await rows(pool, "transfer_progress") == shown
    finally:
        await pool.close()
    ordered = documents[0][1]["lineItems"]
    counted = dict.fromkeys(("shipped", "announced", "received"), Decimal(0))
    strays = False
    names = {"ship_confirmation": "shipped", "advanced_ship_notice": "announced", "receipt_confirmation": "received"}
    for event, body in documents[1:]:
        for line in body["lineItems"]:
            if is_ordered(line, ordered):
                counted[names[event]] += line["quantity"]
            else:
                strays = strays or line["quantity"] != 0
    assert {name: sum(row[name] for row in shown) for name in counted} == counted
    assert {tuple(row["flags"]) for row in shown} == {("not_ordered",) if strays else ()}


def is_ordered(line: dict[str, Any], ordered: Sequence[dict[str, Any]]) -> bool:
    return any(line.get("id") == other["id"] or line["sku"] == other["sku"] for other in ordered)


async def write(pool: asyncpg.Pool, messages: list[Incoming]) -> None:
    await isolate.write_isolating(pool, messages)


async def empty(pool: asyncpg.Pool) -> None:
    await pool.execute(f"TRUNCATE {', '.join('crossdock.' + name for name in TABLES.split(', '))}")
