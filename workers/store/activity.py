"""When each account was last heard, beside its own rhythm: silence is the one failure that sends no message.

Counted beside storing and written every few seconds, so that storing waits for none of it. What is counted and not yet
written when a worker dies is missing from a statistic, and from nothing else.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

import asyncpg

from schemas.envelope import Envelope
from storage import activity
from storage.activity import ActivityCounts
from workers.store import metrics

log = logging.getLogger("crossdock.store")

WRITE = 5.0
LOOK = 60.0
FORGET = 3600.0
"""Seconds between writing what was counted, looking at all of it, and forgetting what is old."""


class Counter:
    """`note` what came; `run` writes it and keeps the metrics."""

    def __init__(self, pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
        self._pool = pool
        self._counted: dict[tuple[str, str, datetime], ActivityCounts] = {}

    def note(self, messages: Iterable[Envelope]) -> None:
        """Messages that were stored."""
        moments: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        for about in messages:
            moments[about.platform, about.account].append(about.received_at)
        for (platform, account), found in moments.items():
            if _hour(min(found)) == _hour(max(found)):
                self._add(platform, account, found)
            else:
                for moment in found:
                    self._add(platform, account, [moment])

    def _add(self, platform: str, account: str, moments: Sequence[datetime]) -> None:
        """Moments of one hour."""
        first, last = min(moments), max(moments)
        place = platform, account, _hour(first)
        found = self._counted.setdefault(place, ActivityCounts(0, first, last))
        found.count += len(moments)
        found.first_at, found.last_at = min(found.first_at, first), max(found.last_at, last)

    async def run(self) -> None:
        """Until it is cancelled. A database that is away is somebody else's to report."""
        looked = forgot = -FORGET
        while True:
            await asyncio.sleep(WRITE)
            try:
                pool = await self._pool()
                async with pool.acquire() as connection:
                    await self.write(connection)
                    now = time.monotonic()
                    if now - looked >= LOOK:
                        looked = now
                        await self._look(connection)
                    if now - forgot >= FORGET:
                        forgot = now
                        await activity.forget(connection)
            except Exception as error:
                log.debug("arrivals not written", extra={"error": f"{type(error).__name__}: {error}"})

    async def write(self, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> None:
        """What was counted since the last time; kept if it can't be written. Raises asyncpg's errors."""
        counted, self._counted = self._counted, {}
        try:
            await activity.add(
                connection, [(*place, one.count, one.first_at, one.last_at) for place, one in counted.items()]
            )
        except BaseException:
            for place, one in self._counted.items():
                before = counted.setdefault(place, one)
                if before is not one:
                    before.count += one.count
                    before.first_at = min(before.first_at, one.first_at)
                    before.last_at = max(before.last_at, one.last_at)
            self._counted = counted
            raise

    async def _look(self, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> None:
        for one in await activity.by_account(connection):
            metrics.QUIET.labels(one.platform, one.account).set(one.since)
            metrics.USUAL.labels(one.platform, one.account).set(one.usual)
            if one.limit is not None:
                metrics.LIMIT.labels(one.platform, one.account).set(one.limit)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
