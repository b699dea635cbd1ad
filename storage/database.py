"""The database of one process: one pool, created on first use, and one definition of "unavailable".

A message is blamed only with proof. Only errors that PostgreSQL or the driver raises about the values of a row concern
a message. Every other error, whatever its SQLSTATE, concerns the database: callers keep what they have and try again.
"""

import asyncio
from contextlib import suppress

import asyncpg

from storage import hints
from storage import pool as pools
from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

ROW_ERRORS: tuple[type[Exception], ...] = (
    asyncpg.DataError,  # class 22, and values that the driver cannot encode
    asyncpg.exceptions._base.DataError,  # the driver's own class, which need not derive from the one above
    asyncpg.IntegrityConstraintViolationError,  # class 23
    asyncpg.ProgramLimitExceededError,  # class 54
)
"""Errors that concern the values of a row.

They are blamed on a message only after `workers.store.isolate` has shown that no other message fails in the same way.
"""

UNAVAILABLE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    # Classes 01 and 02, in case a server or a proxy answers a statement with one.
    asyncpg.PostgresWarning,
    asyncpg.InterfaceError,
    # Includes TargetServerAttributeNotMatched: only standbys respond during a fail-over.
    asyncpg.InternalClientError,
)
"""Errors of the database or of the connection to it, for `except` clauses.

Some of them are row errors: callers whose own values may be at fault check `is_row_error` first.
"""

LOST_STATEMENTS = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""Errors of a statement that was prepared on another server, behind a pooler in transaction mode."""

NO_WRITES = (asyncpg.TargetServerAttributeNotMatched, asyncpg.ReadOnlySQLTransactionError)
"""Errors of a server that answers and takes no writes."""


def is_row_error(error: BaseException) -> bool:
    """Return whether the error concerns the values of a row rather than the database."""
    return isinstance(error, ROW_ERRORS)


def is_unavailable(error: BaseException) -> bool:
    """Return whether the error concerns the database or the connection to it, so that callers must try again."""
    return isinstance(error, UNAVAILABLE_ERRORS) and not is_row_error(error)


def explain(error: BaseException) -> str:
    """Return one line for `/readyz` and logs: the error's type and text, without values of rows."""
    sqlstate = getattr(error, "sqlstate", None)
    name = f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__
    if isinstance(error, LOST_STATEMENTS) or pools.STATEMENT_MODE in str(error):
        return f"{name}: {pools.UnsupportedPoolerError()}"
    if isinstance(error, NO_WRITES):
        return f"{name}: the server or database takes no writes (a standby, or default_transaction_read_only)"
    text = hints.with_hint(str(error).partition("\n")[0][:300])
    return f"{name}: {text}" if text else name


async def plan_by_filters(connection: Connection) -> None:
    """Have the queries of the transaction under way planned for the filters that each of them is given.

    A plan that is kept for any filters reads whole tables for some of them. Raises asyncpg's errors.
    """
    await connection.execute(query("plans", "by_filters"))


class Database:
    """The connection pool of one process, created on first use and again after a failed attempt.

    `problem` is what `/readyz` reports: callers set it through `failed` and clear it through `worked`.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        name: str = "crossdock",
        role: str | None = None,
        beside: "Database | None" = None,
    ) -> None:
        """Configure the pool without connecting.

        `size`: maximum number of connections. `name`: the application name that `pg_stat_activity` shows. `role`: the
        role that the connections take (`storage.roles`). `beside`: another pool of this process on the same server,
        which is opened first, so that a pooler is looked for once.
        """
        self._url = url
        self._size = size
        self._name = name
        self._role = role
        self._beside = beside
        self._pool: asyncpg.Pool | None = None
        self._lock = asyncio.Lock()
        self.problem: str | None = "not connected yet"

    @property
    def is_open(self) -> bool:
        """Whether the pool has been created."""
        return self._pool is not None

    async def pool(self) -> asyncpg.Pool:
        """Return the pool; raises one of UNAVAILABLE_ERRORS while no server that accepts writes can be reached."""
        async with self._lock:  # several tasks call this at the start
            if self._pool is None:
                if self._beside is not None:
                    await self._beside.pool()
                self._pool = await pools.create_pool(
                    self._url,
                    size=self._size,
                    name=self._name,
                    role=self._role,
                    is_verified=self._beside is not None,
                )
            return self._pool

    def failed(self, error: BaseException) -> str:
        """Record that the database was unavailable and return the explanation."""
        self.problem = explain(error)
        return self.problem

    def worked(self) -> None:
        """Record that an operation on the database succeeded."""
        self.problem = None

    async def close(self, timeout: float) -> None:
        """Close the pool within `timeout` seconds; otherwise leave it open until the process ends."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(Exception):
                async with asyncio.timeout(timeout):
                    await pool.close()
