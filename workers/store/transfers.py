"""Keeps the view `transfers` up to date beside storing: notes what has changed, and computes it a moment later.

The note is part of the store transaction, so that a crash loses nothing. The computation is a job of every store
worker, of which one at a time computes. It works in small pieces, and while messages wait to be stored it takes a small
share of the time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from math import nan

import asyncpg

from schemas import registry
from storage import transfers
from storage.database import Connection, explain
from workers.store import metrics
from workers.store.versions import DocumentBatch, StoredVersion

log = logging.getLogger("crossdock.store")

Pool = Callable[[], Awaitable[asyncpg.Pool]]

INTERVAL = 1.0
"""Seconds between two looks at the noted changes, while there are none."""
FILL_INTERVAL = 60.0
"""Seconds between two looks whether documents from before an upgrade must be filled in, while there are none."""
MAX_PAUSE = 60.0
"""Maximum seconds between two pieces, however long a piece takes."""
RETRY_INTERVAL = 5.0
"""Seconds until the next try after an error."""
COUNT_INTERVAL = 15.0
"""Seconds between two counts of late transfers."""
BUSY_SHARE, IDLE_SHARE = 0.03, 0.5
"""Share of the time that is spent on computing, while messages wait to be stored and while none do."""


async def note_changes(connection: Connection, new: Sequence[StoredVersion], rebuilt: Iterable[DocumentBatch]) -> None:
    """Note the documents of a batch whose newest version may have changed, if they belong to transfers.

    `new`: the versions that the batch added; `rebuilt`: the documents whose versions were derived again. To be called
    within the batch's transaction. Raises asyncpg's errors.
    """
    types = registry.transfer_types()
    ids = {version.document_id for version in new if version.document.reading.type in types}
    ids.update(batch.document_id for batch in rebuilt if batch.document.reading.type in types)
    if ids:
        await transfers.note(connection, sorted(ids))


async def keep_transfers(pool: Pool, is_busy: Callable[[], bool]) -> None:
    """Compute the transfers that have changed, and fill in those from before an upgrade, until cancelled.

    `is_busy`: whether messages wait to be stored.
    """
    fill_at, limit = 0.0, transfers.PIECE
    while True:
        started = time.monotonic()
        try:
            async with (await pool()).acquire() as connection:
                work = await transfers.apply_changes(connection, limit)
                limit = transfers.PIECE
                if work is None and started >= fill_at:
                    work = await transfers.fill(connection)
                    if work is None:
                        fill_at = started + FILL_INTERVAL
            pause = INTERVAL if work is None else pause_after(time.monotonic() - started, is_busy())
        except Exception as error:
            log.warning("transfers not computed", extra={"error": explain(error)})
            # A change that cannot be computed must not keep others waiting: it is found by itself, and goes to the end.
            if limit == 1:
                with suppress(Exception):
                    async with (await pool()).acquire() as connection:
                        await transfers.postpone(connection)
            limit, pause = 1, RETRY_INTERVAL
        await asyncio.sleep(pause)


def pause_after(seconds: float, is_busy: bool) -> float:
    """Return the seconds to wait after a piece that took `seconds`, so that computing keeps its share of the time."""
    return min(seconds / (BUSY_SHARE if is_busy else IDLE_SHARE) - seconds, MAX_PAUSE)


async def watch_transfers(pool: Pool) -> None:
    """Keep the metrics of transfers, until cancelled. They have no value while the database is unavailable."""
    while True:
        try:
            async with (await pool()).acquire() as connection:
                late, progress = await transfers.late(connection), await transfers.progress(connection)
        except Exception as error:
            log.debug("late transfers not counted", extra={"error": explain(error)})
            late, progress = [], None
        metrics.TRANSFERS_LATE.clear()
        for count in late:
            metrics.TRANSFERS_LATE.labels(count.account).set(count.transfers)
        metrics.TRANSFERS_BEHIND.set(nan if progress is None else progress.behind_seconds)
        await asyncio.sleep(COUNT_INTERVAL)
