"""Periodic jobs of the store worker, and a query that another of its tasks needs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import asyncpg

from storage import consumers, maintenance, quarantine
from storage.database import explain
from storage.sql import query
from workers.store import metrics

log = logging.getLogger("crossdock.store")

Pool = Callable[[], Awaitable[asyncpg.Pool]]

QUARANTINE_INTERVAL = 15.0
"""Seconds between counts of the quarantine."""
INDEX_INTERVAL = 0.5
"""Seconds between merges of what was filed lately into the index of identifiers; searches read it as well."""
MAINTENANCE_INTERVAL = 3600.0
"""Seconds between rounds of maintenance."""
MAINTENANCE_RETRY_INTERVAL = 5.0
"""Seconds between rounds while the database is unavailable."""


async def watch_quarantine(pool: Pool) -> None:
    """Keep the metrics of the quarantine, until cancelled. They have no sample while the database is unavailable."""
    while True:
        try:
            async with (await pool()).acquire() as connection:
                stages = await quarantine.by_stage(connection)
        except Exception as error:
            log.debug("quarantine not counted", extra={"error": explain(error)})
            stages = {}
        metrics.QUARANTINE_MESSAGES.clear()
        metrics.QUARANTINE_OLDEST.clear()
        for stage, count in stages.items():
            metrics.QUARANTINE_MESSAGES.labels(stage).set(count.messages)
            metrics.QUARANTINE_OLDEST.labels(stage).set(count.oldest_seconds)
        await asyncio.sleep(QUARANTINE_INTERVAL)


async def maintain_partitions(pool: Pool, retention_days: Callable[[], int]) -> None:
    """Create the partitions of the coming months and drop expired ones, until cancelled."""
    while True:
        try:
            await maintenance.keep(await pool(), retention_days=retention_days())
            pause = MAINTENANCE_INTERVAL
        except Exception as error:
            log.warning("maintenance failed", extra={"error": explain(error)})
            pause = MAINTENANCE_RETRY_INTERVAL
        await asyncio.sleep(pause)


async def consumer_queues(pool: Pool) -> Iterable[str]:
    """Return the queues of the consumers of `crossdock.events`, and the queues of their dead messages.

    Their depths are watched here, because a consumer that is not running can't watch its own. Returns nothing while
    the database is unavailable, which `/readyz` reports.
    """
    with suppress(Exception):
        async with (await pool()).acquire() as connection:
            return [
                queue
                for row in await consumers.listing(connection)
                for queue in (row.consumer.queue, row.consumer.dead)
            ]
    return ()


async def index_identifiers(pool: Pool, stored: asyncio.Event) -> None:
    """Merge what was filed lately into the index of identifiers, until cancelled.

    `stored`: set by the worker whenever it has stored something. While merges fail, searches take longer, and at last a
    transaction that stores does the merge itself.
    """
    while True:
        await stored.wait()
        await asyncio.sleep(INDEX_INTERVAL)
        stored.clear()
        try:
            async with (await pool()).acquire() as connection:
                await connection.execute(query("identifiers", "merge"))
        except Exception as error:
            log.debug("identifiers not merged", extra={"error": explain(error)})
