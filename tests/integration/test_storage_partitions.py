"""Months made ahead, rows without a month, months dropped by retention."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from schemas.allocation import ItemAllocation
from storage import maintenance
from storage.pool import create_pool
from tests.support.pipeline import until
from tests.support.storing import START, everything, incoming, rows, unreadable
from workers.store import isolate
from workers.store.prepare import Incoming

DAY = 86_400.0
TABLES = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1"


async def months(database: asyncpg.Connection, parent: str = "receipts") -> list[str]:
    names = [row["name"] for row in await database.fetch(TABLES, f"crossdock.{parent}")]
    return [name.removeprefix(f"crossdock.{parent}_") for name in names]


async def count(database: asyncpg.Connection, table: str) -> int:
    return int(await database.fetchval(f"SELECT count(*) FROM crossdock.{table}"))  # noqa: S608 - ours


async def bare(database: asyncpg.Connection) -> None:
    """As on the first day: no month has been made."""
    for parent in maintenance.PARENTS:
        for name in await months(database, parent):
            if name != "default":
                await database.execute(f"DROP TABLE crossdock.{parent}_{name}")


def order(key: str, days: float) -> Incoming:
    return incoming(
        "apicbase", "purchase_order", {"id": key}, seconds=days * DAY, number=int(days * 1000) + hash_of(key)
    )


def hash_of(key: str) -> int:
    return int.from_bytes(key.encode(), "big") << 64


async def test_migrations_make_this_month_and_the_next_ones(database: asyncpg.Connection) -> None:
    this = datetime.now(UTC)
    following = maintenance.first_of_month(maintenance.first_of_month(this) + timedelta(days=32))
    for parent in maintenance.PARENTS:
        assert {f"{month:%Y_%m}" for month in (this, following)} < set(await months(database, parent))


async def test_months_ahead_over_the_new_year_are_made_once(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await bare(database)
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    changes = await maintenance.keep(pool, retention_days=400, now=now)
    assert changes == [f"made {p} for {m}" for m in ("2026-12", "2027-01", "2027-02") for p in maintenance.PARENTS]
    assert await months(database) == ["2026_12", "2027_01", "2027_02", "default"]
    assert await maintenance.keep(pool, retention_days=400, now=now) == []


async def test_rows_stored_before_their_months_partition_existed_move_into_it(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await bare(database)
    await isolate.write_isolating(pool, [order("old", -40), order("now", 0), order("ahead", 45)])
    before = await everything(pool)
    assert await count(database, "receipts_default") == 3
    changes = await maintenance.keep(pool, retention_days=400, now=START)
    assert "made versions for 2026-10" in changes
    for table in ("receipts", "versions"):
        assert await count(database, f"{table}_default") == 0
        assert await count(database, f"{table}_2026_10") == 1
    assert await everything(pool) == before
    await isolate.write_isolating(pool, [order("old", -39)])
    assert await count(database, "receipts_2026_10") == 2


async def test_a_month_is_made_while_workers_write_into_it_and_people_read(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await bare(database)
    written = asyncio.ensure_future(
        asyncio.gather(*(isolate.write_isolating(pool, [order(f"K{n}{m}", 0) for m in range(5)]) for n in range(40)))
    )
    done: list[str] = []
    while not written.done() or not done:
        changes, *_ = await asyncio.gather(
            maintenance.keep(pool, retention_days=400, now=START), rows(pool, "events"), rows(pool, "orders")
        )
        done += changes
    await written
    assert "made receipts for 2026-11" in done
    assert len(await rows(pool, "events")) == 200
    assert await maintenance.keep(pool, retention_days=400, now=START) == []
    assert await count(database, "receipts_default") == 0


async def test_a_version_whose_first_post_turns_up_in_another_month_moves_there(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await maintenance.keep(pool, retention_days=400, now=START - timedelta(days=30))
    await isolate.write_isolating(pool, [order("K", 0)])
    await isolate.write_isolating(pool, [order("K", -30)])
    assert await count(database, "versions_2026_11") == 0
    (event,) = await rows(pool, "events")
    assert (event["received_at"], event["times_received"]) == (START - timedelta(days=30), 2)


async def test_retention_drops_whole_months_and_forgets_their_documents(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    for days in (-70, -40, 0):
        await maintenance.keep(pool, retention_days=400, now=START + timedelta(days=days))
    items = {"Order": {"@OrderId": "7", "OrderProducts": {"OrderProduct": {"@id": "1"}}}}
    await isolate.write_isolating(
        pool,
        [
            order("gone", -70),
            order("stays", -40),
            order("both", -70),
            incoming(
                "ustore",
                "manufacturer_allocation",
                items,
                seconds=-69 * DAY,
                number=5,
                allocations=[ItemAllocation("1", "2", "the rest")],
            ),
            unreadable(b"old", "unreadable", seconds=-70 * DAY, number=6),
            unreadable(b"new", "unreadable", seconds=0, number=7),
        ],
    )
    changed = incoming("apicbase", "purchase_order", {"id": "both", "order_remarks": "x"}, number=9)
    await isolate.write_isolating(pool, [changed])
    kept = [row for row in await rows(pool, "events") if row["received_at"] > START - timedelta(days=60)]
    done = await maintenance.keep(pool, retention_days=30, now=START)
    assert done == [*(f"dropped {parent}_2026_09" for parent in maintenance.PARENTS)]
    assert await rows(pool, "events") == kept
    assert {(row["key"], row["version"]) for row in kept} == {("stays", 1), ("both", 2)}
    assert await count(database, "documents") == 2
    assert not await rows(pool, "allocations")
    assert await count(database, "allocation_records") == 0
    assert [bytes(row["raw"]) for row in await rows(pool, "quarantine")] == [b"new"]


async def test_after_retention_versions_keep_their_numbers_and_late_posts_add_nothing_in_front(
    pool: asyncpg.Pool,
) -> None:
    for days in (-70, 0):
        await maintenance.keep(pool, retention_days=400, now=START + timedelta(days=days))

    def post(content: str, days: float) -> Incoming:
        body = {"id": "K", "order_remarks": content}
        return incoming("apicbase", "purchase_order", body, seconds=days * DAY, number=int(days * 10) + 1000)

    await isolate.write_isolating(pool, [post("A", -70), post("B", -5)])
    await maintenance.keep(pool, retention_days=30, now=START)
    await isolate.write_isolating(pool, [post("A", -1)])
    await isolate.write_isolating(pool, [post("C", -3)])
    await isolate.write_isolating(pool, [post("D", -20)])
    events = sorted(await rows(pool, "events"), key=lambda row: row["version"])
    assert [(row["version"], '"order_remarks": "' in row["body"] and row["body"][-3]) for row in events] == [
        (2, "B"),
        (3, "C"),
        (4, "A"),
    ]


async def test_a_document_forgotten_by_retention_starts_again(pool: asyncpg.Pool) -> None:
    for days in (-70, 0):
        await maintenance.keep(pool, retention_days=400, now=START + timedelta(days=days))
    await isolate.write_isolating(pool, [order("K", -70), order("K", -2)])
    assert (await rows(pool, "events"))[0]["times_received"] == 2
    await maintenance.keep(pool, retention_days=30, now=START)
    assert not await rows(pool, "events")
    await isolate.write_isolating(pool, [order("K", -1)])
    (event,) = await rows(pool, "events")
    assert (event["version"], event["times_received"]) == (1, 1)


async def test_rows_without_a_month_are_past_their_retention_too(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await bare(database)
    await isolate.write_isolating(pool, [order("ancient", -9000), order("now", 0)])
    await maintenance.keep(pool, retention_days=400, now=START)
    assert [row["key"] for row in await rows(pool, "events")] == ["now"]
    for table in ("receipts_default", "versions_default"):
        assert await count(database, table) == 0
    assert await count(database, "documents") == 1


async def test_a_table_in_use_is_put_off_and_not_waited_for(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOCK_TIMEOUT", "50ms")
    await bare(database)
    async with database.transaction():
        await database.execute("LOCK TABLE crossdock.receipts IN ROW EXCLUSIVE MODE")
        done = await maintenance.keep(pool, retention_days=400, now=START)
    assert "put off: receipts for 2026-11 is in use" in done
    assert "made receipts for 2026-11" in await maintenance.keep(pool, retention_days=400, now=START)


async def test_one_process_at_a_time(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await bare(database)
    both = await asyncio.gather(*(maintenance.keep(pool, retention_days=400, now=START) for _ in range(2)))
    every = [(month, parent) for month in range(1 + maintenance.MONTHS_AHEAD) for parent in maintenance.PARENTS]
    assert sorted(len(done) for done in both) in ([0, len(every)], [0, 0, len(every)])


@pytest.mark.parametrize("moment", ["taking the lock", "working", "releasing the lock"])
async def test_a_process_that_is_interrupted_keeps_no_other_from_maintenance(
    database_url: str, database: asyncpg.Connection, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pool, which resets nothing, does not keep the lock."""
    pool = await create_pool(database_url, size=1)
    try:
        with monkeypatch.context() as patch:
            if moment == "working":
                patch.setattr(maintenance, "drop_old", interrupted)
            else:
                name = "fetchval" if moment == "taking the lock" else "execute"
                original = getattr(asyncpg.Connection, name)

                async def lost(self: asyncpg.Connection, query: str, *args: object, **options: object) -> object:
                    result = await original(self, query, *args, **options)
                    if "advisory" in query:
                        raise asyncio.CancelledError
                    return result

                patch.setattr(asyncpg.Connection, name, lost)
            with pytest.raises(asyncio.CancelledError):
                await maintenance.keep(pool, retention_days=400)

        async def is_free() -> bool:
            return not await database.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")

        await until(is_free, what="the lock is free")
        assert await maintenance.keep(pool, retention_days=400) == []
    finally:
        pool.terminate()


async def interrupted(*_: object) -> list[str]:
    raise asyncio.CancelledError
