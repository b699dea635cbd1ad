"""The view `transfers`: what it shows, how it is kept and filled, and that questions about it read no whole table."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from storage import maintenance, migrate, transfers
from tests.support import pipeline
from tests.support.pipeline import until
from tests.support.storing import at, incoming, rows
from tests.support.transfers import BLUE, RED, carton, computed, line, receipt, store, transfer
from workers.store import isolate, metrics
from workers.store import transfers as job

APRIL, MAY = "2023-04-08T00:00:00.000Z", "2023-05-08T00:00:00.000Z"


def order(*lines: dict[str, Any], due: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    return "stock_transfer_order", transfer(*lines, fields={"deliver_by_date": due}, **more)


def shipped(number: str, *lines: dict[str, Any], due: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    return "ship_confirmation", carton(number, *lines, fields={"EstimatedArrivalDate": due}, **more)


def received(number: str, *lines: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
    return "receipt_confirmation", receipt(number, *lines, **more)


async def shown(pool: asyncpg.Pool, *names: str) -> list[Any]:
    row = (await computed(pool))["STO1"]
    return [row[name] for name in names]


async def test_a_transfer_from_its_order_to_its_last_receipt(pool: asyncpg.Pool) -> None:
    names = ("state", "shipped", "announced", "received", "damaged", "outstanding", "cartons")
    await store(pool, order(purchaseOrderNumber="4600000039", purchasedAt="2023-04-01T00:00:00.000Z"))
    assert (await computed(pool))["STO1"] == {
        "account": "acme",
        "channel_order_id": "STO1",
        "purchase_order_number": "4600000039",
        "ship_from": "969",
        "ship_to": "819",
        "ordered": Decimal("150.5"),
        "shipped": 0,
        "announced": 0,
        "received": 0,
        "damaged": 0,
        "outstanding": Decimal("150.5"),
        "cartons": 0,
        "state": "ordered",
        "due_at": None,
        "late": False,
        "placed_at": "2023-04-01T00:00:00.000Z",
        "last_activity_at": at(0),
        "flags": [],
    }
    await store(pool, ("advanced_ship_notice", carton("C1", line(BLUE, 100), line(RED, 50.5))))
    assert await shown(pool, *names) == ["in_transit", 0, Decimal("150.5"), 0, 0, Decimal("150.5"), 0]
    await store(pool, shipped("C1", line(BLUE, 100)), shipped("C2", line(RED, 50.5)))
    assert await shown(pool, *names) == ["in_transit", Decimal("150.5"), Decimal("150.5"), 0, 0, Decimal("150.5"), 2]
    await store(pool, received("R1", line(BLUE, 100, damaged_qty="5")))
    expected = ["partly_received", Decimal("150.5"), Decimal("150.5"), 100, 5, Decimal("50.5"), 2]
    assert await shown(pool, *names) == expected
    await store(pool, received("R2", line(RED, 50.5)))
    assert await shown(pool, "state", "outstanding", "last_activity_at", "flags") == ["received", 0, at(5), []]
    await store(pool, received("R3", line(RED, 1)))
    assert await shown(pool, "state", "outstanding") == ["over_received", -1]


async def test_a_surplus_of_one_article_does_not_offset_a_shortage_of_another(pool: asyncpg.Pool) -> None:
    await store(pool, order(line(BLUE, 10), line(RED, 10), due=APRIL), received("R1", line(BLUE, 20)))
    assert await shown(pool, "state", "outstanding", "late") == ["partly_received", 0, True]
    assert await shown(pool, "flags") == [["more_than_ordered", "received_before_shipped"]]


@pytest.mark.parametrize(
    ("documents", "flag"),
    [
        ([shipped("C1", line(BLUE, 101))], "more_than_ordered"),
        ([shipped("C1", line(BLUE, 5)), shipped("C2", {"id": "77", "sku": "OTHER", "quantity": 1})], "not_ordered"),
        ([received("R1", line(BLUE, 5))], "received_before_shipped"),
        ([shipped("C1", line(BLUE, 5)), received("R1", line(BLUE, 5, received_qty="4"))], "short"),
        ([shipped("C1", line(BLUE, "1,5"))], "unreadable_number"),
        ([shipped("C1", line(BLUE, 5)), received("R1", line(BLUE, 5))], None),
    ],
)
async def test_flags_say_what_the_documents_disagree_on(
    pool: asyncpg.Pool, documents: Sequence[tuple[str, Any]], flag: str | None
) -> None:
    await store(pool, order(), *documents)
    assert await shown(pool, "flags") == [[] if flag is None else [flag]]


async def test_the_due_date_is_the_newest_shipments_or_the_orders(pool: asyncpg.Pool) -> None:
    june, july = datetime(2023, 6, 8, tzinfo=UTC), datetime(2023, 7, 8, tzinfo=UTC)
    await store(pool, order(due="2023-06-08"))
    assert await shown(pool, "due_at", "late") == [june, True]
    await store(pool, shipped("C1", line(BLUE, 1), due="2023-07-08T02:00:00+02:00"))
    assert await shown(pool, "due_at") == [july]
    # A second carton of the shipment does not say when; another shipment, which left later, does.
    await store(pool, shipped("C2", line(BLUE, 1)))
    assert await shown(pool, "due_at") == [july]
    await store(pool, shipped("C1", line(BLUE, 1), id="S2", shippedAt="2026-11-12T08:00:00.000Z", due="2999-01-01"))
    assert await shown(pool, "due_at", "late") == [datetime(2999, 1, 1, tzinfo=UTC), False]
    # What arrives last is not what left last.
    await store(pool, shipped("C1", line(BLUE, 1), id="S0", shippedAt="2026-11-10T08:00:00.000Z", due=APRIL))
    assert await shown(pool, "due_at") == [datetime(2999, 1, 1, tzinfo=UTC)]
    # The newest shipment does not say when any more.
    await store(pool, shipped("C1", line(BLUE, 1), id="S2", shippedAt="2026-11-12T08:00:00.000Z", due="soon"))
    assert await shown(pool, "due_at", "late") == [june, True]


async def test_a_transfer_is_late_until_nothing_is_missing(pool: asyncpg.Pool) -> None:
    await store(pool, order(line(BLUE, 10), due=APRIL), received("R1", line(BLUE, 9)))
    assert await shown(pool, "late") == [True]
    await store(pool, received("R2", line(BLUE, 1)))
    assert await shown(pool, "late") == [False]


async def test_a_document_that_names_another_transfer_leaves_the_one_before(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        order(),
        order(channelOrderId="STO2", warehouseOrderId="W2"),
        shipped("C1", line(BLUE, 60)),
        received("R1", line(BLUE, 60)),
    )
    by_order = await computed(pool)
    assert [by_order[name]["received"] for name in ("STO1", "STO2")] == [60, 0]
    elsewhere = {"channelOrderId": "STO2", "warehouseOrderId": "W2"}
    await store(pool, shipped("C1", line(BLUE, 60), **elsewhere), received("R1", line(BLUE, 60), **elsewhere))
    by_order = await computed(pool)
    assert [by_order[name]["received"] for name in ("STO1", "STO2")] == [0, 60]
    assert [by_order[name]["cartons"] for name in ("STO1", "STO2")] == [0, 1]
    # By the warehouse's number alone, and then by none.
    alone = {"channelOrderId": None, "warehouseOrderId": "W1"}
    await store(pool, shipped("C1", line(BLUE, 60), **alone))
    by_order = await computed(pool)
    assert [by_order[name]["cartons"] for name in ("STO1", "STO2")] == [1, 0]
    await store(pool, shipped("C1", line(BLUE, 60), channelOrderId=None, warehouseOrderId=None))
    assert [row["cartons"] for row in (await computed(pool)).values()] == [0, 0]


async def test_two_documents_that_turn_out_to_be_one_carton_count_once(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        order(),
        shipped("C1", line(BLUE, 60)),
        ("ship_confirmation", carton("", line(BLUE, 60), fields={"Sscc": None, "LicensePlate": "L1"})),
    )
    assert await shown(pool, "shipped", "cartons") == [120, 2]
    both = carton("C1", line(BLUE, 61), fields={"LicensePlate": "L1"})
    await store(pool, ("ship_confirmation", both))
    assert await shown(pool, "shipped", "cartons") == [61, 1]


async def test_documents_that_retention_drops_go_from_their_transfers(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    long_ago = -600 * 86_400
    old = [shipped("C1", line(BLUE, 60)), order(channelOrderId="STO2", warehouseOrderId="W2")]
    batch = [incoming("channelape", *post, seconds=long_ago, number=n) for n, post in enumerate(old, 1)]
    await isolate.write_isolating(pool, [*batch, incoming("channelape", *order(), number=3)])
    assert {name: row["shipped"] for name, row in (await computed(pool)).items()} == {"STO1": 60, "STO2": 0}
    await maintenance.drop_old(database, maintenance.first_of_month(at(0)))
    by_order = await computed(pool)
    assert list(by_order) == ["STO1"]
    assert by_order["STO1"]["shipped"] == 0


async def test_documents_of_an_older_release_are_filled_in_and_an_interrupted_pass_continues(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    array = [{"name": "Sscc", "value": "C1"}, {"name": "EstimatedArrivalDate", "value": MAY}]
    await store(
        pool,
        order(due=APRIL),
        ("ship_confirmation", carton("C1", line(BLUE, 60)) | {"additionalFields": array}),
        order(channelOrderId="STO2", warehouseOrderId="W2", due=APRIL),
        order(channelOrderId="STO3", warehouseOrderId="W3", due="2023-02-31"),
        order(channelOrderId="STO4", warehouseOrderId="W4"),
    )
    expected = await computed(pool)
    # As the migration leaves it: no due time was read, nothing is noted, and one row is of an order that is gone.
    await database.execute("UPDATE crossdock.versions SET due_at = '-infinity'")
    await database.execute("UPDATE crossdock.transfer_states SET document_id = 6, shipped = 7 WHERE document_id = 1")
    await database.execute("DELETE FROM crossdock.transfer_states WHERE document_id < 6")
    await database.execute("UPDATE crossdock.transfer_fill SET next_id = 1, last_id = 7, finished_at = NULL")
    assert (await transfers.progress(database)).filled == 0
    assert await transfers.fill(database, 2) == (2, 1)
    assert 0 < (await transfers.progress(database)).filled < 1
    crash = database.transaction()
    await crash.start()
    assert await transfers.fill(database, 2) == (2, 2)
    await crash.rollback()
    assert [await transfers.fill(database, 2) for _ in range(3)] == [(2, 2), (1, 1), None]
    assert (await transfers.progress(database)).filled == 1
    assert await computed(pool) == expected
    assert {name: row["due_at"] and row["due_at"].month for name, row in expected.items()} == {
        "STO1": 5,
        "STO2": 4,
        "STO3": None,
        "STO4": None,
    }
    assert await transfers.fill(database) is None
    # A day later another pass repairs what changed without a note.
    await database.execute("UPDATE crossdock.transfer_states SET shipped = 7")
    await database.execute("UPDATE crossdock.transfer_fill SET finished_at = now() - interval '25 hours'")
    assert [await transfers.fill(database) for _ in range(2)] == [None, (5, 4)]
    assert await computed(pool) == expected


UNDO = """
DROP TRIGGER documents_deleted ON crossdock.documents;
DROP INDEX crossdock.documents_warehouse_ref_alone;
DROP FUNCTION crossdock.note_deleted_documents, crossdock.transfers_of_documents, crossdock.due_date;
DROP TABLE crossdock.transfer_states, crossdock.transfer_changes, crossdock.transfer_fill CASCADE;
ALTER TABLE crossdock.versions DROP COLUMN due_at;
DELETE FROM crossdock.migrations WHERE name = '0120_transfers';
"""


async def test_a_database_of_an_older_release_is_filled_in_after_the_migration(
    pool: asyncpg.Pool, database: asyncpg.Connection, database_url: str
) -> None:
    await store(pool, order(due=APRIL), shipped("C1", line(BLUE, 60), due=MAY), received("R1", line(BLUE, 60)))
    expected = await computed(pool)
    await database.execute(UNDO)
    assert await migrate.migrate(database_url) == ["0120_transfers"]
    assert await computed(pool) == {}
    assert [await transfers.fill(database) for _ in range(2)] == [(3, 1), None]
    assert await computed(pool) == expected
    # What the older release stores until the last of its processes has ended has the default as well.
    await database.execute("UPDATE crossdock.versions SET due_at = DEFAULT")
    assert await database.fetchval("SELECT every(due_at = '-infinity') FROM crossdock.versions")


async def test_one_process_at_a_time_computes_and_the_next_sees_what_it_saw(pool: asyncpg.Pool) -> None:
    """Otherwise an older computation could replace a newer one."""
    await store(pool, order())
    async with pool.acquire() as first, pool.acquire() as second:
        async with first.transaction():
            assert await transfers.apply_changes(first) == (1, 1)
            await store(pool, shipped("C1", line(BLUE, 60)))
            assert await transfers.apply_changes(second) is None
            assert await transfers.fill(second) is None
        assert await transfers.apply_changes(second) == (1, 1)
    assert await shown(pool, "shipped") == [60]


async def test_a_change_is_noted_if_and_only_if_its_transaction_commits_and_repeats_are_not(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    noted = "SELECT coalesce(array_agg(cardinality(document_ids)), '{}') FROM crossdock.transfer_changes"
    await isolate.control(pool)
    assert await database.fetchval(noted) == []
    message = incoming("channelape", *order())
    await isolate.write_isolating(pool, [message, incoming("apicbase", "purchase_order", {"id": "1"}, seconds=1)])
    assert await database.fetchval(noted) == [1]
    await isolate.write_isolating(pool, [message])
    await isolate.write_isolating(pool, [incoming("channelape", *order(), seconds=9)])
    assert await database.fetchval(noted) == [1]


async def test_changes_noted_by_a_worker_that_died_are_computed_by_the_next(
    amqp_url: str, database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, order(), shipped("C1", line(BLUE, 60)))  # nothing computes here
    await database.execute("UPDATE crossdock.transfer_changes SET noted_at = now() - interval '90 seconds'")
    assert (await transfers.progress(database)).behind_seconds >= 90
    async with pipeline.running(pipeline.store(amqp_url, database_url)):
        await until(lambda: database.fetchval("SELECT shipped = 60 FROM crossdock.transfers"))
    assert (await transfers.progress(database)).behind_seconds == 0


async def test_a_change_that_cannot_be_computed_keeps_no_other_waiting(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(transfers, "RETRY_AFTER", timedelta(seconds=0.1))
    monkeypatch.setattr(job, "INTERVAL", 0.01)
    monkeypatch.setattr(job, "IDLE_INTERVAL", 0.01)
    await store(pool, order())
    await store(pool, order(channelOrderId="STO2", warehouseOrderId="W2"))
    await database.execute(
        "ALTER TABLE crossdock.transfer_states ADD CONSTRAINT broken CHECK (channel_order_id <> 'STO1')"
    )

    async def own() -> asyncpg.Pool:
        return pool

    running = asyncio.ensure_future(job.keep_transfers(own, lambda: False, asyncio.Event()))
    try:
        await until(lambda: database.fetchval("SELECT EXISTS (SELECT FROM crossdock.transfers)"))
        assert [row["channel_order_id"] for row in await rows(database, "transfers")] == ["STO2"]
        await database.execute("ALTER TABLE crossdock.transfer_states DROP CONSTRAINT broken")
        await until(lambda: database.fetchval("SELECT count(*) = 2 FROM crossdock.transfers"))
        await until(lambda: database.fetchval("SELECT count(*) = 0 FROM crossdock.transfer_changes"))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_document_that_cannot_be_filled_in_keeps_no_other_waiting(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older release stored three orders; the second one's row is refused, whatever is tried."""
    for name in ("RETRY_INTERVAL", "INTERVAL", "IDLE_INTERVAL", "FILL_INTERVAL"):
        monkeypatch.setattr(job, name, 0.01)
    for number in "123":
        await store(pool, order(channelOrderId=f"STO{number}", warehouseOrderId=f"W{number}"))
    await database.execute(
        """DELETE FROM crossdock.transfer_changes;
           UPDATE crossdock.transfer_fill SET next_id = 1, last_id = 3, finished_at = NULL;
           ALTER TABLE crossdock.transfer_states ADD CONSTRAINT broken CHECK (channel_order_id <> 'STO2')"""
    )

    async def own() -> asyncpg.Pool:
        return pool

    running = asyncio.ensure_future(job.keep_transfers(own, lambda: False, asyncio.Event()))
    try:
        await until(lambda: database.fetchval("SELECT finished_at IS NOT NULL FROM crossdock.transfer_fill"))
        filled = [row["channel_order_id"] for row in await rows(database, "transfers")]
        assert sorted(filled) == ["STO1", "STO3"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_two_store_workers_keep_the_view_and_its_metrics(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    async with (
        pipeline.door(amqp_url) as door,
        pipeline.running(pipeline.store(amqp_url, database_url)),
        pipeline.running(pipeline.store(amqp_url, database_url)),
    ):
        for event in ("receipt_confirmation", "ship_confirmation", "advanced_ship_notice", "stock_transfer_order"):
            assert (await door.post("channelape", event))[0] == 200
        await until(lambda: database.fetchval("SELECT state = 'received' FROM crossdock.transfers"))
        assert not await transfers.late(database)
        await database.execute("UPDATE crossdock.transfer_states SET missing = 1")
        [late] = await transfers.late(database)
        assert (late.account, late.transfers) == ("rothys", 1)
        assert late.longest_seconds > 86_400
        pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)

        async def own() -> asyncpg.Pool:
            return pool

        watching = asyncio.ensure_future(job.watch_transfers(own))
        try:
            await until(lambda: metrics.TRANSFERS_LATE.labels("rothys")._value.get() == 1)
            await until(lambda: metrics.TRANSFERS_BEHIND._value.get() == 0)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await pool.close()


QUESTIONS = {
    "the newest": "ORDER BY last_activity_at DESC LIMIT 50",
    "the newest orders": "ORDER BY placed_at DESC LIMIT 50",
    "outstanding": "WHERE outstanding > 0 ORDER BY last_activity_at DESC LIMIT 50",
    "late": "WHERE late",
    "the latest": "WHERE late ORDER BY due_at LIMIT 50",
    "from a location": "WHERE ship_from = '7' ORDER BY last_activity_at DESC LIMIT 50",
    "to a location": "WHERE ship_to = '7' ORDER BY last_activity_at DESC LIMIT 50",
    "an order": "WHERE account = 'acme' AND channel_order_id = 'STO77'",
    "a purchase order": "WHERE purchase_order_number = '77'",
}


async def test_questions_read_an_index_and_sort_nothing(database: asyncpg.Connection) -> None:
    await database.execute(
        "INSERT INTO crossdock.transfer_states "
        "SELECT n, 'acme', 'STO' || n, n::text, (n % 50)::text, (n % 70)::text, 10, 0, 0, 0, 0, (n % 9 = 0)::int, "
        "(n % 100 = 0)::int, 0, 'ordered', now() - interval '1 day' + n * interval '1 minute', '2023-04-' || n, "
        "now() - n * interval '1 minute', '{}' FROM generate_series(1, 20000) n"
    )
    await database.execute("VACUUM ANALYZE crossdock.transfer_states")
    for question, rest in QUESTIONS.items():
        plan = "\n".join(row[0] for row in await database.fetch(f"EXPLAIN SELECT * FROM crossdock.transfers {rest}"))  # noqa: S608 - ours
        assert "Index" in plan, question
        assert not re.findall(r"Seq Scan|Sort", plan), f"{question}:\n{plan}"
    count = "\n".join(
        row[0]
        for row in await database.fetch(
            "EXPLAIN SELECT account, count(*) FROM crossdock.transfers WHERE late GROUP BY 1"
        )
    )
    assert "Index Only Scan using transfer_states_account_late" in count


async def test_computing_one_transfer_reads_no_table_from_end_to_end(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    batch = []
    for n in range(300):
        own = {"channelOrderId": f"STO{n}", "warehouseOrderId": f"W{n}", "id": f"S{n}"}
        batch += [
            incoming("channelape", "stock_transfer_order", transfer(**own), seconds=n * 10),
            incoming("channelape", "ship_confirmation", carton("C1", line(BLUE, 60), **own), seconds=n * 10 + 1),
        ]
    await isolate.write_isolating(pool, batch)
    await database.execute("ANALYZE")
    id_ = await database.fetchval("SELECT id FROM crossdock.documents WHERE key = 'STO7'")
    async with database.transaction():
        assert await database.fetch("SELECT * FROM crossdock.transfers_of_documents($1)", [id_, id_ + 1])
        assert await database.fetch("SELECT * FROM crossdock.compute_transfers($1)", [id_])
        scans = await database.fetch(
            "SELECT relname FROM pg_stat_xact_user_tables WHERE schemaname = 'crossdock' AND seq_tup_read > 100"
        )
    assert scans == []
