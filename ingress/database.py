"""A check of the database that serves requests: it must respond, accept writes, and have our tables.

Requests that fail never mark the database as unavailable; they only cause an earlier check.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from storage.database import UNAVAILABLE_ERRORS, Connection, Database

INTERVAL = 5.0
"""Seconds between two checks."""
INTERVAL_UNAVAILABLE = 0.5
"""Seconds between checks while the database is unavailable."""
TIMEOUT = 5.0
"""Seconds after which a check that gets no response counts as failed."""
CHECK = "SELECT pg_is_in_recovery() FROM (SELECT count(*) FROM crossdock.subscribed WHERE false) AS schema_is_ours"


class BusyError(Exception):
    """No connection was free in time."""


class NotOpenError(Exception):
    """The database has not been reached yet."""


class DatabaseWatch:
    """Checks a database every few seconds, on a connection of its own, and acquires connections from its pools."""

    def __init__(self, watched: Database, pools: Sequence[Database], log: logging.Logger) -> None:
        """`watched`: a separate connection, because all others may be busy or stuck while the database is available."""
        self._watched = watched
        self._pools = (watched, *pools)
        self._log = log
        self._check_now = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why the database is unavailable; None if it is available."""
        return self._watched.problem

    async def run(self) -> None:
        """Check until the task is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_UNAVAILABLE if self._watched.problem else INTERVAL):
                    await self._check_now.wait()
            self._check_now.clear()
            await self.check()

    def check_soon(self) -> None:
        """Check at once, because a request has failed."""
        self._check_now.set()

    async def check(self) -> None:
        """Check once, and record the result."""
        try:
            pools = [await database.pool() for database in self._pools]
            async with pools[0].acquire(timeout=TIMEOUT) as connection:
                is_standby = await connection.fetchval(CHECK, timeout=TIMEOUT)
            if is_standby:
                # A server that was demoted keeps its connections; new ones reach the server that accepts writes.
                for pool in pools:
                    await pool.expire_connections()
                raise OSError("connected to a standby")
        except UNAVAILABLE_ERRORS as error:
            before = self._watched.problem
            if self._watched.failed(error) != before:
                self._log.warning("the database is unavailable", extra={"error": self._watched.problem})
        else:
            self._watched.worked()

    @asynccontextmanager
    async def connection(self, database: Database, *, wait_seconds: float) -> AsyncIterator[Connection]:
        """Acquire a connection of one of the pools within `wait_seconds`. Raises BusyError and NotOpenError."""
        if not database.is_open:
            raise NotOpenError
        pool = await database.pool()
        try:
            connection = await pool.acquire(timeout=wait_seconds)
        except TimeoutError:
            self.check_soon()
            raise BusyError from None
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def close(self, timeout: float) -> None:
        """Close all pools, each within `timeout` seconds."""
        for database in self._pools:
            await database.close(timeout)
