"""How much is due and since when, as metrics: by the index of what is due, a bounded part of it a subscription."""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from storage.database import UNAVAILABLE_ERRORS, Database, explain
from storage.sql import query
from workers.deliver import metrics

log = logging.getLogger("crossdock.deliver")

INTERVAL = 15.0
"""Seconds between looks."""
COUNTED = 1000
"""Deliveries counted a subscription at most: how far behind it is tells the age."""


async def watch(database: Database, worker: UUID, left_alone: Callable[[], list[UUID]]) -> None:
    """Export the metrics until cancelled. The old values stay while the database is unavailable; others report that."""
    while True:
        try:
            row = await (await database.pool()).fetchrow(query("outbox", "waiting"), worker, left_alone(), COUNTED)
            assert row is not None
            metrics.DUE.set(row["due"])
            metrics.OLDEST_DUE.set(row["oldest"])
        except UNAVAILABLE_ERRORS as error:
            log.debug("what is due not looked at", extra={"error": explain(error)})
        await asyncio.sleep(INTERVAL)
