"""How often an API client may ask: one limit for all its accounts, in the database because workers share it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import asyncpg

from storage import polls

PER_MINUTE = 80
"""Apicbase takes 100 requests a minute. With the burst, no minute ever has more than 90."""
BURST = 10
"""Requests that may go at once after a rest: an account with a page or two doesn't wait for each of them."""

Pool = Callable[[], Awaitable[asyncpg.Pool]]


class Limit:
    """Of one client at one address."""

    def __init__(self, pool: Pool, base_url: str, client_id: str, *, per_minute: float = PER_MINUTE) -> None:
        self._pool = pool
        self._client = hashlib.sha256(f"{base_url}\0{client_id}".encode()).digest()[:16]
        self._interval = 60 / per_minute

    async def turn(self) -> None:
        """Returns when the next request may be sent. Raises asyncpg's errors and OSError."""
        seconds = await polls.reserve(await self._pool(), self._client, self._interval, BURST)
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def pause(self, seconds: float) -> None:
        """The API said to wait: nobody asks before, also not in another process."""
        await polls.pause(await self._pool(), self._client, seconds)
