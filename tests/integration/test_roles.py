"""What each role may do: what its process executes, and nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from ingress.database import CHECK
from schemas import registry
from storage import identifiers, maintenance, privacy, roles, sql
from storage import pool as pools
from tests.support.statements import queries_of
from tests.support.storing import START, incoming
from workers.store import isolate
from workers.store.outbox import FINISHED_COLUMNS, DeliveryRow
from workers.store.rows import RECEIPT_COLUMNS, VERSION_COLUMNS

ROOT = Path(__file__).parents[2]
OPERATOR = ("status", "trace", "quarantine", "quarantine_replay", "deliveries", "deliveries_many", "jobs")
"""The commands that a member of `crossdock_console` can use."""
CODE = {
    roles.STORE: [*(ROOT / "workers/store").rglob("*.py")],
    roles.DELIVER: [*(ROOT / "workers/deliver").rglob("*.py")],
    roles.API: [*(ROOT / "ingress/api").rglob("*.py")],
    roles.CONSOLE: [
        *(ROOT / "ingress/console").rglob("*.py"),
        *(ROOT / f"ingress/{name}.py" for name in ("outbound", "quarantine")),
        *(ROOT / f"deploy/cli/{name}.py" for name in OPERATOR),
    ],
    roles.POLL: [*(ROOT / "workers/poll").rglob("*.py")],
}
"""The code of each role's process."""
COPIES = {
    "receipts": RECEIPT_COLUMNS,
    "versions": VERSION_COLUMNS,
    "outbox": DeliveryRow._fields,
    "finished": FINISHED_COLUMNS,
    "identifiers": identifiers.COLUMNS,
}
"""What the store worker writes by COPY."""
ERASING = (
    "erase_attempts", "erase_finished", "erase_records", "erase_items", "erase_versions", "erase_contents",
    "erase_documents", "erase_transfers", "erase_receipts", "erase_quarantined",
)  # fmt: skip
"""The queries of an erasure that `storage/classification.toml` completes."""
PLANNED = ("SELECT", "(SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
"""What has a plan. Anything else, such as SET, is executed as it is."""
CALL = re.compile(r"crossdock\.\w+\(")
"""A function of ours, which may need privileges of its own."""
MERGE = "SELECT crossdock.merge_documents(1, '{2}', 'key')"
"""Executed for real, because the statements of a function are not part of a plan."""
ACTUAL = """
SELECT grantee::regrole::text, 'SCHEMA', nspname::text, privilege_type, ''
FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'crossdock'
UNION ALL
SELECT grantee::regrole::text, 'TABLE', oid::regclass::text, privilege_type, ''
FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'crossdock'::regnamespace
UNION ALL
SELECT grantee::regrole::text, 'TABLE', attrelid::regclass::text, privilege_type, attname
FROM pg_attribute, aclexplode(attacl) WHERE attrelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace)
"""
RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind = ANY ($1)"


@cache
def statements(role: str) -> list[str]:
    """Everything that a role's process executes, as text whose execution or planning needs the same privileges."""
    queries = [re.sub(r"^--.*\n", "", sql.query(*name), flags=re.MULTILINE) for name in sorted(queries_of(CODE[role]))]
    texts = [f"EXPLAIN (GENERIC_PLAN) {query}" if query.startswith(PLANNED) else query for query in queries]
    if role in (roles.API, roles.CONSOLE):
        texts.append(CHECK)
    if role == roles.STORE:
        texts.append(MERGE)
        texts += [f"EXPLAIN (GENERIC_PLAN) {privacy.erasing(name)}" for name in ERASING]
        for table, columns in COPIES.items():
            values = ", ".join("NULL" for _ in columns)
            texts.append(f"EXPLAIN INSERT INTO crossdock.{table} ({', '.join(columns)}) VALUES ({values})")  # noqa: S608
    return texts


@pytest.fixture(scope="module", autouse=True)
def _statements_are_read() -> None:
    """Parsing the code takes seconds on a loaded machine, for which no event loop should have to wait."""
    for role in CODE:
        statements(role)


@asynccontextmanager
async def rolled_back(database: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction that leaves nothing, or a part of one."""
    transaction = database.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def is_refused(database: asyncpg.Connection, statement: str) -> bool:
    async with rolled_back(database):
        try:
            await database.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            return True
    return False


@asynccontextmanager
async def acting(database: asyncpg.Connection, role: str) -> AsyncIterator[None]:
    async with rolled_back(database):
        await database.execute(f"SET LOCAL ROLE {role}")
        yield


async def relations(database: asyncpg.Connection, *kinds: str) -> list[str]:
    names = [row["relname"] for row in await database.fetch(RELATIONS, [kind.encode() for kind in kinds])]
    return sorted(name for name in names if not name.rpartition("_")[2].isdigit())


async def test_each_role_has_what_is_listed_and_nothing_else(database: asyncpg.Connection) -> None:
    actual = {tuple(row) for row in await database.fetch(ACTUAL) if row[0] in roles.ALL}
    assert actual == {tuple(privilege) for privilege in roles.privileges() if privilege.kind != "FUNCTION"}
    assert await roles.missing(database) == []
    attributes = await database.fetch("SELECT * FROM pg_roles WHERE rolname = ANY ($1)", roles.ALL)
    assert len(attributes) == len(roles.ALL)
    for row in attributes:
        assert not any(row[name] for name in ("rolsuper", "rolcanlogin", "rolcreaterole", "rolcreatedb"))


async def test_everything_that_is_listed_exists(database: asyncpg.Connection) -> None:
    """A name with a mistake in it would be left out."""
    for name, kind in {(privilege.object, privilege.kind) for privilege in roles.privileges()}:
        lookup = {"SCHEMA": "to_regnamespace", "FUNCTION": "to_regprocedure", "TABLE": "to_regclass"}[kind]
        assert await database.fetchval(f"SELECT {lookup}($1) IS NOT NULL", name), name
    for privilege in roles.privileges():
        if privilege.column:
            await database.execute(f"SELECT {privilege.column} FROM {privilege.object} LIMIT 0")  # noqa: S608 - ours


@pytest.mark.parametrize("role", CODE)
async def test_a_role_may_execute_what_its_process_executes(role: str, database: asyncpg.Connection) -> None:
    """A query that needs more than storage/roles.sql grants to its process needs a line there."""
    expected = {roles.STORE: 60, roles.DELIVER: 20, roles.API: 30, roles.CONSOLE: 25, roles.POLL: 12}
    texts = await asyncio.to_thread(statements, role)  # it parses the process's code, and must not block the loop
    assert len(texts) >= expected[role]
    async with acting(database, role):
        refused = [text for text in texts if await is_refused(database, text)]
    assert refused == []


@pytest.mark.parametrize("role", CODE)
async def test_a_role_has_nothing_that_its_process_does_not_need(role: str, database: asyncpg.Connection) -> None:
    """Each privilege is taken away in turn: something that the process executes must then be refused."""
    texts, views = await asyncio.to_thread(statements, role), set(await relations(database, "v"))
    surplus = []
    for privilege in roles.privileges():
        name = privilege.object.partition(".")[2]
        if privilege.role != role or privilege.kind != "TABLE" or (role == roles.CONSOLE and name in views):
            continue
        async with rolled_back(database):
            await database.execute(privilege.statement.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM "))
            await database.execute(f"SET LOCAL ROLE {role}")
            concerned = [text for text in texts if f"crossdock.{name}" in text or CALL.search(text)]
            if not any([await is_refused(database, text) for text in concerned]):
                surplus.append(privilege.statement)
    assert surplus == []


async def test_nothing_copies_into_other_tables() -> None:
    code = "".join(file.read_text() for folder in ("storage", "workers") for file in (ROOT / folder).rglob("*.py"))
    assert set(re.findall(r'tables\.copy\w*\(\s*connection,\s*"(\w+)"', code)) == set(COPIES)


async def test_a_reader_reads_every_view_and_no_table(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    """With rows in them, because functions of a view run with the privileges of whoever reads it."""
    numbers = count(1)
    examples = [
        incoming(platform.name, event.name, registry.example(platform.name, example), number=next(numbers))
        for platform in registry.platforms().values()
        for event in platform.events
        for example in event.examples
    ]
    await isolate.write_isolating(pool, examples)
    assert await database.fetchval("SELECT count(*) FROM crossdock.events") >= 8
    async with acting(database, roles.READER):
        for view in await relations(database, "v", "m"):
            assert not await is_refused(database, f"SELECT * FROM crossdock.{view}"), f"grant {view} in roles.sql"  # noqa: S608
        for table in await relations(database, "r", "p"):
            assert await is_refused(database, f"SELECT FROM crossdock.{table}"), table


async def test_a_reader_cannot_see_secrets(database: asyncpg.Connection) -> None:
    id_, secret = uuid4(), "hush-hush"
    await database.execute(
        "INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed, "
        "query_key) VALUES ($1, 'boards', $2, '{*}', '{*}', 'standard', 1, $3, $4)",
        id_, f"https://a.example/hook?token={secret}", secret.encode(), secret,
    )  # fmt: skip
    await database.execute(
        "INSERT INTO crossdock.idempotent (subscriber, name, digest, sealed) VALUES ('boards', $1, $2, $2)",
        secret, secret.encode(),
    )  # fmt: skip
    async with acting(database, roles.READER):
        assert await database.fetchval("SELECT url FROM crossdock.subscriptions WHERE id = $1", id_)
        for view in await relations(database, "v"):
            rows = await database.fetch(f"SELECT v::text AS row FROM crossdock.{view} v")  # noqa: S608 - ours
            assert not [row for row in rows if secret in row["row"] or secret.encode().hex() in row["row"]], view


REFUSED = {
    roles.STORE: (
        "SELECT sealed FROM crossdock.subscribed",
        "SELECT url FROM crossdock.subscribed",
        "UPDATE crossdock.receipts SET digest = ''",
        "SELECT sealed FROM crossdock.idempotent",
        "INSERT INTO crossdock.consumers (name) VALUES ('x')",
        "DROP TABLE crossdock.receipts",
    ),
    roles.DELIVER: (
        "DELETE FROM crossdock.documents",
        "UPDATE crossdock.receipts SET raw = ''",
        "INSERT INTO crossdock.subscribed DEFAULT VALUES",
        "UPDATE crossdock.subscribed SET url = ''",
        "SELECT FROM crossdock.quarantined",
        "SELECT FROM crossdock.polls",
    ),
    roles.API: (
        "UPDATE crossdock.versions SET version = 1",
        "DELETE FROM crossdock.subscribed",
        "INSERT INTO crossdock.receipts DEFAULT VALUES",
        "SELECT raw FROM crossdock.quarantined",
        "SELECT FROM crossdock.polls",
    ),
    roles.CONSOLE: (
        "UPDATE crossdock.actions SET operator = ''",
        "DELETE FROM crossdock.actions",
        "INSERT INTO crossdock.subscribed DEFAULT VALUES",
        "DELETE FROM crossdock.subscribed",
        "UPDATE crossdock.versions SET version = 1",
        "SELECT FROM crossdock.idempotent",
        "UPDATE crossdock.quarantined SET raw = ''",
        "DELETE FROM crossdock.documents",
    ),
    roles.POLL: (
        "SELECT FROM crossdock.receipts",
        "SELECT FROM crossdock.events",
        "SELECT FROM crossdock.subscribed",
        "DELETE FROM crossdock.polls",
    ),
    roles.READER: ("SELECT crossdock.merge_documents(1, '{2}', 'x')",),
}
"""By role: what it must not do, as an attacker who has its process would try it."""


@pytest.mark.parametrize("role", roles.ALL)
async def test_a_role_may_not_do_anything_else(role: str, database: asyncpg.Connection) -> None:
    async with acting(database, role):
        for statement in (
            *REFUSED[role],
            "CREATE TABLE crossdock.mine ()",
            "CREATE FUNCTION crossdock.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "SELECT FROM crossdock.migrations",
            "TRUNCATE crossdock.documents",
            "ALTER TABLE crossdock.documents ADD COLUMN mine text",
            "ALTER ROLE crossdock_store SUPERUSER",
        ):
            assert await is_refused(database, statement), statement
        if role != roles.STORE:
            for call in ("make_partition('receipts', now())", "drop_partition('receipts_2026_01')"):
                assert await is_refused(database, f"SELECT crossdock.{call}")


async def test_only_months_can_be_made_and_dropped(database: asyncpg.Connection) -> None:
    """The functions run as the owner of everything, so they must refuse everything else."""
    await database.execute("CREATE TABLE crossdock.notes_2026_01 ()")
    async with acting(database, roles.STORE):
        for call in (
            "drop_partition('receipts_default')",
            "drop_partition('receipts')",
            "drop_partition('subscribed')",
            "drop_partition('notes_2026_01')",
            "drop_partition('receipts_1999_01; DROP TABLE crossdock.documents')",
            "make_partition('subscribed', now())",
            "make_partition('nothing', now())",
        ):
            with pytest.raises(asyncpg.RaiseError, match="is not "):
                async with database.transaction():
                    await database.execute(f"SELECT crossdock.{call}")
    for function in ("make_partition(text, timestamptz)", "drop_partition(text)"):
        path = await database.fetchval(
            "SELECT proconfig FROM pg_proc WHERE oid = $1::text::regprocedure", f"crossdock.{function}"
        )
        assert path == ["search_path=pg_catalog, pg_temp"]


async def test_the_store_workers_role_makes_months_and_drops_them(
    database_url: str, database: asyncpg.Connection
) -> None:
    pool = await pools.create_pool(database_url, size=2, role=roles.STORE)
    try:
        long_ago = incoming("apicbase", "purchase_order", {"id": "old"}, seconds=-70 * 86_400, number=1)
        await isolate.write_isolating(pool, [long_ago])
        kept = await maintenance.keep(pool, retention_days=400, now=START)
        assert "made receipts for 2026-09" in kept
        assert await database.fetchval("SELECT count(*) FROM crossdock.receipts_2026_09") == 1
        dropped = await maintenance.keep(pool, retention_days=30, now=START + timedelta(days=1))
        assert {f"dropped {parent}_2026_09" for parent in ("receipts", "versions")} <= set(dropped)
        assert await database.fetchval("SELECT count(*) FROM crossdock.documents") == 0
    finally:
        await pool.close()
