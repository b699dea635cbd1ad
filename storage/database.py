"""The database of one process: one pool, made when it is first needed, and one definition of "unavailable".

Blame needs proof. Only errors that PostgreSQL or the driver raise about the values of a row are about a message. Every
other error, whatever its SQLSTATE, is about the database: callers hold what they have and try again.
"""

import asyncio
from contextlib import suppress

import asyncpg

from storage import pool as pools

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

ROW_ERRORS: tuple[type[Exception], ...] = (
    asyncpg.DataError,  # class 22, and values that the driver cannot encode
    asyncpg.exceptions._base.DataError,  # the driver's own, where it isn't derived from the one above
    asyncpg.IntegrityConstraintViolationError,  # class 23
    asyncpg.ProgramLimitExceededError,  # class 54
)
"""Errors that are about the values of a row. They blame a message only once it is proven that nothing else fails alike
(`workers.store.isolate`)."""

UNAVAILABLE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.PostgresWarning,  # classes 01 and 02, should a server or a proxy answer a statement with one
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also TargetServerAttributeNotMatched: only standbys answer during a fail-over
)
"""Errors of the database or of the way to it, for `except` clauses. Some of them are row errors: where a caller's own
values may be at fault, it asks `is_unavailable`."""

LOST_STATEMENTS = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""What a statement that was prepared on one server meets on another, behind a pooler in transaction mode."""


def is_row_error(error: BaseException) -> bool:
    """Return whether the error is about the values of a row, and not about the database."""
    return isinstance(error, ROW_ERRORS)


def is_unavailable(error: BaseException) -> bool:
    """Return whether the error is about the database or the way to it: hold what you have and try again."""
    return isinstance(error, UNAVAILABLE_ERRORS) and not is_row_error(error)


def explain(error: BaseException) -> str:
    """Return one line for `/readyz` and logs: the kind of error and its text, without values of rows."""
    sqlstate = getattr(error, "sqlstate", None)
    name = f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__
    if isinstance(error, LOST_STATEMENTS):
        return f"{name}: {pools.UnsupportedPoolerError()}"
    text = str(error).partition("\n")[0][:300]
    return f"{name}: {text}" if text else name


class Database:
    """One process's pool, made on first use and made again after a failed attempt.

    `problem` is what `/readyz` reports: callers set it through `failed` and clear it through `worked`.
    """

    def __init__(self, url: str, *, size: int, name: str = "crossdock") -> None:
        """`size`: connections at most. `name`: what `pg_stat_activity` shows as application."""
        self._url = url
        self._size = size
        self._name = name
        self._pool: asyncpg.Pool | None = None
        self._lock = asyncio.Lock()
        self.problem: str | None = "not connected yet"

    @property
    def is_open(self) -> bool:
        """Whether a pool has been made."""
        return self._pool is not None

    async def pool(self) -> asyncpg.Pool:
        """Return the pool. Raises one of UNAVAILABLE_ERRORS while no server that takes writes can be reached."""
        async with self._lock:  # several tasks ask for it at the start
            if self._pool is None:
                self._pool = await pools.create_pool(self._url, size=self._size, name=self._name)
            return self._pool

    def failed(self, error: BaseException) -> str:
        """Note that the database was unavailable; return the explanation."""
        self.problem = explain(error)
        return self.problem

    def worked(self) -> None:
        """Note that the database did what it was asked to do."""
        self.problem = None

    async def close(self, timeout: float) -> None:
        """Close the pool within `timeout` seconds, or leave it to the end of the process."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(Exception):
                async with asyncio.timeout(timeout):
                    await pool.close()
