"""An older release's versions are completed while the pipeline runs, and indexes are created while tables are used."""

import asyncio
import re

import asyncpg
import pytest

from storage import backfill, migrate, online
from tests.support.pipeline import until
from tests.support.storing import everything, incoming
from workers.store import isolate

COUNT = 600
INCOMPLETE = "SELECT count(*) FROM crossdock.versions WHERE type IS NULL"
OLDER = """
UPDATE crossdock.versions v SET platform = NULL, account = NULL, type = NULL, body = e.body
FROM crossdock.events e WHERE e.id = v.id
"""
POST = "0159_sources.post"
FIRST_RELEASE = "0009_new_document"
SMALL = {"quarantined", "replays", "subscribed"}
"""Tables that have few rows, however much is stored."""


@pytest.fixture
async def older(pool: asyncpg.Pool, database: asyncpg.Connection) -> asyncpg.Connection:
    """A database with versions as an older release stored them, before the post halves."""
    batch = [incoming("apicbase", "purchase_order", {"id": f"K{n}", "a": "x" * 900}, seconds=n) for n in range(COUNT)]
    await isolate.write_isolating(pool, batch)
    await database.execute(OLDER)
    await database.execute("VACUUM FULL crossdock.versions")
    return database


def quietly(line: str) -> None:
    """Show nothing of the progress."""


class KilledError(Exception):
    """Stands for the death of the process."""


async def test_a_killed_back_fill_continues_where_it_stopped(
    older: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "FIRST_PIECE", 1)
    monkeypatch.setattr(backfill, "MAX_PIECE", 1)
    shown: list[str] = []

    def report(line: str) -> None:
        shown.append(line)
        if len(shown) == 5:
            raise KilledError

    with pytest.raises(KilledError):
        await backfill.complete(older, report)
    left = await older.fetchval(INCOMPLETE)
    assert 0 < left < COUNT
    await backfill.complete(older, report)
    assert await older.fetchval(INCOMPLETE) == 0
    assert await older.fetchval("SELECT count(*) FROM crossdock.versions WHERE body IS NOT NULL") == 0
    assert shown[-1].endswith(": 100 %")
    percentages = [int(line.rpartition(":")[2].strip(" %")) for line in shown[5:]]
    assert percentages == sorted(set(percentages))
    shown.clear()
    await backfill.complete(older, report)
    assert shown == [], "nothing is left to do"


async def test_a_version_that_a_worker_changes_is_not_waited_for_and_comes_later(
    older: asyncpg.Connection, database_url: str
) -> None:
    worker = await asyncpg.connect(database_url)
    transaction = worker.transaction()
    await transaction.start()
    await worker.execute("SELECT FROM crossdock.versions WHERE version = 1 ORDER BY received_at LIMIT 3 FOR UPDATE")
    completing = asyncio.ensure_future(backfill.complete(older, quietly))
    await until(lambda: _left(worker, 3), what="all others complete")
    assert not completing.done()
    await transaction.rollback()
    await completing
    assert await _left(worker, 0)
    await worker.close()


async def _left(connection: asyncpg.Connection, count: int) -> bool:
    return bool(await connection.fetchval(INCOMPLETE) == count)


async def test_it_ends_although_an_older_worker_goes_on(
    older: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "MAX_PASSES", 2)
    worker = await asyncpg.connect(database_url)
    async with worker.transaction():
        await worker.execute("SELECT FROM crossdock.versions WHERE version = 1 LIMIT 1 FOR UPDATE")
        with pytest.raises(backfill.IncompleteError, match="stop its workers"):
            await backfill.complete(older, quietly)
    await worker.close()


async def test_the_post_half_is_applied_to_complete_versions(
    older: asyncpg.Connection, pool: asyncpg.Pool, database_url: str
) -> None:
    """The whole upgrade of an older release's database: nothing is lost, and nothing looks different."""
    await older.execute("CREATE INDEX versions_received ON crossdock.versions USING brin (received_at)")
    await older.execute("DELETE FROM crossdock.migrations WHERE name = $1", POST)
    await older.execute("UPDATE crossdock.versions v SET type = d.type, account = d.account, platform = d.platform "
                        "FROM crossdock.documents d WHERE d.id = v.document_id")  # fmt: skip
    before = await everything(pool)
    await older.execute("UPDATE crossdock.versions SET type = NULL, account = NULL, platform = NULL")
    assert await migrate.migrate(database_url, post=False) == []
    assert await older.fetchval(INCOMPLETE) == COUNT, "an older release may be running"
    shown: list[str] = []
    assert await migrate.migrate(database_url, report=shown.append) == [POST]
    assert await older.fetchval(INCOMPLETE) == 0
    assert shown[-1].startswith("completing versions_")
    assert await everything(pool) == before


async def test_an_index_is_created_while_its_table_is_written_to(
    older: asyncpg.Connection, pool: asyncpg.Pool, database_url: str
) -> None:
    """A partitioned table's index, which an earlier try has declared, and has left one part of it unfinished."""
    text = "-- comment\nCREATE INDEX CONCURRENTLY versions_test ON crossdock.versions\n    (carton, received_at);"
    (index,) = online.indexes(text)
    partition = await older.fetchval("SELECT tableoid::regclass::text FROM crossdock.versions LIMIT 1")
    part = index.on(partition.removeprefix("crossdock."))
    await older.execute(f"CREATE INDEX {part.name} ON {partition} (version)")
    await older.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass",
                        f"crossdock.{part.name}")  # fmt: skip
    await older.execute(f"CREATE INDEX {index.name} ON ONLY crossdock.{index.table} {index.definition}")
    writer = await asyncpg.connect(database_url)
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("UPDATE crossdock.versions SET version = 1 WHERE version = 1")
    creating = asyncio.ensure_future(online.create(older, index, quietly))
    waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until(lambda: writer.fetchval(waits), what="the index waits for the writer")
    other = [incoming("apicbase", "purchase_order", {"id": f"L{n}"}, seconds=n, number=5000 + n) for n in range(10)]
    await isolate.write_isolating(pool, other)  # nobody waits for the index
    assert not creating.done()
    await transaction.commit()
    await creating
    await writer.close()
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass"
    assert await older.fetchval(valid, "crossdock.versions_test"), "attached on every partition"
    definition = await older.fetchval("SELECT pg_get_indexdef($1::text::regclass)", f"crossdock.{part.name}")
    assert definition.endswith("(carton, received_at)")
    await online.create(older, index, quietly)  # and again


async def test_migrating_processes_do_not_wait_in_a_statement(database_url: str) -> None:
    """Creating an index waits for every snapshot, also for that of a process that waits for its turn."""
    first = await asyncpg.connect(database_url)
    await first.execute("SELECT pg_advisory_lock($1)", migrate._LOCK)
    waiting = asyncio.ensure_future(migrate.migrate(database_url))
    looks = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'crossdock migrate' AND state = 'idle'"
    await until(lambda: first.fetchval(looks), what="the second process waits outside a transaction")
    assert not waiting.done()
    await first.close()
    assert await waiting == []


@pytest.mark.parametrize(
    "text",
    ["CREATE INDEX a ON crossdock.versions (id);", "CREATE INDEX CONCURRENTLY a ON crossdock.x (id); DROP TABLE x;"],
)
def test_an_online_migration_holds_nothing_but_indexes(text: str) -> None:
    with pytest.raises(ValueError, match="not CREATE INDEX CONCURRENTLY"):
        online.indexes(text)


def test_no_upgrade_keeps_others_from_writing_while_an_index_is_created() -> None:
    """Tables that the first release did not have are empty when their indexes are created."""
    first = [migration for migration in migrate.files() if migration.name <= FIRST_RELEASE]
    tables = {name for file in first for name in re.findall(r"CREATE TABLE crossdock\.(\w+)", file.text)} - SMALL
    assert {"documents", "versions", "receipts", "outbox", "finished"} <= tables
    for migration in migrate.files():
        if migration.name > FIRST_RELEASE and not migration.is_online:
            indexed = set(re.findall(r"CREATE (?:UNIQUE )?INDEX \w+ ON crossdock\.(\w+)", migration.text))
            assert not indexed & tables, migration.name


def test_every_statement_of_an_online_migration_is_an_index() -> None:
    files = [migration for migration in migrate.files() if migration.is_online]
    assert len(files) >= 2
    for migration in files:
        names = [index.name for index in online.indexes(migration.text)]
        assert len(names) == migration.text.count("CREATE INDEX")
        assert all(index.name.startswith(index.table) for index in online.indexes(migration.text))
