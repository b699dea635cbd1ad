"""The views of the contract, over documents whose numbers can be added up by hand."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import msgspec
import pytest

from schemas import registry
from tests.support.storing import incoming, rows
from tests.support.transfers import BLUE, DESTINATION, ORIGIN, RED, carton, line, progress, receipt, store, transfer
from workers.store import isolate


async def test_transfer_progress_over_cartons_their_asns_and_partial_receipts_with_damage(pool: asyncpg.Pool) -> None:
    first = carton("C1", line(BLUE, 60), line(RED, 50.5))
    second = carton("C2", line(BLUE, 40), shippedAt="2026-11-10T23:30:00.000-05:00")
    await store(
        pool,
        ("stock_transfer_order", transfer()),
        ("ship_confirmation", first),
        ("ship_confirmation", second),
        ("advanced_ship_notice", first),
        ("advanced_ship_notice", second),
        ("receipt_confirmation", receipt("R1", line(BLUE, 60, received_qty="55", damaged_qty="5"))),
        (
            "receipt_confirmation",
            receipt("R2", line(BLUE, 40, received_qty="30.25", damaged_qty="0"), when="2026-11-14T09:00:00"),
        ),
        ("receipt_confirmation", receipt("R3", line(RED, 50.5))),
    )
    lines = await progress(pool)
    assert lines["000011"] == {
        "account": "acme",
        "channel_order_id": "STO1",
        "line_id": "000011",
        "sku": "002_110_BLUE",
        "ordered": Decimal(100),
        "shipped": Decimal(100),
        "announced": Decimal(100),
        "received": Decimal("85.25"),
        "damaged": Decimal(5),
        "outstanding": Decimal("14.75"),
        "cartons": 2,
        "first_shipped_at": datetime(2026, 11, 11, 4, 30, tzinfo=UTC),
        "last_received_at": datetime(2026, 11, 14, 9),  # noqa: DTZ001 - the warehouse's clock
        "flags": [],
    }
    red = lines["000012"]
    assert [red[name] for name in ("ordered", "shipped", "announced", "received", "damaged", "outstanding")] == [
        Decimal("50.5"),
        Decimal("50.5"),
        Decimal("50.5"),
        Decimal("50.5"),
        0,
        0,
    ]
    assert (red["cartons"], red["last_received_at"]) == (1, datetime(2026, 11, 12, 10, 0, 0, 500_000))  # noqa: DTZ001


async def test_progress_sums_the_newest_version_of_each_carton_and_receipt(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        ("stock_transfer_order", transfer()),
        ("ship_confirmation", carton("C1", line(BLUE, 60))),
        ("ship_confirmation", carton("C1", line(BLUE, 61))),
        ("ship_confirmation", carton("C1", line(BLUE, 61))),
        ("receipt_confirmation", receipt("R1", line(BLUE, 60, received_qty="1"))),
        ("receipt_confirmation", receipt("R1", line(BLUE, 60, received_qty="2"))),
    )
    blue = (await progress(pool))["000011"]
    assert (blue["shipped"], blue["received"], blue["cartons"]) == (61, 2, 1)


async def test_progress_before_anything_moved_and_of_the_newest_order(pool: asyncpg.Pool) -> None:
    await store(pool, ("stock_transfer_order", transfer(line(BLUE, 1))), ("stock_transfer_order", transfer()))
    lines = await progress(pool)
    assert {name: row["ordered"] for name, row in lines.items()} == {"000011": 100, "000012": Decimal("50.5")}
    blue = lines["000011"]
    assert (blue["shipped"], blue["received"], blue["outstanding"], blue["cartons"]) == (0, 0, 100, 0)
    assert blue["first_shipped_at"] is None
    assert blue["last_received_at"] is None


async def test_documents_without_an_order_number_are_found_by_the_warehouses(pool: asyncpg.Pool) -> None:
    mine = carton("C1", line(BLUE, 60), channelOrderId=None)
    others = carton("C2", line(BLUE, 7), channelOrderId="STO2")
    nobodys = carton("C3", line(BLUE, 8), channelOrderId=None, warehouseOrderId="W9")
    await store(
        pool,
        ("stock_transfer_order", transfer()),
        *(("ship_confirmation", body) for body in (mine, others, nobodys)),
    )
    assert (await progress(pool))["000011"]["shipped"] == 60


async def test_an_order_that_only_the_warehouse_numbered(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        ("stock_transfer_order", transfer(channelOrderId=None)),
        ("ship_confirmation", carton("C1", line(BLUE, 60), channelOrderId="")),
    )
    blue = (await progress(pool))["000011"]
    assert (blue["channel_order_id"], blue["shipped"]) == ("W1", 60)


async def test_documents_of_other_accounts_do_not_count(pool: asyncpg.Pool) -> None:
    await store(pool, ("stock_transfer_order", transfer()))
    other = incoming("channelape", "ship_confirmation", carton("C1", line(BLUE, 60)), seconds=9, account="other")
    await isolate.write_isolating(pool, [other])
    assert (await progress(pool))["000011"]["shipped"] == 0


async def test_lines_without_ids_go_by_their_sku_and_count_once(pool: asyncpg.Pool) -> None:
    """The order's two lines share a sku; one of the carton's has no id, and two have ids of nobody's."""
    same = {"sku": "SAME", "quantity": 10}
    await store(
        pool,
        ("stock_transfer_order", transfer({"id": "1", **same}, {"id": "2", **same}, {"sku": "BARE", "quantity": 5})),
        (
            "ship_confirmation",
            carton("C1", same, {"id": "2", **same}, {"id": "77", **same}, {"id": "8", "sku": "BARE", "quantity": 4}),
        ),
    )
    assert {name: row["shipped"] for name, row in (await progress(pool)).items()} == {"1": 10, "2": 20, "BARE": 4}


async def test_lines_of_one_sku_are_filled_one_after_the_other(pool: asyncpg.Pool) -> None:
    """ChannelApe's own transfer-order example (reports.md, row 4): one SKU on two lines, shipped by SKU alone."""
    same = {"sku": "SAME"}
    await store(
        pool,
        ("stock_transfer_order", transfer(*({"id": str(n), "quantity": 4, **same} for n in (1, 2, 3)))),
        ("ship_confirmation", carton("C1", {"quantity": 5, **same})),
        ("ship_confirmation", carton("C2", {"quantity": 2, **same}, {"id": "2", "quantity": 3, **same})),
        ("advanced_ship_notice", carton("C1", {"quantity": 20, **same})),
        ("receipt_confirmation", receipt("R1", {"quantity": 8, "additionalFields": {"damaged_qty": "5"}, **same})),
    )
    lines = await progress(pool)
    assert {
        name: [row[of] for of in ("shipped", "announced", "received", "damaged", "outstanding", "cartons")]
        for name, row in lines.items()
    } == {"1": [4, 4, 4, 4, 0, 2], "2": [4, 4, 4, 1, 0, 2], "3": [2, 12, 0, 0, 4, 2]}


async def test_when_goods_were_received_as_well_as_it_is_known(pool: asyncpg.Pool) -> None:
    """Findings, table: `last_received_at` was null although something had been received."""
    dates = {"actual_received_date": "0001-01-01T00:00:00", "actual_arrival_date": "2026-11-09T23:00:00"}
    received = receipt("R1", line(BLUE, 1), fields=dates)
    await store(pool, ("stock_transfer_order", transfer()), ("receipt_confirmation", received))
    assert (await progress(pool))["000011"]["last_received_at"] == datetime(2026, 11, 9, 23)  # noqa: DTZ001
    bare = receipt("R2", line(BLUE, 1), fields={"actual_received_date": "null"})
    await store(pool, ("receipt_confirmation", bare))
    lines = await progress(pool)
    assert lines["000011"]["last_received_at"] == datetime(2026, 11, 10, 12, 0, 2)  # noqa: DTZ001 - when we heard
    assert lines["000012"]["last_received_at"] is None


async def test_an_unreadable_quantity_counts_as_nothing_and_is_flagged(pool: asyncpg.Pool) -> None:
    """Cellarion#437: "12,50" is neither 12.5 nor 1250, and what was announced does not stand in for it."""
    await store(
        pool,
        ("stock_transfer_order", transfer()),
        ("receipt_confirmation", receipt("R1", line(BLUE, 60, received_qty="12,50"))),
    )
    blue = (await progress(pool))["000011"]
    assert (blue["received"], blue["flags"]) == (0, ["unreadable_number"])
    assert ["unreadable_number"] in [row["flags"] for row in await rows(pool, "events")]


async def test_blanks_link_nothing_and_part_nothing(pool: asyncpg.Pool) -> None:
    """magento2#10080, viadot#1085: order numbers, line ids and SKUs with blanks at their ends."""
    await store(
        pool,
        ("stock_transfer_order", transfer({"id": " 1", "sku": "A ", "quantity": 5}, channelOrderId="STO1 ")),
        ("ship_confirmation", carton(" C1", {"id": "1", "sku": "A", "quantity": 2}, channelOrderId="\u00a0STO1")),
        ("ship_confirmation", carton("C1 ", {"id": "1 ", "sku": "A", "quantity": 3})),
        ("receipt_confirmation", receipt("R1", {"sku": "A\u200b", "quantity": 1}, channelOrderId="STO1\t")),
    )
    [line_] = (await progress(pool)).values()
    assert [line_[name] for name in ("line_id", "sku", "shipped", "received", "cartons")] == ["1", "A", 3, 1, 1]


@pytest.mark.parametrize("swapped", [True, False])
async def test_a_shipment_against_the_orders_direction_is_flagged(pool: asyncpg.Pool, swapped: bool) -> None:
    ends = (DESTINATION, ORIGIN) if swapped else (ORIGIN, DESTINATION)
    fields = dict(zip(("note_attributes_ship_from", "note_attributes_ship_to"), ends, strict=True))
    shipped = carton("C1", line(BLUE, 60), fields=fields)
    await store(pool, ("ship_confirmation", shipped))
    assert (await rows(pool, "events"))[0]["flags"] == []  # the transfer order isn't there yet
    await store(pool, ("stock_transfer_order", transfer()))
    expected = ["direction_flipped"] if swapped else []
    flags = {row["type"]: row["flags"] for row in await rows(pool, "events")}
    assert flags == {"channelape.ship_confirmation": expected, "channelape.stock_transfer_order": []}
    assert (await progress(pool))["000011"]["flags"] == expected


async def test_direction_flipped_by_the_warehouses_number(pool: asyncpg.Pool) -> None:
    fields = {"note_attributes_ship_from": DESTINATION, "note_attributes_ship_to": ORIGIN}
    shipped = carton("C1", line(BLUE, 60), channelOrderId=None, fields=fields)
    await store(pool, ("stock_transfer_order", transfer()), ("ship_confirmation", shipped))
    assert (await progress(pool))["000011"]["flags"] == ["direction_flipped"]
    assert ["direction_flipped"] in [row["flags"] for row in await rows(pool, "current_events")]


async def test_progress_of_the_platforms_own_examples(pool: asyncpg.Pool) -> None:
    names = [(event.name, event.examples[0]) for event in registry.platforms()["channelape"].events]
    await store(pool, *((event, registry.example("channelape", name)) for event, name in names))
    lines = await progress(pool)
    assert [lines["000011"][name] for name in ("ordered", "shipped", "announced", "received", "damaged")] == [
        *[100] * 4,
        0,
    ]
    assert lines["000011"]["flags"] == ["direction_flipped"]  # the documentation swaps 969 and 819
    assert lines["000011"]["channel_order_id"] == "STO4600000039"


async def test_current_events_is_the_newest_version_of_each_key(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        ("stock_transfer_order", transfer(status="OPEN")),
        ("stock_transfer_order", transfer(status="SHIPPED")),
        ("ship_confirmation", carton("C1", line(BLUE, 1))),
    )
    assert len(await rows(pool, "events")) == 3
    current = {row["type"]: row for row in await rows(pool, "current_events")}
    assert current["channelape.stock_transfer_order"]["version"] == 2
    assert current["channelape.stock_transfer_order"]["flags"] == ["revised"]
    assert msgspec.json.decode(current["channelape.stock_transfer_order"]["body"])["status"] == "SHIPPED"
    assert current["channelape.ship_confirmation"]["key"] == "S1/C1"


SELECTIVE = {
    "one transfer order": "SELECT * FROM crossdock.transfer_progress "
    "WHERE account = 'acme' AND channel_order_id = 'STO77'",
    "one key": "SELECT * FROM crossdock.events WHERE key = 'STO77'",
    "the newest of a key": "SELECT * FROM crossdock.current_events WHERE key = 'STO77' AND account = 'acme'",
    "one event": "SELECT * FROM crossdock.events WHERE id = '00000000-0000-0000-0000-000000000077'",
    "one order": "SELECT * FROM crossdock.orders WHERE order_number = 'PO77'",
}


@pytest.mark.parametrize("what", SELECTIVE)
async def test_looking_for_one_thing_reads_no_table_from_end_to_end(
    pool: asyncpg.Pool, database: asyncpg.Connection, what: str
) -> None:
    batch = []
    for n in range(400):
        own = {"channelOrderId": f"STO{n}", "warehouseOrderId": f"W{n}", "id": f"S{n}"}
        shipped = carton("C1", line(BLUE, 60), **own)
        batch += [
            incoming("channelape", "stock_transfer_order", transfer(**own), seconds=n * 10),
            incoming("channelape", "ship_confirmation", shipped, seconds=n * 10 + 1),
            incoming("apicbase", "purchase_order", {"id": f"I{n}", "order_number": f"PO{n}"}, seconds=n * 10 + 2),
        ]
    await isolate.write_isolating(pool, batch)
    await database.execute("ANALYZE")
    plan = "\n".join(row[0] for row in await database.fetch(f"EXPLAIN {SELECTIVE[what]}"))
    assert "Index" in plan
    full = re.findall(r"Seq Scan on (?:documents|(?:versions|receipts)_2026_11)\b.*", plan)
    assert not full, plan
