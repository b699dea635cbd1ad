"""The rate limit of an API client, kept in the database because its accounts and all workers share it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import asyncpg

from storage import polls

PER_MINUTE = 80
"""Requests per minute. Apicbase allows 100; with the burst, at most 90 are sent in any minute."""
BURST = 10
"""Requests that may be sent at once after an idle time, so that an account with few pages does not wait for each."""

Pool = Callable[[], Awaitable[asyncpg.Pool]]
"""A function that returns the connection pool."""


class Limit:
    """The rate limit of one API client (`client_id`) at one base URL."""

    def __init__(self, pool: Pool, base_url: str, client_id: str, *, per_minute: float = PER_MINUTE) -> None:
        self._pool = pool
        self._client = hashlib.sha256(f"{base_url}\0{client_id}".encode()).digest()[:16]
        self._interval = 60 / per_minute

    async def turn(self) -> None:
        """Wait until the next request may be sent. Raises asyncpg's errors and OSError."""
        seconds = await polls.reserve(await self._pool(), self._client, self._interval, BURST)
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def pause(self, seconds: float) -> None:
        """Let no process send a request of this client for `seconds`, because the API asked for a pause.

        Raises asyncpg's errors and OSError.
        """
        await polls.pause(await self._pool(), self._client, seconds)
