"""How much waits in quarantine at each stage, as metrics of the store worker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import asyncpg

from storage import quarantine
from workers.store import metrics

log = logging.getLogger("crossdock.store")

INTERVAL = 15.0
"""Seconds between looks."""


async def watch(pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
    """Look again and again, until cancelled. There is no sample while the database is unavailable."""
    while True:
        try:
            async with (await pool()).acquire() as connection:
                found = await quarantine.by_stage(connection)
        except Exception as error:
            log.debug("quarantine not looked at", extra={"error": f"{type(error).__name__}: {error}"})
            found = {}
        metrics.HELD.clear()
        metrics.HELD_OLDEST.clear()
        for stage, count in found.items():
            metrics.HELD.labels(stage).set(count.messages)
            metrics.HELD_OLDEST.labels(stage).set(count.oldest_seconds)
        await asyncio.sleep(INTERVAL)
