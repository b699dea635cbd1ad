"""Writes what came of attempts: many at a time, and until the database has them.

An attempt that was made and not written is made again: at least once. So results are held while the database is away,
and their deliveries are not taken again meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec

from storage.sql import query
from workers.deliver.attempt.answer import Outcome

log = logging.getLogger("crossdock.deliver")

PAUSES = (0.1, 0.5, 1.0, 2.0)
"""Seconds between attempts to write while the database is away; the last repeats."""
AT_ONCE = 500
"""Results in one statement."""


class Result(msgspec.Struct, frozen=True):
    """One attempt, and what becomes of its delivery."""

    id: UUID
    attempt: int
    at: datetime
    outcome: Outcome
    status_code: int | None
    duration_ms: float
    response: bytes
    error: str | None
    status: Literal["pending", "delivered", "failed"]
    next_seconds: float = 0.0
    """Until the next attempt, if it is pending."""


class Ledger:
    """`put` results; `written` is told when they are safe."""

    def __init__(self, pool: Callable[[], Awaitable[asyncpg.Pool]], written: Callable[[Iterable[UUID]], None]) -> None:
        self._pool = pool
        self._written = written
        self._results: list[Result] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger")

    async def stop(self, timeout: float) -> None:
        """Writes what there is, for at most `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def put(self, result: Result) -> None:
        """Written soon, with all that comes until then."""
        self._results.append(result)
        self._idle.clear()
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._results:
                batch, self._results = self._results[:AT_ONCE], self._results[AT_ONCE:]
                await self._write(batch)
                self._written([result.id for result in batch])
            self._idle.set()

    async def _write(self, batch: list[Result]) -> None:
        # One that was tried twice since the last write would be updated twice by one statement, with either result.
        rows = [
            (
                one.id,
                one.attempt,
                one.at,
                one.outcome,
                one.status_code,
                one.duration_ms,
                one.response,
                one.error,
                one.status,
                one.next_seconds,
            )
            for one in batch
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        attempt = 0
        while True:
            try:
                pool = await self._pool()
                await pool.execute(query("outbox", "attempted"), *columns)
            except Exception as error:
                self.problem = f"attempts can't be written ({type(error).__name__})"
                log.warning("attempts not written yet", extra={"error": str(error), "attempts": len(batch)})
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                attempt += 1
            else:
                self.problem = None
                return
