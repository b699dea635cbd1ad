"""Which queues consumers of `crossdock.events` have: who is away doesn't look at its own."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import asyncpg

from storage import consumers


async def queues(pool: Callable[[], Awaitable[asyncpg.Pool]]) -> Iterable[str]:
    """Each consumer's queue and that of its dead. None while the database is away: somebody else reports that."""
    with suppress(Exception):
        async with (await pool()).acquire() as connection:
            added = [one.consumer for one in await consumers.listing(connection)]
            return [name for one in added for name in (one.queue, one.dead)]
    return ()
