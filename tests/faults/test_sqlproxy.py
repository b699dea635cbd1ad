"""The proxy that answers with errors leaves PostgreSQL and its client in the states that real errors leave them in."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from tests.faults.sqlproxy import Answer, SqlProxy, Statement, Trouble, sqlstates

REFUSED, CLOSED, LOST = Answer.REFUSED, Answer.CLOSED, Answer.LOST


@pytest_asyncio.fixture
async def proxy(database_url: str) -> AsyncIterator[SqlProxy]:
    address = urlsplit(database_url)
    assert address.hostname is not None
    assert address.port is not None
    proxy = SqlProxy(address.hostname, address.port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@pytest_asyncio.fixture
async def through(
    proxy: SqlProxy, database: asyncpg.Connection, database_url: str
) -> AsyncIterator[asyncpg.Connection]:
    """A connection through the proxy, and a table to write to."""
    await database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    connection = await asyncpg.connect(_url(proxy, database_url))
    try:
        yield connection
    finally:
        connection.terminate()


def _url(proxy: SqlProxy, database_url: str) -> str:
    return database_url.replace(f":{urlsplit(database_url).port}/", f":{proxy.port}/")


def _only(statement: Statement, sqlstate: str = "53200", answer: Answer = REFUSED) -> Trouble:
    return Trouble(sqlstate, frozenset({statement}), answer, times=1)


async def _insert(connection: asyncpg.Connection, statement: Statement) -> None:
    """Writes one row, and uses the kind of statement while doing so."""
    async with connection.transaction():
        if statement is Statement.COPY:
            await connection.copy_records_to_table("t", columns=("n",), records=[(1,)])
        elif statement is Statement.QUERY:
            await connection.execute("INSERT INTO t VALUES (1)")
        else:
            await connection.execute("INSERT INTO t VALUES ($1)", 1)


WITHIN = tuple(statement for statement in Statement if statement is not Statement.CONNECT)


@pytest.mark.parametrize("statement", WITHIN)
async def test_a_refused_statement_aborts_its_transaction_and_the_connection_lives_on(
    proxy: SqlProxy, through: asyncpg.Connection, database: asyncpg.Connection, statement: Statement
) -> None:
    proxy.arm(_only(statement))
    with pytest.raises(asyncpg.OutOfMemoryError):
        await _insert(through, statement)
    proxy.disarm()
    assert proxy.answered == 1
    assert not through.is_in_transaction()
    assert await database.fetchval("SELECT count(*) FROM t") == 0
    if statement is not Statement.BEGIN:  # asyncpg believes then that its transaction goes on, until a pool resets it
        await _insert(through, statement)
    assert await through.fetchval("SELECT count(*) FROM t") == (statement is not Statement.BEGIN)


async def test_a_statement_that_is_refused_within_a_savepoint_aborts_only_that(
    proxy: SqlProxy, through: asyncpg.Connection, database: asyncpg.Connection
) -> None:
    async with through.transaction():
        await through.execute("INSERT INTO t VALUES ($1)", 1)
        proxy.arm(_only(Statement.EXECUTE))
        with pytest.raises(asyncpg.OutOfMemoryError):
            async with through.transaction():
                await through.execute("INSERT INTO t VALUES ($1)", 2)
        proxy.disarm()
        await through.execute("INSERT INTO t VALUES ($1)", 3)
    assert [row["n"] for row in await database.fetch("SELECT n FROM t ORDER BY n")] == [1, 3]


@pytest.mark.parametrize("statement", WITHIN)
@pytest.mark.parametrize("answer", [CLOSED, LOST])
async def test_a_connection_is_closed_after_the_error(
    proxy: SqlProxy, through: asyncpg.Connection, database: asyncpg.Connection, statement: Statement, answer: Answer
) -> None:
    proxy.arm(_only(statement, "57P01", answer))
    with pytest.raises((asyncpg.AdminShutdownError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await _insert(through, statement)
    committed = answer is LOST and statement is Statement.COMMIT
    assert await database.fetchval("SELECT count(*) FROM t") == committed
    assert through.is_closed()


async def test_connecting_is_answered_with_an_error(
    proxy: SqlProxy, through: asyncpg.Connection, database_url: str
) -> None:
    proxy.arm(Trouble("53300", frozenset({Statement.CONNECT})))
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await asyncpg.connect(_url(proxy, database_url))
    with pytest.raises((asyncpg.InterfaceError, asyncpg.ConnectionDoesNotExistError, OSError)):
        await through.fetchval("SELECT 1")
    proxy.disarm()
    await (await asyncpg.connect(_url(proxy, database_url))).close()


@pytest.mark.parametrize("statement", [Statement.QUERY, Statement.EXECUTE, Statement.PARSE])
async def test_a_pool_recovers_from_every_error(
    proxy: SqlProxy, through: asyncpg.Connection, database_url: str, statement: Statement
) -> None:
    """Also: the server raises each SQLSTATE as it was asked to."""
    async with asyncpg.create_pool(_url(proxy, database_url), min_size=1, max_size=1) as pool:
        for number, sqlstate in enumerate(sqlstates()):
            query = pool.execute("SELECT 1") if statement is Statement.QUERY else pool.fetchval(f"SELECT {number}")
            proxy.arm(_only(statement, sqlstate))
            with pytest.raises((asyncpg.PostgresError, asyncpg.exceptions.PostgresWarning)) as caught:
                await query
            proxy.disarm()
            assert getattr(caught.value, "sqlstate", None) == sqlstate
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_probability_selects_statements(proxy: SqlProxy, through: asyncpg.Connection) -> None:
    proxy.arm(Trouble("XX000", frozenset({Statement.EXECUTE}), probability=0.5))
    failed = 0
    for _ in range(40):
        try:
            await through.fetchval("SELECT 1")
        except asyncpg.InternalServerError:
            failed += 1
    assert failed == proxy.answered
    assert 0 < failed < 40


def test_sqlstates_are_those_of_the_documentation() -> None:
    states = sqlstates()
    assert {"08006", "22P02", "23505", "25006", "40003", "53200", "54000", "57P05", "58030", "XX000"} <= set(states)
    assert len(states) > 200
