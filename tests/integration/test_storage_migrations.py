"""The migrations, and the schema they come to."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from deploy.local.postgres import Postgres
from storage import migrate
from storage import pool as pools
from storage.migrate import Migration
from tests.support import pipeline
from tests.support.pipeline import until
from tests.support.storing import VIEWS

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
    ("transfers", "outstanding"): "numeric",
    ("transfers", "due_at"): "timestamp with time zone",
    ("transfers", "late"): "boolean",
    ("transfers", "flags"): "text[]",
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


async def test_the_migrations_produce_the_golden_schema(database: asyncpg.Connection) -> None:
    """schema.txt is what a reviewer reads: a migration that changes it shows there what it did."""
    assert await schema(database) == GOLDEN.read_text()


@pytest.mark.parametrize("view", CONTRACT)
async def test_the_views_have_the_contracts_columns(database: asyncpg.Connection, view: str) -> None:
    columns = {row["name"]: row["type"] for row in await database.fetch(COLUMNS) if row["relation"] == view}
    assert CONTRACT[view] <= set(columns)
    for (of, name), type_ in TYPES.items():
        if of == view:
            assert columns[name] == type_, name


async def test_several_processes_at_once_apply_each_migration_once(blank_url: str) -> None:
    names = [file.name for file in migrate.files()]
    assert await migrate.pending(blank_url) == names
    applied = await asyncio.gather(*(migrate.migrate(blank_url) for _ in range(4)))
    assert sorted(applied) == [[], [], [], names]
    assert await migrate.pending(blank_url) == []


async def test_numbers_are_in_order_and_used_once() -> None:
    numbers = [int(file.name[:4]) for file in migrate.files()]
    assert numbers == sorted(set(numbers))


async def test_a_migration_that_fails_leaves_nothing_of_itself(blank_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration("0099_broken", "CREATE TABLE crossdock.half (); SELECT 1 / 0;")
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


async def test_a_migration_that_a_deadlock_ended_is_tried_again(
    database: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of the release before lock the same tables in another order. A sequence is not rolled back."""
    await database.execute("CREATE SEQUENCE attempts")
    deadlock = "DO $$ BEGIN IF nextval('attempts') = 1 THEN RAISE EXCEPTION '' USING ERRCODE = '40P01'; END IF; END $$"
    files = migrate.files()
    monkeypatch.setattr(migrate, "files", lambda: [*files, Migration("9999_deadlock", deadlock)])
    monkeypatch.setattr(migrate, "LOCK_PAUSE", 0.0)
    assert await migrate.migrate(database_url) == ["9999_deadlock"]
    assert await database.fetchval("SELECT last_value FROM attempts") == 2


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = migrate.files()
    monkeypatch.setattr(migrate, "files", lambda: [first._replace(text=first.text + "\n-- a word more"), *rest])
    with pytest.raises(migrate.MigrationError, match=first.name):
        await migrate.migrate(database_url)


class Release(NamedTuple):
    """Two releases' migrations on top of today's; the columns stand for what old code knows nothing of, and uses."""

    add: Migration = Migration("0091_add", "ALTER TABLE crossdock.receipts ADD COLUMN more text")
    less: Migration = Migration("0092_less.post", "ALTER TABLE crossdock.receipts RENAME content_type TO kind")
    next_add: Migration = Migration("0093_again", "ALTER TABLE crossdock.receipts ADD COLUMN yet_more text")
    next_less: Migration = Migration("0094_again.post", "ALTER TABLE crossdock.receipts DROP COLUMN more")


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Replace the code's migrations with those of a release that has the first `count` of `Release` on top."""
    files = migrate.files()

    def release(count: int) -> None:
        monkeypatch.setattr(migrate, "files", lambda: [*files, *Release()[:count]])

    return release


async def test_the_post_half_is_applied_on_request_only(database_url: str, released: Callable[[int], None]) -> None:
    released(2)
    assert await migrate.migrate(database_url, post=False) == ["0091_add"]
    assert await migrate.pending(database_url) == ["0092_less.post"]
    assert await migrate.migrate(database_url, post=False) == []
    assert await migrate.migrate(database_url, post=True) == ["0092_less.post"]


async def test_the_post_half_of_the_release_before_comes_before_the_next_pre_half(
    database_url: str, released: Callable[[int], None]
) -> None:
    released(2)
    await migrate.migrate(database_url, post=False)
    released(4)
    assert await migrate.migrate(database_url, post=False) == ["0092_less.post", "0093_again"]


async def test_a_new_database_gets_all_migrations(blank_url: str, released: Callable[[int], None]) -> None:
    released(4)
    assert (await migrate.migrate(blank_url, post=False))[-1] == "0094_again.post"


async def test_the_version_before_goes_on_working_on_the_pre_halves_schema_and_not_on_the_post_halves(
    amqp_url: str, database_url: str, database: asyncpg.Connection, released: Callable[[int], None]
) -> None:
    """A rolling change under load: this code is the version before; nothing is refused and nothing is stored twice."""
    async with (
        pipeline.running(worker := pipeline.store(amqp_url, database_url)),
        pipeline.door(amqp_url) as door,
    ):
        posts = 0

        async def post() -> None:
            nonlocal posts
            assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
            posts += 1

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) = $1 FROM crossdock.receipts", posts))

        released(2)
        changing = asyncio.ensure_future(migrate.migrate(database_url, post=False))
        while not changing.done():
            await post()
        assert await changing == ["0091_add"]
        await post()
        await until(stored)
        assert not worker.problems()

        await migrate.migrate(database_url)
        await post()
        await until(lambda: any("UndefinedColumn" in problem for problem in worker.problems()))
        await database.execute("ALTER TABLE crossdock.receipts RENAME kind TO content_type")
        await until(stored, what="what was held while the column was missing")


async def test_a_table_in_use_is_not_waited_for_longer_than_others_can_wait(
    database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, released: Callable[[int], None]
) -> None:
    """A migration that queues for a table's lock makes everyone queue behind it."""
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", 0.05)
    monkeypatch.setattr(migrate, "LOCK_PAUSE", 0.01)
    monkeypatch.setattr(migrate, "LOCK_ATTEMPTS", 3)
    released(1)
    async with database.transaction():
        await database.fetchval("SELECT count(*) FROM crossdock.receipts")
        with pytest.raises(migrate.MigrationError, match="0091_add waits for a table"):
            await migrate.migrate(database_url)
    assert await migrate.migrate(database_url) == ["0091_add"]


RELEASED = 8
"""Migrations up to this one made the first release: nothing ran before them."""
TAKES_AWAY = re.compile(
    r"\b(DROP|RENAME|TRUNCATE|(?<!AFTER )DELETE|SET NOT NULL|ALTER TYPE|ALTER (COLUMN )?\w+ (SET DATA )?TYPE)\b"
    r"|\bADD COLUMN\b(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT NULL",
    re.I,
)
"""A new column that old code doesn't fill must do without, or have a default."""


def test_pre_halves_only_add() -> None:
    """DROP VIEW and a new one in its place is fine: the contract's columns are tested above. So is a new type, and what
    a new function does when it is called."""
    for migration in migrate.files()[RELEASED:]:
        functions = r"CREATE (?:OR REPLACE )?FUNCTION[^$]*\$\$.*?\$\$|ON COMMIT DROP"
        text = re.sub(functions, "", migration.text, flags=re.I | re.S)
        text = re.sub(r"--.*|(DROP (VIEW|FUNCTION|INDEX)|CREATE TYPE)[^;]*;", "", text, flags=re.I)
        if not migration.is_post:
            assert not TAKES_AWAY.search(text), f"{migration.name} belongs in a post half"


@pytest.mark.parametrize("migration", Release())
def test_statements_that_remove_something_are_recognised(migration: Migration) -> None:
    assert bool(TAKES_AWAY.search(migration.text)) == migration.is_post


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


async def test_a_database_that_is_not_utf8_is_refused(postgres: Postgres) -> None:
    base = postgres.url.rsplit("/", 1)[0]
    connection = await asyncpg.connect(f"{base}/postgres")
    try:
        await connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with pytest.raises(migrate.MigrationError, match="latin has the encoding LATIN1 and must have UTF8"):
            await migrate.migrate(f"{base}/latin?sslmode=prefer")
    finally:
        await connection.execute("DROP DATABASE IF EXISTS latin WITH (FORCE)")
        await connection.close()
