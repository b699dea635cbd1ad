"""Writes the results of attempts to the database in batches, and retries until they are stored.

Delivery is at least once: an attempt whose result was not stored is made again. Results are therefore kept in memory
while the database is unavailable, and their deliveries are not fetched again in the meantime.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from storage.database import UNAVAILABLE_ERRORS, Database, explain, is_row_error
from storage.sql import query
from telemetry.background import Background
from workers.deliver.attempt.result import Outcome

log = logging.getLogger("crossdock.deliver")

PAUSES = (0.1, 0.5, 1.0, 2.0)
"""Seconds between tries to write while the database is unavailable; the last value repeats."""
AT_ONCE = 500
"""Maximum number of results in one statement."""
UNWRITABLE = "the result could not be stored as it was"
"""The error text that is stored for an attempt if PostgreSQL rejects its real texts."""


Status = Literal["pending", "delivered", "failed"]
"""The status that a delivery has after an attempt."""


class Result(msgspec.Struct, frozen=True):
    """The result of one attempt, and the new status of its delivery; the parameters of `outbox.attempted`, in order."""

    id: UUID
    attempt: int
    at: datetime
    outcome: Outcome
    status_code: int | None
    duration_ms: float
    response: bytes
    error: str | None
    status: Status
    next_seconds: float = 0.0
    """Seconds until the next attempt, if `status` is pending."""


class AttemptWriter:
    """Stores the results passed to `add`, and calls `on_persisted` with the IDs of the deliveries that were stored."""

    def __init__(self, database: Database, on_persisted: Callable[[Iterable[UUID]], None]) -> None:
        self._database = database
        self._on_persisted = on_persisted
        self._results: list[Result] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.problem: str | None = None

    def start(self, background: Background) -> None:
        """Start writing, in one of the supervised tasks of `background`."""
        background.start(self._run(), name="deliver-writer")

    async def drain(self, timeout: float) -> None:
        """Wait until all results are written, for at most `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    def add(self, result: Result) -> None:
        """Queue a result, to be written in a batch with others."""
        self._results.append(result)
        self._idle.clear()
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._results:
                batch, self._results = self._results[:AT_ONCE], self._results[AT_ONCE:]
                self._on_persisted(await self._write_isolating(batch))
            self._idle.set()

    async def _write_isolating(self, batch: list[Result]) -> list[UUID]:
        """Write a batch, splitting it in halves if PostgreSQL rejects a row; return the deliveries that were stored."""
        try:
            await self._write(batch)
        except Exception as error:
            if len(batch) > 1:
                half = len(batch) // 2
                return await self._write_isolating(batch[:half]) + await self._write_isolating(batch[half:])
            (result,) = batch
            log.error(
                "result of an attempt refused by the database",
                extra={"delivery": str(result.id), "error": explain(error), "degraded": result.error != UNWRITABLE},
            )
            if result.error == UNWRITABLE:
                # Not even the degraded result can be written. This process does not send the delivery again.
                return []
            return await self._write_isolating([msgspec.structs.replace(result, response=b"", error=UNWRITABLE)])
        return [result.id for result in batch]

    async def _write(self, batch: list[Result]) -> None:
        """Write a batch, and retry while the database is unavailable; raise errors that a row causes."""
        # Each delivery occurs once per statement, since it is not fetched again before its result is written. With two
        # results, the statement would update its row twice and store either of them.
        columns = [list(column) for column in zip(*map(msgspec.structs.astuple, batch), strict=True)]
        attempt = 0
        while True:
            try:
                pool = await self._database.pool()
                await pool.execute(query("outbox", "attempted"), *columns)
            except UNAVAILABLE_ERRORS as error:
                if is_row_error(error):
                    raise
                self.problem = f"results of attempts cannot be written ({type(error).__name__})"
                log.warning(
                    "results of attempts not written yet", extra={"error": explain(error), "attempts": len(batch)}
                )
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                attempt += 1
            else:
                self.problem = None
                return
