"""How many requests each subscriber may have under way at a time, so that nobody takes the API from others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingress.api.errors import ProblemError


class _Line:
    """The requests of one subscriber: those under way, and those that wait for one of them to end."""

    __slots__ = ("requests", "semaphore")

    def __init__(self, at_once: int) -> None:
        self.semaphore = asyncio.Semaphore(at_once)
        self.requests = 0


class Turns:
    """A line for each subscriber, for as long as it has requests."""

    def __init__(self, *, at_once: int, wait_seconds: float) -> None:
        """`at_once`: requests of one subscriber that run together. `wait_seconds`: how long others of it may wait."""
        self._at_once = at_once
        self._wait_seconds = wait_seconds
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn(self, subscriber: str) -> AsyncIterator[None]:
        """Wait for this subscriber's turn, and hold it. Raises ProblemError: 429."""
        line = self._lines.get(subscriber)
        if line is None:
            line = self._lines[subscriber] = _Line(self._at_once)
        line.requests += 1
        try:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await line.semaphore.acquire()
            except TimeoutError:
                raise ProblemError(
                    429,
                    "Too many of your requests are under way; wait for their answers.",
                    headers={"Retry-After": "5"},
                ) from None
            try:
                yield
            finally:
                line.semaphore.release()
        finally:
            line.requests -= 1
            if not line.requests:
                del self._lines[subscriber]
