"""Databases that earlier releases filled: they are upgraded without a loss, and what is erased on the way stays so."""

from collections.abc import AsyncIterator
from datetime import datetime
from io import BytesIO
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from storage import backfill, maintenance, migrate, roles, transfers
from tests.conftest import Databases
from tests.integration.test_bodies import examples
from tests.integration.test_storage_migrations import GOLDEN, schema
from tests.support.erasing import NAME, STREET, erase, print_order, traces, transfer
from tests.support.storing import START, rows, unreadable
from workers.store import isolate

POSTS = ["0159_sources.post", "0160_smaller.post", "0161_deliveries.post"]
"""What is applied when no process of the earlier release runs any more."""
RELEASES = {"bodies twice": "0142_forget_samples", "9a0120f": "0009_new_document"}
"""Earlier releases, each with its last migration."""
TABLES = ("documents", "receipts", "versions", "allocation_records", "allocated_items")
COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'due_at'
ORDER BY attnum
"""
IN_ONE_PIECE = (
    "CREATE INDEX documents_source ON crossdock.documents (platform, account, type, id)",
    "CREATE INDEX finished_unsuccessful ON crossdock.finished (subscription_id, status, created_at, id) "
    "WHERE status <> 'delivered'",
    "CREATE INDEX documents_warehouse_ref_alone ON crossdock.documents (warehouse_ref, account) "
    "WHERE num_nulls(order_ref) = 1 AND warehouse_ref IS NOT NULL",
)
"""What the earlier texts of 0040 and 0120 created."""
SAMPLED = ("quarantined_reason", "quarantined_open_reason")
INCOMPLETE = "SELECT count(*) FROM crossdock.versions WHERE type IS NULL"
OLDER = """
UPDATE crossdock.versions v
SET platform = NULL, account = NULL, type = NULL, due_at = DEFAULT, body = e.body
FROM crossdock.events e WHERE e.id = v.id
"""
"""Makes the rows what an older release stored."""
TRANSFERS_ARE_UNKNOWN = """
UPDATE crossdock.transfer_fill SET next_id = 1, last_id = (SELECT max(id) FROM crossdock.documents), finished_at = NULL
"""
"""They are computed anew, as an upgrade has it done."""
DUE = {"deliver_by_date": "2023-04-01", "note_attributes_ship_to": f"{NAME}, {STREET}"}
PERSON = [
    print_order("7", seconds=100, number=1001),
    transfer("STO-X", seconds=101, number=1002, additionalFields=DUE),
    transfer("STO-Y", seconds=102, number=1003, additionalFields=DUE),
]


CARTONS = 40_000
"""So many that comparing each with each takes minutes."""
MANY_CARTONS = (
    """
    INSERT INTO crossdock.documents (
        received_at, last_received_at, version_id, version, times_received, digest, platform, account, type, key
    )
    SELECT $1, $1, md5(n::text)::uuid, 1, 1, '', 'channelape', 'rothys', 'channelape.ship_confirmation',
           'STO' || n / 10 || '/C' || n
    FROM generate_series(1, $2::int) n
    """,
    """
    INSERT INTO crossdock.versions (
        id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest, flags,
        lines, body
    )
    SELECT version_id, id, received_at, received_at, version_id, 1, 1, 0, '', '{}', '[]',
           jsonb_build_object('additionalFields', jsonb_build_object(
               'CartonNumber', split_part(key, '/', 2), 'Sscc', CASE WHEN id % 10 < 2 THEN 'S' || id / 10 END))
    FROM crossdock.documents WHERE $1::timestamptz IS NOT NULL AND $2::int IS NOT NULL
    """,
)
"""Ten cartons of each shipment, two of which are one."""


@pytest_asyncio.fixture
async def upgraded(databases: Databases) -> AsyncIterator[str]:
    """The URL of a second database."""
    url = await databases.take()
    yield url
    databases.give_back(url)


async def copy_as_older(source: asyncpg.Connection, target: asyncpg.Connection) -> None:
    """Copy what is stored into the tables of an earlier release, with every body."""
    for table in TABLES:
        names = [row["attname"] for row in await target.fetch(COLUMNS, f"crossdock.{table}")]
        values = ", ".join("e.body" if (table, name) == ("versions", "body") else f"t.{name}" for name in names)
        join = "JOIN crossdock.events e ON e.id = t.id" if table == "versions" else ""
        content = BytesIO()
        sql = f"SELECT {values} FROM crossdock.{table} t {join}"  # noqa: S608 - ours
        await source.copy_from_query(sql, output=content, format="binary")
        content.seek(0)
        await target.copy_to_table(table, source=content, columns=names, schema_name="crossdock", format="binary")


async def make_partitions(database: asyncpg.Connection, now: datetime) -> list[str]:
    """Make those that every release has; today's code looks into tables that an earlier one does not have."""
    for parent in ("receipts", "versions"):
        await database.execute("SELECT crossdock.make_partition($1, $2)", parent, START)
    return []


async def make_older(connection: asyncpg.Connection, url: str, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the schema by that of an earlier release, whose last migration is given."""
    await connection.execute("DROP SCHEMA crossdock CASCADE")
    with monkeypatch.context() as patched:
        files = [file for file in migrate.files() if file.name <= last]
        assert files[-1].name == last
        patched.setattr(migrate, "files", lambda: files)
        patched.setattr(maintenance, "make_partitions", make_partitions)
        await migrate.migrate(url)


async def events(database: asyncpg.Connection) -> list[dict[str, Any]]:
    return await rows(database, "events")


async def computed(database: asyncpg.Connection) -> list[dict[str, Any]]:
    """What the view `transfers` shows once everything is computed."""
    while await transfers.apply_changes(database) or await transfers.fill(database):
        pass
    return await rows(database, "transfers")


@pytest.mark.parametrize("last", RELEASES.values(), ids=RELEASES)
async def test_an_earlier_releases_database_is_upgraded(
    last: str, pool: asyncpg.Pool, database: asyncpg.Connection, upgraded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await isolate.write_isolating(pool, [*examples(), *PERSON])
    expected, late = await events(database), await computed(database)
    connection = await asyncpg.connect(upgraded)
    try:
        await make_older(connection, upgraded, last, monkeypatch)
        await copy_as_older(database, connection)

        applied = await migrate.migrate(upgraded, post=False)
        assert "0151_sources" in applied
        assert await migrate.pending(upgraded) == POSTS
        assert await connection.fetchval(INCOMPLETE) == len(expected), "an older release may be running"
        assert await events(connection) == expected
        await connection.execute(TRANSFERS_ARE_UNKNOWN)
        assert await computed(connection) == late
        # A person who asks now is forgotten for good.
        await erase(connection, platform="ustore", key="7")
        await erase(connection, key="STO-X")
        await erase(database, platform="ustore", key="7")
        await erase(database, key="STO-X")
        expected, late = await events(database), await computed(database)
        assert await events(connection) == expected
        assert await computed(connection) == late

        assert await migrate.migrate(upgraded) == POSTS
        assert await connection.fetchval(INCOMPLETE) == 0
        assert await events(connection) == expected
        assert await computed(connection) == late
        assert await roles.missing(connection) == []
        assert await schema(connection) == GOLDEN.read_text()
        stored = "SELECT count(*) FROM crossdock.versions WHERE body IS NOT NULL"
        assert await connection.fetchval(stored) == await database.fetchval(stored)
        await erase(connection, key="STO-Y")
        assert await traces(connection) == {}
    finally:
        await connection.close()


async def test_an_upgrade_of_many_cartons_compares_no_two_shipments(
    database: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_older(database, database_url, RELEASES["9a0120f"], monkeypatch)
    for statement in MANY_CARTONS:
        await database.execute(statement, START, CARTONS)
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET statement_timeout = '20s'")
    with monkeypatch.context() as patched:
        files = [file for file in migrate.files() if file.name <= "0021_cartons"]
        patched.setattr(migrate, "files", lambda: files)
        patched.setattr(maintenance, "make_partitions", make_partitions)
        assert "0021_cartons" in await migrate.migrate(database_url)
    cartons = "SELECT count(*), sum(jsonb_array_length(cartons)) FROM crossdock.shipments"
    documents, known = (
        await database.fetchval("SELECT count(*) FROM crossdock.documents"),
        await database.fetchrow(cartons),
    )
    assert known is not None
    assert known["sum"] == documents < CARTONS


async def test_indexes_that_an_earlier_text_created_in_one_piece_are_kept_or_replaced(
    database: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_older(database, database_url, RELEASES["bodies twice"], monkeypatch)
    for statement in IN_ONE_PIECE:
        await database.execute(statement)
    assert "0144_without_locks.online" in await migrate.migrate(database_url)
    assert await schema(database) == GOLDEN.read_text()


async def test_a_database_with_an_earlier_text_of_a_migration_is_upgraded(
    database: asyncpg.Connection, database_url: str
) -> None:
    for name, checksum in migrate._EARLIER.items():
        await database.execute("UPDATE crossdock.migrations SET checksum = $2 WHERE name = $1", name, checksum)
    assert await migrate.migrate(database_url) == []
    await database.execute("UPDATE crossdock.migrations SET checksum = 'x' WHERE name = '0021_cartons'")
    with pytest.raises(migrate.MigrationError):
        await migrate.migrate(database_url)


@pytest.mark.parametrize("is_completed", [False, True])
async def test_an_erasure_leaves_nothing_where_bodies_are_stored_once(
    is_completed: bool, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """What is not personal stays, such as when goods are due, also where an older release stored it."""
    await isolate.write_isolating(pool, PERSON)
    late = await computed(database)
    assert [row["due_at"] and row["due_at"].month for row in late] == [4, 4]
    if is_completed:
        await database.execute(OLDER)
        await backfill.complete(database, lambda line: None)
    assert await database.fetchval("SELECT count(body) FROM crossdock.versions") == 0
    await erase(database, platform="ustore", key="7")
    for key in ("STO-X", "STO-Y"):
        await erase(database, key=key)
    assert await traces(database) == {}
    seen = await events(database)
    assert {(row["body"], row["raw"], "erased" in row["flags"]) for row in seen} == {(None, b"", True)}
    assert await computed(database) == [row | {"ship_from": None, "ship_to": None} for row in late]


async def test_the_back_fill_beside_an_erasure_brings_nothing_back(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await isolate.write_isolating(pool, PERSON)
    await database.execute(OLDER)
    async with pool.acquire() as other, other.transaction():
        await other.execute("UPDATE crossdock.versions SET body = NULL, flags = flags || 'erased'::text, lines = '[]'")
        name = await database.fetchval("SELECT tableoid::regclass::text FROM crossdock.versions LIMIT 1")
        statement = backfill._on(name.removeprefix("crossdock."), "piece")
        await database.execute(statement, "(0,0)", "(100,0)")
        assert await database.fetchval(INCOMPLETE) == len(PERSON), "rows that the erasure holds are left for later"
        await other.execute("UPDATE crossdock.receipts SET raw = '', flags = flags || 'erased'::text")
    await backfill.complete(database, lambda line: None)
    assert await database.fetchval(INCOMPLETE) == 0
    assert await database.fetchval("SELECT count(body) FROM crossdock.versions") == 0
    assert {row["body"] for row in await events(database)} == {None}


async def test_an_erased_version_gets_no_body_from_bytes(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    """Whatever receipt it begins with: two of the same content may be erased one after the other."""
    await isolate.write_isolating(pool, PERSON)
    assert {row["body"] is None for row in await events(database)} == {False}
    await database.execute("UPDATE crossdock.versions SET flags = flags || 'erased'::text")
    assert {row["body"] for row in await events(database)} == {None}


async def test_statistics_of_indexes_on_reasons_are_removed(
    pool: asyncpg.Pool, database: asyncpg.Connection, database_url: str
) -> None:
    """The planner may take samples between the creation of the index and the migration that keeps it from that."""
    for name in SAMPLED:
        await database.execute(f"ALTER INDEX crossdock.{name} ALTER COLUMN 1 SET STATISTICS -1")
    await isolate.write_isolating(pool, [unreadable(b"{", f"as {NAME} sent it", seconds=n) for n in range(3)])
    await database.execute("ANALYZE crossdock.quarantined")
    sampled = "SELECT count(*) FROM pg_stats WHERE schemaname = 'crossdock' AND tablename = ANY ($1)"
    assert await database.fetchval(sampled, SAMPLED) == 2
    await database.execute("DROP FUNCTION crossdock.due_at_of")
    await database.execute("DELETE FROM crossdock.migrations WHERE name = '0154_erasure_of_sources'")
    await migrate.migrate(database_url)
    await database.execute("ANALYZE crossdock.quarantined")
    assert await database.fetchval(sampled, SAMPLED) == 0
    assert await schema(database) == GOLDEN.read_text()
