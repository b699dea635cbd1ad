"""How much is due and since when, as metrics: by the index of what is due, a bounded part of it a subscription."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from storage.sql import query
from workers.deliver import metrics

log = logging.getLogger("crossdock.deliver")

INTERVAL = 15.0
"""Seconds between looks."""
COUNTED = 1000
"""Deliveries counted a subscription at most: how far behind it is tells the age."""


async def watch(
    pool: Callable[[], Awaitable[asyncpg.Pool]], worker: UUID, left_alone: Callable[[], list[UUID]]
) -> None:
    """Until it is cancelled. A database that is away is somebody else's to report; the old figures stay meanwhile."""
    while True:
        try:
            row = await (await pool()).fetchrow(query("outbox", "waiting"), worker, left_alone(), COUNTED)
            assert row is not None
            metrics.DUE.set(row["due"])
            metrics.OLDEST_DUE.set(row["oldest"])
        except Exception as error:
            log.debug("what is due not looked at", extra={"error": f"{type(error).__name__}: {error}"})
        await asyncio.sleep(INTERVAL)
