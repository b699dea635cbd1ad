"""The migrations, and the schema they come to."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from deploy.local.postgres import Postgres
from storage import migrate
from storage import pool as pools
from tests.storing import VIEWS

GOLDEN = Path(__file__).parent / "schema.txt"

CONTRACT = {
    **{view: set(columns.split(", ")) for view, columns in VIEWS.items()},
    "events": {*VIEWS["events"].split(", "), "stored_at"},
    "current_events": {*VIEWS["current_events"].split(", "), "stored_at"},
}
TYPES = {
    ("events", "body"): "jsonb",
    ("events", "raw"): "bytea",
    ("events", "flags"): "text[]",
    ("events", "id"): "uuid",
    ("transfer_progress", "first_shipped_at"): "timestamp with time zone",
    ("transfer_progress", "last_received_at"): "timestamp without time zone",
    ("transfer_progress", "outstanding"): "numeric",
    ("orders", "unit_price"): "numeric",
    ("orders", "placed_at"): "text",
    ("quarantine", "id"): "uuid",
}

COLUMNS = """
SELECT c.relname AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'crossdock'::regnamespace AND c.relkind IN ('r', 'p', 'v')
  AND c.relname !~ '_[0-9]{4}_[0-9]{2}$'
ORDER BY c.relname COLLATE "C", a.attnum
"""
INDEXES = """
SELECT indexdef FROM pg_indexes
WHERE schemaname = 'crossdock' AND tablename !~ '_([0-9]{4}_[0-9]{2}|default)$'
ORDER BY indexname COLLATE "C"
"""
FUNCTIONS = """
SELECT p.oid::regprocedure::text || ' -> ' || pg_get_function_result(p.oid) AS signature
FROM pg_proc p WHERE pronamespace = 'crossdock'::regnamespace
ORDER BY p.proname COLLATE "C"
"""


async def schema(database: asyncpg.Connection) -> str:
    """Every table, view, index and function that people or code rely on, as text."""
    lines: list[str] = []
    relation = None
    for row in await database.fetch(COLUMNS):
        if row["relation"] != relation:
            relation = row["relation"]
            lines.append(f"\n{relation}")
        lines.append(f"    {row['name']} {row['type']}")
    lines += ["", *(row["indexdef"] for row in await database.fetch(INDEXES))]
    lines += ["", *(row["signature"] for row in await database.fetch(FUNCTIONS))]
    return "\n".join(lines).strip() + "\n"


async def test_the_migrations_come_to_the_schema_on_file(database: asyncpg.Connection) -> None:
    """schema.txt is what a reviewer reads: a migration that changes it shows there what it did."""
    assert await schema(database) == GOLDEN.read_text()


@pytest.mark.parametrize("view", CONTRACT)
async def test_the_views_have_the_contracts_columns(database: asyncpg.Connection, view: str) -> None:
    there = {row["name"]: row["type"] for row in await database.fetch(COLUMNS) if row["relation"] == view}
    assert CONTRACT[view] <= set(there)
    for (of, name), type_ in TYPES.items():
        if of == view:
            assert there[name] == type_, name


@pytest.fixture
async def blank_url(postgres: Postgres, database_url: str) -> str:
    """An empty database."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("DROP SCHEMA crossdock CASCADE")
    finally:
        await connection.close()
    return database_url


async def test_several_processes_at_once_apply_each_migration_once(blank_url: str) -> None:
    names = [name for name, _ in migrate.files()]
    assert await migrate.pending(blank_url) == names
    applied = await asyncio.gather(*(migrate.migrate(blank_url) for _ in range(4)))
    assert sorted(applied) == [[], [], [], names]
    assert await migrate.pending(blank_url) == []


async def test_numbers_are_in_order_and_used_once() -> None:
    assert [name[:5] for name, _ in migrate.files()] == [f"{n:04}_" for n in range(1, len(migrate.files()) + 1)]


async def test_a_migration_that_fails_leaves_nothing_of_itself(blank_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ("0099_broken", "CREATE TABLE crossdock.half (); SELECT 1 / 0;")
    files = migrate.files()
    monkeypatch.setattr(migrate, "files", lambda: [*files, broken])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(blank_url)
    assert await migrate.pending(blank_url) == ["0099_broken"]
    connection = await asyncpg.connect(blank_url)
    try:
        assert await connection.fetchval("SELECT to_regclass('crossdock.half')") is None
    finally:
        await connection.close()


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, text), *rest = migrate.files()
    monkeypatch.setattr(migrate, "files", lambda: [(name, text + "\n-- a word more"), *rest])
    with pytest.raises(migrate.MigrationError, match=name):
        await migrate.migrate(database_url)


async def test_the_pool_finds_the_server_that_takes_writes_among_several(database_url: str) -> None:
    host = database_url.split("@", 1)[1].split("/", 1)[0]
    url = database_url.replace(host, f"127.0.0.1:1,{host}")  # nobody listens on port 1
    pool = await pools.create_pool(url, size=1, name="crossdock-test")
    try:
        assert await pool.fetchval("SHOW application_name") == "crossdock-test"
        assert await pool.fetchval("SHOW jit") == "off"
        assert await pool.fetchval("SELECT '{\"a\": 1.10}'::jsonb") == '{"a": 1.10}'
    finally:
        await pool.close()


async def test_a_server_that_is_read_only_is_not_taken(database_url: str, database: asyncpg.Connection) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await pools.create_pool(database_url, size=1)
