"""Keeps the view `transfers` up to date beside storing: notes what has changed, and computes it a moment later.

The note is part of the store transaction, so that a crash loses nothing. The computation is a job of every store
worker, of which one at a time computes. It works in small pieces, and while messages have to wait to be stored it takes
a small share of the time.
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
from storage.transfers import Work
from workers.store import metrics
from workers.store.versions import DocumentBatch, StoredVersion

log = logging.getLogger("crossdock.store")

Pool = Callable[[], Awaitable[asyncpg.Pool]]

INTERVAL = 1.0
"""Seconds between two looks at the noted changes, unless more of them are known to wait."""
IDLE_INTERVAL = 3.0
"""The same while this worker stores nothing, so that only other workers note changes."""
FILL_INTERVAL = 60.0
"""Seconds between two looks whether documents from before an upgrade must be filled in, while there are none."""
MAX_PAUSE = 60.0
"""Maximum seconds between two pieces, however long a piece takes."""
RETRY_INTERVAL = 1.0
"""Seconds until the next try after an error."""
COUNT_INTERVAL = 15.0
"""Seconds between two counts of late transfers."""
SATURATED_PIECE = 200
"""Number of changed documents in a piece, while storing takes all that there is."""
SATURATED_SHARE, USUAL_SHARE = 0.01, 0.5
"""Share of the time that is spent on computing, while storing takes all that there is, and otherwise."""


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


async def keep_transfers(pool: Pool, is_saturated: Callable[[], bool], stored: asyncio.Event) -> None:
    """Compute the transfers that have changed, and fill in those from before an upgrade, until cancelled.

    `is_saturated`: whether messages have to wait, because storing takes all that there is. `stored`: set by the worker
    whenever it has stored something.
    """
    changes = _Pieces(transfers.apply_changes, transfers.postpone)
    filling = _Pieces(transfers.fill, transfers.skip)
    fill_at = 0.0
    while True:
        started = time.monotonic()
        has_more = is_filling = False
        stored.clear()
        try:
            async with (await pool()).acquire() as connection:
                at_most = SATURATED_PIECE if is_saturated() else transfers.PIECE
                size = min(changes.limit, at_most)
                work = await changes.compute(connection, at_most)
                has_more = work is not None and work.documents >= size
                if started >= fill_at:
                    is_filling = await filling.compute(connection, at_most) is not None
                    fill_at = fill_at if is_filling else started + FILL_INTERVAL
        except Exception as error:
            log.warning("transfers not computed", extra={"error": explain(error)})
            await _leave_alone(pool, changes, filling)
            await asyncio.sleep(RETRY_INTERVAL)
            continue
        await rest(time.monotonic() - started, is_saturated, 0.0 if has_more or is_filling else INTERVAL)
        if work is None and not is_filling:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_INTERVAL - INTERVAL):
                    await stored.wait()


class _Pieces:
    """Work that is done in pieces, of which one that cannot be computed must keep no other waiting.

    After an error, pieces become smaller until a piece of one document fails; that document is then left out.
    """

    def __init__(
        self,
        compute: Callable[[Connection, int], Awaitable[Work | None]],
        leave_alone: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self.limit = transfers.PIECE
        """Maximum number of documents of the next piece."""
        self.has_isolated_failure = False
        """Whether a piece of one document has failed."""
        self._compute = compute
        self.leave_alone = leave_alone

    async def compute(self, connection: Connection, at_most: int) -> Work | None:
        """Do the next piece; None if there is nothing to do. Raises asyncpg's errors."""
        try:
            work = await self._compute(connection, min(self.limit, at_most))
        except Exception:
            self.has_isolated_failure = self.limit == 1
            self.limit = self.limit // 2 or transfers.PIECE
            raise
        self.limit = min(2 * self.limit, transfers.PIECE)
        return work


async def _leave_alone(pool: Pool, *kinds: _Pieces) -> None:
    for kind in kinds:
        if kind.has_isolated_failure:
            kind.has_isolated_failure = False
            with suppress(Exception):
                async with (await pool()).acquire() as connection:
                    await kind.leave_alone(connection)


async def rest(seconds: float, is_saturated: Callable[[], bool], at_least: float) -> None:
    """Wait after a piece that took `seconds`, so that computing keeps its share of the time.

    `at_least`: minimum seconds, in which changes of the same transfer gather.
    """
    began = time.monotonic()
    await asyncio.sleep(max(at_least, min(pause_after(seconds, USUAL_SHARE), MAX_PAUSE)))
    until = began + min(pause_after(seconds, SATURATED_SHARE), MAX_PAUSE)
    while (left := until - time.monotonic()) > 0:
        if not is_saturated():
            return
        await asyncio.sleep(min(INTERVAL, seconds, left))


def pause_after(seconds: float, share: float) -> float:
    """Return the seconds after work of `seconds` that leave it this share of the time."""
    return seconds / share - seconds


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
