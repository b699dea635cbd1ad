"""Exports how many deliveries are due, and how long the oldest has been due.

The query uses the index on due deliveries and counts a limited number per subscription, so it stays cheap.
"""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from storage.database import UNAVAILABLE_ERRORS, Database, explain
from storage.sql import query
from workers.deliver import metrics

log = logging.getLogger("crossdock.deliver")

INTERVAL = 15.0
"""Seconds between two measurements."""
COUNTED = 1000
"""Maximum number of deliveries counted per subscription; the age shows how far behind a subscription really is."""


async def watch(database: Database, worker: UUID, excluded: Callable[[], list[UUID]]) -> None:
    """Export the metrics until cancelled.

    Subscriptions that `excluded` returns are not counted. While the database is unavailable, the metrics keep their
    last values; the error is logged at debug level only, because `/readyz` reports it.
    """
    while True:
        try:
            row = await (await database.pool()).fetchrow(query("outbox", "waiting"), worker, excluded(), COUNTED)
            assert row is not None
            metrics.DUE.set(row["due"])
            metrics.OLDEST_DUE.set(row["oldest"])
        except UNAVAILABLE_ERRORS as error:
            log.debug("due deliveries not counted", extra={"error": explain(error)})
        await asyncio.sleep(INTERVAL)
