"""How much waits for consumers of `crossdock.events`, as a metric: who is away doesn't look at its queue."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import asyncpg

from broker import topology
from storage import consumers
from workers.store import metrics

log = logging.getLogger("crossdock.store")

INTERVAL = 15.0
"""Seconds between looks."""


async def watch(pool: Callable[[], Awaitable[asyncpg.Pool]], amqp_url: str) -> None:
    """Until it is cancelled. Servers that are away are somebody else's to report."""
    known: set[str] = set()
    while True:
        try:
            known = await _look(await pool(), amqp_url, known)
        except Exception as error:
            log.debug("consumers' queues not looked at", extra={"error": f"{type(error).__name__}: {error}"})
        await asyncio.sleep(INTERVAL)


async def _look(pool: asyncpg.Pool, amqp_url: str, known: set[str]) -> set[str]:
    async with pool.acquire() as connection:
        names = {one.consumer.name: one.consumer.queue for one in await consumers.listing(connection)}
    for gone in known - names.keys():
        metrics.BACKLOG.remove(gone)
    if names:
        depths = await topology.depths(amqp_url, names.values())
        for name, queue in names.items():
            metrics.BACKLOG.labels(name).set(depths.get(queue, (0, 0))[0])
    return set(names)
