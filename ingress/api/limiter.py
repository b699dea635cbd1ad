"""Limits how many requests of one subscriber run at once, so that no subscriber can exhaust the API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingress.api.errors import retry_later


class _Slots:
    """The slots of one subscriber, and the number of its requests that hold or wait for one."""

    __slots__ = ("requests", "semaphore")

    def __init__(self, limit: int) -> None:
        self.semaphore = asyncio.Semaphore(limit)
        self.requests = 0


class SubscriberLimiter:
    """Admits a limited number of concurrent requests per subscriber; further ones wait for a slot."""

    def __init__(self, *, limit: int, wait_seconds: float) -> None:
        """`limit`: concurrent requests per subscriber. `wait_seconds`: how long a further request waits for a slot."""
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._slots: dict[str, _Slots] = {}

    @asynccontextmanager
    async def slot(self, subscriber: str) -> AsyncIterator[None]:
        """Wait for a slot of this subscriber and hold it. Raises ProblemError: 429."""
        slots = self._slots.get(subscriber)
        if slots is None:
            slots = self._slots[subscriber] = _Slots(self._limit)
        slots.requests += 1
        try:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await slots.semaphore.acquire()
            except TimeoutError:
                detail = "Too many of your requests are in progress; wait for their responses."
                raise retry_later(429, detail) from None
            try:
                yield
            finally:
                slots.semaphore.release()
        finally:
            slots.requests -= 1
            if not slots.requests:
                del self._slots[subscriber]
